//! `rookery domain`.

use clap::Subcommand;
use rookery_proto::admin::v1::{AddDomainRequest, ListDomainsRequest, RemoveDomainRequest};
use serde_json::json;

use super::AdminClient;
use super::output::{self, refused};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve mail for a domain
    Add {
        /// The domain, such as example.org
        name: String,
    },
    /// List the domains
    List,
    /// Stop serving a domain that has no addresses left
    Remove {
        /// The domain
        name: String,
    },
}

impl Command {
    pub(super) async fn run(self, client: &mut AdminClient, json: bool) -> anyhow::Result<()> {
        match self {
            Command::Add { name } => {
                client
                    .add_domain(AddDomainRequest { name: name.clone() })
                    .await
                    .map_err(refused)?;
                output::done(json, &format!("domain {name} added"))
            }
            Command::Remove { name } => {
                client
                    .remove_domain(RemoveDomainRequest { name: name.clone() })
                    .await
                    .map_err(refused)?;
                output::done(json, &format!("domain {name} removed"))
            }
            Command::List => list(client, json).await,
        }
    }
}

async fn list(client: &mut AdminClient, as_json: bool) -> anyhow::Result<()> {
    let domains = client
        .list_domains(ListDomainsRequest {})
        .await
        .map_err(refused)?
        .into_inner()
        .domains;
    if as_json {
        let rows: Vec<_> = domains
            .iter()
            .map(
                |domain| json!({"name": domain.name, "accounts": domain.accounts, "aliases": domain.aliases}),
            )
            .collect();
        return output::json(&json!({ "domains": rows }));
    }
    let rows: Vec<_> = domains
        .into_iter()
        .map(|domain| {
            vec![
                domain.name,
                domain.accounts.to_string(),
                domain.aliases.to_string(),
            ]
        })
        .collect();
    output::table(&["DOMAIN", "ACCOUNTS", "ALIASES"], &rows)
}
