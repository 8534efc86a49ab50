//! What a replica's rows come to, in one number: replicas that have applied the same entries have the same.

use crate::applied::Applied;
use crate::batch::Column;
use crate::entry::GroupId;
use crate::log::{Position, ReplicaId};
use crate::raft::convert;
use crate::store::OwnedSnapshot;
use crate::view::{View, ViewError};

/// What a replica's rows come to at one position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The last entry that is applied in it; `None` when nothing is.
    pub applied: Option<Position>,
    /// Number of rows.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// As `rookery.replication.v1.Digest` says.
    pub hash: [u8; 32],
}

impl Digest {
    /// Reads all of a replica in a view: blocks for as long as that takes.
    pub(crate) fn of(view: &OwnedSnapshot, group: GroupId, replica: ReplicaId) -> Result<Self, ViewError> {
        let applied = Applied::read(view, group, replica)?.last;
        let (start, end) = group.key_range();
        let mut hasher = blake3::Hasher::new();
        let (mut rows, mut bytes) = (0, 0);
        for column in Column::ALL {
            let before: u64 = rows;
            view.scan(column, &start, &end, &mut |key, value| {
                for part in [key, value] {
                    hasher.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
                }
                hasher.update(key);
                hasher.update(value);
                rows += 1;
                bytes += (key.len() + value.len()) as u64;
                true
            })?;
            hasher.update(&(rows - before).to_le_bytes());
        }
        Ok(Self {
            applied: applied.as_ref().map(convert::position),
            rows,
            bytes,
            hash: *hasher.finalize().as_bytes(),
        })
    }
}
