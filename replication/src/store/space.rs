//! Giving disk space back after a group's keys were deleted.
//!
//! Rows go with the files that are compacted. Values in blob files go only with the whole file, in which those of all groups
//! lie: when enough of them is garbage, what is left in them is written anew.

use std::sync::atomic::Ordering;

use rocksdb::{BottommostLevelCompaction, CompactOptions};

use super::rocks::Rocks;
use crate::batch::Column;
use crate::entry::GroupId;

/// Garbage in blob files, in percent of all bytes in them, from which on what is left is written anew: so at most four bytes
/// are written for each that becomes free.
const GARBAGE_PERCENT: u64 = 20;

/// In how many parts all bodies are written anew, from the oldest on. As blob files go once nothing refers to them and all older ones have
/// gone, that is also the part of the disk that is needed for it.
const PARTS: u64 = 16;

/// How old blob files are, as a part of all of them, that compaction writes anew. Usually none: RocksDB would write the oldest quarter of
/// all bodies with each compaction of their keys, whether they are garbage or not.
const AGE_CUTOFF: &str = "blob_garbage_collection_age_cutoff";

impl Rocks {
    /// The number of the last write.
    pub(super) fn last_write(&self) -> u64 {
        self.db.latest_sequence_number()
    }

    /// Whether somebody reads rows as they were before the write of this number: what was removed is not freed then.
    pub(super) fn is_read_before(&self, write: u64) -> bool {
        let oldest = self.db.property_int_value("rocksdb.oldest-snapshot-sequence");
        // Zero: nobody does.
        matches!(oldest, Ok(Some(oldest)) if (1..write).contains(&oldest))
    }

    pub(super) fn reclaim_group(&self, group: GroupId) {
        let (from, to) = group.key_range();
        let all = everything();
        for column in Column::ALL {
            let Ok(family) = self.column(column) else { continue };
            self.db
                .compact_range_cf_opt(family, Some(from.as_slice()), Some(to.as_slice()), &all);
        }
    }

    pub(super) fn reclaim_bodies(&self) -> bool {
        let _one = self.reclaiming.lock();
        let Ok(family) = self.column(Column::Bodies) else {
            return false;
        };
        let property = |name: &str| self.db.property_int_value_cf(family, name).ok().flatten();
        let garbage = property("rocksdb.live-blob-file-garbage-size").unwrap_or(0);
        let total = property("rocksdb.live-blob-file-size").unwrap_or(0);
        let files = property("rocksdb.num-blob-files").unwrap_or(0);
        let is_enough = garbage.saturating_mul(100) >= total.saturating_mul(GARBAGE_PERCENT);
        if garbage == 0 || !is_enough || self.is_stopping.load(Ordering::SeqCst) {
            return false;
        }
        tracing::info!(
            garbage,
            total,
            "the oldest bodies are written anew, to free the space of those that were removed"
        );
        let set = |cutoff: &str| {
            // The options are synced, and all writes wait for that.
            let _others_wait = self.waits.write();
            if let Err(error) = self.db.set_options_cf(family, &[(AGE_CUTOFF, cutoff)]) {
                tracing::warn!(%error, "cannot say how bodies are compacted");
            }
        };
        set(&age_cutoff(files).to_string());
        self.db
            .compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &everything());
        set("0.0");
        true
    }

    pub(super) fn stop_background(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.db.cancel_all_background_work(true);
    }
}

/// The part of so many files, by age, that is written anew at a time: at least one of them.
fn age_cutoff(files: u64) -> f64 {
    let part = files.div_ceil(PARTS).max(1);
    // A little more: what is cut off is rounded down.
    ((part as f64 + 0.5) / files.max(1) as f64).min(1.0)
}

