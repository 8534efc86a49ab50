//! A store in memory: what planners and codecs are tested on, without RocksDB.
//!
//! Never durable, never shared between threads.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::batch::{Batch, Column, Write};
use crate::view::{View, ViewError, Visitor};

/// All columns as ordered maps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryStore {
    columns: [BTreeMap<Bytes, Bytes>; Column::ALL.len()],
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies writes in order.
    pub fn apply(&mut self, batch: &Batch) {
        for write in batch.writes() {
            match write {
                Write::Put(column, key, value) => {
                    self.columns[*column as usize].insert(key.clone(), value.clone());
                }
                Write::Add(key, by) => {
                    let counters = &mut self.columns[Column::Counters as usize];
                    let now = counters.get(key).map_or(0, |value| counter(value));
                    let sum = Bytes::copy_from_slice(&now.wrapping_add(*by).to_le_bytes());
                    counters.insert(key.clone(), sum);
                }
                Write::Delete(column, key) => {
                    self.columns[*column as usize].remove(key);
                }
                Write::DeleteRange(column, from, to) => {
                    if from < to {
                        self.columns[*column as usize].retain(|key, _| key < from || key >= to);
                    }
                }
            }
        }
    }

    /// Keys and values of a column, ascending.
    pub fn iter(&self, column: Column) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.columns[column as usize].iter()
    }

    /// Number of keys of a column.
    pub fn len(&self, column: Column) -> usize {
        self.columns[column as usize].len()
    }

    /// Whether no column holds a key.
    pub fn is_empty(&self) -> bool {
        self.columns.iter().all(BTreeMap::is_empty)
    }
}

/// The number in a counter's value; a value of another length counts as 0.
pub fn counter(value: &[u8]) -> i64 {
    value.try_into().map_or(0, i64::from_le_bytes)
}

impl View for MemoryStore {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(self.columns[column as usize].get(key).cloned())
    }

    fn scan(&self, column: Column, from: &[u8], to: &[u8], visit: Visitor<'_>) -> Result<(), ViewError> {
        if from >= to {
            return Ok(());
        }
        let range = (Bound::Included(from), Bound::Excluded(to));
        for (key, value) in self.columns[column as usize].range::<[u8], _>(range) {
            if !visit(key, value) {
                break;
            }
        }
        Ok(())
    }
}
