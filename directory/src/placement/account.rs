//! Which shard gets a new account.
//!
//! The one with the fewest accounts; among equals, one on the node with the fewest accounts for its weight. So few accounts
//! spread over all nodes as well as many do.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::schema::ShardId;

/// A shard as seen by this choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardLoad {
    /// The shard.
    pub id: ShardId,
    /// The node that leads it.
    pub node: String,
    /// That node's weight.
    pub weight: u32,
    /// Accounts it has.
    pub accounts: u64,
}

/// Scale of a node's accounts divided by its weight, so that whole numbers tell them apart.
const SCALE: u64 = 1_000_000;

/// A shard for each of `count` new accounts, in order. Empty when there are no shards.
pub fn choose(count: usize, loads: &[ShardLoad]) -> Vec<ShardId> {
    let mut nodes: BTreeMap<&str, u64> = BTreeMap::new();
    for load in loads {
        *nodes.entry(&load.node).or_default() += load.accounts;
    }
    let rank = |node: &str, weight: u32, nodes: &BTreeMap<&str, u64>| {
        nodes.get(node).copied().unwrap_or(0).saturating_mul(SCALE) / u64::from(weight.max(1))
    };
    let mut heap: BinaryHeap<_> = loads
        .iter()
        .enumerate()
        .map(|(index, load)| {
            Reverse((
                load.accounts,
                rank(&load.node, load.weight, &nodes),
                load.id,
                index,
            ))
        })
        .collect();
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count {
        let Some(Reverse((accounts, ranked, id, index))) = heap.pop() else {
            break;
        };
        let Some(load) = loads.get(index) else {
            break;
        };
        // The node may have got accounts since this was ranked: then it takes its new place.
        let now = rank(&load.node, load.weight, &nodes);
        if now > ranked {
            heap.push(Reverse((accounts, now, id, index)));
            continue;
        }
        *nodes.entry(&load.node).or_default() += 1;
        chosen.push(id);
        heap.push(Reverse((
            accounts + 1,
            rank(&load.node, load.weight, &nodes),
            id,
            index,
        )));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn load(id: u32, node: u32, accounts: u64) -> ShardLoad {
        ShardLoad {
            id: ShardId(id),
            node: format!("mailstore-{node}"),
            weight: 100,
            accounts,
        }
    }

    #[test]
    fn few_accounts_reach_every_node() {
        // Shards 0 to 4 lie on the first node.
        let loads: Vec<_> = (0..16)
            .map(|id| load(id, if id < 5 { 1 } else { 2 + id % 2 }, 0))
            .collect();
        let nodes: Vec<_> = choose(3, &loads)
            .into_iter()
            .map(|id| loads.iter().find(|load| load.id == id).unwrap().node.clone())
            .collect();
        assert_eq!(nodes, ["mailstore-1", "mailstore-3", "mailstore-2"]);
    }

    #[test]
    fn no_shards_no_choice() {
        assert!(choose(3, &[]).is_empty());
    }

    proptest! {
        #[test]
        fn loads_are_levelled(before in prop::collection::vec(0u64..20, 1..40), count in 0usize..500) {
            let loads: Vec<_> =
                before.iter().enumerate().map(|(id, accounts)| load(id as u32, id as u32 % 4, *accounts)).collect();
            let mut after = before.clone();
            for id in choose(count, &loads) {
                after[id.0 as usize] += 1;
            }
            prop_assert_eq!(after.iter().sum::<u64>(), before.iter().sum::<u64>() + count as u64);
            // Nothing is put onto a shard that is above the lowest.
            let lowest = *after.iter().min().unwrap();
            for (now, then) in after.iter().zip(&before) {
                prop_assert!(now == then || *now <= lowest + 1);
            }
        }
    }
}
