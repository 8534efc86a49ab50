//! `rookery node`.

mod add;
mod drain;

use clap::Subcommand;
use rookery_directory::admin::json;
use rookery_proto::admin::v1::{
    self as admin, ListJoinsRequest, ListJoinsResponse, ListNodesRequest, PendingJoin, RemoveNodeRequest,
};
use serde_json::json;
use tonic::Code;

use super::Clients;
use super::output::{self, refused};
use super::quantity::size;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Have a join secret made, with which one new machine becomes a node
    Add(add::Arguments),
    /// List the cluster's nodes, and those that may join
    List,
    /// Give a node nothing new, and have the next plan empty it; --undo is the way back
    Drain(drain::Arguments),
    /// Forget a node that has stopped and has no replicas; its id is taken in no more, unless with --undo
    Remove {
        /// The node's id
        node: String,
        /// Let a node of this id register again
        #[arg(long)]
        undo: bool,
        /// Succeed also when there is no such node, as after an earlier removal
        #[arg(long, conflicts_with = "undo")]
        if_there: bool,
    },
}

impl Command {
    pub(super) async fn run(self, clients: &mut Clients, as_json: bool) -> anyhow::Result<()> {
        match self {
            Command::Add(arguments) => arguments.run(clients, as_json).await,
            Command::List => {
                let listed = clients.admin.list_nodes(ListNodesRequest {}).await;
                let nodes = listed.map_err(refused)?.into_inner().nodes;
                show_all(&nodes, &pending(clients).await?, as_json)
            }
            Command::Drain(arguments) => arguments.run(clients, as_json).await,
            Command::Remove { node, undo, if_there } => {
                let request = RemoveNodeRequest {
                    node: node.clone(),
                    undo,
                };
                match clients.rebalance.remove_node(request).await {
                    Ok(_) => output::done(as_json, &said_of_removal(&node, undo)),
                    Err(status) if if_there && status.code() == Code::NotFound => {
                        output::done(as_json, &format!("there is no node {node}"))
                    }
                    Err(status) => Err(refused(status)),
                }
            }
        }
    }
}

fn said_of_removal(node: &str, undo: bool) -> String {
    if undo {
        format!("node {node} may register again")
    } else {
        format!(
            "node {node} removed: it is not taken in again, unless by `rookery node remove {node} --undo`"
        )
    }
}

/// Who may join, and who may not any more.
async fn pending(clients: &mut Clients) -> anyhow::Result<ListJoinsResponse> {
    match clients.nodes.list_joins(ListJoinsRequest {}).await {
        Ok(listed) => Ok(listed.into_inner()),
        // A directory of an older version.
        Err(status) if status.code() == Code::Unimplemented => Ok(ListJoinsResponse::default()),
        Err(status) => Err(refused(status)),
    }
}

/// Prints nodes.
pub(super) fn show(nodes: &[admin::Node], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::json(&json!({ "nodes": json::nodes(nodes) }));
    }
    table(nodes.iter().map(row))
}

/// Prints nodes, and those that may join.
fn show_all(nodes: &[admin::Node], pending: &ListJoinsResponse, as_json: bool) -> anyhow::Result<()> {
    let ListJoinsResponse { joins, removed } = pending;
    if as_json {
        return output::json(&json!({
            "nodes": json::nodes(nodes), "joins": json::joins(joins), "removed": removed,
        }));
    }
    table(nodes.iter().map(row).chain(joins.iter().map(row_of_join)))
}

fn table(rows: impl Iterator<Item = Vec<String>>) -> anyhow::Result<()> {
    output::table(
        &[
            "NODE", "ROLE", "ZONE", "ADDRESS", "HTTP", "STATE", "SHARDS", "LEADS", "BYTES", "FREE",
        ],
        &rows.collect::<Vec<_>>(),
    )
}

fn row_of_join(join: &PendingJoin) -> Vec<String> {
    let state = match join.redeemed {
        true => "has its certificate".to_owned(),
        false => format!("may join until {}", add::time(join.expires_at_millis)),
    };
    let mut row = vec!["-".to_owned(); 10];
    row[0].clone_from(&join.id);
    row[1].clone_from(&join.role);
    row[5] = state;
    row
}

fn row(node: &admin::Node) -> Vec<String> {
    // Only nodes of one role hold anything.
    let of_store = |text: String| {
        if node.role == "mailstore" {
            text
        } else {
            "-".to_owned()
        }
    };
    let free = if node.disk_total == 0 {
        "-".to_owned()
    } else {
        size(node.disk_free)
    };
    let zone = if node.zone.is_empty() { "-" } else { &node.zone };
    vec![
        node.id.clone(),
        node.role.clone(),
        zone.to_owned(),
        node.address.clone(),
        node.http.clone(),
        state(node),
        of_store(node.shards.to_string()),
        of_store(node.leaders.to_string()),
        of_store(size(node.bytes)),
        free,
    ]
}

fn state(node: &admin::Node) -> String {
    let mut words = vec![if node.alive { "alive" } else { "silent" }];
    if node.alive && node.leads {
        words.push("leads");
    }
    if node.draining {
        words.push("draining");
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailstore() -> admin::Node {
        admin::Node {
            id: "mailstore-2".to_owned(),
            role: "mailstore".to_owned(),
            address: "127.0.0.1:1".to_owned(),
            http: "127.0.0.1:2".to_owned(),
            alive: true,
            shards: 86,
            leaders: 40,
            zone: "east".to_owned(),
            draining: true,
            disk_total: 100_000_000_000,
            disk_free: 42_500_000_000,
            bytes: 1_500_000_000,
            ..admin::Node::default()
        }
    }

    #[test]
    fn a_mailstore_says_what_it_holds_and_what_becomes_of_it() {
        assert_eq!(
            row(&mailstore()).join(" | "),
            "mailstore-2 | mailstore | east | 127.0.0.1:1 | 127.0.0.1:2 | alive, draining | 86 | 40 | 1.5 GB | 42.5 GB"
        );
    }

    #[test]
    fn what_a_node_cannot_have_or_has_not_said_is_a_dash() {
        let proxy = admin::Node {
            id: "proxy-1".to_owned(),
            role: "proxy".to_owned(),
            ..admin::Node::default()
        };
        assert_eq!(row(&proxy).join("|"), "proxy-1|proxy|-|||silent|-|-|-|-");
        let new = admin::Node {
            disk_total: 0,
            ..mailstore()
        };
        assert_eq!(row(&new)[9], "-");
        let directory = admin::Node {
            alive: true,
            leads: true,
            ..proxy
        };
        assert_eq!(state(&directory), "alive, leads");
    }

    #[test]
    fn programs_get_all_fields() {
        let value = &json::nodes(&[mailstore()])[0];
        assert_eq!(
            (
                &value["zone"],
                &value["draining"],
                &value["leaders"],
                &value["disk_free"]
            ),
            (
                &"east".into(),
                &true.into(),
                &40.into(),
                &42_500_000_000u64.into()
            )
        );
    }

    #[test]
    fn who_may_join_is_listed_beside_the_nodes() {
        let join = |redeemed: bool| PendingJoin {
            id: "mailstore-4".to_owned(),
            role: "mailstore".to_owned(),
            expires_at_millis: if redeemed { 0 } else { 1_700_000_000_000 },
            redeemed,
        };
        assert_eq!(
            row_of_join(&join(false)).join("|"),
            "mailstore-4|mailstore|-|-|-|may join until 2023-11-14T22:13:20Z|-|-|-|-"
        );
        assert_eq!(row_of_join(&join(true))[5], "has its certificate");
    }
}
