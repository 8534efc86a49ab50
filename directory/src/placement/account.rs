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

/// A node and its shards.
#[derive(Default)]
struct NodeLoad {
    weight: u32,
    /// Of all its shards.
    accounts: u64,
    /// The one with the fewest accounts first, of equals the one with the lowest id.
    shards: BinaryHeap<Reverse<(u64, ShardId)>>,
}

impl NodeLoad {
    /// What its next choice is compared by: accounts of the shard, then of the node for its weight, then the shard's id.
    fn best(&self) -> Option<(u64, u64, ShardId)> {
        let Reverse((accounts, id)) = self.shards.peek()?;
        let rank = self.accounts.saturating_mul(SCALE) / u64::from(self.weight.max(1));
        Some((*accounts, rank, *id))
    }

    /// Puts an account on the shard that is first.
    fn take(&mut self) -> Option<ShardId> {
        let mut first = self.shards.peek_mut()?;
        let Reverse((accounts, id)) = &mut *first;
        *accounts += 1;
        self.accounts += 1;
        Some(*id)
    }
}

/// A shard for each of `count` new accounts, in order. Empty when there are no shards.
pub fn choose(count: usize, loads: &[ShardLoad]) -> Vec<ShardId> {
    let mut nodes: BTreeMap<&str, NodeLoad> = BTreeMap::new();
    for load in loads {
        let node = nodes.entry(&load.node).or_default();
        node.weight = load.weight;
        node.accounts += load.accounts;
        node.shards.push(Reverse((load.accounts, load.id)));
    }
    let mut nodes: Vec<NodeLoad> = nodes.into_values().collect();
    // A choice changes how its own node compares, and no other: each has one place here.
    let mut places: BinaryHeap<_> = nodes
        .iter()
        .enumerate()
        .filter_map(|(index, node)| Some(Reverse((node.best()?, index))))
        .collect();
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count {
        let Some(Reverse((_, index))) = places.pop() else {
            break;
        };
        let Some(node) = nodes.get_mut(index) else {
            break;
        };
        chosen.extend(node.take());
        places.extend(node.best().map(|best| Reverse((best, index))));
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

    /// The same by comparing all shards for each account.
    fn chosen_among_all(count: usize, loads: &[ShardLoad]) -> Vec<ShardId> {
        let mut loads = loads.to_vec();
        let mut chosen = Vec::new();
        for _ in 0..count {
            let rank = |load: &ShardLoad| {
                let of_node = loads.iter().filter(|other| other.node == load.node);
                let accounts: u64 = of_node.map(|other| other.accounts).sum();
                (load.accounts, accounts * SCALE / u64::from(load.weight), load.id)
            };
            let first = (0..loads.len()).min_by_key(|index| rank(&loads[*index])).unwrap();
            loads[first].accounts += 1;
            chosen.push(loads[first].id);
        }
        chosen
    }

    proptest! {
        #[test]
        fn the_best_of_all_is_chosen(
            before in prop::collection::vec(0u64..6, 1..24),
            weights in prop::collection::vec(1u32..300, 5),
            count in 0usize..60,
        ) {
            let loads: Vec<_> = before
                .iter()
                .enumerate()
                .map(|(id, accounts)| {
                    let node = id as u32 % 5;
                    ShardLoad { weight: weights[node as usize], ..load(id as u32, node, *accounts) }
                })
                .collect();
            prop_assert_eq!(choose(count, &loads), chosen_among_all(count, &loads));
        }

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
