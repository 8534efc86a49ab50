//! What of a group's log is in a replica's state: a row beside the state, written with each change of it.

use prost::Message;
use rookery_proto::replication::v1 as proto;

use crate::entry::{GroupId, LeaderId};
use crate::log::ReplicaId;
use crate::raft::convert;
use crate::raft::types::{LogId, StoredMembership};
use crate::store::OwnRows;
use crate::view::ViewError;

/// Which of a leader's entries is the next that applies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) leader: LeaderId,
    /// 0 only before any leader's first.
    pub(crate) next: u64,
}

impl Sequence {
    /// The apply rule: the leader's next entry, or the first of a newer leader.
    pub(crate) fn after(self, entry: Sequence) -> Option<Sequence> {
        let fits = if self.leader == entry.leader {
            self.next == entry.next
        } else {
            self.leader < entry.leader && entry.next == 0
        };
        fits.then_some(Sequence {
            leader: entry.leader,
            next: entry.next + 1,
        })
    }
}

/// What is applied.
#[derive(Debug, Clone, Default)]
pub(crate) struct Applied {
    /// The last entry.
    pub(crate) last: Option<LogId>,
    /// The last membership, and the entry that made it so.
    pub(crate) membership: StoredMembership,
    pub(crate) sequence: Sequence,
}

/// The row, of format 1.
#[derive(Clone, PartialEq, Message)]
struct Row {
    /// A row of another replica of the group, which was here before, says nothing.
    #[prost(uint64, tag = "1")]
    replica: u64,
    #[prost(message, optional, tag = "2")]
    last: Option<proto::Position>,
    #[prost(message, optional, tag = "3")]
    membership: Option<proto::StoredMembership>,
    #[prost(uint64, tag = "4")]
    leader_term: u64,
    #[prost(uint32, tag = "5")]
    leader_count: u32,
    #[prost(uint64, tag = "6")]
    next: u64,
}

impl Applied {
    /// The row's key.
    pub(crate) fn key(group: GroupId) -> Vec<u8> {
        [b"applied/".as_slice(), &group.0.to_be_bytes()].concat()
    }

    /// The row's value.
    pub(crate) fn row(&self, replica: ReplicaId) -> Vec<u8> {
        Row {
            replica: replica.0,
            last: self.last.as_ref().map(convert::proto_position),
            membership: Some(convert::proto_stored_membership(&self.membership)),
            leader_term: self.sequence.leader.term,
            leader_count: self.sequence.leader.count,
            next: self.sequence.next,
        }
        .encode_to_vec()
    }

    /// What the store says of a replica; nothing applied when it says nothing.
    pub(crate) fn read(rows: &dyn OwnRows, group: GroupId, replica: ReplicaId) -> Result<Self, ViewError> {
        let Some(value) = rows.own_row(&Self::key(group))? else {
            return Ok(Self::default());
        };
        let damaged = |reason: String| {
            ViewError::Failed(format!("group {}'s applied row is damaged: {reason}", group.0))
        };
        let row = Row::decode(value.as_slice()).map_err(|error| damaged(error.to_string()))?;
        if row.replica != replica.0 {
            return Ok(Self::default());
        }
        let membership = row.membership.unwrap_or_default();
        Ok(Self {
            last: row.last.map(convert::from_proto_position),
            membership: convert::stored_membership(&membership)
                .map_err(|error| damaged(error.to_string()))?,
            sequence: Sequence {
                leader: LeaderId {
                    term: row.leader_term,
                    count: row.leader_count,
                },
                next: row.next,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_next_or_the_first_of_a_newer_leader_applies() {
        let at = |term, count, next| Sequence {
            leader: LeaderId { term, count },
            next,
        };
        let start = Sequence::default();
        assert_eq!(start.after(at(1, 0, 1)), None);
        let first = start.after(at(1, 0, 0)).expect("is the first");
        assert_eq!(first, at(1, 0, 1));
        for refused in [at(1, 0, 0), at(1, 0, 2), at(1, 1, 1), at(2, 0, 1), at(0, 9, 0)] {
            assert_eq!(first.after(refused), None, "{refused:?}");
        }
        assert_eq!(first.after(at(1, 0, 1)), Some(at(1, 0, 2)));
        assert_eq!(first.after(at(1, 1, 0)), Some(at(1, 1, 1)));
        assert_eq!(first.after(at(2, 0, 0)), Some(at(2, 0, 1)));
    }
}
