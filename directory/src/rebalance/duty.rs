//! Replicas that have to go whatever they weigh: off nodes that may not have them, off full disks, out of zones that have a shard
//! twice; and replicas that a shard lacks.

use super::layout::{Layout, Slot};
use super::plan::{Problem, Why};
use super::receivers::{Level, Receivers};
use super::state::Condition;

/// Moves what has to go, most urgent first, and says what cannot.
pub(super) fn plan(layout: &mut Layout<'_>, receivers: &mut Receivers) {
    empty_nodes(layout, receivers);
    relieve_full_nodes(layout, receivers);
    part_in_zones(layout, receivers);
}

/// How urgent a reason is: transfers that restore a lost replica come first, for until then a shard has none to spare.
fn urgency(why: &Why) -> u8 {
    match why {
        Why::NodeGone | Why::NodeUnknown | Why::SameNode | Why::Missing => 0,
        Why::NodeSick => 1,
        _ => 2,
    }
}

fn empty_nodes(layout: &mut Layout<'_>, receivers: &mut Receivers) {
    let mut due: Vec<(u8, std::cmp::Reverse<u64>, usize, usize, Why)> = Vec::new();
    let wanted = layout.wanted;
    for index in 0..layout.shards.len() {
        if layout.shards[index].frozen {
            continue;
        }
        while layout.shards[index].slots.len() < wanted {
            layout.shards[index].slots.push(Slot {
                before: None,
                node: None,
                moved: false,
            });
        }
        let shard = &layout.shards[index];
        for (slot, held) in shard.slots.iter().enumerate() {
            if let Some(why) = why_to_go(layout, index, slot, held.node) {
                due.push((urgency(&why), std::cmp::Reverse(shard.hold), index, slot, why));
            }
        }
    }
    // The largest first: what is small fits in afterwards.
    due.sort_unstable_by_key(|(urgency, hold, shard, slot, _)| (*urgency, *hold, *shard, *slot));
    for (.., shard, slot, why) in due {
        place(layout, receivers, shard, slot, wanted, &why, true);
    }
}

fn why_to_go(layout: &Layout<'_>, shard: usize, slot: usize, node: Option<usize>) -> Option<Why> {
    let Some(index) = node else {
        return Some(Why::Missing);
    };
    let node = &layout.nodes[index];
    if !node.known {
        return Some(Why::NodeUnknown);
    }
    let slots = &layout.shards[shard].slots;
    if node.condition == Condition::Gone {
        return Some(Why::NodeGone);
    }
    if slots.iter().take(slot).any(|other| other.node == Some(index)) {
        return Some(Why::SameNode);
    }
    match node.condition {
        Condition::Sick => Some(Why::NodeSick),
        Condition::Draining => Some(Why::NodeDraining),
        _ if node.to_be_emptied() => Some(Why::NodeTakesNone),
        _ => None,
    }
}

fn relieve_full_nodes(layout: &mut Layout<'_>, receivers: &mut Receivers) {
    let is_full = |layout: &Layout<'_>, node: usize| {
        let node = &layout.nodes[node];
        node.usable && node.bytes_max.is_some_and(|bytes_max| node.bytes > bytes_max)
    };
    let full: Vec<usize> = (0..layout.nodes.len())
        .filter(|node| is_full(layout, *node))
        .collect();
    for node in full {
        let mut held = held_by(layout, node);
        held.sort_unstable_by_key(|(shard, slot)| (layout.shards[*shard].given.bytes, *shard, *slot));
        while is_full(layout, node) && !held.is_empty() {
            let excess = layout.nodes[node].bytes - layout.nodes[node].bytes_max.unwrap_or(u64::MAX);
            // The smallest that is enough by itself, otherwise the largest.
            let enough = held.partition_point(|(shard, _)| layout.shards[*shard].given.bytes < excess);
            let (shard, slot) = held.remove(enough.min(held.len() - 1));
            let own_zone = layout.count_in_zone(shard, layout.nodes[node].zone, slot);
            place(layout, receivers, shard, slot, own_zone, &Why::NodeFull, false);
        }
        if is_full(layout, node) {
            layout.problems.push(Problem::StaysFull {
                node: layout.nodes[node].id.to_owned(),
            });
        }
    }
}

