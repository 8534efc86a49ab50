//! The node's one RocksDB: columns, tuning, consistent reads.
//!
//! Groups' keys are written by the applier alone, without a log of the store's own: until a flush the node's log
//! ([`crate::log`]) has what they say. Few rows of this crate's own are written and synced at once. Read by everybody.
//! Never interprets a value.

mod owned;
mod space;
mod sst;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRawIterator,
    DBRecoveryMode, IngestExternalFileOptions, MergeOperands, Options, ReadOptions, WriteBatch, WriteOptions,
};

use crate::batch::{Batch, Column, Write};
use crate::damage::{self, ADVICE, Damages, DescribeKey};
use crate::entry::GroupId;
use crate::memory::counter;
use crate::view::{Damage, View, ViewError, Visitor};

pub use self::owned::OwnedSnapshot;
pub(crate) use self::sst::write_sst;

/// The column family of rows of this crate's own.
const OWN_ROWS: &str = rocksdb::DEFAULT_COLUMN_FAMILY_NAME;

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

/// One RocksDB.
pub struct Store {
    db: DB,
    damages: Arc<Damages>,
    /// One at a time writes bodies anew.
    reclaiming: Mutex<()>,
    #[cfg(test)]
    pub(crate) fail_writes: std::sync::atomic::AtomicBool,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.db.path()).finish()
    }
}

impl Store {
    /// Opens the store in a folder, creating it when missing.
    pub fn open(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        let columns = Column::ALL.map(|column| {
            ColumnFamilyDescriptor::new(column.name(), column_options(column, options, &cache))
        });
        if let Some(damage) = damage::before_opening(path) {
            return Err(StoreError::Damaged(damage));
        }
        let db = DB::open_cf_descriptors(&database_options(options), path, columns)
            .map_err(|error| not_opened(path, &error))?;
        Ok(Self {
            db,
            damages: Arc::new(Damages::new(path, options.describe_key)),
            reclaiming: Mutex::default(),
            #[cfg(test)]
            fail_writes: std::sync::atomic::AtomicBool::new(false),
        })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.db.path()
    }

    /// The damage that was met.
    pub fn damages(&self) -> &Arc<Damages> {
        &self.damages
    }

