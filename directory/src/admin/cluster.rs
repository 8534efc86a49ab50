//! `node list`, `shard list` and `status`.

use std::collections::HashMap;

use rookery_proto::Status;
use rookery_proto::admin::v1::{
    GetStatusRequest, GetStatusResponse, ListNodesRequest, ListNodesResponse, ListShardsRequest,
    ListShardsResponse, Node, Shard,
};
use rookery_proto::directory::v1::NodeRole;

use crate::core::Core;
use crate::schema::read::ReadError;
use crate::schema::{ShardId, key};

pub(super) async fn list_nodes(core: &Core, _: ListNodesRequest) -> Result<ListNodesResponse, Status> {
    Ok(ListNodesResponse { nodes: nodes(core) })
}

pub(super) async fn list_shards(core: &Core, _: ListShardsRequest) -> Result<ListShardsResponse, Status> {
    let shards = shards(core, None, usize::MAX).await?;
    Ok(ListShardsResponse { shards })
}

/// The shards after this one, or from the first on; at most so many.
pub(super) async fn shards(core: &Core, after: Option<u32>, limit: usize) -> Result<Vec<Shard>, Status> {
    let held = core.picture.shards().into_iter();
    let held = held.filter(move |shard| after.is_none_or(|after| shard.id > after));
    let held: Vec<_> = held.take(limit).collect();
    let reports = core.reports.all();
    let shards = core.state.read(move |rows| {
        held.into_iter()
            .map(|shard| {
                let accounts = rows.counter(&key::count_shard_accounts(ShardId(shard.id)))?;
                let load = |node: &String| reports.get(node)?.loads.get(&shard.id);
                let led = load(&shard.leader).or_else(|| shard.replicas.iter().find_map(load));
                let row = rows.shard(ShardId(shard.id))?;
                Ok(Shard {
                    forming: row.is_some_and(|row| row.added && !row.formed),
                    bytes: led.map_or(0, |load| load.bytes),
                    operations_milli: led.map_or(0, |load| load.operations_milli),
                    cpu_ppm: led.map_or(0, |load| load.cpu_ppm),
                    id: shard.id,
                    generation: shard.generation,
                    replicas: shard.replicas,
                    accounts,
                    leader: shard.leader,
                    members: shard.members.iter().map(|member| member.id).collect(),
                    voters: shard.voters,
                })
            })
            .collect::<Result<_, ReadError>>()
    });
    Ok(shards.await??)
}

pub(super) async fn status(core: &Core, _: GetStatusRequest) -> Result<GetStatusResponse, Status> {
    let counts = core.state.read(|rows| {
        Ok::<_, ReadError>((
            rows.counter(&key::count_domains())?,
            rows.counter(&key::count_accounts())?,
        ))
    });
    let (domains, accounts) = counts.await??;
    Ok(GetStatusResponse {
        cluster_id: core.cluster.id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        domains,
        accounts,
        shards: core.picture.shards().len() as u64,
        nodes: nodes(core),
    })
}

fn nodes(core: &Core) -> Vec<Node> {
    let reports = core.reports.all();
    let mut shards: HashMap<String, u32> = HashMap::new();
    let mut leaders: HashMap<String, u32> = HashMap::new();
    for shard in core.picture.shards() {
        for replica in shard.replicas {
            *shards.entry(replica).or_default() += 1;
        }
        *leaders.entry(shard.leader).or_default() += 1;
    }
    core.picture
        .nodes()
        .into_iter()
        .map(|node| {
            let report = reports.get(&node.id);
            Node {
                leads: node.id == core.own,
                role: role_name(node.role()).to_owned(),
                shards: shards.get(&node.id).copied().unwrap_or(0),
                leaders: leaders.get(&node.id).copied().unwrap_or(0),
                bytes: report.map_or(0, |report| report.loads.values().map(|load| load.bytes).sum()),
                operations_milli: report.map_or(0, |report| {
                    report.loads.values().map(|load| load.operations_milli).sum()
                }),
                log_sync_micros: report.map_or(0, |report| report.log_sync_micros),
                disk_total: report.map_or(0, |report| report.disk_total),
                disk_free: report.map_or(0, |report| report.disk_free),
                id: node.id,
                address: node.address,
                http: node.http,
                weight: node.weight,
                alive: node.alive,
                zone: node.zone,
                draining: node.draining,
            }
        })
        .collect()
}

pub(super) fn role_name(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Mailstore => "mailstore",
        NodeRole::Proxy => "proxy",
        NodeRole::Directory => "directory",
        NodeRole::Unspecified => "unknown",
    }
}
