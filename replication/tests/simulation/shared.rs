//! What all of a simulated run shares: the time, the dice, the trace, the history, the network and the directory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rookery_replication::store::MemoryDisk;

use crate::directory::Directory;
use crate::history::History;
use crate::network::Network;
use crate::trace::Trace;

/// What all of a run shares. One thread uses it.
pub(crate) struct Shared {
    /// Milliseconds since the run began, by no machine's clock.
    now: AtomicU64,
    dice: Mutex<StdRng>,
    trace: Mutex<Trace>,
    pub(crate) history: Mutex<History>,
    pub(crate) network: Mutex<Network>,
    pub(crate) directory: Mutex<Directory>,
    violations: Mutex<Vec<String>>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    quiet: AtomicBool,
}

impl Shared {
    pub(crate) fn new(seed: u64, printed: bool, directory: Directory) -> Arc<Self> {
        Arc::new(Self {
            now: AtomicU64::new(0),
            dice: Mutex::new(StdRng::seed_from_u64(seed)),
            trace: Mutex::new(Trace::new(printed)),
            history: Mutex::default(),
            network: Mutex::default(),
            directory: Mutex::new(directory),
            violations: Mutex::default(),
            counts: Mutex::default(),
            quiet: AtomicBool::new(false),
        })
    }

    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    pub(crate) fn set_now(&self, millis: u64) {
        self.now.store(millis, Ordering::Relaxed);
    }

    /// A number of the range.
    pub(crate) fn draw(&self, range: std::ops::Range<u64>) -> u64 {
        self.dice.lock().random_range(range)
    }

    /// True once in `n`, on average; never for 0.
    pub(crate) fn once_in(&self, n: u64) -> bool {
        n > 0 && self.draw(0..n) == 0
    }

    /// Whether nothing is to be asked for any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    pub(crate) fn be_quiet(&self) {
        self.quiet.store(true, Ordering::Relaxed);
    }

    pub(crate) fn trace(&self, event: &str) {
        self.trace.lock().event(self.now(), event);
    }

    pub(crate) fn outcome(&self) -> (u64, u64) {
        self.trace.lock().outcome()
    }

    /// Something that is counted happened.
    pub(crate) fn count(&self, what: &'static str) {
        *self.counts.lock().entry(what).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().clone()
    }

    /// An invariant does not hold.
    pub(crate) fn violated(&self, what: String) {
        self.trace(&format!("VIOLATED {what}"));
        self.violations.lock().push(what);
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().clone()
    }
}

/// A running machine as seen by what runs on it.
#[derive(Clone)]
pub(crate) struct Here {
    pub(crate) shared: Arc<Shared>,
    pub(crate) node: String,
    disk: Arc<MemoryDisk>,
    /// Messages that it may still send; the power goes with the last one.
    messages: Arc<AtomicU64>,
}

impl Here {
    pub(crate) fn new(shared: Arc<Shared>, node: String, disk: Arc<MemoryDisk>) -> Self {
        Self {
            shared,
            node,
            disk,
            messages: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    /// Whether its power was cut: nothing that it does is seen by anybody any more.
    pub(crate) fn is_dark(&self) -> bool {
        self.disk.is_cut()
    }

    /// The power goes after so many more messages.
    pub(crate) fn cut_power_after_messages(&self, messages: u64) {
        self.messages.store(messages, Ordering::Relaxed);
    }

    /// A message is about to leave; false when the power has gone.
    pub(crate) fn sends(&self) -> bool {
        if self.messages.load(Ordering::Relaxed) == 0 {
            self.disk.cut_power_after(0);
        }
        if self.is_dark() {
            return false;
        }
        self.messages.fetch_sub(1, Ordering::Relaxed);
        true
    }

    pub(crate) fn trace(&self, event: &str) {
        self.shared.trace(&format!("{} {event}", self.node));
    }
}