fn everything() -> CompactOptions {
    let mut options = CompactOptions::default();
    options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
    // What is compacted by itself goes on.
    options.set_exclusive_manual_compaction(false);
    options
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::Range;
    use std::path::Path;

    use rand::RngCore;

    use super::*;
    use crate::batch::Batch;
    use crate::store::{Store, StoreOptions};
    use crate::view::View;

    const BODY_BYTES: usize = 2_000;
    const KEY_BYTES: usize = 80;

    /// Writes bodies of some groups into one file.
    fn fill(store: &Store, groups: Range<u32>, numbers: Range<u32>) {
        let mut batch = Batch::new();
        for group in groups {
            for number in numbers.clone() {
                // Nothing that could be compressed.
                let mut body = vec![0; BODY_BYTES];
                rand::rng().fill_bytes(&mut body);
                let mut key = [group.to_be_bytes(), number.to_be_bytes()].concat();
                key.resize(KEY_BYTES, 0);
                batch.put(Column::Bodies, key, body);
            }
        }
        let mut writes = store.begin();
        store.gather(&mut writes, &batch).expect("gathers");
        store.apply(writes).expect("writes");
        store.flush().expect("flushes");
    }

    /// Blob files with their sizes.
    fn blobs(folder: &Path) -> BTreeSet<(String, u64)> {
        let files = std::fs::read_dir(folder).expect("reads").flatten();
        files
            .filter_map(|file| {
                let name = file.file_name().to_string_lossy().into_owned();
                let bytes = file.metadata().expect("a size").len();
                name.ends_with(".blob").then_some((name, bytes))
            })
            .collect()
    }

    #[test]
    fn compacting_keys_writes_no_body_anew() {
        let folder = tempfile::tempdir().expect("tempdir");
        let store = Store::open(folder.path(), &StoreOptions::default()).expect("opens");
        for number in 0..8 {
            fill(&store, 1..2, number * 10..number * 10 + 10);
        }
        let before = blobs(folder.path());
        assert_eq!(before.len(), 8);
        store.reclaim_group(GroupId(1));
        store.reclaim_group(GroupId(1));
        assert_eq!(blobs(folder.path()), before);
        assert!(!store.reclaim_bodies());
        assert_eq!(blobs(folder.path()), before);
    }

    #[test]
    fn what_was_removed_gives_its_space_back_in_small_parts_and_what_stays_is_there() {
        const GROUPS: u32 = 4;
        const ROUNDS: u32 = 20;
        const BODIES: u32 = 100;
        const ROUND: u64 = (BODY_BYTES + KEY_BYTES + 32) as u64 * (GROUPS * BODIES) as u64;
        const WHOLE: u64 = ROUND * ROUNDS as u64;
        let folder = tempfile::tempdir().expect("tempdir");
        let store = Store::open(folder.path(), &StoreOptions::default()).expect("opens");
        for round in 0..ROUNDS {
            fill(&store, 1..GROUPS + 1, round * BODIES..(round + 1) * BODIES);
        }
        store.reclaim_group(GroupId(1));
        let bytes = || blobs(folder.path()).iter().map(|(_, bytes)| bytes).sum::<u64>();
        let whole = bytes();
        assert!(whole > WHOLE * 95 / 100 && whole < WHOLE * 105 / 100, "{whole}");

        store.delete_group(GroupId(2)).expect("deletes");
        store.flush().expect("flushes");
        store.reclaim_group(GroupId(2));
        let mut parts = 0;
        loop {
            // Comes meanwhile, among all others.
            let fresh = ROUNDS * BODIES + parts;
            fill(&store, 1..2, fresh..fresh + 1);
            let before = blobs(folder.path());
            if !store.reclaim_bodies() {
                break;
            }
            let now = blobs(folder.path());
            let written: u64 = now.difference(&before).map(|(_, bytes)| bytes).sum();
            assert!(written < 3 * ROUND, "part {parts}: {written} of {WHOLE}");
            let gone: u64 = before.difference(&now).map(|(_, bytes)| bytes).sum();
            assert!(gone > written, "part {parts}: {gone} gone, {written} written");
            parts += 1;
        }
        let after = bytes();
        assert!(after < whole * 95 / 100, "{after} of {whole}");
        assert!(parts >= 2 && u64::from(parts) <= PARTS, "{parts}");
        for (group, fresh) in [(1, parts + 1), (3, 0), (4, 0)] {
            let (from, to) = GroupId(group).key_range();
            let mut found = 0;
            let counted = store.scan(Column::Bodies, &from, &to, &mut |_, _| {
                found += 1;
                true
            });
            counted.expect("reads");
            assert_eq!(found, ROUNDS * BODIES + fresh, "group {group}");
        }
    }
}
