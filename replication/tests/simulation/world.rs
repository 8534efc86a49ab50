//! A simulated run: machines, what strikes them, and what has to hold meanwhile and at the end.

use std::sync::Arc;

use rookery_replication::GroupId;
use rookery_simulation::log::Broken;
use rookery_simulation::looks::Looks;
use rookery_simulation::machine::STEP;
use rookery_simulation::runs::Report;

use crate::directory::Directory;
use crate::faults;
use crate::history::Outcome;
use crate::invariants::{self, Lists};
use crate::machine::{self, Machine};
use crate::shared::Shared;

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

/// The rules, by name.
const RULES: [(&str, Rule); 3] = [
    (ACKS_BEFORE_SYNC, Rule::Log(Broken::AcksBeforeSync)),
    (FORGETS_VOTES, Rule::Log(Broken::ForgetsVotes)),
    (REUSES_NUMBERS, Rule::ReusesNumbers),
];

/// Names of rules.
pub(crate) const ACKS_BEFORE_SYNC: &str = "acks-before-sync";
pub(crate) const FORGETS_VOTES: &str = "forgets-votes";
pub(crate) const REUSES_NUMBERS: &str = "reuses-numbers";

/// One run.
pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) groups: Vec<GroupId>,
    /// Machines without power are started at once.
    pub(crate) restarts: bool,
    looks: Looks,
    steps: u64,
}

/// Runs a seed.
pub(crate) fn run(seed: u64, rule: &str, printed: bool) -> Report {
    let rule = RULES
        .iter()
        .find(|(name, _)| *name == rule)
        .map(|(_, rule)| *rule);
    let mut world = World::new(seed, rule, printed);
    let mut faults = faults::draw(&world.shared);
    while !faults.are_over(&world.shared) && world.holds() {
        faults::strike(&mut faults, &mut world);
        world.step();
    }
    if world.holds() {
        faults.end(&world.shared.run, &mut world.machines);
        world.restarts = true;
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
            machine::new(name, rate, broken, &names, &shared)
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
            machine.start(&shared.run);
        }
        Self {
            shared,
            machines,
            groups,
            restarts: false,
            looks: Looks::default(),
            steps: 0,
        }
    }

    fn holds(&self) -> bool {
        self.shared.holds()
    }

    /// Time goes on by one step.
    fn step(&mut self) {
        self.steps += 1;
        for machine in &mut self.machines {
            if self.restarts && !machine.runs() {
                machine.start(&self.shared.run);
            }
        }
        rookery_simulation::machine::step(&self.shared.run, &mut self.machines, STEP);
        if self.steps.is_multiple_of(STEPS_PER_LOOK) {
            self.look();
        }
    }

    /// Looks at all replicas as they are.
    fn look(&mut self) {
        let (run, machines) = (&self.shared.run, &self.machines);
        self.looks.look(run, machines, |member| Some(member));
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
                let member = machine.what_runs()?;
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
        let history = self.shared.history.lock();
        let counted = [
            ("appends acknowledged", history.count(Outcome::Applied) as u64),
            ("appends unknown", history.count(Outcome::Unknown) as u64),
            ("appends refused", history.count(Outcome::Refused) as u64),
            ("reads", history.reads.len() as u64),
        ];
        Report::of(&self.shared, &counted)
    }
}
