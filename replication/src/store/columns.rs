//! How each column is kept: blocks, compression, blob files, what adds up counters.

use rocksdb::{BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, MergeOperands, Options};

use super::StoreOptions;
use crate::batch::Column;
use crate::memory::counter;

/// Size of a block of index or filter.
const METADATA_BLOCK_BYTES: usize = 8 * 1024;

/// Size of the filter of what is in memory, as a part of it: 10 bits a row of some hundred bytes.
const MEMTABLE_FILTER_RATIO: f64 = 0.02;

/// Additions to a counter that lie one on another in memory before they are written as their sum: each is visited when
/// the counter is read, and some are read before each addition.
const ADDITIONS_MAX: usize = 32;

/// Options of a column; its blocks go through a cache.
pub(super) fn column_options(column: Column, options: &StoreOptions, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // Whole, those of a large file would be larger than a shard of the cache, and be read anew with each row.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(METADATA_BLOCK_BYTES);
    table.set_pin_top_level_index_and_filter(true);
    table.set_format_version(5);
    table.set_block_size(8 * 1024);

    let mut family = Options::default();
    family.set_block_based_table_factory(&table);
    // Many keys are asked for that are not in memory: of what was done before, of bodies, old ones and new ones.
    family.set_memtable_whole_key_filtering(true);
    family.set_memtable_prefix_bloom_ratio(MEMTABLE_FILTER_RATIO);
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
            // When it is asked for, and not beside that (`space.rs`).
            family.set_enable_blob_gc(true);
            family.set_blob_gc_age_cutoff(0.0);
        }
        Column::Counters => {
            family.set_compression_type(DBCompressionType::Lz4);
            family.set_merge_operator_associative("add_i64", add);
            family.set_max_successive_merges(ADDITIONS_MAX);
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
    use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};

    use super::*;
    use crate::batch::Batch;
    use crate::entry::GroupId;
    use crate::store::Store;
    use crate::view::View;

    const ROWS: u32 = 500_000;

    /// However often it was added to.
    #[test]
    fn a_counter_is_read_through_few_additions() {
        let folder = tempfile::tempdir().expect("tempdir");
        let store = Store::open(folder.path(), &StoreOptions::default()).expect("opens");
        let key = [1u32.to_be_bytes(), 7u32.to_be_bytes()].concat();
        let end = 2u32.to_be_bytes();
        let times = 10 * ADDITIONS_MAX as i64;
        for _ in 0..times {
            let mut batch = Batch::new();
            batch.add(key.clone(), 3);
            let mut writes = store.begin();
            store.gather(&mut writes, &batch).expect("gathers");
            store.apply(writes).expect("writes");
        }
        let mut counts = PerfContext::default();
        set_perf_stats(PerfStatsLevel::EnableCount);
        counts.reset();
        let mut found = Vec::new();
        store
            .scan(Column::Counters, &key, &end, &mut |_, value| {
                found.push(counter(value));
                true
            })
            .expect("reads");
        set_perf_stats(PerfStatsLevel::Disable);
        assert_eq!(found, [3 * times]);
        let additions = counts.metric(PerfMetric::InternalMergeCount);
        assert!(additions <= ADDITIONS_MAX as u64 + 1, "{additions}");
    }

    /// The filter of all rows is larger than a shard of the cache.
    #[test]
    fn a_row_is_read_again_from_a_large_file_without_reading_the_file() {
        let folder = tempfile::tempdir().expect("tempdir");
        let options = StoreOptions {
            block_cache_bytes: 8 * 1024 * 1024,
            ..StoreOptions::default()
        };
        let store = Store::open(folder.path(), &options).expect("opens");
        let key = |number: u32| [1u32.to_be_bytes(), number.to_be_bytes()].concat();
        let mut batch = Batch::new();
        for number in 0..ROWS {
            batch.put(Column::Rows, key(number), "");
        }
        let mut writes = store.begin();
        store.gather(&mut writes, &batch).expect("gathers");
        store.apply(writes).expect("writes");
        store.flush().expect("flushes");
        store.reclaim_group(GroupId(1));
        let get = || store.get(Column::Rows, &key(ROWS / 2)).expect("reads");
        assert!(get().is_some());
        let mut counts = PerfContext::default();
        set_perf_stats(PerfStatsLevel::EnableCount);
        counts.reset();
        assert!(get().is_some());
        set_perf_stats(PerfStatsLevel::Disable);
        let (gets, reads) = (
            counts.metric(PerfMetric::BlockCacheHitCount),
            counts.metric(PerfMetric::BlockReadCount),
        );
        assert!(
            gets > 0 && reads == 0,
            "{gets} blocks from the cache, {reads} read"
        );
    }
}
