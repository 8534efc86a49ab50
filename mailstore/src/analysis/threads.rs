//! Threads that analyse ordinary messages.
//!
//! A thread cannot be stopped: one that overruns is abandoned, and replaced while few are abandoned. When no thread is
//! left, everything is turned away until one comes back.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use rookery_process::telemetry::Held;
use tokio::sync::oneshot;

use super::{Analyze, Analyzed, Failure, opaque};
use crate::catalogue::{ANALYSIS_OVERRUNS, ANALYSIS_QUEUE};

/// Abandoned threads that are replaced.
const ABANDONED_MAX: usize = 2;

/// How often a waiting caller looks for threads that overran.
const SWEEP_INTERVAL_MAX: Duration = Duration::from_millis(250);

type Reply = oneshot::Sender<Result<Analyzed, Failure>>;

pub(super) struct ThreadPool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    deadline: Duration,
    threads_max: usize,
    analyze: Analyze,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Bytes, Reply, Held)>,
    running: HashMap<u64, (Instant, Reply)>,
    tickets: u64,
    /// Threads that take work.
    serving: usize,
    /// Threads that overran and have not come back.
    abandoned: usize,
    stopping: bool,
}

impl ThreadPool {
    pub(super) fn start(threads: usize, deadline: Duration, analyze: Analyze) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            deadline,
            threads_max: threads,
            analyze,
        });
        {
            let mut state = shared.state.lock();
            for _ in 0..threads {
                shared.spawn(&mut state);
            }
        }
        Self { shared }
    }

    pub(super) async fn analyze(&self, message: Bytes) -> Result<Analyzed, Failure> {
        let (reply, mut answer) = oneshot::channel();
        {
            let mut state = self.shared.state.lock();
            if state.serving == 0 {
                return Err(Failure::Nobody);
            }
            state.queue.push_back((message, reply, ANALYSIS_QUEUE.hold(&[])));
        }
        self.shared.work.notify_one();
        let sweep_interval = SWEEP_INTERVAL_MAX.min(self.shared.deadline);
        loop {
            match tokio::time::timeout(sweep_interval, &mut answer).await {
                Ok(answer) => return answer.unwrap_or(Err(Failure::Died)),
                Err(_) => self.shared.sweep(),
            }
        }
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.state.lock().stopping = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn spawn(self: &Arc<Self>, state: &mut State) {
        let shared = Arc::clone(self);
        match std::thread::Builder::new()
            .name("mime".to_owned())
            .spawn(move || shared.serve())
        {
            Ok(_) => state.serving += 1,
            Err(error) => tracing::error!(%error, "cannot start a thread to analyse mail: fewer serve"),
        }
    }

    fn serve(&self) {
        while let Some((ticket, message)) = self.next() {
            let result = catch_unwind(AssertUnwindSafe(|| Analyzed::new(&(self.analyze)(&message).0)))
                .unwrap_or_else(|_| opaque(&message, "panicked"));
            drop(message);
            if let Some(reply) = self.reply_to(ticket) {
                // The caller may have gone.
                let _ = reply.send(Ok(result));
            } else if !self.come_back() {
                return;
            }
        }
    }

    /// Who waits for this; none when the thread was abandoned meanwhile.
    fn reply_to(&self, ticket: u64) -> Option<Reply> {
        let (_, reply) = self.state.lock().running.remove(&ticket)?;
        Some(reply)
    }

    /// Takes an abandoned thread back, unless there are enough without it.
    fn come_back(&self) -> bool {
        let mut state = self.state.lock();
        state.abandoned -= 1;
        let is_needed = state.serving < self.threads_max;
        state.serving += usize::from(is_needed);
        is_needed
    }

    fn next(&self) -> Option<(u64, Bytes)> {
        let mut state = self.state.lock();
        loop {
            if state.stopping {
                return None;
            }
            if let Some((message, reply, _)) = state.queue.pop_front() {
                state.tickets += 1;
                let ticket = state.tickets;
                state.running.insert(ticket, (Instant::now(), reply));
                return Some((ticket, message));
            }
            self.work.wait(&mut state);
        }
    }

    /// Abandons the threads that overran.
    fn sweep(self: &Arc<Self>) {
        let mut state = self.state.lock();
        let overrun: Vec<u64> = state
            .running
            .iter()
            .filter(|(_, (started, _))| started.elapsed() >= self.deadline)
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in overrun {
            let Some((_, reply)) = state.running.remove(&ticket) else {
                continue;
            };
            let _ = reply.send(Err(Failure::Overran));
            state.serving -= 1;
            state.abandoned += 1;
            ANALYSIS_OVERRUNS.increment(1);
            if state.abandoned <= ABANDONED_MAX {
                self.spawn(&mut state);
            } else {
                tracing::error!(
                    abandoned = state.abandoned,
                    "threads loop on mail and are not replaced any more: restart this node when convenient"
                );
            }
        }
        if state.serving == 0 {
            for (_, reply, _) in state.queue.drain(..) {
                let _ = reply.send(Err(Failure::Nobody));
            }
        }
    }
}
