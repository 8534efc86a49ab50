//! The node's one store: rows in columns, in RocksDB or, for tests and simulation, in memory.
//!
//! Groups' keys are written by the applier alone, without a log of the store's own: until a flush the node's log
//! ([`crate::log`]) has what they say. Few rows of this crate's own are written and synced at once. Read by everybody.
//! Never interprets a value.

mod columns;
#[cfg(test)]
mod failing;
mod figures;
mod files;
mod memory;
mod owned;
mod resident;
mod rocks;
mod size;
mod snapshot;
mod space;
mod writes;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::WriteBatch;

use self::rocks::Rocks;
use self::snapshot::Moment;
use crate::aside::Aside;
use crate::batch::{Batch, Column};
use crate::damage::{self, ADVICE, Damages, DescribeKey};
use crate::entry::GroupId;
use crate::view::{Damage, View, ViewError, Visitor};

pub use self::memory::MemoryDisk;
pub use self::owned::OwnedSnapshot;
pub use self::resident::Resident;
pub use self::size::Sizes;
pub use self::snapshot::Snapshot;
pub(crate) use self::space::{BEGINS_PERCENT, ENDS_PERCENT};
pub(crate) use self::writes::Writes;

/// Bytes of writes up to which they are made by whoever has them, if that needs no wait.
const AT_ONCE_BYTES_MAX: usize = 64 * 1024;

/// Tuning of a node's store. The default suits a machine with a few gigabytes of memory.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Cache of blocks, with their indexes and filters.
    pub block_cache_bytes: usize,
    /// Memory for writes that are not yet in a file, all columns together.
    pub write_buffer_bytes: usize,
    /// Values of [`Column::Bodies`] from this size on lie in blob files.
    pub blob_bytes_min: u64,
    /// Size of a blob file.
    pub blob_file_bytes: u64,
    /// Threads for flushing and compacting.
    pub background_jobs: i32,
    /// Files kept open.
    pub open_files_max: i32,
    /// The store is known to be damaged: nothing is compacted, so that what is damaged is in the way of nothing else.
    pub is_damaged: bool,
    /// Says what a key names, for people who are told of damage.
    pub describe_key: DescribeKey,
    /// Hits and misses of the cache are counted, which costs a little.
    pub counts: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: 64 * 1024 * 1024,
            write_buffer_bytes: 96 * 1024 * 1024,
            blob_bytes_min: 512,
            blob_file_bytes: 128 * 1024 * 1024,
            background_jobs: 2,
            open_files_max: 1024,
            is_damaged: false,
            describe_key: damage::describe_bytes,
            counts: false,
        }
    }
}

/// The store cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Opening failed.
    #[error("cannot open the store in {path}: {reason}")]
    Open {
        /// Its folder.
        path: PathBuf,
        /// What RocksDB says.
        reason: String,
    },
    /// What was written, and acknowledged, is no longer what is read: a store so hurt is not opened, for it would lose it.
    #[error("{0}: {advice}", advice = ADVICE)]
    Damaged(Damage),
    /// A write or its sync failed.
    #[error("cannot write the store: {0}")]
    Write(String),
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] ViewError),
}

impl StoreError {
    /// The damage, when it is that.
    pub fn damage(&self) -> Option<&Damage> {
        match self {
            StoreError::Damaged(damage) | StoreError::Read(ViewError::Damaged(damage)) => Some(damage),
            _ => None,
        }
    }

    /// Whether the disk is full.
    pub(crate) fn is_no_space(&self) -> bool {
        matches!(self, StoreError::Write(reason) if reason.contains("No space left on device"))
    }
}

/// A node's rows.
pub struct Store {
    engine: Engine,
    damages: Arc<Damages>,
    /// Over one that does not wait there are none.
    aside: Option<Aside>,
    #[cfg(test)]
    pub(crate) failing: failing::Failing,
}

enum Engine {
    Rocks(Box<Rocks>),
    Memory(Arc<MemoryDisk>),
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path()).finish()
    }
}

impl Store {
    /// Opens the store in a folder, creating it when missing.
    pub fn open(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let rocks = Rocks::open(path, options)?;
        let damages = Arc::clone(rocks.damages());
        let aside = Aside::start().map_err(|error| StoreError::Open {
            path: path.to_owned(),
            reason: format!("cannot start threads: {error}"),
        })?;
        Ok(Self::with(Engine::Rocks(Box::new(rocks)), damages, Some(aside)))
    }

