//! The writes of a plan: what is put, added and deleted, in order, as bytes.

use bytes::Bytes;

/// A key space of the store with tuning of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Column {
    /// Small values: accounts, mailboxes, messages, logs.
    Rows = 0,
    /// Large values: bodies of messages. Kept in blob files apart from their keys.
    Bodies = 1,
    /// 64-bit signed counters that are added to without being read.
    Counters = 2,
}

impl Column {
    /// All columns.
    pub const ALL: [Column; 3] = [Column::Rows, Column::Bodies, Column::Counters];

    /// The name of its column family on disk.
    pub fn name(self) -> &'static str {
        match self {
            Column::Rows => "rows",
            Column::Bodies => "bodies",
            Column::Counters => "counters",
        }
    }
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a key.
    Put(Column, Bytes, Bytes),
    /// Adds to a counter in [`Column::Counters`]; a missing one counts as 0.
    Add(Bytes, i64),
    /// Removes a key, present or not.
    Delete(Column, Bytes),
    /// Removes all keys from the first (inclusive) to the second (exclusive).
    DeleteRange(Column, Bytes, Bytes),
}

/// Writes in order; later ones win.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    writes: Vec<Write>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key.
    pub fn put(&mut self, column: Column, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.writes.push(Write::Put(column, key.into(), value.into()));
    }

    /// Adds to a counter.
    pub fn add(&mut self, key: impl Into<Bytes>, by: i64) {
        self.writes.push(Write::Add(key.into(), by));
    }

    /// Removes a key.
    pub fn delete(&mut self, column: Column, key: impl Into<Bytes>) {
        self.writes.push(Write::Delete(column, key.into()));
    }

    /// Removes the keys from `from` (inclusive) to `to` (exclusive).
    pub fn delete_range(&mut self, column: Column, from: impl Into<Bytes>, to: impl Into<Bytes>) {
        self.writes
            .push(Write::DeleteRange(column, from.into(), to.into()));
    }

    /// Appends another batch's writes.
    pub fn append(&mut self, mut other: Batch) {
        self.writes.append(&mut other.writes);
    }

    /// The writes in order.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.writes
            .iter()
            .map(|write| match write {
                Write::Put(_, key, value) => key.len() + value.len(),
                Write::Add(key, _) => key.len() + 8,
                Write::Delete(_, key) => key.len(),
                Write::DeleteRange(_, from, to) => from.len() + to.len(),
            })
            .sum()
    }
}
