//! The log's own thread: writes what has gathered as one batch with one sync, then tells those who wait.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::file::{Aligned, SegmentFile};
use super::format::{BATCH_HEADER, BLOCK, BatchId, BatchKind, RECORD_HEADER, Stored, push_record, seal};
use super::index::Place;
use super::supply::Supply;
use super::{Pending, Shared};
use crate::catalogue::{LOG_BYTES, LOG_SYNC_RECORDS, LOG_SYNC_SECONDS};
use crate::log::replica::ReplicaLog;
use crate::log::{Record, ReplicaId};

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) supply: Arc<Supply>,
    pub(super) log: u64,
    /// The segment that is written, and where its next batch begins.
    pub(super) active: Arc<SegmentFile>,
    pub(super) offset: u64,
    /// The active segment holds nothing but its checkpoint: it takes the next batch whatever its size.
    pub(super) fresh: bool,
    /// Of the last batch.
    pub(super) sequence: u64,
    /// What is durable, with the segment of each entry.
    pub(super) durable: HashMap<ReplicaId, ReplicaLog<u64>>,
    pub(super) usage: Usage,
    pub(super) buffer: Aligned,
}

/// What each segment in use holds.
#[derive(Debug, Default)]
pub(super) struct Usage {
    segments: BTreeMap<u64, Used>,
}

#[derive(Debug, Default)]
struct Used {
    /// Entries that are needed.
    live: u64,
    /// Bytes written.
    bytes: u64,
}

impl Usage {
    pub(super) fn add(&mut self, segment: u64) {
        self.segments.entry(segment).or_default().live += 1;
    }

    fn remove(&mut self, segment: u64) {
        if let Some(used) = self.segments.get_mut(&segment) {
            used.live -= 1;
        }
    }

    pub(super) fn written(&mut self, segment: u64, bytes: u64) {
        self.segments.entry(segment).or_default().bytes = bytes;
    }

    /// Bytes from the oldest segment that holds an entry that is needed to the end.
    pub(super) fn bytes_held(&self) -> u64 {
        let from_oldest = self.segments.values().skip_while(|used| used.live == 0);
        from_oldest.map(|used| used.bytes).sum()
    }

    /// Takes out the segments that are older than any that is needed.
    fn free(&mut self) -> Vec<u64> {
        let mut freed = Vec::new();
        while self.segments.len() > 1
            && let Some(oldest) = self.segments.first_entry()
            && oldest.get().live == 0
        {
            freed.push(oldest.remove_entry().0);
        }
        freed
    }
}

