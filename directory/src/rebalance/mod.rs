//! What is to move so that shards are safe and nodes evenly loaded: from the state of things to a plan, which explains itself.
//!
//! A pure function: the same [`State`] gives the same [`Plan`]. In this order it sees to it that
//!
//! 1. replicas are where they may be: on active nodes that are not full, those of a shard in different zones (`duty`);
//! 2. nodes hold what is fair by their weights, give or take 5 % (`level`), and lead so that the whole is even (`lead`);
//! 3. few bytes move: what may stay stays, and what is moved weighs much for its bytes (`least` says what is the least);
//! 4. plans are stable: where a replica goes is read from the hash ring, with bounded loads (`receivers`).
//!
//! Nothing here moves anything. [`steps`] says how a transfer is carried out and that no majority is lost by it, [`stored`] how a plan is
//! kept. Bad input is met by a [`Problem`] in the plan, never by a panic.

pub(crate) mod automatic;
mod duty;
pub mod execute;
mod fair;
mod layout;
mod lead;
mod least;
mod level;
mod load;
mod plan;
mod receivers;
mod state;
pub mod steps;
pub mod stored;
mod table;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use plan::{Lead, Place, Plan, Problem, Transfer, Why, WhyLead};
pub use state::{Condition, Node, Rates, Replica, Shard, Shares, State};
pub use table::{Balance, PPM, Row, Table};
pub use text::text;

use layout::Layout;
use lead::Led;
use receivers::Receivers;

/// The most replicas that a shard may have.
pub const REPLICAS_MAX: u32 = 7;

/// Makes the plan.
pub fn plan(state: &State) -> Plan {
    let mut layout = Layout::new(state);
    let holds_before: Vec<u64> = layout.nodes.iter().map(|node| node.hold).collect();
    let led = if !(1..=REPLICAS_MAX).contains(&state.replicas) {
        layout.problems.push(Problem::ReplicasInvalid {
            replicas: state.replicas,
        });
        lead::unchanged(&layout)
    } else if layout.nodes.iter().all(|node| !node.usable) {
        layout.problems.push(Problem::NoNodes);
        lead::unchanged(&layout)
    } else {
        say_what_is_few(&mut layout, state.replicas);
        let mut receivers = Receivers::new(&layout);
        duty::plan(&mut layout, &mut receivers);
        level::plan(&mut layout, &mut receivers);
        say_what_shares_zones(&mut layout);
        lead::plan(&layout)
    };
    let (before, after) = table::tables(&layout, &led);
    let (transfers, generations) = transfers(&layout);
    let leads = leads(&layout, &led, &generations);
    let sum: u128 = transfers.iter().map(|transfer| u128::from(transfer.bytes)).sum();
    let bytes = u64::try_from(sum).unwrap_or(u64::MAX);
    let bytes_least = least::bytes(&layout, &holds_before);
    let eta_seconds = eta(&layout, &led, &state.rates);
    let mut problems = layout.problems;
    problems.sort();
    Plan {
        state_version: state.version,
        transfers,
        leads,
        problems,
        bytes,
        bytes_least: bytes_least.min(bytes),
        eta_seconds,
        before,
        after,
    }
}

fn say_what_is_few(layout: &mut Layout<'_>, replicas: u32) {
    let nodes = layout.nodes.iter().filter(|node| node.usable).count();
    let zones = layout.usable_zones();
    if nodes < replicas as usize {
        layout.problems.push(Problem::FewNodes {
            nodes: nodes as u64,
            replicas,
        });
    } else if zones < replicas as usize {
        layout.problems.push(Problem::FewZones {
            zones: zones as u64,
            replicas,
        });
    }
}

/// Names the shards that share a zone though another zone has nodes; when zones are few, that is said once.
fn say_what_shares_zones(layout: &mut Layout<'_>) {
    let mut shared = Vec::new();
    for (index, shard) in layout.shards.iter().enumerate() {
        if shard.frozen {
            continue;
        }
        for (slot, replica) in shard.slots.iter().enumerate() {
            let Some(node) = replica.node else { continue };
            let zone = layout.nodes[node].zone;
            let others = layout.count_in_zone(index, zone, slot);
            let avoidable = others > 0
                && (0..layout.zones.len()).any(|zone| {
                    layout.zone_usable[zone] > 0 && layout.count_in_zone(index, zone, slot) < others
                });
            if avoidable {
                shared.push(Problem::SharedZone {
                    shard: shard.id,
                    zone: layout.zones[zone].clone(),
                });
                break;
            }
        }
    }
    layout.problems.extend(shared);
}

/// The transfers, and the generation of each shard that has some after them.
fn transfers(layout: &Layout<'_>) -> (Vec<Transfer>, BTreeMap<usize, u64>) {
    let mut generations: BTreeMap<usize, u64> = BTreeMap::new();
    let mut transfers = Vec::with_capacity(layout.moves.len());
    for planned in &layout.moves {
        let shard = &layout.shards[planned.shard];
        let generation = generations.entry(planned.shard).or_insert(shard.given.generation);
        let from = shard.slots[planned.slot].before.map(|(replica, node)| Place {
            replica,
            node: layout.nodes[node].id.to_owned(),
        });
        transfers.push(Transfer {
            shard: shard.id,
            generation: *generation,
            from,
            to: layout.nodes[planned.to].id.to_owned(),
            bytes: shard.given.bytes,
            why: planned.why.clone(),
        });
        *generation = generation.saturating_add(1);
    }
    (transfers, generations)
}

fn leads(layout: &Layout<'_>, led: &[Led], generations: &BTreeMap<usize, u64>) -> Vec<Lead> {
    let changed = led.iter().zip(&layout.shards).enumerate();
    changed
        .filter_map(|(index, (led, shard))| {
            let to = led.after?;
            let why = if led.before != led.after {
                led.why
            } else if shard.slots.first()?.moved && shard.named_first() != led.after {
                WhyLead::Stays
            } else {
                return None;
            };
            Some(Lead {
                shard: shard.id,
                generation: generations.get(&index).copied().unwrap_or(shard.given.generation),
                from: led.before.map(|node| layout.nodes[node].id.to_owned()),
                to: layout.nodes[to].id.to_owned(),
                why,
            })
        })
        .collect()
}

/// The seconds that the busiest node needs, or all together, whichever is more. A shard's leader sends what a new replica gets.
fn eta(layout: &Layout<'_>, led: &[Led], rates: &Rates) -> Option<u64> {
    let mut sent = vec![0u128; layout.nodes.len()];
    let mut received = vec![0u128; layout.nodes.len()];
    let mut all = 0u128;
    for planned in &layout.moves {
        let bytes = u128::from(layout.shards[planned.shard].given.bytes);
        if let Some(leader) = led[planned.shard].before {
            sent[leader] += bytes;
        }
        received[planned.to] += bytes;
        all += bytes;
    }
    let busiest = sent.into_iter().chain(received).max().unwrap_or(0);
    let seconds = |bytes: u128, rate: u64| (rate > 0).then(|| bytes.div_ceil(u128::from(rate)));
    let node = seconds(busiest, rates.node_bytes_per_second);
    let together = seconds(all, rates.all_bytes_per_second);
    let slower = node.into_iter().chain(together).max()?;
    Some(u64::try_from(slower).unwrap_or(u64::MAX))
}
