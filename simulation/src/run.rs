//! What all machines of a simulated run share: the time, the dice, the trace, the network, and what was found.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::network::Network;
use crate::trace::Trace;

/// A machine's life, from its start until it was told to stop or lost its power.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Whose.
    pub machine: String,
    /// When it began, in milliseconds.
    pub from: u64,
    /// When it ended, if it has.
    pub to: Option<u64>,
}

/// One run. One thread uses it.
pub struct Run {
    /// Milliseconds since the run began, by no machine's clock.
    now: AtomicU64,
    dice: Mutex<StdRng>,
    trace: Mutex<Trace>,
    /// What is under way between machines.
    pub network: Mutex<Network>,
    violations: Mutex<Vec<String>>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    lives: Mutex<Vec<Life>>,
    quiet: AtomicBool,
}

impl Run {
    /// The run of a seed; `printed`: each event goes to standard error.
    pub fn new(seed: u64, printed: bool) -> Arc<Self> {
        Arc::new(Self {
            now: AtomicU64::new(0),
            dice: Mutex::new(StdRng::seed_from_u64(seed)),
            trace: Mutex::new(Trace::new(printed)),
            network: Mutex::default(),
            violations: Mutex::default(),
            counts: Mutex::default(),
            lives: Mutex::default(),
            quiet: AtomicBool::new(false),
        })
    }

    /// Milliseconds since the run began.
    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Sets the time.
    pub fn set_now(&self, millis: u64) {
        self.now.store(millis, Ordering::Relaxed);
    }

    /// A number of the range.
    pub fn draw(&self, range: std::ops::Range<u64>) -> u64 {
        self.dice.lock().random_range(range)
    }

    /// True once in `n`, on average; never for 0.
    pub fn once_in(&self, n: u64) -> bool {
        n > 0 && self.draw(0..n) == 0
    }

    /// One of these.
    pub fn one_of<T: Copy>(&self, choices: &[T]) -> T {
        choices[self.draw(0..choices.len() as u64) as usize]
    }

    /// Whether nothing is to be asked for any more.
    pub fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    /// From now on nothing is to be asked for.
    pub fn be_quiet(&self) {
        self.quiet.store(true, Ordering::Relaxed);
    }

    /// Something happened.
    pub fn trace(&self, event: &str) {
        self.trace.lock().event(self.now(), event);
    }

    /// [`Trace::detail`].
    pub fn detail(&self, detail: impl FnOnce() -> String) {
        self.trace.lock().detail(detail);
    }

    /// Number of events so far, and their hash.
    pub fn outcome(&self) -> (u64, u64) {
        self.trace.lock().outcome()
    }

    /// Something that is counted happened.
    pub fn count(&self, what: &'static str) {
        *self.counts.lock().entry(what).or_default() += 1;
    }

    /// How often what happened.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().clone()
    }

    pub(crate) fn life_begins(&self, machine: &str) {
        self.lives.lock().push(Life {
            machine: machine.to_owned(),
            from: self.now(),
            to: None,
        });
    }

    pub(crate) fn life_ends(&self, machine: &str) {
        let mut lives = self.lives.lock();
        let last = lives.iter_mut().rev().find(|life| life.machine == machine);
        if let Some(life) = last {
            life.to.get_or_insert(self.now());
        }
    }

    /// The lives of all machines, in the order in which they began.
    pub fn lives(&self) -> Vec<Life> {
        self.lives.lock().clone()
    }

    /// What has to hold does not.
    pub fn violated(&self, what: String) {
        self.trace(&format!("VIOLATED {what}"));
        self.violations.lock().push(what);
    }

    /// All that did not hold.
    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().clone()
    }

    /// Whether all has held so far.
    pub fn holds(&self) -> bool {
        self.violations.lock().is_empty()
    }
}
