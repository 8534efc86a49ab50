//! `domain add|list|remove`.

use std::ops::ControlFlow;

use rookery_proto::Status;
use rookery_proto::admin::v1::{
    AddDomainRequest, AddDomainResponse, Domain, ListDomainsRequest, ListDomainsResponse,
    RemoveDomainRequest, RemoveDomainResponse,
};

use crate::clock::now_millis;
use crate::core::Core;
use crate::plan::domain;
use crate::schema::read::{ReadError, Rows};
use crate::schema::{key, row};

pub(super) async fn add(core: &Core, request: AddDomainRequest) -> Result<AddDomainResponse, Status> {
    tracing::info!(domain = request.name, "adding a domain");
    core.state
        .change(move |rows| domain::add(rows, &request.name, now_millis()))
        .await?;
    Ok(AddDomainResponse {})
}

pub(super) async fn remove(
    core: &Core,
    request: RemoveDomainRequest,
) -> Result<RemoveDomainResponse, Status> {
    tracing::info!(domain = request.name, "removing a domain");
    core.state
        .change(move |rows| domain::remove(rows, &request.name))
        .await?;
    Ok(RemoveDomainResponse {})
}

pub(super) async fn list(core: &Core, _: ListDomainsRequest) -> Result<ListDomainsResponse, Status> {
    Ok(ListDomainsResponse {
        domains: core.state.read(read_domains).await??,
    })
}

fn read_domains(rows: Rows<'_>) -> Result<Vec<Domain>, ReadError> {
    let mut names = Vec::new();
    rows.scan(&key::domains(), |key, _: row::Domain| {
        names.extend(key::read_domain(key));
        ControlFlow::Continue(())
    })?;
    names
        .into_iter()
        .map(|name| {
            Ok(Domain {
                accounts: rows.counter(&key::count_domain_accounts(&name))?,
                aliases: rows.counter(&key::count_domain_aliases(&name))?,
                name: name.to_string(),
            })
        })
        .collect()
}
