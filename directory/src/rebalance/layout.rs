//! The cluster while a plan is being made: nodes and shards by index, where each replica is by then, and what is allowed.

use std::collections::{BTreeMap, HashMap};

use super::fair::{self, Sharer};
use super::load::{Loads, weigh};
use super::plan::{Problem, Why, may_have};
use super::state::{self, Condition, State};
use super::{REPLICAS_MAX, table::PPM};
use crate::schema::ShardId;

/// How far above its share a node may be, in percent of it.
const CEILING_PERCENT: u128 = 105;

/// How far below its share a node may be, in percent of it.
const FLOOR_PERCENT: u128 = 95;

/// A node.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) id: &'a str,
    /// Index of its zone.
    pub(super) zone: usize,
    pub(super) weight: u32,
    pub(super) condition: Condition,
    pub(super) bytes_max: Option<u64>,
    /// It is among the nodes that were given.
    pub(super) known: bool,
    /// Its id is that of several: it keeps what it has.
    pub(super) doubled: bool,
    /// It may have replicas.
    pub(super) usable: bool,
    /// What its replicas weigh.
    pub(super) hold: u64,
    /// Bytes of its replicas.
    pub(super) bytes: u64,
    /// Bytes that it can still be given; what it gives away frees nothing before the plan is done.
    pub(super) room: u128,
    /// Its fair share.
    pub(super) fair: u64,
    /// Above this it is overloaded.
    pub(super) ceiling: u64,
    /// Below this it is underloaded.
    pub(super) floor: u64,
    /// What it has of its share before the plan, in percent.
    pub(super) percent_before: u64,
}

impl Node<'_> {
    /// What it would have of its share with another load, in millionths.
    pub(super) fn part(&self, hold: u64) -> u64 {
        part(hold, self.fair)
    }

    /// Its replicas are to go elsewhere.
    pub(super) fn to_be_emptied(&self) -> bool {
        !self.usable && !self.doubled
    }

    /// It answers.
    pub(super) fn answers(&self) -> bool {
        self.known && self.condition != Condition::Gone
    }
}

/// A load as a part of a share, in millionths.
pub(super) fn part(load: u64, share: u64) -> u64 {
    let part = u128::from(load) * u128::from(PPM) / u128::from(share.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// A replica, or the lack of one.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    /// The replica that there was before the plan, and its node.
    pub(super) before: Option<(u64, usize)>,
    /// Where it is by now.
    pub(super) node: Option<usize>,
    /// The plan moves it.
    pub(super) moved: bool,
}

/// A shard.
#[derive(Debug)]
pub(super) struct Shard<'a> {
    pub(super) id: ShardId,
    pub(super) given: &'a state::Shard,
    pub(super) slots: Vec<Slot>,
    /// Nothing of it may be moved.
    pub(super) frozen: bool,
    /// What each replica weighs.
    pub(super) hold: u64,
    /// What its lead weighs.
    pub(super) lead: u64,
}

impl Shard<'_> {
    /// The node that comes first in its placement once its transfers are done, and so leads: a new replica comes last in place of the first.
    pub(super) fn named_first(&self) -> Option<usize> {
        let stays = self.slots.iter().find(|slot| !slot.moved);
        stays.or(self.slots.first()).and_then(|slot| slot.node)
    }
}

