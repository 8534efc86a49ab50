//! What RocksDB tells of itself just now, from properties and counters: no file is looked at for it.

use rocksdb::statistics::Ticker;
use rocksdb::{CStrLike, ColumnFamily, properties as names};

use super::rocks::{OWN_ROWS, Rocks};
use super::{Engine, Store};
use crate::batch::Column;

/// The columns, and the rows of this crate's own.
const COLUMNS: usize = Column::ALL.len() + 1;

/// The figures of a store. Sizes in bytes.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) cache: u64,
    pub(crate) cache_max: u64,
    pub(crate) cache_pinned: u64,
    /// Part of the files, hits, misses; zeros when nobody counts them.
    pub(crate) cache_lookups: [(&'static str, u64, u64); 3],
    /// As [`Column::ALL`], then the own rows.
    pub(crate) columns: [ColumnFigures; COLUMNS],
    pub(crate) blob: u64,
    pub(crate) blob_garbage: u64,
    pub(crate) running_compactions: u64,
    pub(crate) running_flushes: u64,
    /// Bytes a second; 0: writes are not slowed down.
    pub(crate) delayed_write_rate: u64,
    pub(crate) write_stopped: u64,
    pub(crate) background_errors: u64,
}

/// Those of a column.
#[derive(Debug, Default)]
pub(crate) struct ColumnFigures {
    pub(crate) memtable: u64,
    pub(crate) sst: u64,
    pub(crate) pending_compaction: u64,
}

impl Store {
    /// Its figures; none when it is in memory.
    pub(crate) fn figures(&self) -> Option<Figures> {
        match &self.engine {
            Engine::Rocks(rocks) => rocks.figures(),
            Engine::Memory(_) => None,
        }
    }
}

impl Rocks {
    fn figures(&self) -> Option<Figures> {
        let rows = self.column(Column::Rows).ok()?;
        let bodies = self.column(Column::Bodies).ok()?;
        let counters = self.column(Column::Counters).ok()?;
        let own = self.db.cf_handle(OWN_ROWS)?;
        let of_all = |name: &names::PropName| self.db.property_int_value(name).ok().flatten().unwrap_or(0);
        let of_column = |column: &ColumnFamily| ColumnFigures {
            memtable: self.figure(column, names::CUR_SIZE_ALL_MEM_TABLES),
            sst: self.figure(column, names::LIVE_SST_FILES_SIZE),
            pending_compaction: self.figure(column, names::ESTIMATE_PENDING_COMPACTION_BYTES),
        };
        let counted = |ticker| {
            let options = self.statistics.as_ref();
            options.map_or(0, |options| options.get_ticker_count(ticker))
        };
        Some(Figures {
            // The columns share one.
            cache: self.figure(rows, names::BLOCK_CACHE_USAGE),
            cache_max: self.figure(rows, names::BLOCK_CACHE_CAPACITY),
            cache_pinned: self.figure(rows, names::BLOCK_CACHE_PINNED_USAGE),
            cache_lookups: [
                (
                    "data",
                    counted(Ticker::BlockCacheDataHit),
                    counted(Ticker::BlockCacheDataMiss),
                ),
                (
                    "index",
                    counted(Ticker::BlockCacheIndexHit),
                    counted(Ticker::BlockCacheIndexMiss),
                ),
                (
                    "filter",
                    counted(Ticker::BlockCacheFilterHit),
                    counted(Ticker::BlockCacheFilterMiss),
                ),
            ],
            columns: [
                of_column(rows),
                of_column(bodies),
                of_column(counters),
                of_column(own),
            ],
            blob: self.figure(bodies, "rocksdb.live-blob-file-size"),
            blob_garbage: self.figure(bodies, "rocksdb.live-blob-file-garbage-size"),
            running_compactions: of_all(names::NUM_RUNNING_COMPACTIONS),
            running_flushes: of_all(names::NUM_RUNNING_FLUSHES),
            delayed_write_rate: of_all(names::ACTUAL_DELAYED_WRITE_RATE),
            write_stopped: of_all(names::IS_WRITE_STOPPED),
            background_errors: of_all(names::BACKGROUND_ERRORS),
        })
    }

    fn figure(&self, column: &ColumnFamily, name: impl CStrLike) -> u64 {
        let value = self.db.property_int_value_cf(column, name);
        value.ok().flatten().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::batch::Batch;
    use crate::store::StoreOptions;
    use crate::view::View;

    #[test]
    fn figures_follow_what_is_written_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            counts: true,
            ..StoreOptions::default()
        };
        let store = Store::open(folder.path(), &options).unwrap();
        let mut batch = Batch::new();
        for number in 0..1000_u32 {
            let key = number.to_be_bytes().to_vec();
            batch.put(Column::Bodies, key, Bytes::from(vec![7; 4096]));
        }
        let mut writes = store.begin();
        store.gather(&mut writes, &batch).unwrap();
        store.apply(writes).unwrap();
        let written = store.figures().unwrap();
        assert!(written.columns[1].memtable > 4_096_000, "{written:?}");
        assert_eq!((written.columns[1].sst, written.blob), (0, 0));
        store.flush().unwrap();
        let flushed = store.figures().unwrap();
        assert!(flushed.columns[1].memtable < 1_000_000, "{flushed:?}");
        assert!(
            flushed.columns[1].sst > 0 && flushed.blob > 4_096_000,
            "{flushed:?}"
        );
        assert_eq!(flushed.columns[0].sst, 0, "{flushed:?}");
        assert!(flushed.cache_max >= options.block_cache_bytes as u64);
        for _ in 0..2 {
            let found = store.snapshot().get(Column::Bodies, &[0, 0, 0, 9]).unwrap();
            assert!(found.is_some());
        }
        let read = store.figures().unwrap();
        let (_, hits, misses) = read.cache_lookups[0];
        assert!(hits > 0 && misses > 0, "{read:?}");
        assert!(read.cache > flushed.cache, "{read:?}");
    }
}
