//! Bodies of messages: how one is made ready for a plan, and how its bytes are read.
//!
//! Who reads asks for bytes of the raw body and never learns how they lie; today that is the bodies column of the
//! shard ([`ColumnBodies`]). Never writes: a body is stored by the plan that refers to it, in the same batch.

mod cache;
mod column;
mod prepare;

use std::ops::Range;

use bytes::Bytes;
use rookery_proto::{Reason, Status};

pub use cache::CHUNK_CACHE_BYTES_MAX;
pub use column::ColumnBodies;
pub use prepare::{ChunkWriter, EncodedBody, FinishedChunks};

use crate::schema::{BodyHash, BodyLocation, DecodeError, ReadError, Reader};

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// A row could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A message refers to a body that is not there.
    #[error("body {0:?} is missing")]
    Missing(BodyHash),
    /// A chunk is not what it should be.
    #[error("chunk {chunk} of body {hash:?} is damaged: {source}")]
    Damaged {
        /// Whose.
        hash: BodyHash,
        /// Which.
        chunk: u32,
        /// How.
        source: DecodeError,
    },
}

impl From<BodyError> for Status {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Read(error) => error.into(),
            BodyError::Damaged { .. } => Status::new(Reason::Damaged, error.to_string()),
            BodyError::Missing(_) => Status::internal(error.to_string()),
        }
    }
}

/// A body that is to be read.
#[derive(Debug, Clone, Copy)]
pub struct OpenBody {
    /// Its content and size.
    pub hash: BodyHash,
    /// Whose chunks it has; `None` when that is to be looked up where they are not its own, as nearly all are.
    pub location: Option<BodyLocation>,
}

impl OpenBody {
    /// The body that a message refers to.
    pub fn of(hash: BodyHash) -> Self {
        Self { hash, location: None }
    }
}

/// Where the bytes of bodies are. Calls block on the disk.
pub trait BodyStore: Send + Sync + 'static {
    /// Compresses a whole body of a known hash, for a plan to put.
    fn encode(&self, raw: &[u8], hash: BodyHash) -> EncodedBody;

    /// All of a body that no plan has taken yet. Nothing of it is remembered: its bytes may not be those of its hash.
    fn read_unverified(&self, reader: &Reader<'_>, body: &OpenBody) -> Result<Bytes, BodyError>;

    /// One chunk of an upload that is not whole yet, of which the body's size says no more than that it is there.
    fn read_unverified_chunk(
        &self,
        reader: &Reader<'_>,
        body: &OpenBody,
        chunk: u32,
    ) -> Result<Bytes, BodyError>;

    /// Bytes from `offset` on: at most `length`, fewer only where a stored chunk or the body ends, none only at the end.
    fn read(
        &self,
        reader: &Reader<'_>,
        body: &OpenBody,
        offset: u64,
        length: usize,
    ) -> Result<Bytes, BodyError>;

    /// All of a body that is one of many: it is looked up in what is remembered, but not remembered itself. As much memory as the body.
    fn read_once(&self, reader: &Reader<'_>, body: &OpenBody) -> Result<Bytes, BodyError>;

    /// All bytes of a range, cut where the body ends, in one piece. As much memory as the range.
    fn read_range(
        &self,
        reader: &Reader<'_>,
        body: &OpenBody,
        range: Range<u64>,
    ) -> Result<Bytes, BodyError> {
        let end = range.end.min(body.hash.size);
        let left = |at: u64| usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
        let first = self.read(reader, body, range.start, left(range.start))?;
        let mut at = range.start.saturating_add(first.len() as u64);
        if at >= end {
            return Ok(first);
        }
        let mut all = Vec::with_capacity(left(range.start));
        all.extend_from_slice(&first);
        while at < end {
            let piece = self.read(reader, body, at, left(at))?;
            if piece.is_empty() {
                break;
            }
            all.extend_from_slice(&piece);
            at += piece.len() as u64;
        }
        Ok(all.into())
    }
}
