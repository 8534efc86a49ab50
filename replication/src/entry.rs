//! What a group agrees on: numbered entries of a leader.

use crate::batch::Batch;

/// A consensus group of the cluster: a shard's number, or [`GroupId::DIRECTORY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u32);

impl GroupId {
    /// The directory's group. Shards have lower numbers.
    pub const DIRECTORY: GroupId = GroupId(u32::MAX);
}

/// One leadership of a group: new for each start or election, never used again, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaderId(pub u64);

/// Gathered plans of one leader.
///
/// Apply accepts only the leader's next `number`, or 0 of a newer leader; anything else is a no-op on every replica and
/// its proposer is told to plan anew. So a plan that was built on a lost plan never applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The group whose range the writes lie in.
    pub group: GroupId,
    /// Who planned it.
    pub leader: LeaderId,
    /// Position among the leader's entries, from 0.
    pub number: u64,
    /// What is written.
    pub batch: Batch,
}
