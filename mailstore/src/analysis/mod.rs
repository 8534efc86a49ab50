//! The look at each new message that FETCH and SEARCH live from, kept apart from everything else.
//!
//! A message on which the parser panics, loops or allocates without end is stored and served as opaque text, and no
//! other mail waits for it. Ordinary messages are analysed on a few threads of this process ([`threads`]): a panic is
//! caught, and a thread that overruns its deadline is left to itself and replaced. What a cheap look finds unusual
//! ([`screen`]), and what a thread overran on, goes to worker processes with limits on memory and CPU ([`process`]), which
//! are killed when they overrun. Whatever those cannot do is opaque.
//!
//! Never fails, and never parses on the runtime's threads.

mod process;
mod screen;
mod threads;
mod worker;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;
use rookery_mail::mime::{Analysis, Outcome, analyze_guarded};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use crate::catalogue::{ANALYSIS_SECONDS, MESSAGES_OPAQUE, looked_up};
use crate::schema::BodyHash;
use process::ProcessPool;
use threads::ThreadPool;
pub use worker::{worker_main, worker_main_with};

/// The hidden command of the program whose whole work is [`worker_main`].
pub const WORKER_COMMAND: &str = "mime-worker";

/// The largest message that is analysed; a larger one is opaque.
pub const ANALYSED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of uploaded messages that are in memory for their analysis; further ones wait.
const ANALYSING_BYTES_MAX: usize = 192 * 1024 * 1024;

/// Unit in which [`ANALYSING_BYTES_MAX`] is shared out.
const BUDGET_UNIT_BYTES: usize = 16 * 1024;

/// Results that are remembered, so that a message for several shards of a node is analysed once.
const RESULTS_REMEMBERED: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// A longer result is not remembered.
const REMEMBERED_BYTES_MAX: usize = 64 * 1024;

/// What looks at a message. Another one than the real one only in tests.
pub type Analyze = Arc<dyn Fn(&[u8]) -> (Analysis, Outcome) + Send + Sync>;

/// How messages are analysed.
#[derive(Clone)]
pub struct AnalysisSettings {
    /// Threads of this process.
    pub threads: usize,
    /// How long a thread may take for one message.
    pub thread_deadline: Duration,
    /// The command line of a worker process; empty when there are none, and what they would do is opaque.
    pub worker_command: Vec<String>,
    /// Worker processes at most.
    pub workers: usize,
    /// How long a worker process may take for one message, and how long a message waits for one.
    pub worker_deadline: Duration,
    /// What the threads run.
    pub analyze: Analyze,
    /// Messages are analysed by the task that asks, and no thread or process is started: for a simulation, whose messages are
    /// its own.
    pub in_place: bool,
}

impl Default for AnalysisSettings {
    fn default() -> Self {
        Self {
            threads: 2,
            thread_deadline: Duration::from_secs(2),
            worker_command: Vec::new(),
            workers: 2,
            worker_deadline: Duration::from_secs(5),
            analyze: Arc::new(analyze_guarded),
            in_place: false,
        }
    }
}

/// What a plan stores of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analyzed {
    /// Length of the header with its empty line.
    pub header_len: u64,
    /// The analysis in its stored form.
    pub stored: Bytes,
}

impl Analyzed {
    fn new(analysis: &Analysis) -> Self {
        Self {
            header_len: analysis.header_len,
            stored: analysis.encode(),
        }
    }

    /// Of a message that nothing is known of.
    pub fn opaque(message: &[u8]) -> Self {
        Self::new(&Analysis::opaque(message))
    }
}

/// Why a message could not be analysed somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// It took too long.
    Overran,
    /// Nobody was there to do it.
    Nobody,
    /// It ended its worker.
    Died,
}

/// Room for a message in memory.
pub struct Room<'a> {
    _held: Option<SemaphorePermit<'a>>,
}

/// Analyses messages.
pub struct Analyser {
    threads: ThreadPool,
    processes: ProcessPool,
    /// What the task that asks runs, when there are no threads.
    in_place: Option<Analyze>,
    budget: Semaphore,
    results: Mutex<LruCache<BodyHash, Arc<OnceCell<Analyzed>>>>,
}

impl Analyser {
    /// Starts the threads; processes start when they are needed. Dropping it ends both.
    pub fn start(settings: AnalysisSettings) -> Self {
        let threads = if settings.in_place { 0 } else { settings.threads };
        let in_place = settings.in_place.then(|| Arc::clone(&settings.analyze));
        Self {
            in_place,
            threads: ThreadPool::start(threads, settings.thread_deadline, settings.analyze),
            processes: ProcessPool::new(
                settings.worker_command,
                settings.workers,
                settings.worker_deadline,
            ),
            budget: Semaphore::new(ANALYSING_BYTES_MAX / BUDGET_UNIT_BYTES),
            results: Mutex::new(LruCache::new(RESULTS_REMEMBERED)),
        }
    }

    /// Analyses a message; equal ones at the same time are analysed once.
    pub async fn analyze(&self, hash: &BodyHash, message: &Bytes) -> Analyzed {
        let cell = Arc::clone(self.results.lock().get_or_insert(*hash, Arc::default));
        looked_up("analyses", cell.initialized());
        let result = cell.get_or_init(|| self.timed(message)).await.clone();
        if result.stored.len() > REMEMBERED_BYTES_MAX {
            self.results.lock().pop(hash);
        }
        result
    }

    /// The analysis of a message that was analysed lately.
    pub fn remembered(&self, hash: &BodyHash) -> Option<Analyzed> {
        self.results.lock().get(hash)?.get().cloned()
    }

    /// Waits until so many bytes of a message may be in memory for its analysis; they may as long as the room is held.
    pub async fn room(&self, bytes: u64) -> Room<'_> {
        let units = usize::try_from(bytes)
            .unwrap_or(usize::MAX)
            .div_ceil(BUDGET_UNIT_BYTES);
        // Never closed.
        let held = self
            .budget
            .acquire_many(units.min(ANALYSING_BYTES_MAX / BUDGET_UNIT_BYTES) as u32)
            .await
            .ok();
        Room { _held: held }
    }

    async fn timed(&self, message: &Bytes) -> Analyzed {
        let began = Instant::now();
        let result = self.run(message).await;
        ANALYSIS_SECONDS.since(&[], began);
        result
    }

    async fn run(&self, message: &Bytes) -> Analyzed {
        if message.len() > ANALYSED_BYTES_MAX {
            return opaque(message, "too large");
        }
        if let Some(analyze) = &self.in_place {
            return Analyzed::new(&analyze(message).0);
        }
        if !screen::is_unusual(message) {
            match self.threads.analyze(message.clone()).await {
                Ok(done) => return done,
                Err(failure) => tracing::warn!(?failure, size = message.len(), "a message is analysed apart"),
            }
        }
        match self.processes.analyze(message).await {
            Ok(done) => done,
            Err(failure) => {
                tracing::warn!(
                    ?failure,
                    size = message.len(),
                    "a message is served as opaque text"
                );
                opaque(message, "failed")
            }
        }
    }
}

fn opaque(message: &[u8], cause: &'static str) -> Analyzed {
    MESSAGES_OPAQUE.with(&[cause]).increment(1);
    Analyzed::opaque(message)
}

#[cfg(test)]
mod tests;