    /// A consistent view of this moment. Cheap; files it needs live as long as it does, so drop it soon.
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            store: self,
            inner: self.db.snapshot(),
        }
    }

    /// Writes what is in memory to files, all columns and the own rows together: what is applied, and the own row that says how
    /// far that is.
    pub fn flush(&self) -> Result<(), StoreError> {
        let mut columns = Vec::with_capacity(Column::ALL.len() + 1);
        for column in Column::ALL {
            columns.push(self.column(column)?);
        }
        columns.extend(self.db.cf_handle(OWN_ROWS));
        let mut flush = rocksdb::FlushOptions::default();
        flush.set_wait(true);
        self.db
            .flush_cfs_opt(&columns, &flush)
            .map_err(|error| self.write_error(&error))
    }

    fn column(&self, column: Column) -> Result<&ColumnFamily, ViewError> {
        self.db
            .cf_handle(column.name())
            .ok_or_else(|| ViewError::Failed(format!("column {} is missing", column.name())))
    }

    /// Appends a batch's writes to what will be written together.
    pub(crate) fn gather(&self, writes: &mut WriteBatch, batch: &Batch) -> Result<(), ViewError> {
        for write in batch.writes() {
            match write {
                Write::Put(column, key, value) => writes.put_cf(self.column(*column)?, key, value),
                Write::Add(key, by) => writes.merge_cf(self.column(Column::Counters)?, key, by.to_le_bytes()),
                Write::Delete(column, key) => writes.delete_cf(self.column(*column)?, key),
                Write::DeleteRange(column, from, to) if from < to => {
                    writes.delete_range_cf(self.column(*column)?, from, to);
                }
                Write::DeleteRange(..) => {}
            }
        }
        Ok(())
    }

    /// Writes without a log: durable after the next [`Store::flush`], and lost with all later ones in a crash before it.
    pub(crate) fn apply(&self, writes: WriteBatch) -> Result<(), StoreError> {
        #[cfg(test)]
        if self.fail_writes.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(StoreError::Write("told to fail".to_owned()));
        }
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        self.db
            .write_opt(writes, &unlogged)
            .map_err(|error| self.write_error(&error))
    }

    /// What has gone wrong in the background since, which stops writes: told now rather than with the next write.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let errors = self.db.property_int_value(rocksdb::properties::BACKGROUND_ERRORS);
        match errors {
            Ok(None | Some(0)) => Ok(()),
            _ => self.apply(WriteBatch::default()),
        }
    }

    /// Sets a row of this crate's own, durably. Such rows never depend on what is applied.
    pub(crate) fn put_own(&self, key: &[u8], value: impl AsRef<[u8]>) -> Result<(), StoreError> {
        self.db
            .put_opt(key, value, &synced())
            .map_err(|error| self.write_error(&error))
    }

    /// Removes a row of this crate's own, durably.
    pub(crate) fn delete_own(&self, key: &[u8]) -> Result<(), StoreError> {
        self.db
            .delete_opt(key, &synced())
            .map_err(|error| self.write_error(&error))
    }

    /// Rows of this crate's own whose keys begin with a prefix.
    pub(crate) fn own_rows(&self, prefix: &[u8]) -> Result<Vec<OwnRow>, ViewError> {
        let mut found = Vec::new();
        self.walk(self.db.raw_iterator(), (None, prefix), &mut |key, value| {
            let is_one = key.starts_with(prefix);
            if is_one {
                found.push((key.to_vec(), value.to_vec()));
            }
            is_one
        })?;
        Ok(found)
    }

    /// Removes all keys of a group. Durable after the next flush.
    pub(crate) fn delete_group(&self, group: GroupId) -> Result<(), StoreError> {
        let (from, to) = group.key_range();
        let mut writes = WriteBatch::default();
        for column in Column::ALL {
            writes.delete_range_cf(self.column(column)?, &from, &to);
        }
        self.apply(writes)
    }

    /// Takes files of sorted rows into a column. Durable when it answers. The files stay where they are.
    pub(crate) fn ingest(&self, column: Column, files: &[&str]) -> Result<(), StoreError> {
        if files.is_empty() {
            return Ok(());
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(false);
        self.db
            .ingest_external_file_cf_opts(self.column(column)?, &options, files.to_vec())
            .map_err(|error| self.write_error(&error))
    }

    fn get_with(
        &self,
        column: Column,
        key: &[u8],
        options: &ReadOptions,
    ) -> Result<Option<Bytes>, ViewError> {
        let value = self.db.get_pinned_cf_opt(self.column(column)?, key, options);
        let value = value.map_err(|error| self.read_error(&error, Some(column), key))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan_with(&self, column: Column, range: (&[u8], &[u8]), visit: Visitor<'_>) -> Result<(), ViewError> {
        if range.0 >= range.1 {
            return Ok(());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(range.1);
        self.walk(
            self.db.raw_iterator_cf_opt(self.column(column)?, options),
            (Some(column), range.0),
            visit,
        )
    }

    /// Visits rows. An iterator that has met damage looks like one at its end: only its status tells.
    fn walk(
        &self,
        mut rows: DBRawIterator<'_>,
        (column, from): (Option<Column>, &[u8]),
        visit: Visitor<'_>,
    ) -> Result<(), ViewError> {
        let mut last = from.to_vec();
        rows.seek(from);
        while let Some((key, value)) = rows.item() {
            if !visit(key, value) {
                return Ok(());
            }
            last.clear();
            last.extend_from_slice(key);
            rows.next();
        }
        rows.status()
            .map_err(|error| self.scan_error(&error, column, &last))
    }

    /// Reads rows from a key on, so many bytes or one row more; how many, and where to go on. Leaves no trace in the cache.
    pub(crate) fn scrub_step(
        &self,
        column: Option<Column>,
        from: &[u8],
        bytes_max: u64,
    ) -> Result<(u64, Option<Vec<u8>>), ViewError> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let rows = match column {
            Some(column) => self.db.raw_iterator_cf_opt(self.column(column)?, options),
            None => self.db.raw_iterator_opt(options),
        };
        let (mut bytes, mut next) = (0, None);
        self.walk(rows, (column, from), &mut |key, value| {
            if bytes >= bytes_max {
                next = Some(key.to_vec());
                return false;
            }
            bytes += (key.len() + value.len()) as u64;
            true
        })?;
        Ok((bytes, next))
    }

    fn read_error(&self, error: &rocksdb::Error, column: Option<Column>, key: &[u8]) -> ViewError {
        match self.damages.of_read(error, column, key) {
            Some(damage) => ViewError::Damaged(damage),
            None => ViewError::Failed(error.to_string()),
        }
    }

    fn scan_error(&self, error: &rocksdb::Error, column: Option<Column>, last: &[u8]) -> ViewError {
        match self.damages.of_scan(error, column, last) {
            Some(damage) => ViewError::Damaged(damage),
            None => ViewError::Failed(error.to_string()),
        }
    }

    fn write_error(&self, error: &rocksdb::Error) -> StoreError {
        match self.damages.of_write(error) {
            Some(damage) => StoreError::Damaged(damage),
            None => StoreError::Write(error.to_string()),
        }
    }
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
        self.db
            .get(key)
            .map_err(|error| self.read_error(&error, None, key))
    }
}

