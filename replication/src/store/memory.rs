//! A store's rows in memory, for tests and simulation: what was not flushed can be lost, as in a power cut.
//!
//! Each operation is whole or not at all, as RocksDB's are: writes that go together, a flush of all columns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::OwnRow;
use crate::batch::{Batch, Column};
use crate::memory::MemoryStore;

/// One of the writes that go together.
#[derive(Clone)]
pub(crate) enum Change {
    Batch(Batch),
    Own(Vec<u8>, Option<Vec<u8>>),
}

/// All rows of one moment.
#[derive(Clone, Default)]
pub(super) struct Rows {
    pub(super) columns: MemoryStore,
    own: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Rows {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Batch(batch) => self.columns.apply(batch),
            Change::Own(key, value) => self.set_own(key, value.as_deref()),
        }
    }

    fn set_own(&mut self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.own.insert(key.to_vec(), value.to_vec()),
            None => self.own.remove(key),
        };
    }

    pub(super) fn own_row(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.own.get(key).cloned()
    }

    pub(super) fn own_rows(&self, prefix: &[u8]) -> Vec<OwnRow> {
        let from = self.own.range(prefix.to_vec()..);
        from.take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

/// A file of sorted rows.
type File = Arc<Vec<(Bytes, Bytes)>>;

#[derive(Clone, Default)]
struct State {
    /// What reads see.
    seen: Arc<Rows>,
    /// What a power cut leaves.
    durable: Arc<Rows>,
    /// Durable from the moment on when they are written.
    files: BTreeMap<PathBuf, File>,
    /// How many things may still become durable; `None`: any number.
    left: Option<u64>,
}

impl State {
    /// Whether what is done now becomes durable.
    fn keeps(&mut self) -> bool {
        match &mut self.left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// Rows in memory.
#[derive(Default)]
pub struct MemoryDisk {
    state: Mutex<State>,
}

impl MemoryDisk {
    /// Nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// What a power cut at this moment leaves.
    pub fn after_power_cut(&self) -> Arc<Self> {
        let state = self.state.lock();
        let (seen, durable) = (Arc::clone(&state.durable), Arc::clone(&state.durable));
        let files = state.files.clone();
        Arc::new(Self {
            state: Mutex::new(State {
                seen,
                durable,
                files,
                left: None,
            }),
        })
    }

    /// After so many more operations nothing becomes durable: the power was cut there, whatever is done until
    /// [`Self::after_power_cut`] is asked for.
    pub fn cut_power_after(&self, operations: u64) {
        self.state.lock().left = Some(operations);
    }

    /// Whether nothing becomes durable any more.
    pub fn is_cut(&self) -> bool {
        self.state.lock().left == Some(0)
    }

    /// Makes all that was written durable, all columns together, as the store may do by itself at any time.
    pub fn flush(&self) {
        let mut state = self.state.lock();
        if state.keeps() {
            state.durable = Arc::clone(&state.seen);
        }
    }

    pub(super) fn rows(&self) -> Arc<Rows> {
        Arc::clone(&self.state.lock().seen)
    }

    pub(super) fn apply(&self, changes: &[Change]) {
        let mut state = self.state.lock();
        let seen = Arc::make_mut(&mut state.seen);
        changes.iter().for_each(|change| seen.apply(change));
    }

    /// Sets or removes a row, durably.
    pub(super) fn set_own(&self, key: &[u8], value: Option<&[u8]>) {
        let mut state = self.state.lock();
        Arc::make_mut(&mut state.seen).set_own(key, value);
        if state.keeps() {
            Arc::make_mut(&mut state.durable).set_own(key, value);
        }
    }

    pub(super) fn write_file(&self, path: &Path, rows: Vec<(Bytes, Bytes)>) {
        let mut state = self.state.lock();
        if state.keeps() {
            state.files.insert(path.to_owned(), Arc::new(rows));
        }
    }

    pub(super) fn remove_files(&self, folder: &Path) {
        let mut state = self.state.lock();
        if state.keeps() {
            state.files.retain(|path, _| !path.starts_with(folder));
        }
    }

    /// Puts a file's rows, durably. False when there is no such file.
    pub(super) fn ingest(&self, column: Column, path: &Path) -> bool {
        let mut state = self.state.lock();
        let Some(file) = state.files.get(path).cloned() else {
            // What was written after the power was cut is in no file.
            return state.left == Some(0);
        };
        let mut batch = Batch::new();
        for (key, value) in file.iter() {
            batch.put(column, key.clone(), value.clone());
        }
        Arc::make_mut(&mut state.seen).columns.apply(&batch);
        if state.keeps() {
            Arc::make_mut(&mut state.durable).columns.apply(&batch);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{OwnRows, Store};
    use crate::view::View;

    fn write(store: &Store, key: &str, value: &str) {
        let mut batch = Batch::new();
        batch.put(Column::Rows, key.to_owned(), value.to_owned());
        batch.add("n", 1);
        let mut writes = store.begin();
        store.gather(&mut writes, &batch).expect("gathers");
        writes.put_own(b"applied".to_vec(), value.into());
        store.apply(writes).expect("writes");
    }

    fn found(disk: &Arc<MemoryDisk>, key: &str) -> bool {
        let store = Store::in_memory(Arc::clone(disk));
        store.contains(Column::Rows, key.as_bytes()).expect("reads")
    }

    #[test]
    fn a_power_cut_leaves_what_was_flushed_and_what_is_synced() {
        let disk = MemoryDisk::new();
        let store = Store::in_memory(Arc::clone(&disk));
        write(&store, "a", "1");
        let before = store.snapshot();
        store.flush().expect("flushes");
        write(&store, "b", "2");
        store.put_own(b"own", "row").expect("writes");
        assert!(found(&disk, "b"));
        assert!(!before.contains(Column::Rows, b"b").expect("reads"));
        let left = disk.after_power_cut();
        assert!(found(&left, "a") && !found(&left, "b"));
        let store = Store::in_memory(left);
        assert_eq!(store.own_row(b"own").expect("reads"), Some(b"row".to_vec()));
        assert_eq!(store.own_row(b"applied").expect("reads"), Some(b"1".to_vec()));
    }

    #[test]
    fn the_power_can_be_cut_between_two_operations() {
        let disk = MemoryDisk::new();
        let store = Store::in_memory(Arc::clone(&disk));
        disk.cut_power_after(1);
        store.put_own(b"first", "1").expect("writes");
        assert!(disk.is_cut());
        store.put_own(b"second", "2").expect("writes");
        write(&store, "a", "1");
        store.flush().expect("flushes");
        let left = Store::in_memory(disk.after_power_cut());
        assert_eq!(left.own_row(b"first").expect("reads"), Some(b"1".to_vec()));
        assert_eq!(left.own_row(b"second").expect("reads"), None);
        assert!(!left.contains(Column::Rows, b"a").expect("reads"));
    }
}
