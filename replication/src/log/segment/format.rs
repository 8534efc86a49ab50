//! The bytes of a segment, format 1. All numbers are little-endian.
//!
//! A segment begins with a block of 4 KiB, its header. Batches follow, each at a block's start: a header of
//! [`BATCH_HEADER`] bytes, then records, then zeros to the block's end.
//!
//! ```text
//! segment header  0 magic "RKRYSEGM" | 8 format u32 | 12 zero u32 | 16 log u64 | 24 segment u64 | zeros
//!                 4092 crc32c u32 of all before
//! batch header    0 magic "RKRYBTCH" | 8 format u32 | 12 crc32c u32 of 0..12, 16.. and the records
//!                 16 log u64 | 24 segment u64 | 32 sequence u64 | 40 bytes of records u64 | 48 kind u8 | zeros to 64
//! record          0 kind u8, 3 zeros | 4 crc32c u32 of the payload | 8 replica u64 | 16 term u64 | 24 index u64
//!                 32 length of the payload u32 | 36 payload
//! ```
//!
//! `log` is drawn when a log begins: so no payload that a client sends looks like a batch, and no other log's file is
//! taken for one of this log's. `segment` ascends over the log's life, so that what a recycled file held before is never
//! taken for something new. `sequence` ascends without holes.

use bytes::Bytes;

use crate::log::{Position, Record, ReplicaId};

/// The format that is written.
pub(super) const FORMAT: u32 = 1;
/// Batches start at multiples of this; what is written is a multiple of it.
pub(super) const BLOCK: usize = 4096;
/// Bytes of a batch's header.
pub(super) const BATCH_HEADER: usize = 64;
/// Bytes of a record before its payload.
pub(super) const RECORD_HEADER: usize = 36;

const SEGMENT_MAGIC: &[u8; 8] = b"RKRYSEGM";
const BATCH_MAGIC: &[u8; 8] = b"RKRYBTCH";

/// What a batch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchKind {
    /// Appended records.
    Records = 0,
    /// The state of all replicas, the first batch of each segment.
    Checkpoint = 1,
    /// Nothing follows, for the log was closed.
    Closing = 2,
}

/// A record as a batch holds it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// An appended one.
    Record(Record),
    /// In a checkpoint: the last entry of a replica.
    Last(Position),
    /// In a checkpoint: the replica is there, whatever else is said of it.
    Exists,
}

const ENTRY: u8 = 1;
const TRUNCATE: u8 = 2;
const TRUNCATE_ALL: u8 = 3;
const PURGE: u8 = 4;
const VOTE: u8 = 5;
const FORGET: u8 = 6;
const LAST: u8 = 7;
const EXISTS: u8 = 8;

/// A segment's header.
pub(super) fn segment_header(log: u64, segment: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..8].copy_from_slice(SEGMENT_MAGIC);
    block[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    block[16..24].copy_from_slice(&log.to_le_bytes());
    block[24..32].copy_from_slice(&segment.to_le_bytes());
    let crc = crc32c::crc32c(&block[..BLOCK - 4]);
    block[BLOCK - 4..].copy_from_slice(&crc.to_le_bytes());
    block
}

/// What is wrong with a header or a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The bytes are not what was written.
    Bytes(&'static str),
    /// They are, but of a newer format.
    Format(u32),
}

/// The log and the segment that a segment's header names.
pub(super) fn read_segment_header(bytes: &[u8]) -> Result<(u64, u64), Wrong> {
    let block = bytes
        .get(..BLOCK)
        .ok_or(Wrong::Bytes("its header is cut short"))?;
    if block[..8] != *SEGMENT_MAGIC || crc32c::crc32c(&block[..BLOCK - 4]) != u32_at(block, BLOCK - 4) {
        return Err(Wrong::Bytes("its header is not what was written"));
    }
    match u32_at(block, 8) {
        FORMAT => Ok((u64_at(block, 16), u64_at(block, 24))),
        format => Err(Wrong::Format(format)),
    }
}

/// Appends a record to a batch's bytes; returns where its payload begins.
pub(super) fn push_record(out: &mut Vec<u8>, replica: ReplicaId, record: &Stored) -> usize {
    let none = Position { term: 0, index: 0 };
    let at = |index| Position { term: 0, index };
    let (kind, position, payload): (u8, Position, &[u8]) = match record {
        Stored::Record(Record::Entry(position, payload)) => (ENTRY, *position, payload),
        Stored::Record(Record::Truncate(Some(index))) => (TRUNCATE, at(*index), &[]),
        Stored::Record(Record::Truncate(None)) => (TRUNCATE_ALL, none, &[]),
        Stored::Record(Record::Purge(position)) => (PURGE, *position, &[]),
        Stored::Record(Record::Vote(vote)) => (VOTE, none, vote),
        Stored::Record(Record::Forget) => (FORGET, none, &[]),
        Stored::Last(position) => (LAST, *position, &[]),
        Stored::Exists => (EXISTS, none, &[]),
    };
    out.extend_from_slice(&[kind, 0, 0, 0]);
    out.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    out.extend_from_slice(&replica.0.to_le_bytes());
    out.extend_from_slice(&position.term.to_le_bytes());
    out.extend_from_slice(&position.index.to_le_bytes());
    // Longer ones were refused when they were appended.
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    let start = out.len();
    out.extend_from_slice(payload);
    start
}

