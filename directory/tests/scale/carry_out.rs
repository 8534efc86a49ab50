//! Carries a plan out on a made-up cluster, step by step, and looks after each step whether what must never be is.

use std::collections::HashMap;

use rookery_directory::rebalance::steps::{Membership, STEPS, Step};
use rookery_directory::rebalance::{Condition, Plan};

use super::world::World;

/// Carries out the first `count` transfers, then, if those are all, the changes of leads. Panics when a majority would be lost,
/// replicas come together in a zone, a disk is filled above its bound, or a generation is not the one that is told.
pub(crate) fn carry_out(world: &mut World, plan: &Plan, count: usize) {
    let indices: HashMap<String, usize> = world
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| (node.id.clone(), index))
        .collect();
    let mut bytes = vec![0u64; world.nodes.len()];
    for shard in &world.shards {
        for (_, node) in &shard.replicas {
            bytes[*node] += shard.bytes as u64;
        }
    }
    for transfer in plan.transfers.iter().take(count) {
        let to = indices[&transfer.to];
        let number = transfer.shard.0 as usize;
        let shard = &mut world.shards[number];
        assert_eq!(shard.generation, transfer.generation, "shard {number}");
        let from = transfer
            .from
            .as_ref()
            .map(|from| (from.replica, indices[&from.node]));
        assert!(
            from.is_none_or(|from| shard.replicas.contains(&from)),
            "shard {number} has not what is to go"
        );
        assert!(
            shard.replicas.iter().all(|(_, node)| *node != to),
            "shard {number} is on {} twice",
            transfer.to
        );
        assert_eq!(world.nodes[to].condition, Condition::Active);
        world.next_replica += 1;
        let new = (world.next_replica, to);
        let leader = shard
            .leader
            .and_then(|leader| shard.replicas.iter().copied().find(|(_, node)| *node == leader));
        let mut members = Membership::new(shard.replicas.clone(), leader);
        let crowding_before = crowding(world.nodes.len(), &shard.replicas, |node| world.nodes[node].zone);
        let nodes = &world.nodes;
        let answers = |(_, node): &(u64, usize)| nodes[*node].condition != Condition::Gone;
        for step in STEPS {
            if step == Step::Learn {
                bytes[to] += shard.bytes as u64;
                assert!(bytes[to] <= nodes[to].bytes_max, "{} is overfilled", transfer.to);
            }
            members
                .take(step, from, new, answers)
                .unwrap_or_else(|error| panic!("shard {number}, {step:?}: {error}"));
            assert!(
                members.has_majority(answers),
                "shard {number} has lost its majority in {step:?}"
            );
        }
        // Bytes are freed only when the whole plan is done: the worst that can be.
        shard.replicas = members.voters;
        shard.leader = members.leader.map(|(_, node)| node);
        shard.generation += 1;
        let crowding_after = crowding(nodes.len(), &shard.replicas, |node| nodes[node].zone);
        assert!(
            crowding_after <= crowding_before.max(1),
            "shard {number} is in a zone twice"
        );
    }
    if count < plan.transfers.len() {
        return;
    }
    for lead in &plan.leads {
        let shard = &mut world.shards[lead.shard.0 as usize];
        assert_eq!(shard.generation, lead.generation, "shard {}", lead.shard);
        let to = indices[&lead.to];
        assert!(
            shard.replicas.iter().any(|(_, node)| *node == to),
            "shard {} is not on {}",
            lead.shard,
            lead.to
        );
        shard.leader = Some(to);
    }
}

/// The most replicas of a shard in one zone.
fn crowding(zones: usize, replicas: &[(u64, usize)], zone_of: impl Fn(usize) -> usize) -> usize {
    let mut counts = vec![0; zones];
    for (_, node) in replicas {
        counts[zone_of(*node)] += 1;
    }
    counts.into_iter().max().unwrap_or(0)
}

/// That all is where it should be: three replicas a shard, each in a zone of its own, none on a node that may not have it, and
/// led by one of them.
pub(crate) fn assert_safe(world: &World) {
    for (number, shard) in world.shards.iter().enumerate() {
        assert_eq!(shard.replicas.len(), world.replicas as usize, "shard {number}");
        let most = crowding(world.nodes.len(), &shard.replicas, |node| world.nodes[node].zone);
        assert_eq!(most, 1, "shard {number} is in a zone twice");
        for (_, node) in &shard.replicas {
            assert_eq!(world.nodes[*node].condition, Condition::Active, "shard {number}");
        }
        let led = shard
            .leader
            .is_some_and(|leader| shard.replicas.iter().any(|(_, node)| *node == leader));
        assert!(led, "shard {number} is led by none of its replicas");
    }
}
