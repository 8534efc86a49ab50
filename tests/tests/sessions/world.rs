//! A simulated run of a cluster: machines, what strikes them, and what has to hold at the end.

use std::collections::BTreeSet;
use std::sync::Arc;

use rookery_replication::GroupId;
use rookery_replication::group::Member;
use rookery_simulation::looks::Looks;
use rookery_simulation::machine::{self, Boot, STEP};
use rookery_simulation::runs::Report;
use rookery_simulation::{Here, Run};
use rookery_tests::faults::invariants;
use rookery_tests::faults::model::Model;

use crate::cluster::{CLIENTS, Cluster, REPLICAS};
use crate::rules::Rule;
use crate::{clients, directory, faults, mailstore, proxy, rules};

/// A machine, and its node's store if it has one.
pub(crate) type Machine = rookery_simulation::Machine<Option<Arc<Member>>>;

/// The longest that a sync takes when nothing makes it slow, in milliseconds: one of these in a run.
const SYNC_USUAL: [u64; 4] = [2, 2, 30, 150];

/// The same where syncs are lies.
const SYNC_SLOW: u64 = 400;

/// How long the cluster may take to be there, in milliseconds.
const FORMED_MAX: u64 = 60_000;

/// How long clients may take to work again when all faults are over, in milliseconds.
const RECOVERY_MAX: u64 = 60_000;

/// How long they may take to come to an end, in milliseconds.
const END_MAX: u64 = 200_000;

/// How long replicas may take to have all that their leader has, in milliseconds.
const EQUAL_MAX: u64 = 60_000;

/// Milliseconds of a step in a slow run.
const SLOW_STEP: u64 = 20;

/// Steps between two looks at all replicas.
const STEPS_PER_LOOK: u64 = 250;

/// One run.
struct World {
    run: Arc<Run>,
    cluster: Arc<Cluster>,
    /// The clients' is the last.
    machines: Vec<Machine>,
    /// Machines without power are started at once.
    restarts: bool,
    looks: Looks,
    steps: u64,
}

/// Runs a seed, with the rule of a name broken.
pub(crate) fn run(seed: u64, rule: &str, printed: bool) -> Report {
    let run = Run::new(seed, printed);
    run.network.lock().weather.delay_max = 8;
    let cluster = Cluster::draw(&run, rules::named(rule));
    let mut world = World::new(run, cluster);
    let cluster = Arc::clone(&world.cluster);
    // In one run of four faults strike from the start.
    let formed = !world.run.once_in(4);
    if formed {
        world.until(FORMED_MAX, "the cluster comes to be", || cluster.is_ready());
    }
    if world.run.holds() {
        world.suffer();
    }
    world.until(FORMED_MAX, "the cluster comes to be", || cluster.is_ready());
    if world.run.holds() {
        world.recover();
    }
    Report::of(&world.run, &[])
}

impl World {
    fn new(run: Arc<Run>, cluster: Arc<Cluster>) -> Self {
        type Start = fn(&Here, &machine::Disks, &Arc<Cluster>) -> Option<Option<Arc<Member>>>;
        let mut machines = Vec::new();
        let roles: [(&[String], Start); 4] = [
            (&cluster.directories, directory::start),
            (&cluster.mailstores, mailstore::start),
            (&cluster.proxies, |here, _, cluster| proxy::start(here, cluster)),
            (&[CLIENTS.to_owned()], |here, _, cluster| {
                clients::start(here, cluster)
            }),
        ];
        for (names, start) in roles {
            for name in names {
                let broken = rules::log(&cluster);
                let cluster = Arc::clone(&cluster);
                let boot: Boot<Option<Arc<Member>>> =
                    Box::new(move |here, disks| start(here, disks, &cluster));
                let rate = match name.as_str() {
                    CLIENTS => 1.0,
                    _ => 0.95 + run.draw(0..101) as f64 / 1000.0,
                };
                machines.push(Machine::new(name, rate, broken, boot));
            }
        }
        let sync_usual = match cluster.rule {
            // Or hardly anything would be lost.
            Some(Rule::AcksBeforeSync) => SYNC_SLOW,
            _ => run.one_of(&SYNC_USUAL),
        };
        for machine in &mut machines {
            (machine.sync_usual, machine.sync_max) = (sync_usual, sync_usual);
            machine.start(&run);
        }
        Self {
            run,
            cluster,
            machines,
            restarts: false,
            looks: Looks::default(),
            steps: 0,
        }
    }

    /// Time goes on by one step.
    fn step(&mut self) {
        if self.restarts {
            for machine in self.machines.iter_mut().filter(|machine| !machine.runs()) {
                machine.start(&self.run);
            }
        }
        let millis = if self.cluster.pace == 1 { STEP } else { SLOW_STEP };
        machine::step(&self.run, &mut self.machines, millis);
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS_PER_LOOK) {
            self.look();
        }
    }

    /// Looks at all replicas as they are.
    fn look(&mut self) {
        self.looks.look(&self.run, &self.machines, Option::as_ref);
    }

    /// Whether each shard has its replicas, and all have applied the same.
    fn is_equal(&self) -> bool {
        (0..self.cluster.shards).map(GroupId).all(|group| {
            let replicas = faults::replicas(&self.machines, group);
            let applied: BTreeSet<Option<u64>> = replicas
                .iter()
                .map(|replica| replica.applied().map(|applied| applied.index))
                .collect();
            replicas.len() == REPLICAS as usize && applied.len() == 1
        })
    }

    /// Lets time go on until something is so.
    fn until(&mut self, longest: u64, what: &str, is_so: impl Fn() -> bool) {
        let began = self.run.now();
        while self.run.holds() && !is_so() {
            self.step();
            if self.run.now() - began > longest {
                self.run.violated(format!("{what} within {} s", longest / 1000));
            }
        }
    }

    /// Faults strike all machines but that of the clients; in every other run proxies, whose ends excuse the loss of connections,
    /// are spared.
    fn suffer(&mut self) {
        let mut faults = faults::draw(&self.run, &self.cluster);
        let run = Arc::clone(&self.run);
        let spared = match run.once_in(2) {
            true => 1 + self.cluster.proxies.len(),
            false => 1,
        };
        while !faults.are_over(&run) && run.holds() {
            let struck = self.machines.len() - spared;
            faults::strike(&mut faults, &self.cluster, &mut self.machines[..struck]);
            self.step();
        }
        faults.end(&run, &mut self.machines);
        self.restarts = true;
    }

    /// All faults are over: all clients have to work again, and what they did has to be there.
    fn recover(&mut self) {
        let cluster = Arc::clone(&self.cluster);
        cluster.well.lock().clear();
        let clients = (cluster.sessions + cluster.watchers + cluster.senders) as usize + 1;
        self.until(
            RECOVERY_MAX,
            "all clients work again after the last fault",
            || cluster.well.lock().len() == clients,
        );
        self.run.be_quiet();
        self.until(END_MAX, "all clients come to an end", || {
            cluster.result.lock().is_some()
        });
        let Some((history, ending)) = cluster.result.lock().take() else {
            return;
        };
        let began = self.run.now();
        while !self.is_equal() && self.run.holds() {
            self.step();
            if self.run.now() - began > EQUAL_MAX {
                let longest = EQUAL_MAX / 1000;
                self.run
                    .violated(format!("all replicas have the same within {longest} s"));
            }
        }
        self.look();
        let model = Model::of(&history, &ending);
        for invariant in invariants::all(REPLICAS) {
            for broken in invariant.check(&model) {
                self.run.violated(format!("{}: {broken}", invariant.name()));
            }
        }
    }
}
