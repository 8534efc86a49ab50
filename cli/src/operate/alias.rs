//! `rookery alias`.

use clap::Subcommand;
use rookery_proto::admin::v1::{AddAliasRequest, Alias, ListAliasesRequest, RemoveAliasRequest};
use serde_json::json;

use super::AdminClient;
use super::output::{self, refused};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send mail for an address to others; @domain as the name catches all of a domain
    Add {
        /// The alias, such as team@example.org
        name: String,
        /// Where its mail goes
        #[arg(required = true)]
        targets: Vec<String>,
    },
    /// List aliases
    List {
        /// Only of this domain
        #[arg(long, default_value = "")]
        domain: String,
    },
    /// Remove targets of an alias, or all of it
    Remove {
        /// The alias
        name: String,
        /// Only these targets
        targets: Vec<String>,
    },
}

impl Command {
    pub(super) async fn run(self, client: &mut AdminClient, json: bool) -> anyhow::Result<()> {
        match self {
            Command::Add { name, targets } => {
                let alias = Some(Alias {
                    name: name.clone(),
                    targets,
                });
                client
                    .add_alias(AddAliasRequest { alias })
                    .await
                    .map_err(refused)?;
                output::done(json, &format!("alias {name} added"))
            }
            Command::Remove { name, targets } => {
                let alias = Some(Alias {
                    name: name.clone(),
                    targets,
                });
                client
                    .remove_alias(RemoveAliasRequest { alias })
                    .await
                    .map_err(refused)?;
                output::done(json, &format!("alias {name} removed"))
            }
            Command::List { domain } => list(client, domain, json).await,
        }
    }
}

async fn list(client: &mut AdminClient, domain: String, as_json: bool) -> anyhow::Result<()> {
    let mut aliases: Vec<Alias> = Vec::new();
    loop {
        let request = ListAliasesRequest {
            domain: domain.clone(),
            after: aliases.last().map(|last| last.name.clone()).unwrap_or_default(),
            limit: 0,
        };
        let page = client
            .list_aliases(request)
            .await
            .map_err(refused)?
            .into_inner()
            .aliases;
        if page.is_empty() {
            break;
        }
        aliases.extend(page);
    }
    if as_json {
        let rows: Vec<_> = aliases
            .iter()
            .map(|alias| json!({"name": alias.name, "targets": alias.targets}))
            .collect();
        return output::json(&json!({ "aliases": rows }));
    }
    let rows: Vec<_> = aliases
        .into_iter()
        .map(|alias| vec![alias.name, alias.targets.join(" ")])
        .collect();
    output::table(&["ALIAS", "TARGETS"], &rows)
}
