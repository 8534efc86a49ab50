//! The store's rows in RocksDB: columns, tuning, snapshots, what its errors mean.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rocksdb::statistics::StatsLevel;
use rocksdb::{
    Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBRawIterator, DBRecoveryMode, Env, ErrorKind,
    FlushOptions, IngestExternalFileOptions, Options, ReadOptions, ReadTier, WriteBatch, WriteOptions,
};

use super::columns::column_options;
use super::{OwnRow, StoreError, StoreOptions};
use crate::batch::{Batch, Column, Write};
use crate::damage::{self, Damages};
use crate::view::{ViewError, Visitor};

/// The column family of rows of this crate's own.
pub(super) const OWN_ROWS: &str = rocksdb::DEFAULT_COLUMN_FAMILY_NAME;

/// Bytes of a file after which they are sent to the disk, so that no sync has much to wait for.
pub(super) const BYTES_PER_SYNC: u64 = 1024 * 1024;

/// One RocksDB.
pub(super) struct Rocks {
    pub(super) db: DB,
    damages: Arc<Damages>,
    /// One at a time writes bodies anew.
    pub(super) reclaiming: Mutex<()>,
    /// Nothing is compacted any more.
    pub(super) is_stopping: AtomicBool,
    /// As [`StoreOptions::blob_bytes_min`].
    pub(super) blob_bytes_min: u64,
    /// Has what is counted, when something is.
    pub(super) statistics: Option<Options>,
    /// Held alone by what makes all other writes wait, for a disk: files that are taken in, rows that are synced.
    pub(super) waits: RwLock<()>,
}

impl Rocks {
    pub(super) fn open(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        let mut own_rows = Options::default();
        own_rows.set_disable_auto_compactions(options.is_damaged);
        let columns = Column::ALL
            .map(|column| ColumnFamilyDescriptor::new(column.name(), column_options(column, options, &cache)))
            .into_iter()
            .chain([ColumnFamilyDescriptor::new(OWN_ROWS, own_rows)]);
        if let Some(damage) = damage::before_opening(path) {
            return Err(StoreError::Damaged(damage));
        }
        let database = database_options(path, options)?;
        let db =
            DB::open_cf_descriptors(&database, path, columns).map_err(|error| not_opened(path, &error))?;
        Ok(Self {
            db,
            damages: Arc::new(Damages::new(path, options.describe_key)),
            reclaiming: Mutex::default(),
            is_stopping: AtomicBool::new(false),
            blob_bytes_min: options.blob_bytes_min,
            statistics: options.counts.then_some(database),
            waits: RwLock::default(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.db.path()
    }

    pub(super) fn damages(&self) -> &Arc<Damages> {
        &self.damages
    }

    pub(super) fn snapshot(&self) -> RocksSnapshot<'_> {
        RocksSnapshot {
            rocks: self,
            inner: self.db.snapshot(),
        }
    }

    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let mut columns = Vec::with_capacity(Column::ALL.len() + 1);
        for column in Column::ALL {
            columns.push(self.column(column)?);
        }
        columns.extend(self.db.cf_handle(OWN_ROWS));
        let mut flush = FlushOptions::default();
        flush.set_wait(true);
        self.db
            .flush_cfs_opt(&columns, &flush)
            .map_err(|error| self.write_error(&error))
    }

    pub(super) fn column(&self, column: Column) -> Result<&ColumnFamily, ViewError> {
        self.db
            .cf_handle(column.name())
            .ok_or_else(|| ViewError::Failed(format!("column {} is missing", column.name())))
    }

    pub(super) fn gather(&self, writes: &mut WriteBatch, batch: &Batch) -> Result<(), ViewError> {
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

    pub(super) fn apply(&self, writes: WriteBatch) -> Result<(), StoreError> {
        self.db
            .write_opt(writes, &unlogged())
            .map_err(|error| self.write_error(&error))
    }

    /// Whether the writes were made; they were not, if they would have had to wait for a flush or for others' disk.
    pub(super) fn try_apply(&self, writes: WriteBatch) -> bool {
        let Some(_nobody_waits) = self.waits.try_read() else {
            return false;
        };
        let mut options = unlogged();
        options.set_no_slowdown(true);
        self.db.write_opt(writes, &options).is_ok()
    }

    #[cfg(test)]
    pub(super) fn hold_writes(&self) -> parking_lot::RwLockWriteGuard<'_, ()> {
        self.waits.write()
    }

    /// Whether something may have gone wrong in the background: the next write tells what.
    pub(super) fn may_have_failed(&self) -> bool {
        let errors = self.db.property_int_value(rocksdb::properties::BACKGROUND_ERRORS);
        !matches!(errors, Ok(None | Some(0)))
    }

    pub(super) fn put_own(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let _others_wait = self.waits.write();
        self.db
            .put_opt(key, value, &synced())
            .map_err(|error| self.write_error(&error))
    }

    pub(super) fn delete_own(&self, key: &[u8]) -> Result<(), StoreError> {
        let _others_wait = self.waits.write();
        self.db
            .delete_opt(key, &synced())
            .map_err(|error| self.write_error(&error))
    }

    pub(super) fn own_row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        self.db
            .get(key)
            .map_err(|error| self.read_error(&error, None, key))
    }

