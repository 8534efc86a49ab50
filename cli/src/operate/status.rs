//! `rookery status`: the cluster at a glance, or what keeps it busy.

use std::io::Write;

use clap::Args;
use rookery_directory::admin::json as shared;
use rookery_proto::admin::v1::{
    BusyAccount, GetStatusRequest, ListBusyAccountsRequest, ListShardsRequest, Shard,
};
use serde_json::json;

use super::output::{self, refused};
use super::quantity::{cpu, milli, size};
use super::{AdminClient, node};

/// Shards and accounts that are named when nothing else is said.
const HOT_COUNT: &str = "10";

#[derive(Debug, Args)]
pub(crate) struct Command {
    /// Name the busiest shards and accounts, so many of each
    #[arg(long, value_name = "COUNT", num_args = 0..=1, default_missing_value = HOT_COUNT, value_parser = clap::value_parser!(u32).range(1..=100))]
    hot: Option<u32>,
}

impl Command {
    pub(super) async fn run(self, client: &mut AdminClient, as_json: bool) -> anyhow::Result<()> {
        match self.hot {
            Some(count) => hot(client, count, as_json).await,
            None => at_a_glance(client, as_json).await,
        }
    }
}

async fn at_a_glance(client: &mut AdminClient, as_json: bool) -> anyhow::Result<()> {
    let status = client
        .get_status(GetStatusRequest {})
        .await
        .map_err(refused)?
        .into_inner();
    if as_json {
        return output::json(&shared::status(&status));
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

async fn hot(client: &mut AdminClient, count: u32, as_json: bool) -> anyhow::Result<()> {
    let listed = client.list_shards(ListShardsRequest {}).await.map_err(refused)?;
    let shards = busiest(listed.into_inner().shards, count);
    let request = ListBusyAccountsRequest { count_max: count };
    let listed = client.list_busy_accounts(request).await.map_err(refused)?;
    let accounts = listed.into_inner().accounts;
    if as_json {
        let shard = |one: &Shard| {
            json!({
                "shard": one.id, "leader": one.leader, "operations_milli": one.operations_milli, "bytes": one.bytes,
                "cpu_ppm": one.cpu_ppm, "accounts": one.accounts,
            })
        };
        let account = |one: &BusyAccount| {
            json!({
                "address": one.address, "shard": one.shard, "leader": one.node,
                "operations_milli": one.operations_milli, "bytes_per_second": one.bytes_per_second,
                "cpu_ppm": one.cpu_ppm,
            })
        };
        return output::json(&json!({
            "shards": shards.iter().map(shard).collect::<Vec<_>>(),
            "accounts": accounts.iter().map(account).collect::<Vec<_>>(),
        }));
    }
    let rows: Vec<Vec<String>> = shards
        .iter()
        .map(|one| {
            vec![
                one.id.to_string(),
                one.leader.clone(),
                milli(one.operations_milli),
                cpu(one.cpu_ppm),
                size(one.bytes),
                one.accounts.to_string(),
            ]
        })
        .collect();
    output::table(&["SHARD", "LEADER", "OPS/S", "CPU", "BYTES", "ACCOUNTS"], &rows)?;
    writeln!(std::io::stdout())?;
    let rows: Vec<Vec<String>> = accounts
        .iter()
        .map(|one| {
            vec![
                one.address.clone(),
                one.shard.to_string(),
                one.node.clone(),
                milli(one.operations_milli),
                cpu(one.cpu_ppm),
                format!("{}/s", size(one.bytes_per_second)),
            ]
        })
        .collect();
    output::table(&["ACCOUNT", "SHARD", "LEADER", "OPS/S", "CPU", "BYTES"], &rows)
}

/// Those that do most, the busiest first; of equal ones the largest.
fn busiest(mut shards: Vec<Shard>, count: u32) -> Vec<Shard> {
    shards.sort_by_key(|shard| std::cmp::Reverse((shard.operations_milli, shard.bytes)));
    shards.truncate(count as usize);
    shards
}
