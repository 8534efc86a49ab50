//! Which node has which shard, and which shard gets a new account. Pure functions.

pub mod account;
pub mod beside;
pub(crate) mod ring;

use std::collections::BTreeMap;

use crate::schema::ShardId;
use ring::{Entry, Ring};

/// How far above its share a node may be loaded, in percent of the share.
const LOAD_MAX_PERCENT: u64 = 105;

/// Points on the ring for a node of the usual weight. With 100 of them a node of 50 was left without shards.
const POINTS_PER_100_WEIGHT: u32 = 200;

/// A node that shards may be placed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// Its relative capacity; 100 is the usual one, 0 takes no shards.
    pub weight: u32,
}

/// Places the replicas of the shards 0, 1, … on nodes: each on the first nodes after it on the ring that still have room, no two of a
/// shard on one. A node has room for 1.05 times its share by weight, rounded up. Which of a shard's nodes is named first goes
/// round, so that each leads its part. Empty when there are fewer nodes with a weight than a shard has replicas.
pub fn place(shards: u32, replicas: u32, nodes: &[Candidate]) -> BTreeMap<ShardId, Vec<String>> {
    let nodes: Vec<&Candidate> = nodes.iter().filter(|node| node.weight > 0).collect();
    let total: u64 = nodes.iter().map(|node| u64::from(node.weight)).sum();
    let mut placed = BTreeMap::new();
    if nodes.len() < replicas.max(1) as usize {
        return placed;
    }
    let all = shards.saturating_mul(replicas);
    let mut room: BTreeMap<&str, u64> = nodes
        .iter()
        .map(|node| (node.id.as_str(), load_max(all, node.weight, total)))
        .collect();
    let mut leads: BTreeMap<&str, u64> = BTreeMap::new();
    let entries = nodes.iter().map(|node| Entry {
        id: &node.id,
        weight: node.weight,
        value: node.id.as_str(),
    });
    let ring = Ring::new(entries, POINTS_PER_100_WEIGHT);
    for shard in 0..shards {
        let candidates: Vec<&str> = ring.candidates(shard).collect();
        // Nodes with room first; when the last shards find too few of them, distinct nodes matter more than even ones.
        let (roomy, full): (Vec<&str>, Vec<&str>) = candidates
            .into_iter()
            .partition(|id| room.get(id).is_some_and(|left| *left > 0));
        let mut chosen: Vec<&str> = roomy.into_iter().chain(full).take(replicas as usize).collect();
        for id in &chosen {
            if let Some(left) = room.get_mut(id) {
                *left = left.saturating_sub(1);
            }
        }
        if replicas > 1 {
            // Stable: among equals the ring decides.
            chosen.sort_by_key(|id| leads.get(id).copied().unwrap_or(0));
        }
        if let Some(first) = chosen.first() {
            *leads.entry(first).or_default() += 1;
        }
        placed.insert(ShardId(shard), chosen.into_iter().map(str::to_owned).collect());
    }
    placed
}

/// The most shards a node may have.
fn load_max(shards: u32, weight: u32, total_weight: u64) -> u64 {
    (u64::from(shards) * u64::from(weight) * LOAD_MAX_PERCENT).div_ceil(total_weight * 100)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nodes(count: u32) -> Vec<Candidate> {
        (1..=count)
            .map(|number| Candidate {
                id: format!("mailstore-{number}"),
                weight: 100,
            })
            .collect()
    }

    fn loads(placed: &BTreeMap<ShardId, Vec<String>>) -> BTreeMap<&str, u64> {
        let mut loads = BTreeMap::new();
        for node in placed.values().flatten() {
            *loads.entry(node.as_str()).or_default() += 1;
        }
        loads
    }

    proptest! {
        #[test]
        fn every_shard_has_a_node_within_its_bound(
            shards in 0u32..600,
            weights in prop::collection::vec(0u32..400, 0..24),
        ) {
            let nodes: Vec<Candidate> = weights
                .iter()
                .enumerate()
                .map(|(number, weight)| Candidate { id: format!("mailstore-{number}"), weight: *weight })
                .collect();
            let placed = place(shards, 1, &nodes);
            let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            if total == 0 {
                prop_assert!(placed.is_empty());
                return Ok(());
            }
            prop_assert_eq!(placed.len(), shards as usize);
            let loads = loads(&placed);
            for node in &nodes {
                let load = loads.get(node.id.as_str()).copied().unwrap_or(0);
                prop_assert!(load <= load_max(shards, node.weight, total), "{} has {}", node.id, load);
            }
        }

        #[test]
        fn the_order_of_the_nodes_does_not_matter(order in Just(nodes(7)).prop_shuffle()) {
            prop_assert_eq!(place(256, 1, &order), place(256, 1, &nodes(7)));
        }
    }

    #[test]
    fn a_new_node_moves_little_more_than_its_share() {
        for shards in [64, 256, 1024] {
            let (mut moved_in_all, mut optimum_in_all) = (0.0, 0.0);
            for count in 2..=20 {
                let before = place(shards, 1, &nodes(count - 1));
                let after = place(shards, 1, &nodes(count));
                let moved = before
                    .iter()
                    .filter(|(shard, node)| after.get(shard) != Some(*node))
                    .count() as f64;
                // The new node's share, which is the least that any even placement must move.
                let optimum = f64::from(shards) / f64::from(count);
                assert!(
                    moved <= optimum * 2.5,
                    "{shards} shards, node {count}: {moved} moved, {optimum} needed"
                );
                moved_in_all += moved;
                optimum_in_all += optimum;
            }
            assert!(
                moved_in_all <= optimum_in_all * 1.25,
                "{shards} shards: {moved_in_all} moved, {optimum_in_all} needed"
            );
        }
    }

    #[test]
    fn replicas_are_on_distinct_nodes_and_each_node_leads_its_part() {
        for (count, replicas) in [(3, 3), (4, 3), (5, 5), (7, 3)] {
            let placed = place(256, replicas, &nodes(count));
            let mut leads: BTreeMap<&str, u32> = BTreeMap::new();
            for nodes in placed.values() {
                let distinct: std::collections::BTreeSet<&String> = nodes.iter().collect();
                assert_eq!(
                    (nodes.len(), distinct.len()),
                    (replicas as usize, replicas as usize)
                );
                *leads.entry(&nodes[0]).or_default() += 1;
            }
            let even = 256 / count;
            assert!(
                leads.values().all(|leads| leads.abs_diff(even) <= even / 5),
                "{count} nodes lead {leads:?}"
            );
            assert_eq!(leads.len(), count as usize);
        }
        assert!(place(16, 3, &nodes(2)).is_empty());
    }

    #[test]
    fn no_node_is_left_empty() {
        for count in 1..=50 {
            assert_eq!(loads(&place(256, 1, &nodes(count))).len(), count as usize);
        }
    }

    #[test]
    fn the_placement_stays_from_version_to_version() {
        // Stored placements come from this function: if this fails, the ring's points have changed.
        let placed = place(16, 1, &nodes(3));
        let shape: String = placed
            .values()
            .flatten()
            .map(|node| &node[node.len() - 1..])
            .collect();
        assert_eq!(shape, "3211233113123312");
    }
}
