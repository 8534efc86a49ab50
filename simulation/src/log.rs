//! A simulated machine's log: appends become durable when the simulation says so, and the last ones are lost in a power cut.
//!
//! It can be told to break a rule that consensus rests on, to show that the simulation would see that.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_replication::log::{Done, Log, LogState, MemoryLog, Position, Record, ReplicaId};
use rookery_replication::store::MemoryDisk;

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// An append is said to be durable at once.
    AcksBeforeSync,
    /// Votes are never durable.
    ForgetsVotes,
}

#[derive(Default)]
struct State {
    /// Votes that are never durable, when that rule is broken.
    votes: BTreeMap<ReplicaId, Bytes>,
    /// Appends that waited when the power was cut.
    waited: Option<usize>,
}

/// A machine's log.
pub struct SimulatedLog {
    inner: MemoryLog,
    /// The disk of the same machine, whose power is this one's.
    disk: Arc<MemoryDisk>,
    broken: Option<Broken>,
    state: Mutex<State>,
}

impl SimulatedLog {
    /// An empty one, on the machine of this disk.
    pub fn new(disk: &Arc<MemoryDisk>, broken: Option<Broken>) -> Arc<Self> {
        Self::over(MemoryLog::held_back(), disk, broken)
    }

    fn over(inner: MemoryLog, disk: &Arc<MemoryDisk>, broken: Option<Broken>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            disk: Arc::clone(disk),
            broken,
            state: Mutex::default(),
        })
    }

    /// Appends that are not durable, and may become so.
    pub fn waiting(&self) -> usize {
        let waited = self.state.lock().waited;
        waited.unwrap_or_else(|| self.inner.waiting())
    }

    /// Makes the oldest appends durable.
    pub fn sync(&self, appends: usize) {
        self.inner.sync_first(appends);
    }

    /// What a power cut leaves, if of what waits the oldest `appends` had reached the disk.
    pub fn after_power_cut(&self, appends: usize, disk: &Arc<MemoryDisk>) -> Arc<Self> {
        let inner = self.inner.after_crash(appends.min(self.waiting()));
        inner.hold_back(true);
        Self::over(inner, disk, self.broken)
    }
}

impl Log for SimulatedLog {
    fn append(&self, replica: ReplicaId, mut records: Vec<Record>, mut done: Done) {
        if self.broken == Some(Broken::ForgetsVotes) {
            records.retain(|record| match record {
                Record::Vote(vote) => {
                    self.state.lock().votes.insert(replica, vote.clone());
                    false
                }
                _ => true,
            });
        }
        let dark = self.disk.is_cut();
        if dark {
            let waits = self.inner.waiting();
            self.state.lock().waited.get_or_insert(waits);
        }
        // Who removes a replica waits here until that is durable.
        let forgets = records.contains(&Record::Forget);
        if self.broken == Some(Broken::AcksBeforeSync) || dark && forgets {
            let told = std::mem::replace(&mut done, Box::new(|_| ()));
            self.inner.append(replica, records, done);
            return told(Ok(()));
        }
        self.inner.append(replica, records, done);
        if forgets {
            self.inner.sync();
        }
    }

    fn state(&self, replica: ReplicaId) -> LogState {
        let mut state = self.inner.state(replica);
        if let Some(vote) = self.state.lock().votes.get(&replica) {
            state.vote = Some(vote.clone());
        }
        state
    }

    fn read(
        &self,
        replica: ReplicaId,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> std::io::Result<Vec<(Position, Bytes)>> {
        self.inner.read(replica, from, to, bytes_max)
    }

    fn read_recent(
        &self,
        replica: ReplicaId,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Option<Vec<(Position, Bytes)>> {
        self.inner.read_recent(replica, from, to, bytes_max)
    }

    fn replicas(&self) -> Vec<ReplicaId> {
        self.inner.replicas()
    }

    fn bytes_held(&self) -> u64 {
        self.inner.bytes_held()
    }

    fn close(&self) {
        self.inner.close();
    }
}
