//! A log in memory, for tests and simulation: what is not synced can be held back and lost.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use bytes::Bytes;
use parking_lot::Mutex;

use super::replica::ReplicaLog;
use super::{Done, Log, LogState, Position, Record, ReplicaId};

/// A log in memory. [`Done`]s are told by the thread that appends, or by the one that syncs.
#[derive(Default)]
pub struct MemoryLog {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What reads see.
    seen: Replicas,
    /// What a crash leaves.
    durable: Replicas,
    /// Appends that are not durable, oldest first.
    waiting: VecDeque<Waiting>,
    held_back: bool,
    failed: bool,
    closed: bool,
}

/// Ordered, so that a simulation runs alike each time.
type Replicas = BTreeMap<ReplicaId, ReplicaLog<Bytes>>;

struct Waiting {
    replica: ReplicaId,
    records: Vec<Record>,
    refused: Option<String>,
    done: Done,
}

impl MemoryLog {
    /// A log of which each append is durable at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// A log of which nothing is durable until [`Self::sync`].
    pub fn held_back() -> Self {
        let log = Self::default();
        log.hold_back(true);
        log
    }

    /// Whether appends wait for [`Self::sync`] from now on.
    pub fn hold_back(&self, held_back: bool) {
        self.state.lock().held_back = held_back;
    }

    /// Appends that are not durable.
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Makes all that waits durable.
    pub fn sync(&self) {
        self.sync_first(usize::MAX);
    }

    /// Makes the oldest `appends` that wait durable.
    pub fn sync_first(&self, appends: usize) {
        let mut state = self.state.lock();
        let appends = appends.min(state.waiting.len());
        let taken: Vec<Waiting> = state.waiting.drain(..appends).collect();
        let failed = state.failed;
        if !failed {
            for waiting in &taken {
                apply(&mut state.durable, waiting.replica, &waiting.records);
            }
        }
        drop(state);
        for waiting in taken {
            (waiting.done)(match waiting.refused {
                Some(refused) => Err(io::Error::new(io::ErrorKind::InvalidInput, refused)),
                None if failed => Err(io::Error::other("the log cannot be written")),
                None => Ok(()),
            });
        }
    }

    /// From now on nothing becomes durable: who waits and who comes later is told an error.
    pub fn fail(&self) {
        self.state.lock().failed = true;
        self.sync();
    }

    /// What a crash leaves: what is durable, and of what waits the oldest `appends`, as a disk may have written them
    /// without having said so. Who waits on this log is never told.
    pub fn after_crash(&self, appends: usize) -> Self {
        let state = self.state.lock();
        let mut durable = state.durable.clone();
        for waiting in state.waiting.iter().take(appends) {
            apply(&mut durable, waiting.replica, &waiting.records);
        }
        Self {
            state: Mutex::new(State {
                seen: durable.clone(),
                durable,
                held_back: state.held_back,
                ..State::default()
            }),
        }
    }
}

impl Log for MemoryLog {
    fn append(&self, replica: ReplicaId, records: Vec<Record>, done: Done) {
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            return done(Err(io::Error::other("the log has been closed")));
        }
        let nothing = ReplicaLog::default();
        let refused = state.seen.get(&replica).unwrap_or(&nothing).refuse(&records);
        let records = if refused.is_some() { Vec::new() } else { records };
        if !state.failed {
            apply(&mut state.seen, replica, &records);
        }
        state.waiting.push_back(Waiting {
            replica,
            records,
            refused,
            done,
        });
        let at_once = !state.held_back || state.failed;
        drop(state);
        if at_once {
            self.sync();
        }
    }

    fn state(&self, replica: ReplicaId) -> LogState {
        let state = self.state.lock();
        state
            .seen
            .get(&replica)
            .map(ReplicaLog::state)
            .unwrap_or_default()
    }

    fn read(
        &self,
        replica: ReplicaId,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> io::Result<Vec<(Position, Bytes)>> {
        let state = self.state.lock();
        let mut bytes = 0;
        let mut found = Vec::new();
        for (position, payload) in state
            .seen
            .get(&replica)
            .into_iter()
            .flat_map(|log| log.range(from, to))
        {
            bytes += payload.len();
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push((*position, payload.clone()));
        }
        Ok(found)
    }

    fn read_recent(
        &self,
        replica: ReplicaId,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Option<Vec<(Position, Bytes)>> {
        self.read(replica, from, to, bytes_max).ok()
    }

    fn replicas(&self) -> Vec<ReplicaId> {
        self.state.lock().seen.keys().copied().collect()
    }

    fn bytes_held(&self) -> u64 {
        let state = self.state.lock();
        let entries = state.seen.values().flat_map(ReplicaLog::entries);
        entries.map(|(_, payload)| payload.len() as u64).sum()
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.sync();
    }
}

fn apply(replicas: &mut Replicas, replica: ReplicaId, records: &[Record]) {
    for record in records {
        if *record == Record::Forget {
            replicas.remove(&replica);
        } else {
            let log = replicas.entry(replica).or_default();
            log.apply(record.clone(), |payload| payload, drop);
        }
    }
}
