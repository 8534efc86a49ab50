//! What is written into the store together, or not at all.

use rocksdb::WriteBatch;

use super::memory::Change;

/// Writes of batches and of this crate's own rows, in order.
pub(crate) enum Writes {
    Rocks(WriteBatch),
    Memory(Vec<Change>),
}

impl Writes {
    /// Sets a row of this crate's own.
    pub(crate) fn put_own(&mut self, key: Vec<u8>, value: Vec<u8>) {
        match self {
            Writes::Rocks(writes) => writes.put(key, value),
            Writes::Memory(writes) => writes.push(Change::Own(key, Some(value))),
        }
    }

    /// Removes a row of this crate's own.
    pub(crate) fn delete_own(&mut self, key: Vec<u8>) {
        match self {
            Writes::Rocks(writes) => writes.delete(key),
            Writes::Memory(writes) => writes.push(Change::Own(key, None)),
        }
    }
}

impl Clone for Writes {
    fn clone(&self) -> Self {
        match self {
            Writes::Rocks(writes) => Writes::Rocks(WriteBatch::from_data(writes.data())),
            Writes::Memory(writes) => Writes::Memory(writes.clone()),
        }
    }
}