/// Replicas on a node that may be moved, and have not been.
fn held_by(layout: &Layout<'_>, node: usize) -> Vec<(usize, usize)> {
    let mut held = Vec::new();
    for (index, shard) in layout.shards.iter().enumerate() {
        for (slot, replica) in shard.slots.iter().enumerate() {
            if !shard.frozen && !replica.moved && replica.node == Some(node) {
                held.push((index, slot));
            }
        }
    }
    held
}

fn part_in_zones(layout: &mut Layout<'_>, receivers: &mut Receivers) {
    for shard in 0..layout.shards.len() {
        if layout.shards[shard].frozen {
            continue;
        }
        for _ in 0..layout.shards[shard].slots.len() {
            let Some((slot, zone, others)) = most_crowded(layout, shard) else {
                break;
            };
            let why = Why::SameZone {
                zone: layout.zones[zone].clone(),
            };
            if !place(layout, receivers, shard, slot, others - 1, &why, false) {
                break;
            }
        }
    }
}

/// Of the zones that have the shard more than once, while another could have it less often than one of them: a replica to move
/// out of the fullest one, that zone, and the other replicas there.
fn most_crowded(layout: &Layout<'_>, shard: usize) -> Option<(usize, usize, usize)> {
    let slots = &layout.shards[shard].slots;
    let mut crowded: Option<(usize, u64, usize, usize)> = None;
    for (slot, replica) in slots.iter().enumerate() {
        let Some(index) = replica.node else { continue };
        let node = &layout.nodes[index];
        let others = layout.count_in_zone(shard, node.zone, slot);
        if others == 0 || replica.moved || !node.usable {
            continue;
        }
        let elsewhere = (0..layout.zones.len())
            .any(|zone| layout.zone_usable[zone] > 0 && layout.count_in_zone(shard, zone, slot) < others);
        let part = node.part(node.hold);
        if elsewhere && crowded.is_none_or(|(other, most, ..)| (other, most) < (others, part)) {
            crowded = Some((others, part, slot, node.zone));
        }
    }
    crowded.map(|(others, _, slot, zone)| (slot, zone, others))
}

/// Moves a replica to where its shard has the fewest others in the zone, `zone_others_max` at most: to a node with room as the ring
/// has it; failing that, to the one that it overloads least. Says when nothing can take it, if `must`.
fn place(
    layout: &mut Layout<'_>,
    receivers: &mut Receivers,
    shard: usize,
    slot: usize,
    zone_others_max: usize,
    why: &Why,
    must: bool,
) -> bool {
    for others in 0..=zone_others_max {
        let occupied = occupied_zones(layout, shard, slot);
        let zone_may = |zone: usize| occupied.iter().filter(|other| **other == zone).count() == others;
        if !(0..layout.zones.len()).any(|zone| layout.zone_usable[zone] > 0 && zone_may(zone)) {
            continue;
        }
        let in_band = Level::ALL
            .into_iter()
            .find_map(|level| receivers.find(layout, level, shard, |_| true, zone_may));
        let hold = layout.shards[shard].hold;
        let found = in_band.or_else(|| {
            (0..layout.nodes.len())
                .filter(|node| zone_may(layout.nodes[*node].zone) && layout.can_take(shard, *node))
                .min_by_key(|node| {
                    let node = &layout.nodes[*node];
                    node.part(node.hold + hold)
                })
        });
        if let Some(node) = found {
            layout.assign(shard, slot, node, why.clone());
            return true;
        }
    }
    if must {
        let node = layout.shards[shard].slots[slot].node;
        layout.problems.push(Problem::NoPlace {
            shard: layout.shards[shard].id,
            node: node.map(|node| layout.nodes[node].id.to_owned()),
            why: why.clone(),
        });
    }
    false
}

/// The zones of a shard's replicas, one of them left out; a zone as often as it has one.
pub(super) fn occupied_zones(layout: &Layout<'_>, shard: usize, but: usize) -> Vec<usize> {
    let others = layout.shards[shard]
        .slots
        .iter()
        .enumerate()
        .filter(|(slot, _)| *slot != but);
    others
        .filter_map(|(_, slot)| slot.node)
        .map(|node| layout.nodes[node].zone)
        .collect()
}