/// A replica that the plan moves.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) shard: usize,
    pub(super) slot: usize,
    pub(super) to: usize,
    pub(super) why: Why,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    /// By id.
    pub(super) nodes: Vec<Node<'a>>,
    /// By id.
    pub(super) shards: Vec<Shard<'a>>,
    /// Names of the zones; a node without one is its own.
    pub(super) zones: Vec<String>,
    /// Nodes of each zone that may have replicas.
    pub(super) zone_usable: Vec<usize>,
    /// Replicas that each shard is to have.
    pub(super) wanted: usize,
    /// Bytes of each node's replicas before the plan.
    pub(super) bytes_before: Vec<u64>,
    /// What is moved, in order.
    pub(super) moves: Vec<Move>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Layout<'a> {
    /// The state, put in order.
    pub(super) fn new(state: &'a State) -> Self {
        let mut layout = Self {
            nodes: Vec::new(),
            shards: Vec::new(),
            zones: Vec::new(),
            zone_usable: Vec::new(),
            wanted: state.replicas as usize,
            bytes_before: Vec::new(),
            moves: Vec::new(),
            problems: Vec::new(),
        };
        layout.take_nodes(state);
        layout.take_shards(state);
        layout.share_out();
        layout
    }

    fn take_nodes(&mut self, state: &'a State) {
        let mut given: BTreeMap<&str, (&state::Node, bool)> = BTreeMap::new();
        for node in &state.nodes {
            let held = given.entry(&node.id).or_insert((node, false));
            held.1 |= !std::ptr::eq(held.0, node);
        }
        let mut zones: BTreeMap<String, usize> = BTreeMap::new();
        for (id, (node, doubled)) in given {
            if doubled {
                self.problems.push(Problem::DuplicateNode { node: id.to_owned() });
            }
            let takes = node.weight > 0 && node.bytes_max != Some(0);
            if may_have(node.condition) && !takes && !doubled {
                self.problems.push(Problem::NoCapacity { node: id.to_owned() });
            }
            // Which of the doubled is meant is not known, so none of what they say counts.
            self.add_node(
                id,
                &mut zones,
                |added| {
                    added.doubled = doubled;
                    if !doubled {
                        added.weight = node.weight;
                        added.condition = node.condition;
                        added.bytes_max = node.bytes_max;
                        added.usable = may_have(node.condition) && takes;
                    }
                },
                if doubled { "" } else { &node.zone },
            );
        }
        let mut unknown: BTreeMap<&str, u64> = BTreeMap::new();
        {
            let known: HashMap<&str, ()> = self.nodes.iter().map(|node| (node.id, ())).collect();
            for replica in state.shards.iter().flat_map(|shard| &shard.replicas) {
                if !known.contains_key(replica.node.as_str()) {
                    *unknown.entry(&replica.node).or_default() += 1;
                }
            }
        }
        for (id, replicas) in unknown {
            self.problems.push(Problem::UnknownNode {
                node: id.to_owned(),
                replicas,
            });
            self.add_node(
                id,
                &mut zones,
                |added| {
                    added.known = false;
                    added.condition = Condition::Gone;
                },
                "",
            );
        }
        self.zone_usable = vec![0; self.zones.len()];
        for node in &self.nodes {
            self.zone_usable[node.zone] += usize::from(node.usable);
        }
    }

    fn add_node(
        &mut self,
        id: &'a str,
        zones: &mut BTreeMap<String, usize>,
        set: impl FnOnce(&mut Node<'a>),
        zone: &str,
    ) {
        let named = if zone.is_empty() {
            // No zone has this name, for none begins like this.
            format!("\0{id}")
        } else {
            zone.to_owned()
        };
        let next = self.zones.len();
        let zone_index = *zones.entry(named).or_insert(next);
        if zone_index == next {
            self.zones
                .push(if zone.is_empty() { id } else { zone }.to_owned());
        }
        let mut node = Node {
            id,
            zone: zone_index,
            weight: 0,
            condition: Condition::Active,
            bytes_max: None,
            known: true,
            doubled: false,
            usable: false,
            hold: 0,
            bytes: 0,
            room: u128::MAX,
            fair: 0,
            ceiling: 0,
            floor: 0,
            percent_before: 0,
        };
        set(&mut node);
        self.nodes.push(node);
    }

    fn take_shards(&mut self, state: &'a State) {
        let mut given: Vec<&state::Shard> = state.shards.iter().collect();
        given.sort_by_key(|shard| shard.id);
        let Loads { holds, leads } = weigh(&given, state.replicas, &state.shares);
        let indices: HashMap<&str, usize> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (node.id, index))
            .collect();
        self.shards = given
            .into_iter()
            .zip(holds.into_iter().zip(leads))
            .map(|(given, (hold, lead))| {
                let slot = |replica: &state::Replica| {
                    let node = indices.get(replica.node.as_str()).copied();
                    Slot {
                        before: node.map(|node| (replica.id, node)),
                        node,
                        moved: false,
                    }
                };
                Shard {
                    id: given.id,
                    given,
                    slots: given.replicas.iter().map(slot).collect(),
                    frozen: false,
                    hold,
                    lead,
                }
            })
            .collect();
        for shard in &self.shards {
            for node in shard.slots.iter().filter_map(|slot| slot.node) {
                self.nodes[node].hold += shard.hold;
                self.nodes[node].bytes = self.nodes[node].bytes.saturating_add(shard.given.bytes);
            }
        }
        self.freeze();
        self.bytes_before = self.nodes.iter().map(|node| node.bytes).collect();
        for node in &mut self.nodes {
            node.room = match node.bytes_max {
                Some(bytes_max) => u128::from(bytes_max.saturating_sub(node.bytes)),
                None => u128::MAX,
            };
        }
    }

    /// Finds the shards that have to be left as they are, and says why.
    fn freeze(&mut self) {
        let ids: Vec<ShardId> = self.shards.iter().map(|shard| shard.id).collect();
        for (index, shard) in self.shards.iter_mut().enumerate() {
            let first_of_id = index == 0 || ids[index - 1] != shard.id;
            let replicas = shard.slots.len();
            let answering = shard
                .slots
                .iter()
                .filter_map(|slot| slot.node)
                .filter(|node| self.nodes[*node].answers())
                .count();
            if !first_of_id || ids.get(index + 1) == Some(&shard.id) {
                shard.frozen = true;
                if first_of_id {
                    self.problems.push(Problem::DuplicateShard { shard: shard.id });
                }
            } else if replicas > 0 && answering <= replicas / 2 {
                shard.frozen = true;
                self.problems.push(Problem::MajorityGone {
                    shard: shard.id,
                    answering: answering as u64,
                    replicas: replicas as u64,
                });
            } else if replicas > self.wanted {
                shard.frozen = replicas > REPLICAS_MAX as usize;
                self.problems.push(Problem::Surplus {
                    shard: shard.id,
                    replicas: replicas as u64,
                });
            }
        }
    }

    /// Gives each usable node its fair share of what will be on usable nodes.
    fn share_out(&mut self) {
        let usable_zones = self.zone_usable.iter().filter(|nodes| **nodes > 0).count();
        let usable: Vec<usize> = (0..self.nodes.len())
            .filter(|node| self.nodes[*node].usable)
            .collect();
        if usable.is_empty() {
            return;
        }
        let (mut once, mut total, mut bytes) = (0u64, 0u64, 0u128);
        for shard in &self.shards {
            once += shard.hold;
            let placed = shard.slots.iter().filter_map(|slot| slot.node);
            let stay = placed.clone().filter(|node| self.nodes[*node].usable).count();
            let replicas = if shard.frozen {
                stay
            } else {
                let kept = placed.filter(|node| self.nodes[*node].doubled).count();
                (shard.slots.len().max(self.wanted) - kept).min(usable.len())
            };
            total += shard.hold * replicas as u64;
            bytes += u128::from(shard.given.bytes) * replicas as u128;
        }
        let sharers: Vec<Sharer> = usable
            .iter()
            .map(|node| {
                let node = &self.nodes[*node];
                let by_disk = match node.bytes_max {
                    Some(bytes_max) if bytes > 0 => {
                        u64::try_from(u128::from(total) * u128::from(bytes_max) / bytes).unwrap_or(u64::MAX)
                    }
                    _ => u64::MAX,
                };
                Sharer {
                    zone: node.zone,
                    weight: node.weight,
                    hold_max: once.min(by_disk),
                }
            })
            .collect();
        let in_zone = self.wanted.div_ceil(usable_zones.max(1)) as u64;
        let shares = fair::shares(&sharers, self.zones.len(), once.saturating_mul(in_zone), total);
        for (node, share) in usable.into_iter().zip(shares) {
            let node = &mut self.nodes[node];
            node.fair = share;
            node.ceiling = percent_of(share, CEILING_PERCENT);
            node.floor = percent_of(share, FLOOR_PERCENT);
            node.percent_before = node.part(node.hold) / (PPM / 100);
        }
    }

    /// Replicas that a shard has in a zone, one of them left out.
    pub(super) fn count_in_zone(&self, shard: usize, zone: usize, but: usize) -> usize {
        let others = self.shards[shard]
            .slots
            .iter()
            .enumerate()
            .filter(|(slot, _)| *slot != but);
        others
            .filter_map(|(_, slot)| slot.node)
            .filter(|node| self.nodes[*node].zone == zone)
            .count()
    }

    /// Whether a replica of the shard may come to the node: it has none, has given none away in this plan, and has room.
    pub(super) fn can_take(&self, shard: usize, node: usize) -> bool {
        let candidate = &self.nodes[node];
        let shard = &self.shards[shard];
        let has_it =
            |slot: &Slot| slot.node == Some(node) || slot.before.is_some_and(|(_, before)| before == node);
        candidate.usable && candidate.room >= u128::from(shard.given.bytes) && !shard.slots.iter().any(has_it)
    }

    /// Moves a replica.
    pub(super) fn assign(&mut self, shard: usize, slot: usize, to: usize, why: Why) {
        let moving = &mut self.shards[shard];
        let (hold, bytes) = (moving.hold, moving.given.bytes);
        let from = moving.slots[slot].node.replace(to);
        moving.slots[slot].moved = true;
        if let Some(from) = from {
            let from = &mut self.nodes[from];
            from.hold -= hold;
            from.bytes = from.bytes.saturating_sub(bytes);
        }
        let target = &mut self.nodes[to];
        target.hold += hold;
        target.bytes = target.bytes.saturating_add(bytes);
        target.room = target.room.saturating_sub(u128::from(bytes));
        self.moves.push(Move { shard, slot, to, why });
    }

    /// Moves a replica that the plan moves already to another node instead.
    pub(super) fn redirect(&mut self, shard: usize, slot: usize, to: usize) {
        let Some(planned) = self
            .moves
            .iter_mut()
            .find(|planned| (planned.shard, planned.slot) == (shard, slot))
        else {
            return;
        };
        let moving = &mut self.shards[shard];
        let (hold, bytes) = (moving.hold, moving.given.bytes);
        let instead_of = std::mem::replace(&mut planned.to, to);
        moving.slots[slot].node = Some(to);
        let lets_go = &mut self.nodes[instead_of];
        lets_go.hold -= hold;
        lets_go.bytes = lets_go.bytes.saturating_sub(bytes);
        lets_go.room = lets_go.room.saturating_add(u128::from(bytes));
        let target = &mut self.nodes[to];
        target.hold += hold;
        target.bytes = target.bytes.saturating_add(bytes);
        target.room = target.room.saturating_sub(u128::from(bytes));
    }

    /// Usable zones.
    pub(super) fn usable_zones(&self) -> usize {
        self.zone_usable.iter().filter(|nodes| **nodes > 0).count()
    }
}

/// So many percent of a load.
pub(super) fn percent_of(load: u64, percent: u128) -> u64 {
    u64::try_from(u128::from(load) * percent / 100).unwrap_or(u64::MAX)
}
