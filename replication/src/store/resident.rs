//! What can be read of the store without waiting for a disk: who has a thread that must not wait tries this first.

use std::cell::Cell;

use bytes::Bytes;

use super::{Engine, Store};
use crate::batch::Column;
use crate::view::{View, ViewError, Visitor};

/// The rows that are in memory. A read of others fails, and is remembered: [`Resident::is_exceeded`].
pub struct Resident<'a> {
    store: &'a Store,
    /// Rows that may be read still: work that reads more takes longer than a thread should that must not wait.
    rows_left: Cell<usize>,
    is_exceeded: Cell<bool>,
}

impl<'a> Resident<'a> {
    pub(super) fn new(store: &'a Store, rows_max: usize) -> Self {
        Self {
            store,
            rows_left: Cell::new(rows_max),
            is_exceeded: Cell::new(false),
        }
    }

    /// Whether more was asked for than is in memory, or than may be read. What was made of it is void then.
    pub fn is_exceeded(&self) -> bool {
        self.is_exceeded.get()
    }

    fn exceeded<T>(&self) -> Result<T, ViewError> {
        self.is_exceeded.set(true);
        Err(ViewError::Failed("it may have to wait for the disk".to_owned()))
    }

    /// Whether one more row may be read.
    fn take_row(&self) -> bool {
        let left = self.rows_left.get();
        self.rows_left.set(left.saturating_sub(1));
        left > 0
    }
}

impl View for Resident<'_> {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        if !self.take_row() {
            return self.exceeded();
        }
        match &self.store.engine {
            Engine::Rocks(rocks) => match rocks.get_resident(column, key)? {
                Some(value) => Ok(value),
                None => self.exceeded(),
            },
            Engine::Memory(disk) => disk.rows().columns.get(column, key),
        }
    }

    fn scan(&self, column: Column, from: &[u8], to: &[u8], visit: Visitor<'_>) -> Result<(), ViewError> {
        if from >= to {
            return Ok(());
        }
        let mut is_too_long = false;
        let visit: Visitor<'_> = &mut |key, value| {
            is_too_long = !self.take_row();
            !is_too_long && visit(key, value)
        };
        let is_whole = match &self.store.engine {
            Engine::Rocks(rocks) => rocks.scan_resident(column, (from, to), visit)?,
            Engine::Memory(disk) => {
                disk.rows().columns.scan(column, from, to, visit)?;
                true
            }
        };
        match is_whole && !is_too_long {
            true => Ok(()),
            false => self.exceeded(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::store::StoreOptions;

    /// Rows that are in a file alone once the store is opened again.
    fn filled(folder: &tempfile::TempDir) -> Store {
        let open = || Store::open(folder.path(), &StoreOptions::default()).expect("opens");
        let store = open();
        let mut batch = Batch::new();
        for number in 0..100u8 {
            batch.put(Column::Rows, vec![b'r', number], vec![number; 100]);
        }
        batch.put(Column::Bodies, "b", vec![7; 5000]);
        let mut writes = store.begin();
        store.gather(&mut writes, &batch).expect("gathers");
        store.apply(writes).expect("writes");
        store.flush().expect("flushes");
        drop(store);
        open()
    }

    fn count(view: &dyn View) -> Result<usize, ViewError> {
        let mut seen = 0;
        view.scan(Column::Rows, b"r", b"s", &mut |_, _| {
            seen += 1;
            true
        })?;
        Ok(seen)
    }

    #[test]
    fn what_is_on_disk_is_not_read_and_what_is_in_memory_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = filled(&folder);
        let cold = store.resident(1000);
        assert!(cold.get(Column::Rows, b"r\x05").is_err());
        assert!(cold.is_exceeded());
        let cold = store.resident(1000);
        assert!(count(&cold).is_err());
        assert!(cold.is_exceeded());

        assert_eq!(count(&store).expect("reads"), 100);
        let warm = store.resident(1000);
        assert_eq!(count(&warm).expect("reads"), 100);
        let value = warm.get(Column::Rows, b"r\x05").expect("reads");
        assert_eq!(value.as_deref(), Some(&[5; 100][..]));
        assert_eq!(warm.get(Column::Rows, b"r\xff").expect("reads"), None);
        assert!(!warm.is_exceeded());
        assert!(
            warm.get(Column::Bodies, b"b").is_err(),
            "bodies are in files of their own"
        );
        assert!(warm.is_exceeded());
    }

    #[test]
    fn so_many_rows_and_no_more_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = filled(&folder);
        count(&store).expect("reads");
        let enough = store.resident(100);
        assert_eq!(count(&enough).expect("reads"), 100);
        assert!(!enough.is_exceeded());
        assert!(enough.get(Column::Rows, b"r\x05").is_err());
        let few = store.resident(99);
        assert!(count(&few).is_err());
        assert!(few.is_exceeded());
    }
}
