//! Carries a plan out on a made-up cluster as the directory does: by what [`acts`] says, with the directory's own mutations over its
//! rows, while shards' groups go after their placements. Looks after each step whether what must never be is.
//!
//! Who leads the directory changes now and then: the next leader knows the rows alone, and what the last one did not note is done twice.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use rookery_directory::plan::rebalance::{self as changes, Limits, Scope};
use rookery_directory::plan::{PlanError, Planned};
use rookery_directory::rebalance::execute::{self, Act, Job, Seen, acts};
use rookery_directory::rebalance::stored::{LeadRow, Stage, TransferRow};
use rookery_directory::rebalance::{Condition, Plan};
use rookery_directory::schema::read::Rows;
use rookery_directory::schema::row::{self, Row};
use rookery_directory::schema::{ShardId, key};
use rookery_proto::directory::v1::NodeRole;
use rookery_replication::{Column, MemoryStore};

use super::group::{Cluster, Group, Member};
use super::world::{Draw, World};

/// Between two looks, in milliseconds.
const LOOK: u64 = 1_000;

/// Of all looks, one in so many is by another leader of the directory.
const LEADERSHIP_LOOKS: usize = 8;

/// Of all steps, one in so many is taken twice.
const STEPS_TWICE: usize = 100;

/// Transfers that a node may have a part in at one time.
const TRANSFERS_MAX: u32 = 16;

/// How long after a loss the operator breaks the rebalance off.
const ABORTED_AFTER: u64 = 100_000;

/// Longer than any rebalance takes.
const LOOKS_MAX: usize = 20_000;

/// What a rebalance came to.
pub(crate) struct Outcome {
    pub(crate) looks: usize,
    /// Transfers that were taken back.
    pub(crate) reverted: usize,
    /// The most time that it took to say what is next.
    pub(crate) slowest: Duration,
}

/// Carries a whole plan out. Panics when a majority would be lost, replicas come together in a zone, a disk is filled above its bound, a
/// step is refused, or the rebalance does not end by itself.
pub(crate) fn carry_out(world: &mut World, plan: &Plan) -> Outcome {
    Executor::begin(world, plan).run(world, None)
}

/// The same until so many transfers, the plan's first, are over; then a node is lost, and after a while the rebalance is broken off.
pub(crate) fn carry_out_until_lost(world: &mut World, plan: &Plan, over: usize) -> Outcome {
    Executor::begin(world, plan).run(world, Some(over))
}

struct Executor {
    rows: MemoryStore,
    job: Job,
    groups: BTreeMap<u32, Group>,
    /// Shards whose groups may have a step to take: looks at the others would find nothing new.
    moving: BTreeSet<u32>,
    cluster: Cluster,
    /// What nodes have said.
    seen: execute::World,
    /// Another member is to lead the directory before the next look.
    is_led_anew: bool,
    slowest: Duration,
    now: u64,
    draw: Draw,
}

impl Executor {
    fn begin(world: &World, plan: &Plan) -> Self {
        let mut executor = Self {
            rows: rows_of(world, plan),
            job: Job::default(),
            groups: BTreeMap::new(),
            moving: BTreeSet::new(),
            cluster: Cluster::new(world),
            seen: execute::World::default(),
            is_led_anew: false,
            slowest: Duration::ZERO,
            now: 1_000_000_000,
            draw: Draw::new(world.version),
        };
        let moved = plan.transfers.iter().map(|transfer| transfer.shard.0);
        for shard in moved.chain(plan.leads.iter().map(|lead| lead.shard.0)) {
            let held = &world.shards[shard as usize];
            executor.groups.entry(shard).or_insert_with(|| Group::of(held));
            executor.moving.insert(shard);
        }
        // Nodes say what they hold: what is not named is gone.
        for node in executor.cluster.answering() {
            executor.seen.held.insert(node.to_owned(), HashSet::new());
        }
        let shards: Vec<u32> = executor.moving.iter().copied().collect();
        for shard in shards {
            executor.say(shard);
        }
        executor.store(plan);
        executor
    }

