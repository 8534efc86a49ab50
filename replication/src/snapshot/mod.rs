//! A replica's state on its way to another node: rows of one moment, fetched by who needs them, built into SST files and taken
//! into the store whole.
//!
//! The leader only keeps the moment ([`Held`]); the follower fetches at its own pace, goes on after a broken connection
//! where it was, and checks what it gets. Never built but for a follower that needs one.

mod held;
mod install;
mod pace;
mod receive;
#[cfg(test)]
mod tests;

pub(crate) use held::{Held, HeldSnapshots};
pub(crate) use install::{finish_installs, install, reclaim_ranges, remove_range};
pub(crate) use pace::Pace;
pub(crate) use receive::{Fetch, Fetching, Received, receive};

use std::sync::Arc;

use crate::applied::Sequence;
use crate::store::OwnedSnapshot;

/// What openraft passes on between the state machine and the network.
pub(crate) enum SnapshotData {
    /// Only says how far the log is no longer needed.
    Marker,
    /// The state of one moment, on the leader.
    Held(Arc<Held>),
    /// Fetched files, on the follower.
    Received(Received),
}

impl SnapshotData {
    pub(crate) fn held(view: OwnedSnapshot, sequence: Sequence) -> Self {
        SnapshotData::Held(Arc::new(Held { view, sequence }))
    }
}

impl std::fmt::Debug for SnapshotData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SnapshotData::Marker => "Marker",
            SnapshotData::Held(_) => "Held",
            SnapshotData::Received(_) => "Received",
        })
    }
}