    /// A store over rows in memory. Nothing that it does waits or leaves the calling thread.
    pub fn in_memory(disk: Arc<MemoryDisk>) -> Self {
        let damages = Damages::new(Path::new(""), damage::describe_bytes);
        Self::with(Engine::Memory(disk), Arc::new(damages), None)
    }

    fn with(engine: Engine, damages: Arc<Damages>, aside: Option<Aside>) -> Self {
        Self {
            engine,
            damages,
            aside,
            #[cfg(test)]
            failing: failing::Failing::default(),
        }
    }

    /// Its folder; empty when it is in memory.
    pub fn path(&self) -> &Path {
        match &self.engine {
            Engine::Rocks(rocks) => rocks.path(),
            Engine::Memory(_) => Path::new(""),
        }
    }

    /// The damage that was met.
    pub fn damages(&self) -> &Arc<Damages> {
        &self.damages
    }

    /// Whether its work may wait for a disk, and so belongs on a thread that may. Over one that does not wait, who uses it
    /// starts no threads for anything.
    pub fn may_wait(&self) -> bool {
        matches!(self.engine, Engine::Rocks(_))
    }

    /// Does work that may wait for the disk, on a thread that may. Errors: the work panicked, or the runtime is ending.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<T> {
        match self.may_wait() {
            true => tokio::task::spawn_blocking(work)
                .await
                .map_err(std::io::Error::other),
            false => Ok(work()),
        }
    }

    /// The same for work that others need not wait for: it gets what they leave of a processor.
    pub(crate) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<T> {
        match &self.aside {
            Some(aside) => aside.run(work).await,
            None => Ok(work()),
        }
    }

    /// What can be read of it without waiting for a disk, up to so many rows.
    pub fn resident(&self, rows_max: usize) -> Resident<'_> {
        Resident::new(self, rows_max)
    }

    /// A consistent view of this moment. Cheap; files it needs live as long as it does, so drop it soon.
    pub fn snapshot(&self) -> Snapshot<'_> {
        match &self.engine {
            Engine::Rocks(rocks) => Snapshot(Moment::Rocks(rocks.snapshot())),
            Engine::Memory(disk) => Snapshot(Moment::Memory(disk.rows())),
        }
    }

    /// Writes what is in memory to files, all columns and the own rows together: what is applied, and the own row that says how
    /// far that is.
    pub fn flush(&self) -> Result<(), StoreError> {
        #[cfg(test)]
        self.failing.step()?;
        match &self.engine {
            Engine::Rocks(rocks) => rocks.flush(),
            Engine::Memory(disk) => {
                disk.flush();
                Ok(())
            }
        }
    }

    /// What will be written together; nothing yet.
    pub(crate) fn begin(&self) -> Writes {
        match &self.engine {
            Engine::Rocks(_) => Writes::Rocks(WriteBatch::default()),
            Engine::Memory(_) => Writes::Memory(Vec::new()),
        }
    }

    /// Appends a batch's writes to what will be written together.
    pub(crate) fn gather(&self, writes: &mut Writes, batch: &Batch) -> Result<(), ViewError> {
        match (&self.engine, writes) {
            (Engine::Rocks(rocks), Writes::Rocks(writes)) => rocks.gather(writes, batch),
            (_, Writes::Memory(writes)) => {
                writes.push(memory::Change::Batch(batch.clone()));
                Ok(())
            }
            (Engine::Memory(_), Writes::Rocks(_)) => Err(elsewhere()),
        }
    }

    /// Writes without a log: durable after the next [`Store::flush`], and lost with all later ones in a crash before it.
    pub(crate) fn apply(&self, writes: Writes) -> Result<(), StoreError> {
        #[cfg(test)]
        self.failing.check().and_then(|()| self.failing.step())?;
        match (&self.engine, writes) {
            (Engine::Rocks(rocks), Writes::Rocks(writes)) => rocks.apply(writes),
            (Engine::Memory(disk), Writes::Memory(writes)) => {
                disk.apply(&writes);
                Ok(())
            }
            _ => Err(elsewhere().into()),
        }
    }

    /// As if rows were being synced.
    #[cfg(test)]
    pub(crate) fn hold_writes(&self) -> Option<parking_lot::RwLockWriteGuard<'_, ()>> {
        match &self.engine {
            Engine::Rocks(rocks) => Some(rocks.hold_writes()),
            Engine::Memory(_) => None,
        }
    }

    /// The same if it needs no wait and is not large; whether it was done. What keeps it from being done, [`Store::apply`] tells.
    pub(crate) fn try_apply(&self, writes: &Writes) -> bool {
        #[cfg(test)]
        if self.failing.check().is_err() {
            return false;
        }
        match (&self.engine, writes) {
            (Engine::Rocks(rocks), Writes::Rocks(writes)) if writes.size_in_bytes() <= AT_ONCE_BYTES_MAX => {
                rocks.try_apply(WriteBatch::from_data(writes.data()))
            }
            _ => false,
        }
    }

    /// What has gone wrong in the background since, which stops writes: told now rather than with the next write.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Rocks(rocks) if rocks.may_have_failed() => self.apply(self.begin()),
            _ => Ok(()),
        }
    }

    /// Sets a row of this crate's own, durably. Such rows never depend on what is applied.
    pub(crate) fn put_own(&self, key: &[u8], value: impl AsRef<[u8]>) -> Result<(), StoreError> {
        #[cfg(test)]
        self.failing.step()?;
        match &self.engine {
            Engine::Rocks(rocks) => rocks.put_own(key, value.as_ref()),
            Engine::Memory(disk) => {
                disk.set_own(key, Some(value.as_ref()));
                Ok(())
            }
        }
    }

    /// Removes a row of this crate's own, durably.
    pub(crate) fn delete_own(&self, key: &[u8]) -> Result<(), StoreError> {
        #[cfg(test)]
        self.failing.step()?;
        match &self.engine {
            Engine::Rocks(rocks) => rocks.delete_own(key),
            Engine::Memory(disk) => {
                disk.set_own(key, None);
                Ok(())
            }
        }
    }

    /// Rows of this crate's own whose keys begin with a prefix.
    pub(crate) fn own_rows(&self, prefix: &[u8]) -> Result<Vec<OwnRow>, ViewError> {
        match &self.engine {
            Engine::Rocks(rocks) => rocks.own_rows(prefix),
            Engine::Memory(disk) => Ok(disk.rows().own_rows(prefix)),
        }
    }

    /// Removes all keys of a group. Durable after the next flush.
    pub(crate) fn delete_group(&self, group: GroupId) -> Result<(), StoreError> {
        let (from, to) = group.key_range();
        let mut batch = Batch::new();
        for column in Column::ALL {
            batch.delete_range(column, from.clone(), to.clone());
        }
        let mut writes = self.begin();
        self.gather(&mut writes, &batch)?;
        self.apply(writes)
    }

    /// Reads rows from a key on, so many bytes or one row more; how many, and where to go on. Leaves no trace in the cache. Memory
    /// has nothing to look for.
    pub(crate) fn scrub_step(
        &self,
        column: Option<Column>,
        from: &[u8],
        bytes_max: u64,
    ) -> Result<(u64, Option<Vec<u8>>), ViewError> {
        match &self.engine {
            Engine::Rocks(rocks) => rocks.scrub_step(column, from, bytes_max),
            Engine::Memory(_) => Ok((0, None)),
        }
    }

    /// The number of the last write; 0 in memory.
    pub(crate) fn last_write(&self) -> u64 {
        match &self.engine {
            Engine::Rocks(rocks) => rocks.last_write(),
            Engine::Memory(_) => 0,
        }
    }

    /// Whether what was removed up to the write of this number can be freed now: nobody reads rows as they were before, and the store is
    /// not ending.
    pub(crate) fn frees(&self, write: u64) -> bool {
        match &self.engine {
            Engine::Rocks(rocks) => {
                !rocks.is_stopping.load(std::sync::atomic::Ordering::SeqCst) && !rocks.is_read_before(write)
            }
            Engine::Memory(_) => true,
        }
    }

    /// Takes a group's deleted keys out of the files that it compacts for that; the bodies that they named are garbage then,
    /// for [`Store::reclaim_bodies`]. Blocks as long as it takes; only costs space when it fails.
    pub(crate) fn reclaim_group(&self, group: GroupId) {
        if let Engine::Rocks(rocks) = &self.engine {
            rocks.reclaim_group(group);
        }
    }

    /// Writes the oldest bodies anew when so many percent of what lies in their files is garbage, and so frees its space; whether it did.
    /// Blocks as long as it takes, for a part of all bodies; only costs space when it fails.
    pub(crate) fn reclaim_bodies(&self, garbage_percent: u64) -> bool {
        match &self.engine {
            Engine::Rocks(rocks) => rocks.reclaim_bodies(garbage_percent),
            Engine::Memory(_) => false,
        }
    }

    /// Ends what runs in the background. To be called last: nothing is written afterwards.
    pub(crate) fn stop_background(&self) {
        if let Engine::Rocks(rocks) = &self.engine {
            rocks.stop_background();
        }
    }
}

