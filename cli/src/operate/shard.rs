//! `rookery shard`: each command in a file of its own.

mod list;
mod show;
mod split;
mod transfer;
mod verify;

use anyhow::anyhow;
use clap::Subcommand;
use rookery_proto::admin::v1::{ListShardsRequest, Shard};

use super::Clients;
use super::output::refused;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List shards and where they lie
    List,
    /// Show one shard with its replicas
    Show {
        /// Its number
        id: u32,
    },
    /// Move one replica of a shard to another node
    Transfer(transfer::Arguments),
    /// Give half of a shard's accounts to a new shard; sessions live on
    Split(split::Arguments),
    /// Compare the replicas of a shard, or of all shards: reads all that they hold
    Verify {
        /// Its number; all shards when it is left out
        id: Option<u32>,
    },
}

impl Command {
    pub(super) async fn run(self, clients: &mut Clients, as_json: bool) -> anyhow::Result<()> {
        match self {
            Command::List => list::print(&shards(clients, None).await?, as_json),
            Command::Show { id } => show::print(&shards(clients, Some(id)).await?, as_json),
            Command::Transfer(arguments) => arguments.run(&mut clients.rebalance, as_json).await,
            Command::Split(arguments) => arguments.run(&mut clients.rebalance, as_json).await,
            Command::Verify { id } => {
                let shards = shards(clients, id).await?;
                verify::run(&mut clients.admin, &shards, as_json).await
            }
        }
    }
}

/// All shards, or the one that is asked for.
async fn shards(clients: &mut Clients, only: Option<u32>) -> anyhow::Result<Vec<Shard>> {
    let listed = clients.admin.list_shards(ListShardsRequest {}).await;
    let mut shards = listed.map_err(refused)?.into_inner().shards;
    if let Some(id) = only {
        shards.retain(|shard| shard.id == id);
        if shards.is_empty() {
            return Err(anyhow!("there is no shard {id}: `rookery shard list` names them"));
        }
    }
    Ok(shards)
}
