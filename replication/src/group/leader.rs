//! The right to propose for a group, and what becomes of proposals.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use openraft::errors::ClientWriteError;
use openraft::impls::OneshotResponder;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::replica::Group;
use crate::batch::Batch;
use crate::entry::{Entry, GroupId, LeaderId};
use crate::raft::types::{Plans, WriteResult};
use crate::raft::{Outcome, Types};
use crate::strain::Strain;

/// Why a proposal was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// What became of it is unknown; what is in flight after it is void.
    #[error("the outcome of the proposal is unknown")]
    Lost,
    /// It is not the next of its group's leader: nothing was done, plan anew on what is stored.
    #[error("the proposal is not its leader's next")]
    Replan,
    /// This node does not lead the group: nothing was done.
    #[error("this node does not lead the group")]
    NotLeader,
    /// The replica has been closed: nothing was done.
    #[error("the replica has been closed")]
    Closed,
}

/// Bytes of proposals under way on a node, and how long they take.
pub(super) struct Budget {
    strain: Arc<Strain>,
    bytes_max: usize,
    bytes: AtomicUsize,
    room: Notify,
}

impl Budget {
    pub(super) fn new(bytes_max: usize, strain: Arc<Strain>) -> Arc<Self> {
        Arc::new(Self {
            strain,
            bytes_max,
            bytes: AtomicUsize::new(0),
            room: Notify::new(),
        })
    }

    async fn ready(&self) {
        loop {
            let notified = self.room.notified();
            if self.bytes.load(Ordering::Acquire) <= self.bytes_max {
                return;
            }
            notified.await;
        }
    }
}

/// Bytes of one proposal, given back when it is over.
struct Spent {
    budget: Arc<Budget>,
    bytes: usize,
    since: Instant,
}

impl Spent {
    fn new(budget: &Arc<Budget>, bytes: usize) -> Self {
        budget.bytes.fetch_add(bytes, Ordering::AcqRel);
        Self {
            budget: Arc::clone(budget),
            bytes,
            since: Instant::now(),
        }
    }

    /// The proposal has been applied.
    fn applied(&self) {
        let now = Instant::now();
        self.budget
            .strain
            .note(now, now.saturating_duration_since(self.since));
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        self.budget.room.notify_waiters();
    }
}

/// The right to propose for a group, held by its single writer.
pub struct Leader {
    group: Arc<Group>,
    id: LeaderId,
    next: AtomicU64,
}

impl Leader {
    /// Begins a leadership: its first entry, with nothing in it, comes before all that it will propose and after all that
    /// came before, so that when it is applied nothing of an earlier leadership can follow.
    pub(super) async fn begin(group: Arc<Group>, id: LeaderId) -> Result<Self, ProposeError> {
        let leader = Self {
            group,
            id,
            next: AtomicU64::new(0),
        };
        leader.propose(Batch::new()).await.await?;
        Ok(leader)
    }

    /// Its group.
    pub fn group(&self) -> GroupId {
        self.group.id()
    }

    /// This leadership.
    pub fn id(&self) -> LeaderId {
        self.id
    }

    /// The number that the next proposal gets.
    pub fn next_number(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Waits while more is under way than the node may have.
    pub async fn ready(&self) {
        self.group.budget.ready().await;
    }

    /// Proposes the next entry; to be called by one task alone. Who cares for the node's bound awaits [`Leader::ready`] first.
    ///
    /// Entries are applied in the order in which they are proposed. Once one has failed all later ones fail as well,
    /// and a new leadership is needed.
    pub async fn propose(&self, batch: Batch) -> Proposal {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            leader: self.id,
            number,
            batch,
        };
        let bytes = entry.encode();
        let spent = Spent::new(&self.group.budget, bytes.len());
        let (responder, outcome) = OneshotResponder::<Types, WriteResult>::new_pair();
        let sent = match self.group.renew_lease().await {
            Ok(()) => self
                .group
                .raft
                .client_write_ff(Plans(bytes), Some(responder))
                .await
                .map_err(|_| ProposeError::Closed),
            Err(error) => Err(error),
        };
        Proposal {
            number,
            group: Arc::clone(&self.group),
            state: match sent {
                Ok(()) => State::Sent(outcome),
                Err(error) => State::Refused(error),
            },
            spent,
        }
    }

    /// [`Leader::propose`] for a thread outside of a runtime.
    pub fn propose_blocking(&self, batch: Batch) -> Proposal {
        self.group.runtime.block_on(self.propose(batch))
    }
}

enum State {
    Sent(oneshot::Receiver<WriteResult>),
    Refused(ProposeError),
}

/// A proposal under way. Dropping it does not withdraw it.
pub struct Proposal {
    number: u64,
    group: Arc<Group>,
    state: State,
    spent: Spent,
}

impl std::fmt::Debug for Proposal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proposal").field("number", &self.number).finish()
    }
}

impl Proposal {
    /// The entry's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Waits outside of a runtime.
    pub fn blocking_wait(self) -> Result<(), ProposeError> {
        let runtime = self.group.runtime.clone();
        runtime.block_on(self)
    }
}

impl Future for Proposal {
    /// Applied, and durable on a quorum; or why not.
    type Output = Result<(), ProposeError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.state {
            State::Refused(error) => return Poll::Ready(Err(*error)),
            State::Sent(outcome) => std::task::ready!(Pin::new(outcome).poll(context)),
        };
        Poll::Ready(match outcome {
            Ok(Ok(response)) => {
                self.group.heard_of_quorum();
                match response.data {
                    Outcome::Applied => {
                        self.spent.applied();
                        Ok(())
                    }
                    Outcome::Replan => Err(ProposeError::Replan),
                }
            }
            Ok(Err(ClientWriteError::ForwardToLeader(_))) => Err(ProposeError::NotLeader),
            // Its place in the log was taken by another leader's, or the replica is going down: it may have been agreed on.
            Ok(Err(_)) | Err(_) => Err(ProposeError::Lost),
        })
    }
}
