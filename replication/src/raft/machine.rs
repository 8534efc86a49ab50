//! A replica's state, as openraft wants it: a key range of the node's store, and what of the log is in it.
//!
//! What is applied is in memory until the store is flushed; the log keeps it until then. Which entry was applied last is
//! written with what it wrote, so that after a crash the state is that of one entry, whole.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::Mutex;

use super::types::{LogId, Outcome, Plans, Snapshot, SnapshotMeta, StoredMembership, Types};
use crate::applied::{Applied, Sequence};
use crate::applier::Applier;
use crate::entry::{Entry, GroupId, PayloadError};
use crate::log::ReplicaId;
use crate::snapshot::{SnapshotData, install};
use crate::store::{OwnedSnapshot, Store, Writes};

/// Bytes of entries that are applied in one write.
const APPLY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What others see of a replica's state machine.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// What is applied.
    applied: Mutex<Applied>,
    /// What was applied at a moment before a completed flush: the log up to there is no longer needed.
    flushed: Mutex<Applied>,
    /// Odd while the rows are not of one moment, and for good when they are removed.
    upheavals: AtomicU64,
    /// Bytes that have come of a state that is being fetched; 0 while none is.
    pub(crate) fetched: AtomicU64,
    /// Held while something is written: whether nothing may be any more.
    closed: tokio::sync::Mutex<bool>,
    /// What waits for room is to be given up.
    is_closing: AtomicBool,
}

impl Progress {
    /// From now on the rows are not of one moment: a state is taken in, or they are removed.
    pub(crate) fn begin_upheaval(&self) {
        self.upheavals.fetch_or(1, Ordering::SeqCst);
    }

    /// They are again.
    fn end_upheaval(&self) {
        self.upheavals.fetch_add(1, Ordering::SeqCst);
    }

    /// What `look` sees of the rows, if they were of one moment before and after it.
    pub(crate) fn undisturbed<T>(&self, look: impl FnOnce() -> T) -> Option<T> {
        let before = self.upheavals.load(Ordering::SeqCst);
        if before % 2 == 1 {
            return None;
        }
        let seen = look();
        (self.upheavals.load(Ordering::SeqCst) == before).then_some(seen)
    }

    /// Nothing else is written until what is returned is dropped. Error: the replica has been closed.
    async fn write(&self) -> io::Result<tokio::sync::MutexGuard<'_, bool>> {
        let closed = self.closed.lock().await;
        match *closed {
            true => Err(io::Error::other("the replica has been closed")),
            false => Ok(closed),
        }
    }

    /// Nothing is written any more once this has answered that it is so; what is being written may take longer than is waited for.
    pub(crate) async fn close(&self, waits: Duration) -> bool {
        self.is_closing.store(true, Ordering::SeqCst);
        let closed = tokio::time::timeout(waits, self.closed.lock()).await;
        closed.map(|mut closed| *closed = true).is_ok()
    }

    /// What is applied.
    pub(crate) fn applied(&self) -> Applied {
        self.applied.lock().clone()
    }

    /// What was applied before a completed flush.
    pub(crate) fn flushed(&self) -> Applied {
        self.flushed.lock().clone()
    }

    /// A flush has completed that began after this was applied.
    pub(crate) fn set_flushed(&self, applied: Applied) {
        let mut flushed = self.flushed.lock();
        if flushed.last < applied.last {
            *flushed = applied;
        }
    }
}

/// A replica's state machine.
pub(crate) struct Machine {
    group: GroupId,
    replica: ReplicaId,
    witness: bool,
    store: Arc<Store>,
    applier: Arc<Applier>,
    progress: Arc<Progress>,
}

