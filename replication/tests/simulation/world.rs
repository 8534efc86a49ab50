//! A simulated run: machines, what strikes them, and what has to hold meanwhile and at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use rookery_replication::GroupId;

use crate::directory::Directory;
use crate::faults::Faults;
use crate::history::Outcome;
use crate::invariants::{self, Lists};
use crate::log::Broken;
use crate::machine::Machine;
use crate::network::Packet;
use crate::shared::Shared;

/// Milliseconds of one step: each machine runs for so long, then what it sent may arrive.
const STEP: u64 = 4;

/// Steps between two looks at all replicas.
const STEPS_PER_LOOK: u64 = 25;

/// How long the groups may take to work again when all faults are over, in milliseconds.
const RECOVERY_MAX: u64 = 30_000;

/// How long followers may take to have all that their leader has, in milliseconds.
const CATCH_UP_MAX: u64 = 20_000;

/// How long what is under way may take when nothing more is asked for, in milliseconds.
const SETTLE: u64 = 2_000;

/// A rule to break on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Log(Broken),
    /// A replica's number is used again on an empty disk.
    ReusesNumbers,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) events: u64,
    pub(crate) hash: u64,
    /// Milliseconds, by the run's clock.
    pub(crate) millis: u64,
    pub(crate) applied: usize,
    pub(crate) unknown: usize,
    pub(crate) refused: usize,
    pub(crate) reads: usize,
    /// How often what happened.
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) violations: Vec<String>,
}

/// One run.
pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) groups: Vec<GroupId>,
    /// Machines without power are started at once.
    pub(crate) restarts: bool,
    looks: invariants::Looks,
    steps: u64,
}

/// Runs a seed.
pub(crate) fn run(seed: u64, rule: Option<Rule>, printed: bool) -> Report {
    let mut world = World::new(seed, rule, printed);
    let mut faults = Faults::draw(&world.shared);
    while !faults.are_over(&world) && world.holds() {
        faults.strike(&mut world);
        world.step();
    }
    if world.holds() {
        faults.end(&mut world);
        world.recover();
    }
    world.report()
}

impl World {
    fn new(seed: u64, rule: Option<Rule>, printed: bool) -> Self {
        let directory = Directory::new(rule == Some(Rule::ReusesNumbers));
        let shared = Shared::new(seed, printed, directory);
        let broken = match rule {
            Some(Rule::Log(broken)) => Some(broken),
            _ => None,
        };
        let names: Vec<String> = ["a", "b", "c", "d", "e"]
            .iter()
            .take(3 + shared.draw(0..3) as usize)
            .map(|name| (*name).to_owned())
            .collect();
        let machines = names.iter().map(|name| {
            let rate = 0.9 + shared.draw(0..201) as f64 / 1000.0;
            Machine::new(name.clone(), rate, broken)
        });
        let mut machines: Vec<Machine> = machines.collect();
        let groups: Vec<GroupId> = (1..2 + shared.draw(0..2) as u32).map(GroupId).collect();
        for group in &groups {
            let first = shared.draw(0..names.len() as u64) as usize;
            let nodes: Vec<String> = (0..3)
                .map(|at| names[(first + at) % names.len()].clone())
                .collect();
            shared.directory.lock().place(*group, &nodes);
        }
        for machine in &mut machines {
            machine.start(&shared);
        }
        Self {
            shared,
            machines,
            groups,
            restarts: false,
            looks: invariants::Looks::default(),
            steps: 0,
        }
    }

    fn holds(&self) -> bool {
        self.shared.violations().is_empty()
    }

    pub(crate) fn machine(&mut self, name: &str) -> Option<&mut Machine> {
        self.machines.iter_mut().find(|machine| machine.name == name)
    }

    /// Time goes on by one step.
    fn step(&mut self) {
        self.steps += 1;
        self.shared.set_now(self.steps * STEP);
        self.deliver();
        for machine in &mut self.machines {
            if self.restarts && !machine.runs() {
                machine.start(&self.shared);
            }
            machine.sync(&self.shared);
            machine.run(&self.shared, STEP);
        }
        if self.steps.is_multiple_of(STEPS_PER_LOOK) {
            self.look();
        }
    }

