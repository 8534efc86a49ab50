//! A node's part in its groups: replicas under consensus, over the node's one log and one store.
//!
//! A group's leader is elected; its single writer asks for the leadership ([`Group::lead`]), plans, and proposes
//! ([`Leader::propose`]). A [`Proposal`] ends in applied, lost or to be planned anew. Reads ask first whether the leader
//! still leads ([`Group::confirm`]); on a replica that follows they ask how far that is ([`Member::confirm_within`]).

mod backlog;
mod change;
mod compare;
mod detector;
mod follow;
mod keeper;
mod leader;
mod lease;
mod member;
mod members;
mod reclaim;
mod replica;
mod serve;
mod supervise;

use std::sync::Arc;

use crate::entry::GroupId;
use crate::log::ReplicaId;
use crate::scrub::ScrubOptions;
use crate::store::{StoreError, StoreOptions};

pub use self::compare::ReplicaDigest;
pub(crate) use self::detector::Detector;
pub use self::leader::{Leader, Proposal, ProposeError};
pub use self::member::{Member, OpenError};
pub use self::members::{MembersError, MembersStep};
pub use self::replica::{Group, NotLeading, Standing};

/// Called with the reason when a write or its sync failed, after which nothing is known about the disk.
pub type OnFailure = Arc<dyn Fn(&dyn std::error::Error) + Send + Sync>;

/// How a node's groups work.
#[derive(Clone)]
pub struct MemberOptions {
    /// This node's id, by which others know it.
    pub node: String,
    /// Tuning of the store.
    pub store: StoreOptions,
    /// Bytes of proposals that may be under way; [`Leader::ready`] waits while there are more.
    pub queue_bytes_max: usize,
    /// Bytes of the log from which on the store is flushed, so that the log can be cut.
    pub log_bytes_max: u64,
    /// The most that is fetched in a second of states that this node needs, all together; 0: no bound.
    pub snapshot_bytes_per_second_max: u64,
    /// Whether a leader reads without asking for half a second after a quorum has confirmed it: as safe as no node's clock leaps ahead or
    /// runs at a rate that is twice that of another.
    pub read_leases: bool,
    /// How the store is looked through for damage.
    pub scrub: ScrubOptions,
    /// By default ends the process: a failed sync leaves the disk in an unknown state.
    pub on_failure: OnFailure,
}

impl Default for MemberOptions {
    fn default() -> Self {
        Self {
            node: "node-1".to_owned(),
            store: StoreOptions::default(),
            queue_bytes_max: 64 * 1024 * 1024,
            log_bytes_max: 128 * 1024 * 1024,
            snapshot_bytes_per_second_max: 0,
            read_leases: false,
            scrub: ScrubOptions::default(),
            on_failure: Arc::new(|error| {
                tracing::error!(%error, "the process ends: what is on disk is unknown until it has started again");
                std::process::abort();
            }),
        }
    }
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The replica.
    pub replica: ReplicaId,
    /// The node that holds it.
    pub node: String,
    /// It votes and keeps the log, and applies nothing.
    pub witness: bool,
}

/// A replica that this node is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaSpec {
    /// Its group.
    pub group: GroupId,
    /// Its number.
    pub replica: ReplicaId,
    /// What to do when this node has never held it.
    pub start: Start,
}

/// What to do with a replica that this node has never held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The group is new: form it with these members, the first of which leads first. Every member is told the same.
    Form(Vec<GroupMember>),
    /// The group has been formed: wait until its leader takes the replica in.
    Join,
    /// This node must have held it: its loss is an error.
    Resume,
}

impl ReplicaSpec {
    /// The only replica of a group.
    pub fn alone(group: GroupId, node: impl Into<String>) -> Self {
        let replica = ReplicaId(1 + u64::from(group.0));
        Self {
            group,
            replica,
            start: Start::Form(vec![GroupMember {
                replica,
                node: node.into(),
                witness: false,
            }]),
        }
    }
}

fn store_failure(reason: String) -> StoreError {
    StoreError::Write(reason)
}

#[cfg(test)]
pub(crate) mod tests;