fn elsewhere() -> ViewError {
    ViewError::Failed("the writes were gathered for another store".to_owned())
}

/// Key and value.
pub(crate) type OwnRow = (Vec<u8>, Vec<u8>);

/// Rows of this crate's own.
pub(crate) trait OwnRows {
    /// A row's value.
    fn own_row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError>;
}

impl OwnRows for Store {
    fn own_row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        match &self.engine {
            Engine::Rocks(rocks) => rocks.own_row(key),
            Engine::Memory(disk) => Ok(disk.rows().own_row(key)),
        }
    }
}

impl View for Store {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        match &self.engine {
            Engine::Rocks(rocks) => rocks.get(column, key),
            Engine::Memory(disk) => disk.rows().columns.get(column, key),
        }
    }

    fn scan(&self, column: Column, from: &[u8], to: &[u8], visit: Visitor<'_>) -> Result<(), ViewError> {
        match &self.engine {
            _ if from >= to => Ok(()),
            Engine::Rocks(rocks) => rocks.scan(column, (from, to), visit),
            Engine::Memory(disk) => disk.rows().columns.scan(column, from, to, visit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::counter;

    fn written(store: &Store, fill: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::new();
        fill(&mut batch);
        let mut writes = store.begin();
        store.gather(&mut writes, &batch).expect("gathers");
        store.apply(writes).expect("writes");
    }

    fn keys(view: &dyn View, from: &[u8], to: &[u8]) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        let visit: Visitor<'_> = &mut |key, _| {
            keys.push(key.to_vec());
            true
        };
        view.scan(Column::Rows, from, to, visit).expect("scans");
        keys
    }

    #[test]
    fn a_crash_after_a_flush_leaves_what_was_written_and_the_own_rows_that_go_with_it() {
        let folder = tempfile::tempdir().expect("tempdir");
        let store = Store::open(&folder.path().join("store"), &StoreOptions::default()).expect("opens");
        let mut writes = store.begin();
        let mut batch = Batch::new();
        batch.put(Column::Rows, "a", "1");
        batch.add("n", 5);
        store.gather(&mut writes, &batch).expect("gathers");
        writes.put_own(b"applied/a".to_vec(), b"1".to_vec());
        store.apply(writes).expect("writes");
        store.flush().expect("flushes");
        // As a crash leaves it: nothing was closed.
        let crashed = folder.path().join("crashed");
        std::fs::create_dir(&crashed).expect("makes");
        for entry in std::fs::read_dir(store.path()).expect("reads") {
            let path = entry.expect("reads").path();
            std::fs::copy(&path, crashed.join(path.file_name().expect("a name"))).expect("copies");
        }
        let store = Store::open(&crashed, &StoreOptions::default()).expect("opens");
        assert!(store.contains(Column::Rows, b"a").expect("reads"));
        assert!(store.own_row(b"applied/a").expect("reads").is_some());
    }

    #[test]
    fn keeps_writes_counters_and_snapshots() {
        let folder = tempfile::tempdir().expect("tempdir");
        let store = Store::open(folder.path(), &StoreOptions::default()).expect("opens");
        written(&store, |batch| {
            batch.put(Column::Rows, "a", "1");
            batch.put(Column::Rows, "b", "2");
            batch.put(Column::Rows, "c", "3");
            batch.put(Column::Bodies, "a", vec![7; 5000]);
            batch.add("n", 5);
            batch.add("n", -2);
        });
        let before = store.snapshot();
        written(&store, |batch| {
            batch.delete_range(Column::Rows, "a", "c");
            batch.add("n", 10);
        });
        assert_eq!(keys(&store, b"a", b"z"), [b"c"]);
        assert_eq!(keys(&before, b"a", b"c"), [b"a", b"b"]);
        let sum = |view: &dyn View| {
            view.get(Column::Counters, b"n")
                .expect("reads")
                .map(|sum| counter(&sum))
        };
        assert_eq!((sum(&before), sum(&store)), (Some(3), Some(13)));
        drop(before);
        store.flush().expect("flushes");
        drop(store);
        let store = Store::open(folder.path(), &StoreOptions::default()).expect("opens again");
        assert_eq!(keys(&store, b"a", b"z"), [b"c"]);
        assert_eq!(sum(&store), Some(13));
        let body = store.get(Column::Bodies, b"a").expect("reads").expect("is there");
        assert_eq!(body, vec![7; 5000]);
    }
}