    fn deliver(&mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let arrived = shared.network.lock().arrived(shared.now());
            match arrived {
                None => return,
                Some(Packet::Call {
                    id,
                    from,
                    to,
                    request,
                    caller,
                }) => {
                    if let Some(machine) = self.machine(&to) {
                        machine.serve(&shared, id, from, request, caller);
                    }
                }
                Some(Packet::Answer { id, answer, caller }) => {
                    let waits = caller.lock().take();
                    if let Some(waits) = waits {
                        shared.trace(&format!("{id} is answered"));
                        // Who asked may have gone.
                        let _ = waits.send(answer);
                    }
                }
            }
        }
    }

    /// Looks at all replicas as they are.
    fn look(&mut self) {
        let mut replicas = Vec::new();
        for machine in &self.machines {
            let Some(member) = machine.member() else { continue };
            for group in member.groups() {
                replicas.push(invariants::Replica {
                    node: machine.name.clone(),
                    group: group.id(),
                    replica: group.replica(),
                    applied: group.applied(),
                    leads: group.standing().leads.then(|| group.standing().term),
                    digest: invariants::digest(member.store().as_ref(), group.id()),
                });
            }
        }
        self.looks.check(&self.shared, replicas);
    }

    /// All faults are over: the groups have to work again, and their replicas to become equal.
    fn recover(&mut self) {
        let healed = self
            .shared
            .history
            .lock()
            .appends
            .last_key_value()
            .map_or(0, |(last, _)| *last);
        let began = self.shared.now();
        while !self.works(healed) {
            if self.shared.now() - began > RECOVERY_MAX {
                return self.shared.violated(format!(
                    "all groups work again within {} s after the last fault",
                    RECOVERY_MAX / 1000
                ));
            }
            if !self.holds() {
                return;
            }
            self.step();
        }
        self.shared.be_quiet();
        let began = self.shared.now();
        while self.shared.now() - began < SETTLE {
            self.step();
        }
        let equal = loop {
            if let Some(equal) = self.equal() {
                break equal;
            }
            if self.shared.now() - began > CATCH_UP_MAX {
                return self.shared.violated(format!(
                    "all replicas have the same within {} s after the last write",
                    CATCH_UP_MAX / 1000
                ));
            }
            self.step();
        };
        self.look();
        invariants::at_the_end(&self.shared, &equal);
    }

    /// Whether each group has its members and has taken a write that was asked for after an event.
    fn works(&self, after: u64) -> bool {
        let history = self.shared.history.lock();
        let directory = self.shared.directory.lock();
        self.groups.iter().all(|group| {
            directory.placement(*group).is_settled()
                && history
                    .appends
                    .range(after + 1..)
                    .any(|(_, append)| append.group == *group && append.outcome == Outcome::Applied)
        })
    }

    /// The groups' lists, once nothing is under way and all replicas have applied the same.
    fn equal(&self) -> Option<Lists> {
        let mut lists = Lists::new();
        for group in &self.groups {
            let places = self.shared.directory.lock().placement(*group).places.clone();
            let mut applied = None;
            for place in &places {
                let machine = self.machines.iter().find(|machine| machine.name == place.node)?;
                let member = machine.member()?;
                let open = member
                    .group(*group)
                    .filter(|open| open.replica() == place.replica)?;
                let here = open.applied()?;
                if *applied.get_or_insert(here) != here {
                    return None;
                }
                lists.insert(
                    (*group, place.node.clone()),
                    invariants::read_list(member.store().as_ref(), *group),
                );
            }
        }
        Some(lists)
    }

    fn report(&self) -> Report {
        let (events, hash) = self.shared.outcome();
        let history = self.shared.history.lock();
        Report {
            events,
            hash,
            millis: self.shared.now(),
            applied: history.count(Outcome::Applied),
            unknown: history.count(Outcome::Unknown),
            refused: history.count(Outcome::Refused),
            reads: history.reads.len(),
            counts: self
                .shared
                .counts()
                .into_iter()
                .map(|(what, count)| (what.to_owned(), count))
                .collect(),
            violations: self.shared.violations(),
        }
    }
}
