//! Decompressed chunks that were read lately, so that partial fetches of a large message, and a header fetch before
//! the body's, decompress each chunk once.

use std::num::NonZeroUsize;

use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;

use crate::schema::{BodyHash, ShardId};

/// Bytes of chunks that the cache of a node holds.
pub const CHUNK_CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Chunks that it holds, however small they are.
const CHUNK_CACHE_ENTRIES_MAX: NonZeroUsize = NonZeroUsize::new(8192).unwrap();

type ChunkKey = (ShardId, BodyHash, u32);

/// A bounded memory of raw chunks.
pub(super) struct ChunkCache {
    inner: Mutex<Inner>,
    bytes_max: usize,
}

struct Inner {
    chunks: LruCache<ChunkKey, Bytes>,
    bytes: usize,
}

impl ChunkCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            inner: Mutex::new(Inner {
                chunks: LruCache::new(CHUNK_CACHE_ENTRIES_MAX),
                bytes: 0,
            }),
            bytes_max,
        }
    }

    pub(super) fn get(&self, key: &ChunkKey) -> Option<Bytes> {
        self.inner.lock().chunks.get(key).cloned()
    }

    pub(super) fn put(&self, key: ChunkKey, chunk: Bytes) {
        if chunk.len() > self.bytes_max {
            return;
        }
        let mut inner = self.inner.lock();
        inner.bytes += chunk.len();
        // `push` gives back what it displaced: the same key's old chunk, or the least used one.
        if let Some((_, displaced)) = inner.chunks.push(key, chunk) {
            inner.bytes -= displaced.len();
        }
        while inner.bytes > self.bytes_max {
            let Some((_, oldest)) = inner.chunks.pop_lru() else {
                break;
            };
            inner.bytes -= oldest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(chunk: u32) -> ChunkKey {
        (ShardId(1), BodyHash::default(), chunk)
    }

    #[test]
    fn forgets_the_least_used_beyond_its_bytes() {
        let cache = ChunkCache::new(10);
        cache.put(key(0), Bytes::from_static(b"1234"));
        cache.put(key(1), Bytes::from_static(b"1234"));
        assert!(cache.get(&key(0)).is_some());
        cache.put(key(2), Bytes::from_static(b"1234"));
        assert!(cache.get(&key(1)).is_none());
        assert!(cache.get(&key(0)).is_some() && cache.get(&key(2)).is_some());
        // The same key again counts once.
        for _ in 0..10 {
            cache.put(key(2), Bytes::from_static(b"12345"));
        }
        assert!(cache.get(&key(0)).is_some());
        cache.put(key(3), Bytes::from_static(b"12345678901"));
        assert!(cache.get(&key(3)).is_none());
    }
}
