//! Small random clusters beside the best of all placements, found by trying each.

use proptest::prelude::*;

use super::{node, shard};
use crate::rebalance::layout::Layout;
use crate::rebalance::steps::{Membership, STEPS};
use crate::rebalance::{Condition, Plan, State, plan};

/// Numbers that look random (SplitMix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A cluster of up to five nodes and eight shards, in any disorder.
fn cluster(seed: u64) -> State {
    let mut draw = Draw(seed);
    let replicas = 1 + draw.below(3) as usize;
    let nodes = replicas + 1 + draw.below(if replicas == 2 { 3 } else { 2 }) as usize;
    let shards = match replicas {
        1 => 3 + draw.below(6),
        2 => 2 + draw.below(4),
        _ => 2 + draw.below(3),
    };
    let letters = ["a", "b", "c", "d", "e"];
    let zoned = draw.below(2) == 0;
    let mut state = State {
        version: 1,
        replicas: replicas as u32,
        ..State::default()
    };
    for letter in &letters[..nodes] {
        let zone = if zoned {
            ["x", "y", "z"][draw.below(3) as usize]
        } else {
            ""
        };
        let mut node = node(letter, zone);
        node.weight = [100, 100, 100, 200][draw.below(4) as usize];
        node.condition = match draw.below(10) {
            0 => Condition::Draining,
            1 => Condition::Sick,
            2 => Condition::Gone,
            _ => Condition::Active,
        };
        state.nodes.push(node);
    }
    for id in 0..shards as u32 {
        let mut free: Vec<&str> = letters[..nodes].to_vec();
        let on: String = (0..replicas)
            .map(|_| free.swap_remove(draw.below(free.len() as u64) as usize))
            .collect();
        let mut shard = shard(id, &on);
        shard.bytes = [10, 10, 10, 11, 20][draw.below(5) as usize];
        shard.accounts = 1 + draw.below(2);
        state.shards.push(shard);
    }
    state
}

/// A placement: for each shard the nodes, as bits.
struct Placements<'a> {
    layout: &'a Layout<'a>,
    /// For each shard the sets of nodes that it may be on, with the fewest replicas in a zone together.
    choices: Vec<Vec<u32>>,
}

impl<'a> Placements<'a> {
    fn of(layout: &'a Layout<'a>) -> Self {
        let choices = layout.shards.iter().map(|shard| {
            if shard.frozen {
                return vec![
                    shard
                        .slots
                        .iter()
                        .filter_map(|slot| slot.before)
                        .map(|(_, node)| 1 << node)
                        .sum(),
                ];
            }
            let usable = |set: &u32| {
                (0..layout.nodes.len()).all(|node| set >> node & 1 == 0 || layout.nodes[node].usable)
            };
            let sets =
                (0u32..1 << layout.nodes.len()).filter(|set| set.count_ones() as usize == layout.wanted);
            let sets: Vec<u32> = sets.filter(usable).collect();
            let least = sets.iter().map(|set| together(layout, *set)).min();
            sets.into_iter()
                .filter(|set| Some(together(layout, *set)) == least)
                .collect()
        });
        Self {
            layout,
            choices: choices.collect(),
        }
    }

    /// The fewest bytes that lead to a placement in which all nodes are within their bands. `None`: there is none.
    fn least_bytes(&self) -> Option<u64> {
        let mut holds = vec![0u64; self.layout.nodes.len()];
        self.search(0, &mut holds, 0, None)
    }

    fn search(&self, index: usize, holds: &mut [u64], bytes: u64, best: Option<u64>) -> Option<u64> {
        if best.is_some_and(|best| bytes >= best) {
            return best;
        }
        let Some(shard) = self.layout.shards.get(index) else {
            let mut nodes = self
                .layout
                .nodes
                .iter()
                .zip(&*holds)
                .filter(|(node, _)| node.usable);
            return if nodes.all(|(node, hold)| (node.floor..=node.ceiling).contains(hold)) {
                Some(bytes)
            } else {
                best
            };
        };
        let before: u32 = shard
            .slots
            .iter()
            .filter_map(|slot| slot.before)
            .map(|(_, node)| 1 << node)
            .sum();
        let mut best = best;
        for set in &self.choices[index] {
            let moved = u64::from((set & !before).count_ones());
            let on = |node: &usize| set >> node & 1 == 1;
            (0..holds.len())
                .filter(on)
                .for_each(|node| holds[node] += shard.hold);
            best = self.search(index + 1, holds, bytes + moved * shard.given.bytes, best);
            (0..holds.len())
                .filter(on)
                .for_each(|node| holds[node] -= shard.hold);
        }
        best
    }
}

