//! Bodies in the bodies column of their shard, cut into compressed chunks.

use bytes::Bytes;

use super::cache::{CHUNK_CACHE_BYTES_MAX, ChunkCache};
use super::prepare::EncodedBody;
use super::{BodyError, BodyStore, OpenBody};
use crate::schema::body::{BODY_CHUNK_BYTES, decode_chunk};
use crate::schema::{BodyHash, BodyLocation, DecodeError, ReadError, Reader};

const CHUNK: u64 = BODY_CHUNK_BYTES as u64;

/// Reads chunks through a view of the shard, and remembers the last ones.
pub struct ColumnBodies {
    cache: ChunkCache,
}

impl Default for ColumnBodies {
    fn default() -> Self {
        Self {
            cache: ChunkCache::new(CHUNK_CACHE_BYTES_MAX),
        }
    }
}

impl ColumnBodies {
    fn chunk(&self, reader: &Reader<'_>, body: &OpenBody, chunk: u32) -> Result<Bytes, BodyError> {
        let key = (reader.shard, body.hash, chunk);
        if let Some(raw) = self.cache.get(&key) {
            return Ok(raw);
        }
        let raw = read_chunk(reader, body, chunk)?;
        self.cache.put(key, raw.clone());
        Ok(raw)
    }
}

fn read_chunk(reader: &Reader<'_>, body: &OpenBody, chunk: u32) -> Result<Bytes, BodyError> {
    let stored = stored_chunk(reader, body, chunk)?.ok_or(BodyError::Missing(body.hash))?;
    let size = (body.hash.size - u64::from(chunk) * CHUNK).min(CHUNK) as usize;
    let raw = decode_chunk(&stored, size).map_err(|source| BodyError::Damaged {
        hash: body.hash,
        chunk,
        source,
    })?;
    Ok(raw.into())
}

/// All of a body by its chunks; one that has a single chunk is not copied.
fn whole(body: &OpenBody, read: impl Fn(u32) -> Result<Bytes, BodyError>) -> Result<Bytes, BodyError> {
    let chunks = u32::try_from(body.hash.size.div_ceil(CHUNK)).unwrap_or(u32::MAX);
    if chunks == 1 {
        return read(0);
    }
    let mut whole = Vec::with_capacity(usize::try_from(body.hash.size).unwrap_or(0));
    for chunk in 0..chunks {
        whole.extend_from_slice(&read(chunk)?);
    }
    Ok(whole.into())
}

/// The stored form of a chunk, if it is there.
fn stored_chunk(reader: &Reader<'_>, body: &OpenBody, chunk: u32) -> Result<Option<Bytes>, ReadError> {
    let at = |location| reader.body_chunk(&body.hash, location, chunk);
    if let Some(location) = body.location {
        return at(location);
    }
    // To ask where it is first would double what reading a small body costs.
    if let Some(own) = at(BodyLocation::Own)? {
        return Ok(Some(own));
    }
    match reader.body(&body.hash)? {
        Some(record) if record.location != BodyLocation::Own => at(record.location),
        _ => Ok(None),
    }
}

impl BodyStore for ColumnBodies {
    fn encode(&self, raw: &[u8], hash: BodyHash) -> EncodedBody {
        EncodedBody::new(raw, hash)
    }

    fn read_unverified(&self, reader: &Reader<'_>, body: &OpenBody) -> Result<Bytes, BodyError> {
        whole(body, |chunk| read_chunk(reader, body, chunk))
    }

    fn read_unverified_chunk(
        &self,
        reader: &Reader<'_>,
        body: &OpenBody,
        chunk: u32,
    ) -> Result<Bytes, BodyError> {
        read_chunk(reader, body, chunk)
    }

    fn read_once(&self, reader: &Reader<'_>, body: &OpenBody) -> Result<Bytes, BodyError> {
        whole(body, |chunk| {
            match self.cache.get(&(reader.shard, body.hash, chunk)) {
                Some(raw) => Ok(raw),
                None => read_chunk(reader, body, chunk),
            }
        })
    }

    fn read(
        &self,
        reader: &Reader<'_>,
        body: &OpenBody,
        offset: u64,
        length: usize,
    ) -> Result<Bytes, BodyError> {
        if offset >= body.hash.size || length == 0 {
            return Ok(Bytes::new());
        }
        let chunk = u32::try_from(offset / CHUNK).map_err(|_| BodyError::Damaged {
            hash: body.hash,
            chunk: u32::MAX,
            source: DecodeError::Damaged("size of a body"),
        })?;
        let raw = self.chunk(reader, body, chunk)?;
        let from = ((offset % CHUNK) as usize).min(raw.len());
        let to = from.saturating_add(length).min(raw.len());
        Ok(raw.slice(from..to))
    }
}
