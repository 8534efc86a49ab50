//! `rookery shard`: `verify` in a file of its own.

mod verify;

use anyhow::anyhow;
use clap::Subcommand;
use rookery_proto::admin::v1::{self as admin, ListShardsRequest};
use serde_json::json;

use super::AdminClient;
use super::output::{self, refused};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List shards and where they lie
    List,
    /// Show one shard
    Show {
        /// Its number
        id: u32,
    },
    /// Compare the replicas of a shard, or of all shards: reads all that they hold
    Verify {
        /// Its number; all shards when it is left out
        id: Option<u32>,
    },
}

impl Command {
    pub(super) async fn run(self, client: &mut AdminClient, json: bool) -> anyhow::Result<()> {
        let mut shards = client
            .list_shards(ListShardsRequest {})
            .await
            .map_err(refused)?
            .into_inner()
            .shards;
        let only = match self {
            Command::List | Command::Verify { id: None } => None,
            Command::Show { id } | Command::Verify { id: Some(id) } => Some(id),
        };
        if let Some(id) = only {
            shards.retain(|shard| shard.id == id);
            if shards.is_empty() {
                return Err(anyhow!("there is no shard {id}: `rookery shard list` names them"));
            }
        }
        match self {
            Command::Verify { .. } => verify::run(client, &shards, json).await,
            Command::List | Command::Show { .. } => show(&shards, json),
        }
    }
}

fn show(shards: &[admin::Shard], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let rows: Vec<_> = shards
            .iter()
            .map(|shard| {
                json!({
                    "id": shard.id, "generation": shard.generation, "replicas": shard.replicas,
                    "accounts": shard.accounts, "leader": shard.leader, "members": shard.members,
                    "voters": shard.voters,
                })
            })
            .collect();
        return output::json(&json!({ "shards": rows }));
    }
    let rows: Vec<_> = shards
        .iter()
        .map(|shard| {
            vec![
                shard.id.to_string(),
                shard.generation.to_string(),
                shard.leader.clone(),
                shard.replicas.join(" "),
                shard.accounts.to_string(),
            ]
        })
        .collect();
    output::table(&["SHARD", "GENERATION", "LEADER", "REPLICAS", "ACCOUNTS"], &rows)
}