impl OwnRows for Snapshot<'_> {
    fn own_row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        self.inner
            .get(key)
            .map_err(|error| self.store.read_error(&error, None, key))
    }
}

fn synced() -> WriteOptions {
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    synced
}

impl View for Store {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        self.get_with(column, key, &ReadOptions::default())
    }

    fn scan(&self, column: Column, from: &[u8], to: &[u8], visit: Visitor<'_>) -> Result<(), ViewError> {
        self.scan_with(column, (from, to), visit)
    }
}

/// The store as it was at one moment.
pub struct Snapshot<'a> {
    store: &'a Store,
    inner: rocksdb::Snapshot<'a>,
}

impl View for Snapshot<'_> {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.inner);
        self.store.get_with(column, key, &options)
    }

    fn scan(&self, column: Column, from: &[u8], to: &[u8], visit: Visitor<'_>) -> Result<(), ViewError> {
        if from >= to {
            return Ok(());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to);
        self.store.walk(
            self.inner
                .raw_iterator_cf_opt(self.store.column(column)?, options),
            (Some(column), from),
            visit,
        )
    }
}

fn not_opened(path: &Path, error: &rocksdb::Error) -> StoreError {
    match damage::of_opening(path, error) {
        Some(damage) => StoreError::Damaged(damage),
        None => StoreError::Open {
            path: path.to_owned(),
            reason: error.to_string(),
        },
    }
}

fn database_options(options: &StoreOptions) -> Options {
    let mut database = Options::default();
    database.create_if_missing(true);
    database.create_missing_column_families(true);
    // Columns are flushed together, so that what a crash leaves is the state of one entry, in all of them.
    database.set_atomic_flush(true);
    // A record that a crash cut short was never acknowledged and is left out. A damaged one before the end is an error;
    // RocksDB's default would silently drop it and all that was acknowledged after it. What still looks like a cut end
    // is a damaged length that points past the end of the log.
    database.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    // Files that are not there, or not of the length that they should have, keep the store from opening; damage that is met
    // while compacting stops writes. A store that is known to be damaged goes on beside what is damaged.
    database.set_paranoid_checks(!options.is_damaged);
    database.set_db_write_buffer_size(options.write_buffer_bytes);
    database.set_max_background_jobs(options.background_jobs);
    database.set_max_open_files(options.open_files_max);
    database.set_bytes_per_sync(1024 * 1024);
    database.set_keep_log_file_num(4);
    database.set_max_log_file_size(4 * 1024 * 1024);
    database
}

fn column_options(column: Column, options: &StoreOptions, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);
    table.set_block_size(8 * 1024);

    let mut family = Options::default();
    family.set_block_based_table_factory(&table);
    family.set_write_buffer_size(options.write_buffer_bytes / Column::ALL.len());
    family.set_level_compaction_dynamic_level_bytes(true);
    family.set_disable_auto_compactions(options.is_damaged);
    match column {
        Column::Rows => {
            family.set_compression_type(DBCompressionType::Lz4);
            family.set_bottommost_compression_type(DBCompressionType::Zstd);
        }
        Column::Bodies => {
            // Bodies come compressed.
            family.set_compression_type(DBCompressionType::None);
            family.set_enable_blob_files(true);
            family.set_min_blob_size(options.blob_bytes_min);
            family.set_blob_file_size(options.blob_file_bytes);
            family.set_blob_compression_type(DBCompressionType::None);
            family.set_enable_blob_gc(true);
            // The oldest quarter of the files is worked through once half of it is garbage.
            family.set_blob_gc_force_threshold(0.5);
        }
        Column::Counters => {
            family.set_compression_type(DBCompressionType::Lz4);
            family.set_merge_operator_associative("add_i64", add);
        }
    }
    family
}

fn add(_key: &[u8], existing: Option<&[u8]>, operands: &MergeOperands) -> Option<Vec<u8>> {
    let start = existing.map_or(0, counter);
    let sum = operands
        .iter()
        .fold(start, |sum, operand| sum.wrapping_add(counter(operand)));
    Some(sum.to_le_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(store: &Store, fill: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::new();
        fill(&mut batch);
        let mut writes = WriteBatch::default();
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
        let mut writes = WriteBatch::default();
        let mut batch = Batch::new();
        batch.put(Column::Rows, "a", "1");
        batch.add("n", 5);
        store.gather(&mut writes, &batch).expect("gathers");
        writes.put("applied/a", "1");
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
