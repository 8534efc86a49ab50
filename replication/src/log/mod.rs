//! What a node's replicas have agreed to keep and may not have applied yet: one log for all groups of the node.
//!
//! Every write of every group goes into one sequence, so that one sync makes all of them durable. Never interprets an
//! entry.

pub mod memory;
mod replica;
pub mod segment;

use std::io;
use std::time::Duration;

use bytes::Bytes;

pub use self::memory::MemoryLog;
pub use self::segment::{LogError, LogOptions, SegmentLog};

/// One replica of a group: new for every placement, never used again, not even on the same node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaId(pub u64);

/// Where an entry is: the term of the leader that proposed it, and its index among the group's entries, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Term of the proposing leader.
    pub term: u64,
    /// Index, without holes.
    pub index: u64,
}

/// One change of a replica's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An entry behind the last one. Its index is the last one's plus 1; the first of a log, or the first after
    /// `Purge` beyond the end, may have any index.
    Entry(Position, Bytes),
    /// Entries with a greater index are void; `None`: all are.
    Truncate(Option<u64>),
    /// Entries up to this one are no longer needed. May lie beyond the last entry: then the log is empty and goes on behind it.
    Purge(Position),
    /// The replica's vote, opaque; the last one counts.
    Vote(Bytes),
    /// The replica is gone for good, with all that was kept of it.
    Forget,
}

/// What is known of a replica's log without reading entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogState {
    /// The last vote.
    pub vote: Option<Bytes>,
    /// The last purged position.
    pub purged: Option<Position>,
    /// The last entry, or the last purged position when there is none.
    pub last: Option<Position>,
}

/// Told once, from the log's own thread, when the records and all before them are durable, or that it is not known.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// A node's log. Methods may be called from any thread.
pub trait Log: Send + Sync + 'static {
    /// Appends records of one replica, in order. Never waits for the disk. When this returns, reads see them.
    fn append(&self, replica: ReplicaId, records: Vec<Record>, done: Done);

    /// What is known of a replica; the default for one that has never written.
    fn state(&self, replica: ReplicaId) -> LogState;

    /// Entries from `from` (inclusive) to `to` (exclusive), as many as fit in `bytes_max` but at least one when there is one. May
    /// read the disk. Entries that are not there, at the beginning or the end, are left out.
    fn read(
        &self,
        replica: ReplicaId,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> io::Result<Vec<(Position, Bytes)>>;

    /// [`Log::read`] without the disk: `None` when that is needed.
    fn read_recent(
        &self,
        replica: ReplicaId,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Option<Vec<(Position, Bytes)>>;

    /// The replicas that have written and were not forgotten.
    fn replicas(&self) -> Vec<ReplicaId>;

    /// Bytes on disk from the oldest entry that is still needed to the end.
    fn bytes_held(&self) -> u64;

    /// How long a write takes that makes what was appended durable, averaged over the last ones; zero when there was none lately.
    fn sync_time(&self) -> Duration {
        Duration::ZERO
    }

    /// Makes what was appended durable, then takes no more (further appends are told an error). Blocks.
    fn close(&self);
}
