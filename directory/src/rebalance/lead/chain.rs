//! Leads handed on in chains: a node that is too full gives one to a node that has no room for it, which gives one of its own to a
//! third. It takes up what single changes leave, when all nodes that share shards with one are as full as it is.

use std::collections::VecDeque;

use super::{Burden, Led, WhyLead, fit, hand_over};
use crate::rebalance::layout::Layout;

/// The most chains of a plan.
const CHAINS_MAX: usize = 10_000;

/// The most nodes that are looked at for one chain.
const NODES_MAX: usize = 500;

/// Handing a lead on: the shard, from, to.
type Link = (usize, usize, usize);

/// Which way leads are to flow.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    /// Away from a node that is too full.
    Away,
    /// To a node that is too empty.
    Towards,
}

/// Brings nodes that are outside of their bands nearer to them.
pub(super) fn even_out(layout: &Layout<'_>, burdens: &mut [Burden], led: &mut [Led]) {
    let outside = |burdens: &[Burden]| {
        let nodes = burdens.iter().enumerate();
        let nodes = nodes.filter(|(_, burden)| burden.excess() > 0 || burden.lack() > 0);
        nodes.map(|(node, _)| node).collect::<Vec<usize>>()
    };
    let nodes = outside(burdens);
    if nodes.is_empty() {
        return;
    }
    let mut shards_of: Vec<Vec<usize>> = vec![Vec::new(); layout.nodes.len()];
    for (index, shard) in layout.shards.iter().enumerate() {
        if !shard.frozen && shard.lead > 0 {
            for node in fit(layout, index) {
                shards_of[node].push(index);
            }
        }
    }
    let mut chains = 0;
    for node in nodes {
        let flow = if burdens[node].excess() > 0 {
            Flow::Away
        } else {
            Flow::Towards
        };
        while chains < CHAINS_MAX && (burdens[node].excess() > 0 || burdens[node].lack() > 0) {
            chains += 1;
            let Some(links) = find(layout, burdens, led, &shards_of, node, flow) else {
                break;
            };
            let why = match flow {
                Flow::Away => WhyLead::Overloaded,
                Flow::Towards => WhyLead::Underloaded,
            };
            for (shard, from, to) in links {
                hand_over(burdens, &mut led[shard], from, to, layout.shards[shard].lead, why);
            }
        }
    }
}

/// The shortest chain that brings a node nearer to its band and none out of it. A breadth-first search.
fn find(
    layout: &Layout<'_>,
    burdens: &[Burden],
    led: &[Led],
    shards_of: &[Vec<usize>],
    start: usize,
    flow: Flow,
) -> Option<Vec<Link>> {
    // By node: the link over which it was reached.
    let mut reached: Vec<Option<Link>> = vec![None; burdens.len()];
    let mut queue = VecDeque::from([start]);
    let mut looked_at = 0;
    while let Some(node) = queue.pop_front() {
        looked_at += 1;
        if looked_at > NODES_MAX {
            return None;
        }
        let came = reached[node].map(|(shard, ..)| layout.shards[shard].lead);
        for &shard in &shards_of[node] {
            let Some(leader) = led[shard].after else { continue };
            let lead = layout.shards[shard].lead;
            let others: Vec<usize> = match flow {
                Flow::Away if leader == node => fit(layout, shard).filter(|other| *other != node).collect(),
                Flow::Towards if leader != node && burdens[leader].usable => vec![leader],
                _ => continue,
            };
            // What came with the last link goes on with this one, near enough to keep the node within its band.
            let here = &burdens[node];
            let keeps = match (flow, came) {
                (_, None) => true,
                (Flow::Away, Some(came)) => {
                    here.load + came <= here.ceiling + lead && here.load + came >= here.floor + lead
                }
                (Flow::Towards, Some(went)) => {
                    here.load + lead <= here.ceiling + went && here.load + lead >= here.floor + went
                }
            };
            if !keeps {
                continue;
            }
            for other in others {
                if other == start || reached[other].is_some() {
                    continue;
                }
                reached[other] = Some(match flow {
                    Flow::Away => (shard, node, other),
                    Flow::Towards => (shard, other, node),
                });
                let there = &burdens[other];
                let ends = match flow {
                    Flow::Away => there.load + lead <= there.ceiling,
                    Flow::Towards => there.load >= there.floor + lead,
                };
                if ends {
                    return Some(links(&reached, start, other, flow));
                }
                queue.push_back(other);
            }
        }
    }
    None
}

/// The chain back to where the search began.
fn links(reached: &[Option<Link>], start: usize, end: usize, flow: Flow) -> Vec<Link> {
    let mut links = Vec::new();
    let mut node = end;
    while node != start {
        let Some(link) = reached[node] else { break };
        links.push(link);
        node = match flow {
            Flow::Away => link.1,
            Flow::Towards => link.2,
        };
    }
    links
}
