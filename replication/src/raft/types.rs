//! What openraft's generic parts are filled with.

use std::fmt;

use bytes::Bytes;

use super::machine::Machine;
use crate::snapshot::SnapshotData;

/// A group's openraft instance.
pub(crate) type Raft = openraft::Raft<Types, Machine>;

pub(crate) type CommittedLeader =
    <openraft::impls::leader_id_std::LeaderId<u64, u64> as openraft::vote::RaftLeaderId>::Committed;
pub(crate) type LogId = openraft::LogId<CommittedLeader>;
pub(crate) type Vote = openraft::impls::Vote<openraft::impls::leader_id_std::LeaderId<u64, u64>>;
pub(crate) type Membership = openraft::Membership<u64, Host>;
pub(crate) type StoredMembership = openraft::StoredMembership<CommittedLeader, u64, Host>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<CommittedLeader, u64, Host>;
pub(crate) type Snapshot = openraft::Snapshot<CommittedLeader, u64, Host, SnapshotData>;
pub(crate) type RaftEntry = openraft::Entry<CommittedLeader, openraft::EntryPayload<Plans, u64, Host>>;
pub(crate) type WriteResult = openraft::raft::ClientWriteResult<Types>;

/// Standard Raft: one leader a term, replicas named by numbers that are never used again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

impl openraft::RaftTypeConfig for Types {
    type D = Plans;
    type R = Outcome;
    type NodeId = u64;
    type Node = Host;
    type Term = u64;
    type LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>;
    type Vote = Vote;
    type Payload = openraft::EntryPayload<Plans, u64, Host>;
    type Entry = RaftEntry;
    type AsyncRuntime = openraft_rt_tokio::TokioRuntime;
    type Responder<T>
        = openraft::impls::OneshotResponder<Self, T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

/// An encoded [`crate::Entry`].
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Plans(pub(crate) Bytes);

impl fmt::Debug for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What became of an entry when it was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its writes are in the state.
    Applied,
    /// It was not its leader's next: nothing was done.
    Replan,
}

/// Where a replica is, and what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Host {
    /// The node's id.
    pub(crate) node: String,
    /// It votes and keeps the log, and applies nothing.
    pub(crate) witness: bool,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.node)
    }
}
