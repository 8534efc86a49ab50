//! What is outside of its band when all passes are over, since shards are few or large: moves one by one, each the one that helps most.
//! What is moved anyway may go elsewhere instead, which costs nothing.

use super::Zones;
use crate::rebalance::layout::Layout;
use crate::rebalance::plan::Why;

/// Looks at so many (replica, node) pairs at most.
const PAIRS_MAX: usize = 4_000_000;

/// A shard, its replica that goes, and the node that it goes to.
type Go = (usize, usize, usize);

/// A node has to come nearer to its share by so much, in millionths of it, for a move that leaves it outside of its band.
const GAIN_MIN: u64 = 10_000;

/// What is outside of its band still, since shards are few or large: the moves that bring it nearest.
pub(super) fn plan(layout: &mut Layout<'_>) {
    let mut stuck = vec![false; layout.nodes.len()];
    let mut pairs = PAIRS_MAX;
    loop {
        let outside = |layout: &Layout<'_>, above: bool| {
            let nodes = layout.nodes.iter().enumerate();
            let nodes = nodes.filter(|(index, node)| {
                let is_outside = if above {
                    node.hold > node.ceiling
                } else {
                    node.hold < node.floor
                };
                node.usable && !stuck[*index] && is_outside
            });
            let parts = nodes.map(|(index, node)| (node.part(node.hold), index));
            if above { parts.max() } else { parts.min() }
        };
        let (node, best, above) = match (outside(layout, true), outside(layout, false)) {
            (Some((_, node)), _) => (node, best_from(layout, node, &mut pairs), true),
            (None, Some((_, node))) => (node, best_to(layout, node, &mut pairs), false),
            (None, None) => return,
        };
        match best {
            Some((shard, slot, to)) if layout.shards[shard].slots[slot].moved => {
                layout.redirect(shard, slot, to)
            }
            Some((shard, slot, to)) => {
                let percent = layout.nodes[node].percent_before;
                let why = if above {
                    Why::Overloaded { percent }
                } else {
                    Why::Underloaded { percent }
                };
                layout.assign(shard, slot, to, why);
            }
            None => stuck[node] = true,
        }
    }
}

/// Of all moves away from a node: the one after which the higher of the two has the least, if it is a gain.
fn best_from(layout: &Layout<'_>, from: usize, pairs: &mut usize) -> Option<Go> {
    let giver = &layout.nodes[from];
    let before = giver.part(giver.hold);
    let mut best: Option<(u64, u64, Go)> = None;
    for (shard, slot) in held_by(layout, from) {
        let (hold, bytes) = (layout.shards[shard].hold, bytes_to_move(layout, shard, slot));
        for (to, node) in layout.nodes.iter().enumerate() {
            *pairs = pairs.checked_sub(1)?;
            let after = node.part(node.hold + hold).max(giver.part(giver.hold - hold));
            let gains = after + GAIN_MIN <= before;
            if gains
                && best.is_none_or(|(least, fewest, _)| (after, bytes) < (least, fewest))
                && layout.can_take(shard, to)
                && may_go(layout, shard, slot, from, to)
            {
                best = Some((after, bytes, (shard, slot, to)));
            }
        }
    }
    best.map(|(.., chosen)| chosen)
}

/// Of all moves to a node: the one after which the lower of the two has the most, if it is a gain and overloads nothing anew.
fn best_to(layout: &Layout<'_>, to: usize, pairs: &mut usize) -> Option<Go> {
    let taker = &layout.nodes[to];
    let before = taker.part(taker.hold);
    let mut best: Option<(u64, std::cmp::Reverse<u64>, Go)> = None;
    for shard in 0..layout.shards.len() {
        if layout.shards[shard].frozen {
            continue;
        }
        let hold = layout.shards[shard].hold;
        for slot in 0..layout.shards[shard].slots.len() {
            *pairs = pairs.checked_sub(1)?;
            let node = layout.shards[shard].slots[slot].node;
            let Some(from) = node.filter(|node| layout.nodes[*node].usable) else {
                continue;
            };
            let bytes = bytes_to_move(layout, shard, slot);
            let node = &layout.nodes[from];
            let after = taker.part(taker.hold + hold).min(node.part(node.hold - hold));
            let harms =
                taker.hold + hold > taker.ceiling && taker.part(taker.hold + hold) > node.part(node.hold);
            let rank = (after, std::cmp::Reverse(bytes));
            if after >= before + GAIN_MIN
                && !harms
                && best.is_none_or(|(most, fewest, _)| rank > (most, fewest))
                && layout.can_take(shard, to)
                && may_go(layout, shard, slot, from, to)
            {
                best = Some((after, std::cmp::Reverse(bytes), (shard, slot, to)));
            }
        }
    }
    best.map(|(.., chosen)| chosen)
}

/// Replicas on a node that may be moved, or may be sent elsewhere.
fn held_by(layout: &Layout<'_>, node: usize) -> Vec<(usize, usize)> {
    let shards = layout
        .shards
        .iter()
        .enumerate()
        .filter(|(_, shard)| !shard.frozen);
    let slots = shards.flat_map(|(index, shard)| {
        let slots = shard
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.node == Some(node));
        slots.map(move |(slot, _)| (index, slot))
    });
    slots.collect()
}

/// Bytes that moving a replica adds to the plan.
fn bytes_to_move(layout: &Layout<'_>, shard: usize, slot: usize) -> u64 {
    let shard = &layout.shards[shard];
    if shard.slots[slot].moved {
        0
    } else {
        shard.given.bytes
    }
}

/// Whether the zones allow it, at each point of the plan. What is moved already went before other moves of its shard, so it may
/// go only to its zone or to one that no other replica of the shard is in, before or after.
fn may_go(layout: &Layout<'_>, shard: usize, slot: usize, from: usize, to: usize) -> bool {
    let zone = layout.nodes[to].zone;
    if !layout.shards[shard].slots[slot].moved {
        return Zones::of(layout, shard, slot, from).may(zone);
    }
    let others = layout.shards[shard]
        .slots
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != slot);
    let mut nodes =
        others.flat_map(|(_, other)| other.node.into_iter().chain(other.before.map(|(_, node)| node)));
    zone == layout.nodes[from].zone || nodes.all(|node| layout.nodes[node].zone != zone)
}