/// How many pairs of a set's nodes are in one zone.
fn together(layout: &Layout<'_>, set: u32) -> usize {
    let nodes: Vec<usize> = (0..layout.nodes.len())
        .filter(|node| set >> node & 1 == 1)
        .collect();
    let pairs = nodes
        .iter()
        .enumerate()
        .flat_map(|(index, one)| nodes[index + 1..].iter().map(move |other| (one, other)));
    pairs
        .filter(|(one, other)| layout.nodes[**one].zone == layout.nodes[**other].zone)
        .count()
}

/// Carries the plan out on paper; gives each shard's nodes as bits.
fn carried_out(state: &State, plan: &Plan) -> Vec<u32> {
    let index = |id: &str| state.nodes.iter().position(|node| node.id == id).unwrap();
    let answers = |node: &usize| state.nodes[*node].condition != Condition::Gone;
    let mut members: Vec<Membership<usize>> = state
        .shards
        .iter()
        .map(|shard| {
            Membership::new(
                shard
                    .replicas
                    .iter()
                    .map(|replica| index(&replica.node))
                    .collect(),
                None,
            )
        })
        .collect();
    for transfer in &plan.transfers {
        let group = &mut members[transfer.shard.0 as usize];
        let from = transfer.from.as_ref().map(|from| index(&from.node));
        for step in STEPS {
            group.take(step, from, index(&transfer.to), answers).unwrap();
            assert!(group.has_majority(answers));
        }
    }
    members
        .iter()
        .map(|group| group.voters.iter().map(|node| 1 << node).sum())
        .collect()
}

/// What was moved, and the least; with whether the plan came into the bands.
struct Outcome {
    moved: u64,
    least: Option<u64>,
    within: bool,
}

fn compare(seed: u64) -> Outcome {
    let state = cluster(seed);
    let plan = plan(&state);
    let layout = Layout::new(&state);
    let placements = Placements::of(&layout);
    let after = carried_out(&state, &plan);
    let mut within = true;
    for (index, node) in layout.nodes.iter().enumerate().filter(|(_, node)| node.usable) {
        let on = layout
            .shards
            .iter()
            .zip(&after)
            .filter(|(_, set)| **set >> index & 1 == 1);
        let hold: u64 = on.map(|(shard, _)| shard.hold).sum();
        within &= (node.floor..=node.ceiling).contains(&hold);
    }
    for ((shard, set), choices) in layout.shards.iter().zip(&after).zip(&placements.choices) {
        // Safe as can be, whenever any placement of this shard is.
        assert!(
            choices.is_empty() || choices.contains(set),
            "seed {seed}, shard {}: {plan:#?}",
            shard.id
        );
    }
    let possible = placements.choices.iter().all(|choices| !choices.is_empty());
    let least = if possible { placements.least_bytes() } else { None };
    if let Some(least) = least {
        assert!(
            plan.bytes_least <= least || !within,
            "seed {seed}: the bound {} is above {least}",
            plan.bytes_least
        );
        assert!(!within || plan.bytes >= least, "seed {seed}");
    }
    Outcome {
        moved: plan.bytes,
        least,
        within,
    }
}

proptest! {
    #[test]
    fn every_plan_is_safe_and_no_bound_is_too_high(seed in any::<u64>()) {
        compare(seed);
    }
}

#[test]
fn little_more_than_the_least_is_moved() {
    let (mut moved, mut least, mut comparable, mut missed) = (0, 0, 0u32, 0u32);
    for seed in 0..1_500 {
        let outcome = compare(seed);
        let Some(bytes) = outcome.least else { continue };
        comparable += 1;
        if outcome.within {
            moved += outcome.moved;
            least += bytes;
        } else {
            missed += 1;
        }
    }
    println!("{comparable} can be even, {missed} are not; {moved} bytes moved, {least} needed");
    assert!(comparable > 100, "{comparable}");
    // With so few replicas that differ so much, some are even only after exchanges, which the planner does not make.
    assert!(
        missed * 8 <= comparable,
        "{missed} of {comparable} clusters could be even and are not"
    );
    assert!(
        moved as f64 <= least as f64 * 1.1,
        "{moved} bytes moved, {least} needed"
    );
}
