//! Reads a log's segments when it is opened: what they hold, where to go on, and what is damaged. Only reads.
//!
//! A crash leaves at most one batch that was not synced, the last one. So an invalid batch is cut when nothing valid
//! follows it, and is damage when something does.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::error::LogError;
use super::file::segment_path;
use super::format::{
    BATCH_HEADER, BLOCK, Batch, BatchKind, FORMAT, Stored, Wrong, begins_batch, read_batch, read_record,
    read_segment_header,
};
use super::index::{Place, Slot};
use crate::log::replica::ReplicaLog;
use crate::log::{Record, ReplicaId};

/// What a log's segments hold.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    /// Which log it is; `None` when there is no segment.
    pub(super) log: Option<u64>,
    pub(super) replicas: HashMap<ReplicaId, ReplicaLog<Slot>>,
    /// Above the serials of all slots.
    pub(super) next_serial: u64,
    /// Sequence number of the last batch, 0 before the first.
    pub(super) sequence: u64,
    /// Segments in use: number and bytes used. The last one is to be gone on with.
    pub(super) used: Vec<(u64, u64)>,
    /// Segments behind them, which hold no batch.
    pub(super) empty: Vec<u64>,
}

/// Reads the segments with these numbers, ascending.
pub(super) fn recover(folder: &Path, numbers: &[u64]) -> Result<Recovered, LogError> {
    let mut recovery = Recovery::default();
    let mut before: Option<u64> = None;
    for number in numbers {
        if let Some(missing) = before.map(|before| before + 1).filter(|next| next != number) {
            return Err(damaged(
                &segment_path(folder, missing),
                0,
                "the segment is not there",
            ));
        }
        before = Some(*number);
        recovery.segment(segment_path(folder, *number), *number)?;
    }
    recovery.finish()
}

#[derive(Default)]
struct Recovery {
    done: Recovered,
    /// Where the last segment that was read stops being valid.
    stop: Option<(PathBuf, u64)>,
    /// Where a batch begins that is not valid; nothing valid follows it.
    torn: Option<(PathBuf, u64)>,
}

impl Recovery {
    fn segment(&mut self, path: PathBuf, number: u64) -> Result<(), LogError> {
        let bytes = std::fs::read(&path).map_err(LogError::io("read", &path))?;
        let (log, named) = read_segment_header(&bytes).map_err(|wrong| refused(&path, 0, wrong))?;
        if named != number {
            return Err(damaged(&path, 0, &format!("it is segment {named} by its header")));
        }
        if *self.done.log.get_or_insert(log) != log {
            return Err(damaged(&path, 0, "it belongs to another log"));
        }
        let mut offset = BLOCK;
        while let Some(rest) = bytes.get(offset..) {
            let batch = match read_batch(rest, log, number) {
                Ok(batch) => batch,
                Err(wrong @ Wrong::Format(_)) => return Err(refused(&path, offset, wrong)),
                Err(Wrong::Bytes(_)) => break,
            };
            let first = offset == BLOCK;
            let oldest = self.done.sequence == 0;
            if (!oldest || self.stop.is_some()) && batch.id.sequence != self.done.sequence + 1 {
                // What is missing was behind the last valid one.
                let (path, offset) = match self.stop.take() {
                    Some((stop, at)) if first => (stop, at),
                    _ => (path, offset as u64),
                };
                let reason = format!(
                    "batch {} is not what was written, and batch {} follows it",
                    self.done.sequence + 1,
                    batch.id.sequence
                );
                return Err(damaged(&path, offset, &reason));
            }
            if first != (batch.kind == BatchKind::Checkpoint) {
                return Err(damaged(
                    &path,
                    offset as u64,
                    "a segment must begin with its checkpoint",
                ));
            }
            self.batch(&batch, oldest, number, offset).ok_or_else(|| {
                damaged(
                    &path,
                    offset as u64,
                    "its records do not follow from those before",
                )
            })?;
            self.done.sequence = batch.id.sequence;
            offset += batch.bytes();
        }
        let later = (offset + BLOCK..bytes.len()).step_by(BLOCK);
        for at in later {
            if let Ok(batch) = read_batch(&bytes[at..], log, number) {
                let reason = format!(
                    "a batch is not what was written, and batch {} follows it",
                    batch.id.sequence
                );
                return Err(damaged(&path, offset as u64, &reason));
            }
        }
        if offset > BLOCK {
            // Empty ones between can only be there when what they held is gone, which the sequence has told.
            self.done.empty.clear();
            self.done.used.push((number, offset as u64));
        } else {
            self.done.empty.push(number);
        }
        if bytes
            .get(offset..)
            .is_some_and(|rest| begins_batch(rest, log, number))
        {
            self.torn = Some((path.clone(), offset as u64));
        }
        self.stop = Some((path, offset as u64));
        Ok(())
    }

    /// Applies a batch's records; `None` when they cannot be.
    fn batch(&mut self, batch: &Batch<'_>, oldest: bool, segment: u64, offset: usize) -> Option<()> {
        let mut at = 0;
        while at < batch.records.len() {
            let (read, next) = read_record(batch.records, at)?;
            at = next;
            let record = match read.record {
                // The oldest segment's checkpoint stands for all before. The others say what is known.
                _ if batch.kind == BatchKind::Checkpoint && !oldest => continue,
                Stored::Record(record) => record,
                Stored::Last(last) => {
                    self.done.replicas.entry(read.replica).or_default().missing = Some(last);
                    continue;
                }
                Stored::Exists => {
                    self.done.replicas.entry(read.replica).or_default();
                    continue;
                }
            };
            let log = self.done.replicas.entry(read.replica).or_default();
            if log.refuse(std::slice::from_ref(&record)).is_some() {
                return None;
            }
            let forget = record == Record::Forget;
            let serial = self.done.next_serial;
            let place = Place {
                segment,
                offset: (offset + BATCH_HEADER + read.start) as u64,
                crc: read.crc,
            };
            log.apply(
                record,
                |payload| Slot {
                    serial,
                    len: payload.len() as u32,
                    place: Some(place),
                    payload: None,
                },
                drop,
            );
            self.done.next_serial += 1;
            if forget {
                self.done.replicas.remove(&read.replica);
            }
        }
        Some(())
    }

    fn finish(self) -> Result<Recovered, LogError> {
        let lacking = self
            .done
            .replicas
            .iter()
            .find_map(|(replica, log)| Some((replica, log.missing?)));
        if let (Some((replica, missing)), Some((path, _))) = (lacking, &self.stop) {
            let reason = format!(
                "entries of replica {} up to {} lie in a segment that is not there",
                replica.0, missing.index
            );
            return Err(damaged(path, 0, &reason));
        }
        if let Some((path, offset)) = &self.torn {
            tracing::warn!(
                file = %path.display(), offset,
                "the log's last batch was not wholly written and is left out: nobody was told that it was"
            );
        }
        Ok(self.done)
    }
}

fn damaged(file: &Path, offset: u64, reason: &str) -> LogError {
    LogError::Damaged {
        file: file.to_owned(),
        offset,
        reason: reason.to_owned(),
    }
}

fn refused(file: &Path, offset: usize, wrong: Wrong) -> LogError {
    match wrong {
        Wrong::Bytes(reason) => damaged(file, offset as u64, reason),
        Wrong::Format(found) => LogError::Version {
            file: file.to_owned(),
            found,
            known: FORMAT,
        },
    }
}