    pub(super) fn own_rows(&self, prefix: &[u8]) -> Result<Vec<OwnRow>, ViewError> {
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

    /// Takes files over: they are gone from where they were.
    pub(super) fn ingest(&self, column: Column, files: &[String]) -> Result<(), StoreError> {
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        // What is in memory of the same keys is flushed first, and nobody writes meanwhile.
        let _others_wait = self.waits.write();
        self.db
            .ingest_external_file_cf_opts(self.column(column)?, &options, files.to_vec())
            .map_err(|error| self.write_error(&error))
    }

    pub(super) fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        self.get_with(column, key, &ReadOptions::default())
    }

    /// A value that is in memory; `None` when it may be on disk.
    pub(super) fn get_resident(
        &self,
        column: Column,
        key: &[u8],
    ) -> Result<Option<Option<Bytes>>, ViewError> {
        let value = self.db.get_pinned_cf_opt(self.column(column)?, key, &resident());
        match value {
            Ok(value) => Ok(Some(value.map(|value| Bytes::copy_from_slice(&value)))),
            Err(error) if error.kind() == ErrorKind::Incomplete => Ok(None),
            Err(error) => Err(self.read_error(&error, Some(column), key)),
        }
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

    pub(super) fn scan(
        &self,
        column: Column,
        (from, to): (&[u8], &[u8]),
        visit: Visitor<'_>,
    ) -> Result<(), ViewError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to);
        self.walk(
            self.db.raw_iterator_cf_opt(self.column(column)?, options),
            (Some(column), from),
            visit,
        )
    }

    /// The same of rows that are in memory; whether they all were that were to be visited.
    pub(super) fn scan_resident(
        &self,
        column: Column,
        (from, to): (&[u8], &[u8]),
        visit: Visitor<'_>,
    ) -> Result<bool, ViewError> {
        let mut options = resident();
        options.set_iterate_upper_bound(to);
        let mut rows = self.db.raw_iterator_cf_opt(self.column(column)?, options);
        rows.seek(from);
        while let Some((key, value)) = rows.item() {
            if !visit(key, value) {
                return Ok(true);
            }
            rows.next();
        }
        match rows.status() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Incomplete => Ok(false),
            Err(error) => Err(self.scan_error(&error, Some(column), from)),
        }
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

    pub(super) fn scrub_step(
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

/// The rows as they were at one moment.
pub(super) struct RocksSnapshot<'a> {
    rocks: &'a Rocks,
    inner: rocksdb::Snapshot<'a>,
}

impl RocksSnapshot<'_> {
    pub(super) fn own_row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        self.inner
            .get(key)
            .map_err(|error| self.rocks.read_error(&error, None, key))
    }

    pub(super) fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.inner);
        self.rocks.get_with(column, key, &options)
    }

    pub(super) fn scan(
        &self,
        column: Column,
        (from, to): (&[u8], &[u8]),
        is_kept: bool,
        visit: Visitor<'_>,
    ) -> Result<(), ViewError> {
        let mut options = ReadOptions::default();
        options.fill_cache(is_kept);
        options.set_iterate_upper_bound(to);
        self.rocks.walk(
            self.inner
                .raw_iterator_cf_opt(self.rocks.column(column)?, options),
            (Some(column), from),
            visit,
        )
    }
}

fn resident() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_read_tier(ReadTier::BlockCache);
    options
}

fn unlogged() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

fn synced() -> WriteOptions {
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    synced
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

fn database_options(path: &Path, options: &StoreOptions) -> Result<Options, StoreError> {
    let mut database = Options::default();
    // What is served goes before compactions, which get what is left of the processors.
    let mut environment = Env::new().map_err(|error| not_opened(path, &error))?;
    environment.lower_thread_pool_cpu_priority();
    database.set_env(&environment);
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
    database.set_bytes_per_sync(BYTES_PER_SYNC);
    database.set_keep_log_file_num(4);
    database.set_max_log_file_size(4 * 1024 * 1024);
    if options.counts {
        database.enable_statistics();
        database.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
    }
    Ok(database)
}
