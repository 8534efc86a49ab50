//! A node says that it is there.

use std::time::Instant;

use rookery_proto::directory::v1::{NodeRole, RegisterNode, RegisteredNode};
use rookery_proto::{Peer, Status};

use super::{denied, node_role};
use crate::core::Core;
use crate::plan::{node, shard};

pub(super) async fn run(core: &Core, peer: &Peer, request: RegisterNode) -> Result<RegisteredNode, Status> {
    let node = request
        .node
        .clone()
        .ok_or_else(|| Status::invalid("no node is named"))?;
    if node.id != peer.node || node.role() != node_role(peer.role) {
        return Err(denied(format!(
            "the certificate is that of the {} {:?}, which cannot register as {:?}",
            peer.role.as_str(),
            peer.node,
            node.id
        )));
    }
    // Before anything is believed that it says. One of another cluster is refused below, and is nobody here.
    if request.cluster_id == core.cluster.id {
        core.instances.hear(&node, Instant::now())?;
    }
    let id = node.id.clone();
    let cluster = core.cluster.clone();
    let alive = core.picture.alive();
    let is_same = core.picture.node(&id).is_some_and(|held| {
        (held.role, &held.address, &held.http, held.weight, &held.zone)
            == (node.role, &node.address, &node.http, node.weight, &node.zone)
    });
    // Said again every two seconds by every node: mostly there is nothing to write.
    if !is_same || !core.picture.is_placed() || request.cluster_id != cluster.id {
        let cluster_id = request.cluster_id.clone();
        core.state
            .change(move |rows| node::register(rows, &cluster, &cluster_id, &node, &alive))
            .await?;
    }
    if node_role(peer.role) == NodeRole::Mailstore {
        core.reports.note(&id, &request);
    }
    if !request.lost.is_empty() || !core.picture.are_taken(&request.held) {
        let (node, held, lost) = (id.clone(), request.held, request.lost);
        core.state
            .change(move |rows| shard::note(rows, &node, &held, &lost))
            .await?;
    }
    core.picture.led(&id, &request.led);
    core.picture.heard(&id, Instant::now());
    core.rebalance.look();
    Ok(RegisteredNode {
        version: core.picture.version(),
        fetch_rate_max: core.rebalance.fetch_rate_max(),
    })
}
