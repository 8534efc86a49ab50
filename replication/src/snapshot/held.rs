//! States that are kept for followers that fetch them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_proto::replication::v1::{SnapshotRow, SnapshotRows};
use tokio::time::Instant;

use crate::applied::Sequence;
use crate::batch::Column;
use crate::entry::GroupId;
use crate::store::OwnedSnapshot;
use crate::strain::{Copying, Strain};
use crate::view::ViewError;

/// Bytes of rows in one piece; one row alone may have more.
pub(crate) const PIECE_BYTES_MAX: usize = 256 * 1024;

/// The state of one moment.
pub(crate) struct Held {
    pub(crate) view: OwnedSnapshot,
    pub(crate) sequence: Sequence,
}

impl Held {
    /// The rows of a group's column after a key, as many as one piece holds.
    pub(crate) fn piece(
        &self,
        group: GroupId,
        column: Column,
        after: &[u8],
    ) -> Result<SnapshotRows, ViewError> {
        let (start, end) = group.key_range();
        let from = if after.is_empty() {
            start
        } else {
            // The least key that is greater.
            [after, &[0]].concat()
        };
        let mut piece = SnapshotRows {
            last: true,
            ..SnapshotRows::default()
        };
        let mut bytes = 0;
        self.view.scan_once(column, &from, &end, &mut |key, value| {
            if bytes >= PIECE_BYTES_MAX {
                piece.last = false;
                return false;
            }
            bytes += key.len() + value.len() + 16;
            piece.rows.push(SnapshotRow {
                key: Bytes::copy_from_slice(key),
                value: Bytes::copy_from_slice(value),
            });
            true
        })?;
        piece.checksum = checksum(&piece.rows);
        Ok(piece)
    }
}

/// BLAKE3 of rows as the protocol says.
pub(crate) fn checksum(rows: &[SnapshotRow]) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    for row in rows {
        for len in [row.key.len(), row.value.len()] {
            hasher.update(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        }
        hasher.update(&row.key);
        hasher.update(&row.value);
    }
    Bytes::copy_from_slice(hasher.finalize().as_bytes())
}

/// The states that a node keeps, by the name that it gave them.
pub(crate) struct HeldSnapshots {
    strain: Arc<Strain>,
    next: AtomicU64,
    held: Mutex<HashMap<u64, (GroupId, Arc<Held>)>>,
}

impl HeldSnapshots {
    /// Names are not used again after a restart either.
    pub(crate) fn new(strain: Arc<Strain>) -> Self {
        Self {
            strain,
            next: AtomicU64::new(rand::random::<u64>() >> 1),
            held: Mutex::default(),
        }
    }

    /// Keeps a state until what is returned is dropped.
    pub(crate) fn keep(self: &Arc<Self>, group: GroupId, held: Arc<Held>) -> Kept {
        let name = self.next.fetch_add(1, Ordering::Relaxed);
        self.held.lock().insert(name, (group, held));
        Kept {
            _copying: self.strain.begin_copying(),
            snapshots: Arc::clone(self),
            name,
        }
    }

    /// How much longer what this node serves waits than usual, in percent of that.
    pub(crate) fn strain_percent(&self) -> u32 {
        self.strain.percent(Instant::now())
    }

    /// A kept state of a group.
    pub(crate) fn get(&self, group: GroupId, name: u64) -> Option<Arc<Held>> {
        let held = self.held.lock();
        let (of, held) = held.get(&name)?;
        (*of == group).then(|| Arc::clone(held))
    }
}

/// A state that is kept.
pub(crate) struct Kept {
    _copying: Copying,
    snapshots: Arc<HeldSnapshots>,
    pub(crate) name: u64,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.snapshots.held.lock().remove(&self.name);
    }
}
