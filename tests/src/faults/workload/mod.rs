//! Clients that work as real ones do, all their choices from one seed, and write down what they did and were told.

mod idle;
mod imap;
mod observer;
pub mod sender;
pub mod shards;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::history::{Account, Action, Answer, Event, Nanos, Outcome, Recorder};
pub use observer::{Credentials, Observer, ask_closing};

/// What a client waits before it connects again after it was refused or lost.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// How a workload is made up.
#[derive(Debug, Clone)]
pub struct Mix {
    /// Accounts `user1` to `userN`.
    pub accounts: Account,
    /// IMAP sessions; several share an account when there are more of them than accounts.
    pub sessions: u32,
    /// SMTP and LMTP clients.
    pub senders: u32,
    /// IDLE sessions.
    pub watchers: u32,
    /// How fast they work.
    pub tempo: Tempo,
}

/// How fast clients work: as fast as they can, unless more is said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tempo {
    /// What an IMAP session pauses between two commands, on average.
    pub think: Duration,
    /// Transactions a second of all senders together.
    pub transactions_per_second: Option<f64>,
}

/// Where a proxy is found.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// IMAP.
    pub imap: String,
    /// SMTP.
    pub smtp: String,
    /// LMTP.
    pub lmtp: String,
}

/// A word to all clients, which they heed between two operations.
#[derive(Debug, Default)]
pub struct Stop {
    said: Mutex<bool>,
    heard: Condvar,
}

impl Stop {
    /// Tells all to come to an end.
    pub fn say(&self) {
        *self.said.lock().unwrap_or_else(|error| error.into_inner()) = true;
        self.heard.notify_all();
    }

    /// Whether it has been said.
    pub fn is_said(&self) -> bool {
        *self.said.lock().unwrap_or_else(|error| error.into_inner())
    }

    /// Waits until it is said, or so long; whether it has been.
    pub fn wait(&self, longest: Duration) -> bool {
        let said = self.said.lock().unwrap_or_else(|error| error.into_inner());
        let waited = self.heard.wait_timeout_while(said, longest, |said| !*said);
        *waited.unwrap_or_else(|error| error.into_inner()).0
    }
}

/// What every client has.
#[derive(Clone)]
struct Client {
    session: u32,
    recorder: Arc<Recorder>,
    stop: Arc<Stop>,
    /// The number of the next message of the whole run.
    messages: Arc<AtomicU64>,
    rng: StdRng,
}

impl Client {
    fn next_message(&self) -> u64 {
        self.messages.fetch_add(1, Ordering::SeqCst)
    }

    fn record(&self, account: Account, invoked: Nanos, action: Action, outcome: Outcome, answer: Answer) {
        self.recorder.record(Event {
            session: self.session,
            account,
            invoked,
            completed: self.recorder.now(),
            action,
            outcome,
            answer,
        });
    }
}

/// The address of an account.
pub fn address(account: Account) -> String {
    format!("user{account}@example.test")
}

/// All clients, each in a thread.
pub struct Workload {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<Result<()>>>,
    /// IDLE sessions are stopped after the others, so that they are told of all that those did.
    idle_stop: Arc<Stop>,
    idle_threads: Vec<JoinHandle<Result<()>>>,
}

impl Workload {
    /// Starts all clients.
    pub fn start(mix: &Mix, seed: u64, proxies: &[Proxy], recorder: &Arc<Recorder>) -> Self {
        let (stop, idle_stop) = (Arc::new(Stop::default()), Arc::new(Stop::default()));
        let messages = Arc::new(AtomicU64::new(1));
        let mut number = 0;
        let mut client = |stop: &Arc<Stop>| {
            number += 1;
            Client {
                session: number,
                recorder: Arc::clone(recorder),
                stop: Arc::clone(stop),
                messages: Arc::clone(&messages),
                rng: StdRng::seed_from_u64(seed ^ u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            }
        };
        let mut threads = Vec::new();
        for session in 0..mix.sessions {
            let at = session as usize % proxies.len();
            // The second session of an account goes through another proxy when there is one.
            let at = (at + (session / mix.accounts) as usize) % proxies.len();
            let client = client(&stop);
            let account = session % mix.accounts + 1;
            let session = imap::Session::new(client, account, at, &proxies[at].imap, mix.tempo.think);
            threads.push(std::thread::spawn(move || session.run()));
        }
        for sender in 0..mix.senders {
            let proxy = proxies[sender as usize % proxies.len()].clone();
            let rate = mix.tempo.transactions_per_second;
            let interval = rate.map(|rate| Duration::from_secs_f64(f64::from(mix.senders) / rate));
            let sender = sender::Sender::new(client(&stop), mix.accounts, proxy, interval);
            threads.push(std::thread::spawn(move || sender.run()));
        }
        let mut idle_threads = Vec::new();
        for watcher in 0..mix.watchers {
            let at = (watcher as usize + 1) % proxies.len();
            let account = watcher % mix.accounts + 1;
            let watcher = idle::Watcher::new(client(&idle_stop), account, at, &proxies[at].imap);
            idle_threads.push(std::thread::spawn(move || watcher.run()));
        }
        Self {
            stop,
            threads,
            idle_stop,
            idle_threads,
        }
    }

    /// Stops the clients and waits for them. Those that IDLE go on.
    pub fn finish_clients(&mut self) -> Result<()> {
        self.stop.say();
        join(std::mem::take(&mut self.threads))
    }

    /// Stops the IDLE sessions and waits for them.
    pub fn finish_watchers(&mut self) -> Result<()> {
        self.idle_stop.say();
        join(std::mem::take(&mut self.idle_threads))
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // After an error: no client is left behind without the cluster.
        self.stop.say();
        self.idle_stop.say();
    }
}

fn join(threads: Vec<JoinHandle<Result<()>>>) -> Result<()> {
    for thread in threads {
        thread.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    Ok(())
}
