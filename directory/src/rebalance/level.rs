//! Evens out what nodes hold: from those above their band, then to those below theirs, with as few bytes as possible.
//!
//! Replicas are taken in the order of what they weigh for their bytes, so that the fewest bytes bring the most; the last one from a node,
//! or to it, is the one with the fewest bytes that is enough.

mod settle;

use super::duty::occupied_zones;
use super::layout::Layout;
use super::plan::{Problem, Why};
use super::receivers::{Level, Receivers};

/// Moves replicas until all nodes are within their bands, or nothing helps; says which nodes are not.
pub(super) fn plan(layout: &mut Layout<'_>, receivers: &mut Receivers) {
    if !is_even(layout) {
        let orders = Orders::new(layout);
        receivers.refill(layout);
        relieve(layout, receivers, &orders);
        receivers.refill(layout);
        supply(layout, receivers, &orders);
        // Those that gave have room for what had nowhere to go.
        receivers.refill(layout);
        relieve(layout, receivers, &orders);
        settle::plan(layout);
    }
    report(layout);
}

fn is_even(layout: &Layout<'_>) -> bool {
    let mut usable = layout.nodes.iter().filter(|node| node.usable);
    usable.all(|node| (node.floor..=node.ceiling).contains(&node.hold))
}

/// Indices of shards in two orders.
struct Orders {
    /// What weighs the most for its bytes first.
    by_density: Vec<usize>,
    /// What has the fewest bytes first.
    by_bytes: Vec<usize>,
}

impl Orders {
    fn new(layout: &Layout<'_>) -> Self {
        let movable = || {
            let shards = layout.shards.iter().enumerate();
            shards.filter(|(_, shard)| !shard.frozen).map(|(index, _)| index)
        };
        let mut by_density: Vec<usize> = movable().collect();
        by_density.sort_by_cached_key(|index| {
            let shard = &layout.shards[*index];
            std::cmp::Reverse(density(shard.hold, shard.given.bytes))
        });
        let mut by_bytes: Vec<usize> = movable().collect();
        by_bytes.sort_by_key(|index| layout.shards[*index].given.bytes);
        Self { by_density, by_bytes }
    }
}

/// What a shard weighs for its bytes.
pub(super) fn density(hold: u64, bytes: u64) -> u128 {
    (u128::from(hold) << 64) / u128::from(bytes.max(1))
}

/// Which replicas of a pass may be moved, by what they weigh against what is too much, or lacking.
#[derive(Clone, Copy)]
enum Fit {
    /// No more than that, of shards of which a replica stays that the plan does not move: so no shard comes to lie on new nodes alone,
    /// which would have to lead it, too.
    Anchored,
    /// No more than that.
    Within,
    /// At least that: one is enough.
    Enough,
    /// Any.
    Any,
}

/// The passes over all replicas, and the order of each.
fn passes(orders: &Orders) -> [(&[usize], Fit); 4] {
    [
        (&orders.by_density, Fit::Anchored),
        (&orders.by_density, Fit::Within),
        (&orders.by_bytes, Fit::Enough),
        (&orders.by_density, Fit::Any),
    ]
}

impl Fit {
    fn fits(self, hold: u64, need: u64) -> bool {
        need > 0
            && match self {
                Fit::Anchored | Fit::Within => hold <= need,
                Fit::Enough => hold >= need,
                Fit::Any => true,
            }
    }
}

/// From nodes above their band.
fn relieve(layout: &mut Layout<'_>, receivers: &mut Receivers, orders: &Orders) {
    let excess = |layout: &Layout<'_>, node: usize| {
        let node = &layout.nodes[node];
        if node.usable {
            node.hold.saturating_sub(node.ceiling)
        } else {
            0
        }
    };
    let mut overloaded = (0..layout.nodes.len())
        .filter(|node| excess(layout, *node) > 0)
        .count();
    for (order, fit) in passes(orders) {
        for &shard in order {
            if overloaded == 0 {
                return;
            }
            for slot in 0..layout.shards[shard].slots.len() {
                let Some(giver) = giver(layout, shard, slot, fit) else {
                    continue;
                };
                if !fit.fits(layout.shards[shard].hold, excess(layout, giver)) {
                    continue;
                }
                let zones = Zones::of(layout, shard, slot, giver);
                let found = Level::ALL
                    .into_iter()
                    .find_map(|level| receivers.find(layout, level, shard, |_| true, |zone| zones.may(zone)));
                let Some(to) = found else { continue };
                let percent = layout.nodes[giver].percent_before;
                layout.assign(shard, slot, to, Why::Overloaded { percent });
                overloaded -= usize::from(excess(layout, giver) == 0);
            }
        }
    }
}

/// To nodes below their band, from those that have at least their share; what is then still lacking, from those that stay within
/// their bands.
fn supply(layout: &mut Layout<'_>, receivers: &mut Receivers, orders: &Orders) {
    for (order, fit) in passes(orders) {
        receivers.narrow_floor(layout, matches!(fit, Fit::Anchored | Fit::Within));
        for &shard in order {
            if !receivers.is_open(Level::Floor) {
                break;
            }
            let hold = layout.shards[shard].hold;
            for slot in 0..layout.shards[shard].slots.len() {
                let Some(giver) = giver(layout, shard, slot, fit) else {
                    continue;
                };
                let from = &layout.nodes[giver];
                let may_fall_below_fair = matches!(fit, Fit::Enough | Fit::Any);
                if !may_fall_below_fair && from.hold < from.fair || from.hold - hold < from.floor {
                    continue;
                }
                let zones = Zones::of(layout, shard, slot, giver);
                let fits = |node: usize| {
                    let node = &layout.nodes[node];
                    fit.fits(hold, node.floor.saturating_sub(node.hold))
                };
                let found = receivers.find(layout, Level::Floor, shard, fits, |zone| zones.may(zone));
                let Some(to) = found else { continue };
                let percent = layout.nodes[to].percent_before;
                layout.assign(shard, slot, to, Why::Underloaded { percent });
            }
        }
    }
}

/// The node that would give a replica away; `None` when it may not be moved.
fn giver(layout: &Layout<'_>, shard: usize, slot: usize, fit: Fit) -> Option<usize> {
    let slots = &layout.shards[shard].slots;
    let stay = slots.iter().filter(|slot| !slot.moved).count();
    if matches!(fit, Fit::Anchored) && stay < 2 && slots.len() > 1 {
        return None;
    }
    let slot = &slots[slot];
    slot.node.filter(|node| !slot.moved && layout.nodes[*node].usable)
}

/// Zones that may take a replica: those in which its shard has no more others than in its own.
struct Zones {
    occupied: Vec<usize>,
    others_max: usize,
}

impl Zones {
    fn of(layout: &Layout<'_>, shard: usize, slot: usize, node: usize) -> Self {
        let occupied = occupied_zones(layout, shard, slot);
        let own = layout.nodes[node].zone;
        let others_max = occupied.iter().filter(|zone| **zone == own).count();
        Self { occupied, others_max }
    }

    fn may(&self, zone: usize) -> bool {
        self.occupied.iter().filter(|other| **other == zone).count() <= self.others_max
    }
}

fn report(layout: &mut Layout<'_>) {
    for node in &layout.nodes {
        let percent = node.part(node.hold) / (super::table::PPM / 100);
        let node_id = node.id.to_owned();
        if node.usable && node.hold > node.ceiling {
            layout.problems.push(Problem::StaysOverloaded {
                node: node_id,
                percent,
            });
        } else if node.usable && node.hold < node.floor {
            layout.problems.push(Problem::StaysUnderloaded {
                node: node_id,
                percent,
            });
        }
    }
}