/// Where a batch belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchId {
    pub(super) log: u64,
    pub(super) segment: u64,
    pub(super) sequence: u64,
}

/// Completes a batch: `bytes` begins with room for its header and ends with its last record.
pub(super) fn seal(bytes: &mut [u8], id: BatchId, kind: BatchKind) {
    let len = (bytes.len() - BATCH_HEADER) as u64;
    bytes[..8].copy_from_slice(BATCH_MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[16..24].copy_from_slice(&id.log.to_le_bytes());
    bytes[24..32].copy_from_slice(&id.segment.to_le_bytes());
    bytes[32..40].copy_from_slice(&id.sequence.to_le_bytes());
    bytes[40..48].copy_from_slice(&len.to_le_bytes());
    bytes[48..BATCH_HEADER].fill(0);
    bytes[48] = kind as u8;
    let crc = batch_crc(bytes);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
}

/// A batch that is what was written.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    pub(super) id: BatchId,
    pub(super) kind: BatchKind,
    /// Its records.
    pub(super) records: &'a [u8],
}

impl Batch<'_> {
    /// Bytes on disk, with the zeros behind it.
    pub(super) fn bytes(&self) -> usize {
        (BATCH_HEADER + self.records.len()).next_multiple_of(BLOCK)
    }
}

/// Whether some bytes look like the beginning of a batch of a log's segment.
pub(super) fn begins_batch(bytes: &[u8], log: u64, segment: u64) -> bool {
    let header = bytes.get(..BATCH_HEADER);
    header.is_some_and(|header| {
        header[..8] == *BATCH_MAGIC && (u64_at(header, 16), u64_at(header, 24)) == (log, segment)
    })
}

/// The batch of a log's segment at the beginning of some bytes. One of another log or segment is none, whatever its
/// format: a file that is used again still holds them.
pub(super) fn read_batch(bytes: &[u8], log: u64, segment: u64) -> Result<Batch<'_>, Wrong> {
    let wrong = Wrong::Bytes("a batch is not what was written");
    let header = bytes.get(..BATCH_HEADER).ok_or(wrong)?;
    let id = BatchId {
        log: u64_at(header, 16),
        segment: u64_at(header, 24),
        sequence: u64_at(header, 32),
    };
    if !begins_batch(header, log, segment) {
        return Err(wrong);
    }
    let len = usize::try_from(u64_at(header, 40)).map_err(|_| wrong)?;
    let end = len.checked_add(BATCH_HEADER).ok_or(wrong)?;
    let whole = bytes.get(..end).ok_or(wrong)?;
    if batch_crc(whole) != u32_at(header, 12) {
        return Err(wrong);
    }
    let format = u32_at(header, 8);
    if format != FORMAT {
        return Err(Wrong::Format(format));
    }
    let kind = match header[48] {
        0 => BatchKind::Records,
        1 => BatchKind::Checkpoint,
        2 => BatchKind::Closing,
        _ => return Err(wrong),
    };
    let records = &whole[BATCH_HEADER..];
    Ok(Batch { id, kind, records })
}

/// A record that was read, and where its payload lies.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) replica: ReplicaId,
    pub(super) record: Stored,
    /// Of the payload.
    pub(super) crc: u32,
    /// Of the payload, from the records' beginning.
    pub(super) start: usize,
}

/// The record that begins at an offset of a batch's records, and the offset of the next.
pub(super) fn read_record(records: &[u8], at: usize) -> Option<(Read, usize)> {
    let start = at.checked_add(RECORD_HEADER)?;
    let header = records.get(at..start)?;
    let end = start.checked_add(u32_at(header, 32) as usize)?;
    let payload = records.get(start..end)?;
    let position = Position {
        term: u64_at(header, 16),
        index: u64_at(header, 24),
    };
    let record = match header[0] {
        ENTRY => Stored::Record(Record::Entry(position, Bytes::copy_from_slice(payload))),
        TRUNCATE => Stored::Record(Record::Truncate(Some(position.index))),
        TRUNCATE_ALL => Stored::Record(Record::Truncate(None)),
        PURGE => Stored::Record(Record::Purge(position)),
        VOTE => Stored::Record(Record::Vote(Bytes::copy_from_slice(payload))),
        FORGET => Stored::Record(Record::Forget),
        LAST => Stored::Last(position),
        EXISTS => Stored::Exists,
        _ => return None,
    };
    let read = Read {
        replica: ReplicaId(u64_at(header, 8)),
        record,
        crc: u32_at(header, 4),
        start,
    };
    Some((read, end))
}

fn batch_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
