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
use crate::schema::read::{ReadError, Rows};
use crate::schema::{key, row};

/// Aliases of one answer.
const LIST_MAX: usize = 1_000;

/// Bytes of targets after which an answer takes no further alias.
const LIST_BYTES_MAX: usize = 1024 * 1024;

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
    let limit = match request.limit as usize {
        0 => LIST_MAX,
        limit => limit.min(LIST_MAX),
    };
    let mut range = key::aliases_of(domain.as_ref());
    if !request.after.is_empty() {
        range.from = range.from.max(alias::key_of(&request.after)?);
        range.from.push(0);
    }
    let aliases = core.state.read(move |rows| read_page(rows, &range, limit));
    Ok(ListAliasesResponse {
        aliases: aliases.await??,
    })
}

/// At least one alias of the range if there is one, and no more than an answer may hold.
fn read_page(rows: Rows<'_>, range: &key::Range, limit: usize) -> Result<Vec<Alias>, ReadError> {
    let mut aliases = Vec::new();
    let mut bytes = 0;
    rows.scan(range, |key, row: row::Alias| {
        bytes += row.targets.iter().map(String::len).sum::<usize>();
        aliases.extend(key::read_named(key).map(|(domain, local)| Alias {
            name: format!("{local}@{domain}"),
            targets: row.targets,
        }));
        if aliases.len() < limit && bytes < LIST_BYTES_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(aliases)
}

fn named(alias: Option<Alias>) -> Result<Alias, Status> {
    alias.ok_or_else(|| Status::invalid("no alias is named"))
}
