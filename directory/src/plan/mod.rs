//! Mutations: pure functions from a view to the writes that make the change, the event that tells of it, and the answer.
//!
//! A planner reads what the store will hold once all that is in flight is applied, so that plans can be made before
//! earlier ones are durable. Times and random bytes are given to it. Nothing here blocks, logs or fails half-way.

pub mod account;
pub mod alias;
pub mod domain;
pub mod holding;
pub mod join;
pub mod member;
pub mod moving;
pub mod node;
pub mod rebalance;
pub mod restore;
pub mod shard;
pub mod signing_key;
pub mod split;

#[cfg(test)]
pub(crate) mod tests;

use rookery_proto::directory::v1::{AccountChange, WatchEvent};
use rookery_proto::{Reason, Status};
use rookery_replication::Batch;

use crate::address::AddressError;
use crate::events::Event;
use crate::resolve::ResolveError;
use crate::schema::read::ReadError;
use crate::schema::{AccountId, ShardId};

/// A change that was decided.
#[derive(Debug)]
pub struct Planned<T> {
    /// What is written; empty when nothing changes.
    pub batch: Batch,
    /// What watchers are told once it is durable; its version is set later.
    pub event: WatchEvent,
    /// What operators are told of it; written with it.
    pub events: Vec<Event>,
    /// What the caller is told once it is durable.
    pub reply: T,
}

impl<T> Planned<T> {
    fn new(batch: Batch, reply: T) -> Self {
        Self {
            batch,
            event: WatchEvent::default(),
            events: Vec::new(),
            reply,
        }
    }

    /// Operators are told.
    pub(crate) fn telling(mut self, events: impl IntoIterator<Item = Event>) -> Self {
        self.events.extend(events);
        self
    }

    /// Cached recipients are void.
    fn recipients_changed(mut self) -> Self {
        self.event.recipients_changed = true;
        self
    }

    /// What is known of an account is void.
    fn account_changed(mut self, account: AccountId, end_sessions: bool) -> Self {
        self.event.accounts.push(AccountChange {
            account: account.0,
            end_sessions,
            moved_to: None,
        });
        self
    }

    /// The account is in another shard, where its sessions go on.
    fn account_moved(mut self, account: AccountId, to: ShardId) -> Self {
        self.event.accounts.push(AccountChange {
            account: account.0,
            end_sessions: false,
            moved_to: Some(to.0),
        });
        self
    }
}

/// Why a change is refused.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// What is to be changed is not there.
    #[error("{0}")]
    NotFound(String),
    /// The name is taken.
    #[error("{0}")]
    AlreadyExists(String),
    /// The request can never be right.
    #[error("{0}")]
    Invalid(String),
    /// The state of things forbids it now.
    #[error("{0}")]
    Precondition(String),
    /// The store failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<AddressError> for PlanError {
    fn from(error: AddressError) -> Self {
        PlanError::Invalid(error.to_string())
    }
}

impl From<ResolveError> for PlanError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Read(error) => PlanError::Read(error),
            error => PlanError::Precondition(error.to_string()),
        }
    }
}

impl From<PlanError> for Status {
    fn from(error: PlanError) -> Self {
        let reason = match &error {
            PlanError::NotFound(_) => Reason::NotFound,
            PlanError::AlreadyExists(_) => Reason::AlreadyExists,
            PlanError::Invalid(_) => Reason::InvalidArgument,
            PlanError::Precondition(_) => Reason::FailedPrecondition,
            PlanError::Read(_) => Reason::Internal,
        };
        Status::new(reason, error.to_string())
    }
}

impl From<ReadError> for Status {
    fn from(error: ReadError) -> Self {
        Status::internal(error.to_string())
    }
}
