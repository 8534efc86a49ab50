//! `alias add|list|remove`.

use std::ops::ControlFlow;

use rookery_proto::Status;
use rookery_proto::admin::v1::{
    AddAliasRequest, AddAliasResponse, Alias, ListAliasesRequest, ListAliasesResponse, RemoveAliasRequest,
    RemoveAliasResponse,
};

use crate::address::DomainName;
use crate::core::Core;
use crate::plan::PlanError;
use crate::plan::alias;
use crate::schema::{key, row};

pub(super) async fn add(core: &Core, request: AddAliasRequest) -> Result<AddAliasResponse, Status> {
    let Alias { name, targets } = named(request.alias)?;
    tracing::info!(alias = name, "adding to an alias");
    core.state
        .change(move |rows| alias::add(rows, &name, &targets))
        .await?;
    Ok(AddAliasResponse {})
}

pub(super) async fn remove(core: &Core, request: RemoveAliasRequest) -> Result<RemoveAliasResponse, Status> {
    let Alias { name, targets } = named(request.alias)?;
    tracing::info!(alias = name, "removing from an alias");
    core.state
        .change(move |rows| alias::remove(rows, &name, &targets))
        .await?;
    Ok(RemoveAliasResponse {})
}

pub(super) async fn list(core: &Core, request: ListAliasesRequest) -> Result<ListAliasesResponse, Status> {
    let domain = match request.domain.as_str() {
        "" => None,
        name => Some(DomainName::parse(name).map_err(PlanError::from)?),
    };
    let aliases = core.state.read(move |rows| {
        let mut aliases = Vec::new();
        rows.scan(&key::aliases_of(domain.as_ref()), |key, row: row::Alias| {
            aliases.extend(key::read_named(key).map(|(domain, local)| Alias {
                name: format!("{local}@{domain}"),
                targets: row.targets,
            }));
            ControlFlow::Continue(())
        })
        .map(|()| aliases)
    });
    Ok(ListAliasesResponse {
        aliases: aliases.await??,
    })
}

fn named(alias: Option<Alias>) -> Result<Alias, Status> {
    alias.ok_or_else(|| Status::invalid("no alias is named"))
}
