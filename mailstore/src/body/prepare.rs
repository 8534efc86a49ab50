//! From raw bytes to what a plan puts: the content's hash and compressed chunks.

use bytes::{Bytes, BytesMut};

use crate::schema::BodyHash;
use crate::schema::body::{BODY_CHUNK_BYTES, encode_chunk};

/// A whole body in its stored form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedBody {
    /// Names it.
    pub hash: BodyHash,
    /// Its chunks in their stored form.
    pub chunks: Vec<Bytes>,
}

impl EncodedBody {
    /// Compresses a body of which the hash is known.
    pub fn new(raw: &[u8], hash: BodyHash) -> Self {
        Self {
            hash,
            chunks: raw.chunks(BODY_CHUNK_BYTES).map(encode_chunk).collect(),
        }
    }
}

/// Cuts bytes that come in pieces of any size into chunks of the stored size, hashing them on the way.
/// Holds at most one chunk.
#[derive(Default)]
pub struct ChunkWriter {
    hasher: blake3::Hasher,
    pending: BytesMut,
    size: u64,
}

/// The end of what a [`ChunkWriter`] was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedChunks {
    /// Names the whole.
    pub hash: BodyHash,
    /// The whole BLAKE3 hash, for the uploader.
    pub blake3: [u8; 32],
    /// The last chunk in its stored form, when anything was left over.
    pub last: Option<Bytes>,
}

impl ChunkWriter {
    /// Takes a piece; gives the chunks that it completed, in their stored form.
    pub fn push(&mut self, piece: &[u8]) -> Vec<Bytes> {
        self.hasher.update(piece);
        self.size += piece.len() as u64;
        self.pending.extend_from_slice(piece);
        let mut chunks = Vec::new();
        while self.pending.len() >= BODY_CHUNK_BYTES {
            chunks.push(encode_chunk(&self.pending.split_to(BODY_CHUNK_BYTES)));
        }
        chunks
    }

    /// Takes a chunk that is stored already: it counts, and need not be made again. Only before anything was pushed.
    pub fn take_stored(&mut self, raw: &[u8]) {
        debug_assert!(self.pending.is_empty() && raw.len() == BODY_CHUNK_BYTES);
        self.hasher.update(raw);
        self.size += raw.len() as u64;
    }

    /// Whether so many bytes more make a chunk.
    pub fn completes_chunk(&self, more: usize) -> bool {
        self.pending.len() + more >= BODY_CHUNK_BYTES
    }

    /// Bytes taken so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Ends it.
    pub fn finish(self) -> FinishedChunks {
        let hash = self.hasher.finalize();
        FinishedChunks {
            hash: BodyHash::new(&hash, self.size),
            blake3: *hash.as_bytes(),
            last: (!self.pending.is_empty()).then(|| encode_chunk(&self.pending)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_give_the_chunks_of_the_whole() {
        let raw: Vec<u8> = (0..BODY_CHUNK_BYTES * 2 + 777)
            .map(|at| (at % 251) as u8)
            .collect();
        let whole = EncodedBody::new(&raw, BodyHash::of(&raw));
        assert_eq!(whole.chunks.len(), 3);
        for step in [1000, 65_536, raw.len()] {
            let mut writer = ChunkWriter::default();
            let mut chunks: Vec<Bytes> = raw.chunks(step).flat_map(|piece| writer.push(piece)).collect();
            assert_eq!(writer.size(), raw.len() as u64);
            let finished = writer.finish();
            chunks.extend(finished.last);
            assert_eq!((finished.hash, &chunks), (whole.hash, &whole.chunks));
        }
    }

    #[test]
    fn what_is_stored_counts_and_is_not_made_again() {
        let raw = vec![7; BODY_CHUNK_BYTES * 2 + 5];
        let mut writer = ChunkWriter::default();
        writer.take_stored(&raw[..BODY_CHUNK_BYTES]);
        let chunks = writer.push(&raw[BODY_CHUNK_BYTES..]);
        assert_eq!((chunks.len(), writer.size()), (1, raw.len() as u64));
        assert_eq!(writer.finish().hash, BodyHash::of(&raw));
    }
}
