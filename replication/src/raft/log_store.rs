//! A replica's part of the node's log, as openraft wants it.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use prost::Message;
use rookery_proto::replication::v1 as proto;
use tokio::sync::oneshot;

use super::convert;
use super::types::{LogId, RaftEntry, Types, Vote};
use crate::damage::Damages;
use crate::entry::Payload;
use crate::log::{Log, LogError, Record, ReplicaId};

/// Bytes of entries that are read, and sent to a follower, at once; one entry alone may have more.
const READ_BYTES_MAX: usize = 1024 * 1024;

/// One replica's log.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: Arc<dyn Log>,
    replica: ReplicaId,
    damages: Arc<Damages>,
}

impl LogStore {
    pub(crate) fn new(log: Arc<dyn Log>, replica: ReplicaId, damages: Arc<Damages>) -> Self {
        Self {
            log,
            replica,
            damages,
        }
    }

    /// Tells of an error that says that the log is damaged.
    fn noted(&self, error: io::Error) -> io::Error {
        let of_log = error.get_ref().and_then(|error| error.downcast_ref::<LogError>());
        if let Some(damage) = of_log.and_then(LogError::damage) {
            self.damages.met(damage);
        }
        error
    }

    /// Whether the replica has ever voted, or followed a leader.
    pub(crate) fn has_vote(&self) -> bool {
        self.log.state(self.replica).vote.is_some()
    }

    async fn append_durably(&self, records: Vec<Record>) -> io::Result<()> {
        let (sender, durable) = oneshot::channel();
        let done = Box::new(move |result| {
            // The task that waits may have been ended with its replica.
            let _ = sender.send(result);
        });
        self.log.append(self.replica, records, done);
        durable
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the node's log has been closed")))
    }

    /// Entries from memory when they are there; a thread that may block reads the disk otherwise.
    async fn entries(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<RaftEntry>> {
        let (log, replica) = (Arc::clone(&self.log), self.replica);
        let read = match log.read_recent(replica, from, to, bytes_max) {
            Some(read) => read,
            None => tokio::task::spawn_blocking(move || log.read(replica, from, to, bytes_max))
                .await
                .map_err(io::Error::other)?
                .map_err(|error| self.noted(error))?,
        };
        read.into_iter()
            .map(|(at, bytes)| convert::entry(convert::log_id(at), Payload::decode(bytes)?))
            .collect::<Result<_, _>>()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<RaftEntry>, io::Error> {
        let (from, to) = bounds(&range);
        self.entries(from, to, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry>, io::Error> {
        self.entries(start, end, READ_BYTES_MAX).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        let Some(bytes) = self.log.state(self.replica).vote else {
            return Ok(None);
        };
        let vote = proto::Vote::decode(bytes).map_err(|error| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the vote is damaged: {error}"),
            )
        })?;
        Ok(Some(convert::vote(&vote)))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let state = self.log.state(self.replica);
        Ok(LogState {
            last_purged_log_id: state.purged.map(convert::log_id),
            last_log_id: state.last.map(convert::log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let bytes = convert::proto_vote(vote).encode_to_vec().into();
        self.append_durably(vec![Record::Vote(bytes)]).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries
            .into_iter()
            .map(|entry| {
                let payload = convert::payload(&entry).encode();
                Record::Entry(convert::position(&entry.log_id), payload)
            })
            .collect();
        let done = Box::new(move |result| callback.io_completed(result));
        self.log.append(self.replica, records, done);
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let kept = last_log_id.map(|last| last.index);
        self.append_durably(vec![Record::Truncate(kept)]).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        // What is purged is in the flushed state: whether the word of it is durable makes no difference.
        let done = Box::new(|_| ());
        self.log.append(
            self.replica,
            vec![Record::Purge(convert::position(&log_id))],
            done,
        );
        Ok(())
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}