impl Machine {
    /// The state machine of a replica as the store has it.
    pub(crate) fn open(
        group: GroupId,
        replica: ReplicaId,
        witness: bool,
        store: Arc<Store>,
        applier: Arc<Applier>,
    ) -> io::Result<Self> {
        let applied = Applied::read(store.as_ref(), group, replica).map_err(io::Error::other)?;
        let progress = Progress {
            applied: Mutex::new(applied.clone()),
            // What is found at the start has come from files.
            flushed: Mutex::new(applied),
            ..Progress::default()
        };
        Ok(Self {
            group,
            replica,
            witness,
            store,
            applier,
            progress: Arc::new(progress),
        })
    }

    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Adds what an entry writes; says what became of it.
    fn gather(&self, writes: &mut Writes, applied: &mut Applied, plans: &Bytes) -> io::Result<Outcome> {
        let entry = Entry::decode(plans).map_err(invalid)?;
        let next = Sequence {
            leader: entry.leader,
            next: entry.number,
        };
        let Some(after) = applied.sequence.after(next) else {
            return Ok(Outcome::Replan);
        };
        applied.sequence = after;
        if !self.witness {
            self.store
                .gather(writes, &entry.batch)
                .map_err(io::Error::other)?;
        }
        Ok(Outcome::Applied)
    }
}

fn invalid(error: PayloadError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Marker;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let applied = self.progress.applied();
        Ok((applied.last, applied.membership))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut more = true;
        while more {
            let mut applied = self.progress.applied();
            let before = applied.last;
            let mut writes = self.store.begin();
            let mut answers = Vec::new();
            let mut bytes = 0;
            more = false;
            while let Some(item) = entries.next().await {
                let (entry, responder) = item?;
                let outcome = match entry.payload {
                    EntryPayload::Blank => Outcome::Applied,
                    EntryPayload::Normal(Plans(plans)) => {
                        bytes += plans.len();
                        self.gather(&mut writes, &mut applied, &plans)?
                    }
                    EntryPayload::Membership(membership) => {
                        applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                        Outcome::Applied
                    }
                };
                applied.last = Some(entry.log_id);
                answers.extend(responder.map(|responder| (responder, outcome)));
                if bytes >= APPLY_BYTES_MAX {
                    more = true;
                    break;
                }
            }
            if applied.last == before {
                break;
            }
            writes.put_own(Applied::key(self.group), applied.row(self.replica));
            let _writing = self.progress.write().await?;
            self.applier.apply(writes).await?;
            *self.progress.applied.lock() = applied;
            for (responder, outcome) in answers {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Marker {
        Marker(Arc::clone(&self.progress))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let SnapshotData::Received(received) = snapshot else {
            return Err(io::Error::other(
                "a snapshot of this node was given to it to install",
            ));
        };
        let applied = Applied {
            last: meta.last_log_id,
            membership: meta.last_membership.clone(),
            sequence: received.sequence,
        };
        let (store, group, replica) = (Arc::clone(&self.store), self.group, self.replica);
        let (applier, installed) = (Arc::clone(&self.applier), applied.clone());
        let progress = Arc::clone(&self.progress);
        let _writing = self.progress.write().await?;
        self.progress.begin_upheaval();
        let taking_in = move || {
            let mut is_done = false;
            let taken_in = applier.insist(|| {
                if !progress.is_closing.load(Ordering::SeqCst) {
                    install(&store, group, replica, &installed, &received)?;
                    is_done = true;
                }
                Ok(())
            });
            if !is_done {
                // The next start finishes it, unless the replica is removed.
                received.leave_files();
                taken_in?;
                return Err(io::Error::other("the replica is being closed"));
            }
            taken_in
        };
        self.store.blocking(taking_in).await??;
        *self.progress.applied.lock() = applied.clone();
        *self.progress.flushed.lock() = applied;
        self.progress.end_upheaval();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let view = OwnedSnapshot::of(Arc::clone(&self.store));
        let applied = Applied::read(&view, self.group, self.replica).map_err(io::Error::other)?;
        if applied.last.is_none() {
            return Ok(None);
        }
        Ok(Some(Snapshot {
            meta: meta(&applied),
            snapshot: SnapshotData::held(view, applied.sequence),
        }))
    }
}

fn meta(applied: &Applied) -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: applied.last,
        last_membership: applied.membership.clone(),
    }
}

/// Says how far the log is no longer needed: openraft's snapshot that is built is only this. A follower that needs a state gets it
/// from the store, as it is then.
pub(crate) struct Marker(Arc<Progress>);

impl RaftSnapshotBuilder<Types> for Marker {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let flushed = self.0.flushed();
        Ok(Snapshot {
            meta: meta(&flushed),
            snapshot: SnapshotData::Marker,
        })
    }
}