    /// As the operator's word has it stored.
    fn store(&mut self, plan: &Plan) {
        let transfers: Vec<TransferRow> = plan.transfers.iter().map(TransferRow::from).collect();
        let leads: Vec<LeadRow> = plan.leads.iter().map(LeadRow::from).collect();
        let scope = Scope {
            placement: plan.state_version,
            transfers: transfers.len() as u32,
            leads: leads.len() as u32,
            own_reason: String::new(),
        };
        let limits = Limits {
            transfers_max: TRANSFERS_MAX,
            bytes_per_second: 0,
        };
        let now = self.now;
        let row = self.change(|rows| changes::begin(rows, &scope, limits, now));
        let (transfers, leads) = ((0..).zip(transfers).collect(), (0..).zip(leads).collect());
        self.change(|rows| changes::store(rows, row.id, transfers, leads));
        self.change(|rows| changes::start(rows, row.id));
        self.job.row = row;
        self.take_over();
    }

    fn change<T>(&mut self, decide: impl FnOnce(Rows<'_>) -> Result<Planned<T>, PlanError>) -> T {
        let planned = decide(Rows(&self.rows)).expect("a step that is refused");
        self.rows.apply(&planned.batch);
        planned.reply
    }

    /// Another member leads the directory.
    fn take_over(&mut self) {
        let rows = Rows(&self.rows);
        let row = rows.job().unwrap().unwrap();
        self.job = Job {
            transfers: rows.transfers(row.id).unwrap(),
            leads: rows.lead_changes(row.id).unwrap(),
            row,
        };
    }

    fn run(mut self, world: &mut World, mut lost_after: Option<usize>) -> Outcome {
        let (mut aborts_at, mut has_lost) = (u64::MAX, false);
        for looks in 1..=LOOKS_MAX {
            if self.draw.below(LEADERSHIP_LOOKS) == 0 || std::mem::take(&mut self.is_led_anew) {
                self.take_over();
            }
            if lost_after.is_some_and(|count| self.are_over(count)) {
                (lost_after, has_lost) = (None, true);
                let node = world.any_active();
                world.nodes[node].condition = Condition::Gone;
                self.cluster.lose(node, self.now);
                self.moving.extend(self.groups.keys());
                aborts_at = self.now + ABORTED_AFTER;
            }
            if self.now >= aborts_at {
                aborts_at = u64::MAX;
                self.change(changes::abort);
                self.take_over();
            }
            self.seen.silent = self.cluster.silent(self.now);
            let began = Instant::now();
            let next = acts(&self.job, &self.seen, self.now);
            self.slowest = self.slowest.max(began.elapsed());
            for act in next {
                self.take(world, &act);
            }
            if !self.job.row.state().is_under_way() {
                return self.end(world, looks, has_lost);
            }
            for shard in self.moving.clone() {
                self.go_on(world, shard);
            }
            self.now += LOOK;
        }
        panic!("the rebalance does not end: {:?}", self.job.row);
    }

    fn are_over(&self, count: usize) -> bool {
        let mut first = self.job.transfers.iter().take(count);
        first.all(|transfer| transfer.stage().is_over())
    }

    /// A shard's group takes a step if there is one, and its nodes say what has come of it.
    fn go_on(&mut self, world: &World, shard: u32) {
        let placement = Rows(&self.rows).shard(ShardId(shard)).unwrap().unwrap();
        let bytes = world.shards[shard as usize].bytes as u64;
        let members = self.cluster.members(&placement);
        let group = self.groups.get_mut(&shard).unwrap();
        for (replica, node) in group.leftovers() {
            let held = self.seen.held.get_mut(self.cluster.name(node));
            if let Some(held) = held {
                held.remove(&(shard, replica));
            }
        }
        let was_at_rest = group.is_at_rest(&members, &self.cluster);
        group.go_on(&members, bytes, &mut self.cluster, &mut self.draw, self.now);
        assert!(
            group.has_majority(&self.cluster),
            "shard {shard} has lost its majority"
        );
        if was_at_rest {
            self.moving.remove(&shard);
        }
        self.say(shard);
    }

    /// What a shard's nodes say of it.
    fn say(&mut self, shard: u32) {
        let placement = Rows(&self.rows).shard(ShardId(shard)).unwrap().unwrap();
        let group = &self.groups[&shard];
        let name = |node: usize| self.cluster.name(node).to_owned();
        for (replica, node) in group.leftovers() {
            let held = self.seen.held.entry(name(node)).or_default();
            held.insert((shard, replica));
        }
        let members = placement.replicas.into_iter();
        let seen = Seen {
            generation: placement.generation,
            members: members.map(|replica| (replica.id, replica.node)).collect(),
            voters: group.voters(),
            leader: group.leader().map(name).unwrap_or_default(),
        };
        self.seen.shards.insert(shard, seen);
    }

    /// Takes a step, and notes what has come of it.
    fn take(&mut self, world: &mut World, act: &Act) {
        let zones = |executor: &Self| match act {
            Act::Begin(place) => executor.zones_of(world, *place),
            _ => 0,
        };
        let before = zones(self);
        self.perform(act);
        let after = zones(self);
        assert!(
            after <= before.max(1),
            "{act:?} brings replicas together in a zone"
        );
        let (transfer, lead, _) = self.changed_by(act);
        let shard = transfer.as_ref().map(|row| row.shard);
        self.moving.extend(shard.or(lead.as_ref().map(|row| row.shard)));
        match act {
            Act::BeginLead(place) | Act::EndLead(place, _) => {
                self.job.leads[*place as usize] = lead.unwrap();
            }
            Act::Begin(place) | Act::Revert(place, _) | Act::Settle(place) | Act::Finish(place) => {
                self.job.transfers[*place as usize] = transfer.unwrap();
            }
            Act::End => self.job.row = Rows(&self.rows).job().unwrap().unwrap(),
        }
        if self.draw.below(STEPS_TWICE) == 0 {
            // Who led did not come to note it, and the next one takes the same step.
            let once = self.changed_by(act);
            self.perform(act);
            assert_eq!(once, self.changed_by(act), "{act:?} twice");
            self.is_led_anew = true;
        }
    }

    fn perform(&mut self, act: &Act) {
        let (id, now) = (self.job.row.id, self.now);
        match act {
            Act::Begin(place) => drop(self.change(|rows| changes::begin_transfer(rows, id, *place, now))),
            Act::Revert(place, why) => {
                drop(self.change(|rows| changes::revert_transfer(rows, id, *place, why, now)));
            }
            Act::Settle(place) => drop(self.change(|rows| changes::settle_transfer(rows, id, *place, now))),
            Act::Finish(place) => drop(self.change(|rows| changes::finish_transfer(rows, id, *place, now))),
            Act::BeginLead(place) => drop(self.change(|rows| changes::begin_lead(rows, id, *place, now))),
            Act::EndLead(place, why) => drop(self.change(|rows| changes::end_lead(rows, id, *place, why))),
            Act::End => {
                self.change(|rows| changes::end(rows, id, now));
            }
        }
    }

    /// The rows that a step may change.
    fn changed_by(&self, act: &Act) -> (Option<TransferRow>, Option<LeadRow>, Option<row::Shard>) {
        let (rows, id) = (Rows(&self.rows), self.job.row.id);
        let (transfer, lead) = match act {
            Act::Begin(place) | Act::Revert(place, _) | Act::Settle(place) | Act::Finish(place) => {
                (rows.transfer(id, *place).unwrap(), None)
            }
            Act::BeginLead(place) | Act::EndLead(place, _) => (None, rows.lead_change(id, *place).unwrap()),
            Act::End => (None, None),
        };
        let shard = transfer
            .as_ref()
            .map(|row| row.shard)
            .or(lead.as_ref().map(|row| row.shard));
        let placement = shard.and_then(|shard| rows.shard(ShardId(shard)).unwrap());
        (transfer, lead, placement)
    }

    /// The most replicas in one zone that the placement of a transfer's shard names.
    fn zones_of(&self, world: &World, place: u32) -> usize {
        let shard = ShardId(self.job.transfers[place as usize].shard);
        let placement = Rows(&self.rows).shard(shard).unwrap().unwrap();
        let members = self.cluster.members(&placement);
        crowding(world, &members)
    }

    fn end(self, world: &mut World, looks: usize, has_lost: bool) -> Outcome {
        let rows = Rows(&self.rows);
        for (id, group) in &self.groups {
            let placement = rows.shard(ShardId(*id)).unwrap().unwrap();
            let members = self.cluster.members(&placement);
            assert!(
                group.is_at_rest(&members, &self.cluster),
                "shard {id}: {group:?}, {members:?}"
            );
            let shard = &mut world.shards[*id as usize];
            shard.generation = placement.generation;
            shard.replicas = members;
            shard.leader = group.leader();
        }
        world.next_replica = rows.sequences().unwrap().replicas;
        let count = |stage| {
            let transfers = self.job.transfers.iter();
            transfers.filter(|transfer| transfer.stage() == stage).count()
        };
        let undone = self
            .job
            .transfers
            .iter()
            .find(|transfer| transfer.stage() != Stage::Done);
        assert!(has_lost || undone.is_none(), "{undone:?}");
        Outcome {
            looks,
            reverted: count(Stage::Reverted),
            slowest: self.slowest,
        }
    }
}

/// What the directory has of the shards that are moved.
fn rows_of(world: &World, plan: &Plan) -> MemoryStore {
    let mut rows = MemoryStore::new();
    let mut batch = rookery_replication::Batch::new();
    for node in &world.nodes {
        let row = row::Node {
            role: NodeRole::Mailstore.into(),
            weight: node.weight,
            zone: format!("zone-{}", node.zone),
            draining: !matches!(node.condition, Condition::Active | Condition::Sick),
            ..row::Node::default()
        };
        batch.put(Column::Rows, key::node(&node.id), row.to_stored());
    }
    let moved = plan.transfers.iter().map(|transfer| transfer.shard);
    for id in moved.chain(plan.leads.iter().map(|lead| lead.shard)) {
        let shard = &world.shards[id.0 as usize];
        let replicas = shard.replicas.iter().map(|(replica, node)| row::Replica {
            id: *replica,
            node: world.nodes[*node].id.clone(),
            taken: true,
        });
        let row = row::Shard {
            generation: shard.generation,
            replicas: replicas.collect(),
            formed: true,
            added: false,
        };
        batch.put(Column::Rows, key::shard(id), row.to_stored());
    }
    let sequences = row::Sequences {
        placement: world.version,
        replicas: world.next_replica,
        ..row::Sequences::default()
    };
    batch.put(Column::Rows, key::sequences(), sequences.to_stored());
    rows.apply(&batch);
    rows
}

/// The most replicas of a shard in one zone.
fn crowding(world: &World, replicas: &[Member]) -> usize {
    let mut counts: HashMap<usize, usize> = HashMap::new();
    for (_, node) in replicas {
        *counts.entry(world.nodes[*node].zone).or_default() += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

/// That all is where it should be: three replicas a shard, each in a zone of its own, none on a node that may not have it, and
/// led by one of them.
pub(crate) fn assert_safe(world: &World) {
    for (number, shard) in world.shards.iter().enumerate() {
        assert_eq!(shard.replicas.len(), world.replicas as usize, "shard {number}");
        assert_eq!(
            crowding(world, &shard.replicas),
            1,
            "shard {number} is in a zone twice"
        );
        for (_, node) in &shard.replicas {
            assert_eq!(world.nodes[*node].condition, Condition::Active, "shard {number}");
        }
        let led = shard
            .leader
            .is_some_and(|leader| shard.replicas.iter().any(|(_, node)| *node == leader));
        assert!(led, "shard {number} is led by none of its replicas");
    }
}
