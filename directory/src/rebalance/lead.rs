//! Which replica of each shard is to lead. Who leads stays, unless it goes or its node is outside of its band with all that it holds
//! and leads; a lead costs no bytes to move, so it evens out what the replicas leave uneven.

mod chain;

use super::layout::{Layout, part, percent_of};
use super::plan::WhyLead;

/// A change of who leads has to bring the fuller node nearer to its share by so much, in millionths of it, when neither comes into
/// its band by it.
const GAIN_MIN: u64 = 10_000;

/// What a node holds and leads, and what it should.
#[derive(Debug, Clone, Copy)]
struct Burden {
    load: u64,
    fair: u64,
    ceiling: u64,
    floor: u64,
    usable: bool,
}

impl Burden {
    fn part(&self, load: u64) -> u64 {
        part(load, self.fair)
    }

    fn excess(&self) -> u64 {
        if self.usable {
            self.load.saturating_sub(self.ceiling)
        } else {
            0
        }
    }

    fn lack(&self) -> u64 {
        if self.usable {
            self.floor.saturating_sub(self.load)
        } else {
            0
        }
    }
}

/// Who leads a shard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Led {
    /// Who leads, or counts as leading, before the plan.
    pub(super) before: Option<usize>,
    /// Who is to lead.
    pub(super) after: Option<usize>,
    /// Why it is another.
    pub(super) why: WhyLead,
}

/// What every node's leads are to weigh, when they are shared out as what it holds is.
pub(super) fn fair_totals(layout: &Layout<'_>) -> Vec<u64> {
    let holds: u128 = layout.nodes.iter().map(|node| u128::from(node.fair)).sum();
    let leads: u128 = layout.shards.iter().map(|shard| u128::from(shard.lead)).sum();
    let total = |fair: u64| {
        let lead = u128::from(fair) * leads / holds.max(1);
        u64::try_from(u128::from(fair) + lead).unwrap_or(u64::MAX)
    };
    layout.nodes.iter().map(|node| total(node.fair)).collect()
}

/// Who leads each shard before and after the plan, in the order of the shards.
pub(super) fn plan(layout: &Layout<'_>) -> Vec<Led> {
    let mut burdens: Vec<Burden> = layout
        .nodes
        .iter()
        .zip(fair_totals(layout))
        .map(|(node, fair)| Burden {
            load: node.hold,
            fair,
            ceiling: percent_of(fair, 105),
            floor: percent_of(fair, 95),
            usable: node.usable,
        })
        .collect();
    let mut led: Vec<Led> = (0..layout.shards.len())
        .map(|shard| as_now(layout, shard))
        .collect();
    for (shard, led) in layout.shards.iter().zip(&led) {
        if let Some(node) = led.after {
            burdens[node].load += shard.lead;
        }
    }
    let mut by_lead: Vec<usize> = (0..layout.shards.len()).collect();
    by_lead.sort_by_key(|shard| std::cmp::Reverse(layout.shards[*shard].lead));
    appoint(layout, &mut burdens, &mut led, &by_lead);
    let rising: Vec<usize> = by_lead.iter().rev().copied().collect();
    relieve(layout, &mut burdens, &mut led, &by_lead, Pass::Within);
    relieve(layout, &mut burdens, &mut led, &rising, Pass::Enough);
    supply(layout, &mut burdens, &mut led, &by_lead);
    chain::even_out(layout, &mut burdens, &mut led);
    relieve(layout, &mut burdens, &mut led, &by_lead, Pass::Nearer);
    led
}

/// Who leads each shard, when nothing is planned.
pub(super) fn unchanged(layout: &Layout<'_>) -> Vec<Led> {
    let led = (0..layout.shards.len()).map(|shard| as_now(layout, shard));
    led.map(|led| Led {
        after: led.before,
        ..led
    })
    .collect()
}

/// Who leads now, and stays if it may.
fn as_now(layout: &Layout<'_>, shard: usize) -> Led {
    let shard = &layout.shards[shard];
    let befores = || {
        shard
            .slots
            .iter()
            .filter_map(|slot| slot.before.map(|(_, node)| node))
    };
    let named = match &shard.given.leader {
        Some(leader) => befores().find(|node| layout.nodes[*node].id == leader),
        None => befores().next(),
    };
    let before = named.filter(|node| layout.nodes[*node].answers());
    let stays = |node: &usize| {
        shard.frozen
            || layout.nodes[*node].usable
                && shard
                    .slots
                    .iter()
                    .any(|slot| !slot.moved && slot.node == Some(*node))
    };
    Led {
        before,
        after: before.filter(stays),
        why: WhyLead::Leaves,
    }
}

