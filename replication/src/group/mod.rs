//! A node's part in its groups: takes what leaders propose, makes it durable, applies it.
//!
//! Today a group has this one member, and its log is the store's own write-ahead log: a proposal is decided when it has
//! been written and synced. A consensus log takes the place of the committer without a change to who proposes: what
//! they see is [`Leader::propose`], a [`Proposal`] that ends in applied, lost or to be planned anew, and the apply rule
//! of [`crate::Entry`].

mod committer;
mod queue;

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::queue::Queue;
use crate::batch::Batch;
use crate::entry::{Entry, GroupId, LeaderId};
use crate::store::{Snapshot, Store, StoreError, StoreOptions};

/// Called with the reason when a write or its sync failed, after which nothing is known about the disk.
pub type OnFailure = Arc<dyn Fn(&StoreError) + Send + Sync>;

/// How a member works.
#[derive(Clone)]
pub struct MemberOptions {
    /// Tuning of the store.
    pub store: StoreOptions,
    /// Bytes of proposals that may wait; [`Leader::ready`] waits while there are more.
    pub queue_bytes_max: usize,
    /// Bytes of entries that are written and synced together, unless one entry alone is larger.
    pub commit_bytes_max: usize,
    /// By default ends the process: a failed sync leaves the disk in an unknown state.
    pub on_failure: OnFailure,
}

impl Default for MemberOptions {
    fn default() -> Self {
        Self {
            store: StoreOptions::default(),
            queue_bytes_max: 64 * 1024 * 1024,
            commit_bytes_max: 16 * 1024 * 1024,
            on_failure: Arc::new(|error| {
                tracing::error!(%error, "the process ends: what is on disk is unknown until it has started again");
                std::process::abort();
            }),
        }
    }
}

/// Why a proposal was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// What became of it is unknown; what is in flight after it is void.
    #[error("the outcome of the proposal is unknown")]
    Lost,
    /// It is not the next of its group's leader: nothing was done, plan anew on what is stored.
    #[error("the proposal is not its leader's next")]
    Replan,
    /// The member has been closed: nothing was done.
    #[error("the store has been closed")]
    Closed,
}

/// The node's store and its committer. Dropping it commits what waits and ends the committer.
pub struct Member {
    store: Arc<Store>,
    queue: Arc<Queue>,
    epoch: u64,
    leaders: AtomicU32,
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl Member {
    /// Opens the store in a folder and starts its committer.
    pub fn open(path: impl AsRef<Path>, options: MemberOptions) -> Result<Arc<Self>, StoreError> {
        let store = Arc::new(Store::open(path.as_ref(), &options.store)?);
        let epoch = committer::next_epoch(&store)?;
        let queue = Arc::new(Queue::new(options.queue_bytes_max));
        let committer = committer::spawn(Arc::clone(&store), Arc::clone(&queue), &options)
            .map_err(|error| StoreError::Write(format!("cannot start the committer: {error}")))?;
        let committer = Mutex::new(Some(committer));
        Ok(Arc::new(Self {
            store,
            queue,
            epoch,
            leaders: AtomicU32::new(0),
            committer,
        }))
    }

    /// Begins a new leadership of a group, which ends any other. Waits until all that was proposed for the group before
    /// has been applied, so that what is then read is all there is.
    pub fn lead(&self, group: GroupId) -> Leader {
        let id = LeaderId((self.epoch << 32) | u64::from(self.leaders.fetch_add(1, Ordering::Relaxed)));
        self.queue.take_over(group, id);
        Leader {
            group,
            id,
            next: AtomicU64::new(0),
            queue: Arc::clone(&self.queue),
        }
    }

    /// What is applied.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What is applied, at one moment.
    pub fn snapshot(&self) -> Snapshot<'_> {
        self.store.snapshot()
    }

    /// Commits what waits, then refuses everything with [`ProposeError::Closed`]. Blocks until it is done.
    pub fn close(&self) {
        self.queue.close();
        let committer = self.committer.lock().take();
        if let Some(committer) = committer
            && committer.join().is_err()
        {
            tracing::error!("the committer has panicked");
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.close();
    }
}

/// The right to propose for a group, held by its single writer.
pub struct Leader {
    group: GroupId,
    id: LeaderId,
    next: AtomicU64,
    queue: Arc<Queue>,
}

impl Leader {
    /// Its group.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// This leadership.
    pub fn id(&self) -> LeaderId {
        self.id
    }

    /// The number that the next proposal gets.
    pub fn next_number(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Waits while more is queued than the node may queue.
    pub async fn ready(&self) {
        self.queue.ready().await;
    }

    /// Proposes the next entry. Never waits: who cares for the queue's bound awaits [`Leader::ready`] first.
    ///
    /// Entries are applied in the order in which they are proposed. Once one has failed all later ones fail as well,
    /// and a new leadership is needed.
    pub fn propose(&self, batch: Batch) -> Proposal {
        let (sender, outcome) = oneshot::channel();
        let number = self.queue.push(sender, || {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            Entry {
                group: self.group,
                leader: self.id,
                number,
                batch,
            }
        });
        Proposal { number, outcome }
    }
}

/// A proposal under way. Dropping it does not withdraw it.
#[derive(Debug)]
pub struct Proposal {
    number: u64,
    outcome: oneshot::Receiver<Result<(), ProposeError>>,
}

impl Proposal {
    /// The entry's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Waits outside of a runtime.
    pub fn blocking_wait(self) -> Result<(), ProposeError> {
        self.outcome.blocking_recv().unwrap_or(Err(ProposeError::Lost))
    }
}

impl Future for Proposal {
    /// Applied and durable, or why not.
    type Output = Result<(), ProposeError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome)
            .poll(context)
            .map(|outcome| outcome.unwrap_or(Err(ProposeError::Lost)))
    }
}

#[cfg(test)]
mod tests;
