//! `rookery node`.

use clap::Subcommand;
use rookery_proto::admin::v1::{self as admin, ListNodesRequest};
use serde_json::{Value, json};

use super::AdminClient;
use super::output::{self, refused};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the cluster's nodes
    List,
}

impl Command {
    pub(super) async fn run(self, client: &mut AdminClient, json: bool) -> anyhow::Result<()> {
        let Command::List = self;
        let nodes = client
            .list_nodes(ListNodesRequest {})
            .await
            .map_err(refused)?
            .into_inner()
            .nodes;
        show(&nodes, json)
    }
}

/// Prints nodes.
pub(super) fn show(nodes: &[admin::Node], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::json(&json!({ "nodes": values(nodes) }));
    }
    let rows: Vec<_> = nodes
        .iter()
        .map(|node| {
            vec![
                node.id.clone(),
                node.role.clone(),
                node.address.clone(),
                node.http.clone(),
                state(node).to_owned(),
                node.shards.to_string(),
            ]
        })
        .collect();
    output::table(&["NODE", "ROLE", "ADDRESS", "HTTP", "STATE", "SHARDS"], &rows)
}

fn state(node: &admin::Node) -> &'static str {
    match (node.alive, node.leads) {
        (true, true) => "alive, leads",
        (true, false) => "alive",
        (false, _) => "silent",
    }
}

/// Nodes as JSON.
pub(super) fn values(nodes: &[admin::Node]) -> Vec<Value> {
    nodes
        .iter()
        .map(|node| {
            json!({
                "id": node.id, "role": node.role, "address": node.address, "http": node.http,
                "weight": node.weight, "alive": node.alive, "shards": node.shards, "leads": node.leads,
            })
        })
        .collect()
}
