//! Bodies: where their chunks lie, how a chunk is written, and uploads on their way.
//!
//! A body is cut into chunks of [`BODY_CHUNK_BYTES`] raw bytes (the last may be shorter), so that a byte range is found
//! without an index. A body that came in one piece owns its chunks; a larger one refers to its upload's chunks.

use std::cell::RefCell;

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};

use super::codec::{DecodeError, Decoder, Encoder, Value};
use super::ids::{AccountId, BodyHash, UploadId};

/// Raw bytes of every chunk but the last.
pub const BODY_CHUNK_BYTES: usize = 256 * 1024;

/// How hard zstd tries. A third of the processor time of level 3 is saved, which was a sixth of what a delivery of 10 KiB costs; text takes
/// 1 to 9 % more of the disk then.
const ZSTD_LEVEL: i32 = 1;

/// Codec of a chunk: as it is.
const CODEC_PLAIN: u8 = 1;
/// Codec of a chunk: zstd.
const CODEC_ZSTD: u8 = 2;

/// Number of chunks of a body of this size.
pub fn chunk_count(size: u64) -> u64 {
    size.div_ceil(BODY_CHUNK_BYTES as u64)
}

/// Chunks up to this size are compressed by what a thread keeps for it: to make that anew costs as much as a small chunk takes.
/// For a large one it would keep megabytes.
const KEPT_BYTES_MAX: usize = 32 * 1024;

thread_local! {
    static COMPRESSING: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSING: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The stored form of a chunk of raw bytes: a codec byte, then zstd or, when that is not smaller, the bytes.
pub fn encode_chunk(raw: &[u8]) -> Bytes {
    let compressed = compress(raw).filter(|compressed| compressed.len() < raw.len());
    let (codec, bytes) = match &compressed {
        Some(compressed) => (CODEC_ZSTD, compressed.as_slice()),
        None => (CODEC_PLAIN, raw),
    };
    let mut stored = Vec::with_capacity(1 + bytes.len());
    stored.push(codec);
    stored.extend_from_slice(bytes);
    stored.into()
}

fn compress(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.len() > KEPT_BYTES_MAX {
        return zstd::bulk::compress(raw, ZSTD_LEVEL).ok();
    }
    COMPRESSING.with_borrow_mut(|compressing| {
        if compressing.is_none() {
            *compressing = Some(Compressor::new(ZSTD_LEVEL).ok()?);
        }
        compressing.as_mut()?.compress(raw).ok()
    })
}

fn decompress(bytes: &[u8], size: usize) -> Option<Vec<u8>> {
    DECOMPRESSING.with_borrow_mut(|decompressing| {
        if decompressing.is_none() {
            *decompressing = Some(Decompressor::new().ok()?);
        }
        decompressing.as_mut()?.decompress(bytes, size).ok()
    })
}

/// The raw bytes of a stored chunk. `size` is what the body's size says of this chunk; another size is damage.
pub fn decode_chunk(stored: &[u8], size: usize) -> Result<Vec<u8>, DecodeError> {
    if size > BODY_CHUNK_BYTES {
        return Err(DecodeError::Damaged("size of a chunk"));
    }
    let (codec, bytes) = stored.split_first().ok_or(DecodeError::Truncated)?;
    let raw = match *codec {
        CODEC_PLAIN => bytes.to_vec(),
        CODEC_ZSTD => decompress(bytes, size).ok_or(DecodeError::Damaged("zstd of a chunk"))?,
        other => return Err(DecodeError::Version(other)),
    };
    if raw.len() == size {
        Ok(raw)
    } else {
        Err(DecodeError::Damaged("size of a chunk"))
    }
}

/// Whose chunks make up a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLocation {
    /// Chunks under its own hash.
    Own,
    /// Chunks of an upload.
    Upload(AccountId, UploadId),
}

/// A body of the shard; its size and so its number of chunks are in its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyRecord {
    /// Whose chunks.
    pub location: BodyLocation,
}

impl Value for BodyRecord {
    const VERSION: u8 = 1;

    fn encode_fields(&self, out: &mut Encoder) {
        match self.location {
            BodyLocation::Own => out.byte(0),
            BodyLocation::Upload(account, upload) => {
                out.byte(1);
                out.number(account.0);
                out.raw(&upload.0);
            }
        }
    }

    fn decode_fields(_version: u8, fields: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let location = match fields.byte()? {
            0 => BodyLocation::Own,
            1 => BodyLocation::Upload(AccountId(fields.number()?), UploadId(fields.array()?)),
            _ => return Err(DecodeError::Damaged("location of a body")),
        };
        Ok(Self { location })
    }
}

/// An upload: chunks that are durable, until a plan uses them or they expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadRecord {
    /// Chunks stored so far.
    pub chunks: u32,
    /// Raw bytes stored so far.
    pub size: u64,
    /// When it is removed unless used, unix milliseconds.
    pub expires_millis: u64,
    /// Set when the last chunk has come.
    pub finished: Option<FinishedUpload>,
}

/// A whole upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinishedUpload {
    /// Its content.
    pub hash: BodyHash,
    /// Whether a body refers to its chunks, so that they live as long as that body.
    pub used: bool,
}

impl Value for UploadRecord {
    const VERSION: u8 = 1;

    fn encode_fields(&self, out: &mut Encoder) {
        out.number(self.chunks);
        out.number(self.size);
        out.number(self.expires_millis);
        match &self.finished {
            None => out.byte(0),
            Some(finished) => {
                out.byte(1 + u8::from(finished.used));
                out.raw(&finished.hash.blake3);
                out.number(finished.hash.size);
            }
        }
    }

    fn decode_fields(_version: u8, fields: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            chunks: fields.number32()?,
            size: fields.number()?,
            expires_millis: fields.number()?,
            finished: match fields.byte()? {
                0 => None,
                state @ (1 | 2) => {
                    let hash = BodyHash {
                        blake3: fields.array()?,
                        size: fields.number()?,
                    };
                    Some(FinishedUpload {
                        hash,
                        used: state == 2,
                    })
                }
                _ => return Err(DecodeError::Damaged("state of an upload")),
            },
        })
    }
}
