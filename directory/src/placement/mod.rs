//! Which node has which shard, and which shard gets a new account. Pure functions.

pub mod account;
mod ring;

use std::collections::BTreeMap;

use crate::schema::ShardId;
use ring::Ring;

/// How far above its share a node may be loaded, in percent of the share.
const LOAD_MAX_PERCENT: u64 = 105;

/// A node that shards may be placed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// Its relative capacity; 100 is the usual one, 0 takes no shards.
    pub weight: u32,
}

/// Places the shards 0, 1, … on nodes: each on the first node after it on the ring that still has room. A node has room
/// for 1.05 times its share by weight, rounded up. Empty when there is no node with a weight.
pub fn place(shards: u32, nodes: &[Candidate]) -> BTreeMap<ShardId, String> {
    let nodes: Vec<&Candidate> = nodes.iter().filter(|node| node.weight > 0).collect();
    let total: u64 = nodes.iter().map(|node| u64::from(node.weight)).sum();
    if total == 0 {
        return BTreeMap::new();
    }
    let mut room: BTreeMap<&str, u64> = nodes
        .iter()
        .map(|node| (node.id.as_str(), load_max(shards, node.weight, total)))
        .collect();
    let ring = Ring::new(&nodes);
    let mut placed = BTreeMap::new();
    for shard in 0..shards {
        // The room of all nodes together is at least the number of shards, so one of them has some.
        for id in ring.candidates(shard) {
            match room.get_mut(id) {
                Some(left) if *left > 0 => {
                    *left -= 1;
                    placed.insert(ShardId(shard), id.to_owned());
                    break;
                }
                _ => {}
            }
        }
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

    fn loads(placed: &BTreeMap<ShardId, String>) -> BTreeMap<&str, u64> {
        let mut loads = BTreeMap::new();
        for node in placed.values() {
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
            let placed = place(shards, &nodes);
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
            prop_assert_eq!(place(256, &order), place(256, &nodes(7)));
        }
    }

    #[test]
    fn a_new_node_moves_little_more_than_its_share() {
        for shards in [64, 256, 1024] {
            let (mut moved_in_all, mut optimum_in_all) = (0.0, 0.0);
            for count in 2..=20 {
                let before = place(shards, &nodes(count - 1));
                let after = place(shards, &nodes(count));
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
    fn no_node_is_left_empty() {
        for count in 1..=50 {
            assert_eq!(loads(&place(256, &nodes(count))).len(), count as usize);
        }
    }

    #[test]
    fn the_placement_stays_from_version_to_version() {
        // Stored placements come from this function: if this fails, the ring's points have changed.
        let placed = place(16, &nodes(3));
        let shape: String = placed.values().map(|node| &node[node.len() - 1..]).collect();
        assert_eq!(shape, "3211233113123312");
    }
}