/// The nodes of a shard that may lead it.
fn fit(layout: &Layout<'_>, shard: usize) -> impl Iterator<Item = usize> {
    let nodes = layout.shards[shard].slots.iter().filter_map(|slot| slot.node);
    nodes.filter(|node| layout.nodes[*node].usable)
}

/// A leader for each shard that has none: on the node with the least for its share; where no node may lead, one that answers.
fn appoint(layout: &Layout<'_>, burdens: &mut [Burden], led: &mut [Led], order: &[usize]) {
    for &shard in order {
        if led[shard].after.is_some() || layout.shards[shard].frozen {
            continue;
        }
        let lead = layout.shards[shard].lead;
        let least = |node: &usize| burdens[*node].part(burdens[*node].load + lead);
        let chosen = fit(layout, shard).min_by_key(least).or_else(|| {
            let slots = &layout.shards[shard].slots;
            let stay = led[shard]
                .before
                .filter(|node| slots.iter().any(|slot| slot.node == Some(*node)));
            stay.or_else(|| {
                slots
                    .iter()
                    .filter_map(|slot| slot.node)
                    .find(|node| layout.nodes[*node].answers())
            })
        });
        if let Some(node) = chosen {
            burdens[node].load += lead;
            led[shard].after = Some(node);
        }
    }
}

/// Which leads are taken from a node above its band.
#[derive(Clone, Copy, PartialEq)]
enum Pass {
    /// Those that are not more than what is too much.
    Within,
    /// One that is enough by itself.
    Enough,
    /// Any that brings the fuller of two nodes nearer to its share.
    Nearer,
}

fn relieve(layout: &Layout<'_>, burdens: &mut [Burden], led: &mut [Led], order: &[usize], pass: Pass) {
    for &shard in order {
        let Some(from) = led[shard].after else { continue };
        let (lead, excess) = (layout.shards[shard].lead, burdens[from].excess());
        let fits = match pass {
            Pass::Within => lead <= excess,
            Pass::Enough => lead >= excess,
            Pass::Nearer => true,
        };
        if excess == 0 || lead == 0 || !fits || layout.shards[shard].frozen {
            continue;
        }
        let before = burdens[from].part(burdens[from].load);
        let after = |node: usize| burdens[node].part(burdens[node].load + lead);
        let may = |node: &usize| match pass {
            Pass::Within | Pass::Enough => burdens[*node].load + lead <= burdens[*node].ceiling,
            Pass::Nearer => after(*node) + GAIN_MIN <= before,
        };
        let target = fit(layout, shard)
            .filter(|node| *node != from)
            .filter(may)
            .min_by_key(|node| after(*node));
        if let Some(to) = target {
            hand_over(burdens, &mut led[shard], from, to, lead, WhyLead::Overloaded);
        }
    }
}

/// Gives leads to nodes below their band, from those that have at least their share.
fn supply(layout: &Layout<'_>, burdens: &mut [Burden], led: &mut [Led], order: &[usize]) {
    for &shard in order {
        let Some(from) = led[shard].after else { continue };
        let lead = layout.shards[shard].lead;
        let giver = burdens[from];
        let can_give = giver.usable && giver.load >= giver.fair && giver.load - lead >= giver.floor;
        if lead == 0 || !can_give || layout.shards[shard].frozen {
            continue;
        }
        let may =
            |node: &usize| burdens[*node].lack() > 0 && burdens[*node].load + lead <= burdens[*node].ceiling;
        let least = |node: &usize| burdens[*node].part(burdens[*node].load);
        if let Some(to) = fit(layout, shard)
            .filter(|node| *node != from)
            .filter(may)
            .min_by_key(least)
        {
            hand_over(burdens, &mut led[shard], from, to, lead, WhyLead::Underloaded);
        }
    }
}

fn hand_over(burdens: &mut [Burden], led: &mut Led, from: usize, to: usize, lead: u64, why: WhyLead) {
    burdens[from].load -= lead;
    burdens[to].load += lead;
    led.after = Some(to);
    // One that had to go has had its reason.
    let had_to_go = led.before.is_none() || led.why == WhyLead::Leaves && led.before != Some(from);
    if !had_to_go {
        led.why = why;
    }
}
