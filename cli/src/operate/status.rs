//! `rookery status`.

use std::io::Write;

use clap::Args;
use rookery_proto::admin::v1::GetStatusRequest;
use serde_json::json;

use super::output::{self, refused};
use super::{AdminClient, node};

#[derive(Debug, Args)]
pub(crate) struct Command {}

impl Command {
    pub(super) async fn run(self, client: &mut AdminClient, as_json: bool) -> anyhow::Result<()> {
        let status = client
            .get_status(GetStatusRequest {})
            .await
            .map_err(refused)?
            .into_inner();
        if as_json {
            return output::json(&json!({
                "cluster_id": status.cluster_id, "version": status.version, "domains": status.domains,
                "accounts": status.accounts, "shards": status.shards, "nodes": node::values(&status.nodes),
            }));
        }
        writeln!(
            std::io::stdout(),
            "cluster {}  version {}\n{} domains, {} accounts, {} shards\n",
            status.cluster_id,
            status.version,
            status.domains,
            status.accounts,
            status.shards
        )?;
        node::show(&status.nodes, false)
    }
}