impl Writer {
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        // Whatever ends this thread, nobody waits for it for ever.
        let supply = Arc::clone(&self.supply);
        let _guard = EndOnDrop(&shared, &supply);
        while let Some(taken) = shared.take() {
            if let Some(failure) = shared.failure() {
                refuse(taken.pending, &failure);
            } else {
                self.commit(taken.pending);
            }
            if taken.close {
                self.close();
            }
        }
    }

    /// Writes the batch, then tells who waits for it.
    fn commit(&mut self, pending: Vec<Pending>) {
        let records: usize = pending.iter().map(|pending| pending.records.len()).sum();
        if records > 0
            && let Err(error) = self.write(&pending, records)
        {
            self.fail(&error);
            return refuse(pending, &error);
        }
        for pending in pending {
            (pending.done)(pending.refused.map_or(Ok(()), Err));
        }
    }

    fn fail(&self, error: &io::Error) {
        self.shared.fail(error);
        (self.shared.options.on_failure)(error);
    }

    fn write(&mut self, pending: &[Pending], records: usize) -> io::Result<()> {
        let started = Instant::now();
        let len = BATCH_HEADER + pending.iter().map(|pending| pending.bytes).sum::<usize>();
        let on_disk = len.next_multiple_of(BLOCK) as u64;
        if !self.fresh && self.offset + on_disk > self.shared.options.segment_bytes {
            self.go_on()?;
        }
        self.buffer.begin(on_disk as usize);
        let start = self.buffer.start();
        let bytes = self.buffer.bytes();
        bytes.resize(start + BATCH_HEADER, 0);
        let mut placed = Vec::with_capacity(records);
        for pending in pending {
            let mut serial = pending.first_serial;
            for record in &pending.records {
                let entry = match record {
                    Record::Entry(position, _) => Some(position.index),
                    _ => None,
                };
                // The payload is shared, not copied.
                let at = push_record(bytes, pending.replica, &Stored::Record(record.clone()));
                if let Some(index) = entry {
                    let mut crc = [0; 4];
                    let crc_at = at - RECORD_HEADER + 4;
                    crc.copy_from_slice(&bytes[crc_at..crc_at + 4]);
                    let place = Place {
                        segment: self.active.number,
                        offset: self.offset + (at - start) as u64,
                        crc: u32::from_le_bytes(crc),
                    };
                    placed.push((pending.replica, index, serial, place));
                    serial += 1;
                }
            }
        }
        self.write_buffer(BatchKind::Records)?;
        self.fresh = false;
        for pending in pending {
            for record in &pending.records {
                self.apply(pending.replica, record);
            }
        }
        let freed = self.usage.free();
        let held = self.usage.bytes_held();
        let freed = self.shared.written(&placed, held, &freed);
        if !freed.is_empty() {
            self.supply.free(freed);
        }
        let took = started.elapsed();
        self.shared.sync_time.note(started + took, took);
        LOG_SYNC_SECONDS.record(took.as_secs_f64());
        LOG_SYNC_RECORDS.record(records as f64);
        LOG_BYTES.set(held as f64);
        Ok(())
    }

    fn apply(&mut self, replica: ReplicaId, record: &Record) {
        let segment = self.active.number;
        if matches!(record, Record::Entry(..)) {
            self.usage.add(segment);
        }
        let log = self.durable.entry(replica).or_default();
        log.apply(record.clone(), |_| segment, |segment| self.usage.remove(segment));
        if *record == Record::Forget {
            self.durable.remove(&replica);
        }
    }

    /// Completes the batch that the buffer holds and writes it.
    fn write_buffer(&mut self, kind: BatchKind) -> io::Result<()> {
        let id = BatchId {
            log: self.log,
            segment: self.active.number,
            sequence: self.sequence + 1,
        };
        seal(self.buffer.written_mut(), id, kind);
        self.buffer.pad();
        self.active.write(self.buffer.written(), self.offset)?;
        self.sequence += 1;
        self.offset += self.buffer.written().len() as u64;
        self.usage.written(self.active.number, self.offset);
        Ok(())
    }

    /// Goes on to the next segment. Its checkpoint is synced before anything follows: written together, a crash could
    /// leave a torn checkpoint with a valid batch behind it, which is damage.
    pub(super) fn go_on(&mut self) -> io::Result<()> {
        self.active = Arc::new(self.supply.take()?);
        self.shared.opened(&self.active);
        self.offset = BLOCK as u64;
        self.write_checkpoint()
    }

    pub(super) fn write_checkpoint(&mut self) -> io::Result<()> {
        let votes = self.durable.values().filter_map(|log| log.vote.as_ref());
        let votes: usize = votes.map(bytes::Bytes::len).sum();
        // Up to four records a replica.
        let len = BATCH_HEADER + self.durable.len() * 4 * RECORD_HEADER + votes;
        self.buffer.begin(len.next_multiple_of(BLOCK));
        let start = self.buffer.start();
        let bytes = self.buffer.bytes();
        bytes.resize(start + BATCH_HEADER, 0);
        for (replica, log) in &self.durable {
            push_record(bytes, *replica, &Stored::Exists);
            if let Some(vote) = &log.vote {
                push_record(bytes, *replica, &Stored::Record(Record::Vote(vote.clone())));
            }
            if let Some(purged) = log.purged {
                push_record(bytes, *replica, &Stored::Record(Record::Purge(purged)));
            }
            if let Some(last) = log.last().filter(|last| Some(*last) != log.purged) {
                push_record(bytes, *replica, &Stored::Last(last));
            }
        }
        self.write_buffer(BatchKind::Checkpoint)?;
        self.fresh = true;
        Ok(())
    }

    /// Marks the end, so that a damaged last batch is told from one that a crash cut short.
    fn close(&mut self) {
        if self.shared.failure().is_none() {
            self.buffer.begin(BLOCK);
            let start = self.buffer.start();
            self.buffer.bytes().resize(start + BATCH_HEADER, 0);
            if let Err(error) = self.write_buffer(BatchKind::Closing) {
                self.fail(&error);
            }
        }
        self.supply.stop();
        self.shared.closed();
    }
}

fn refuse(pending: Vec<Pending>, error: &io::Error) {
    for pending in pending {
        let error = io::Error::new(error.kind(), format!("the log cannot be written: {error}"));
        (pending.done)(Err(pending.refused.unwrap_or(error)));
    }
}

struct EndOnDrop<'a>(&'a Shared, &'a Supply);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.1.stop();
        self.0.end();
    }
}
