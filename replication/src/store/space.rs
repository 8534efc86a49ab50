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

    pub(super) fn reclaim_bodies(&self) {
        let _one = self.reclaiming.lock();
        let Ok(family) = self.column(Column::Bodies) else {
            return;
        };
        let property = |name: &str| self.db.property_int_value_cf(family, name).ok().flatten();
        let garbage = property("rocksdb.live-blob-file-garbage-size").unwrap_or(0);
        let total = property("rocksdb.live-blob-file-size").unwrap_or(0);
        if garbage == 0 || garbage.saturating_mul(100) < total.saturating_mul(GARBAGE_PERCENT) {
            return;
        }
        tracing::info!(
            garbage,
            total,
            "bodies are written anew, to free the space of those that were removed"
        );
        let set = |cutoff: &str| {
            // The options are synced, and all writes wait for that.
            let _others_wait = self.waits.write();
            if let Err(error) = self.db.set_options_cf(family, &[(AGE_CUTOFF, cutoff)]) {
                tracing::warn!(%error, "cannot say how bodies are compacted");
            }
        };
        set("1.0");
        self.db
            .compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &everything());
        set("0.0");
    }

    pub(super) fn stop_background(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.db.cancel_all_background_work(true);
    }
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
        store.reclaim_bodies();
        assert_eq!(blobs(folder.path()), before);
    }

    #[test]
    fn what_was_removed_gives_its_space_back_and_what_stays_is_there() {
        const GROUPS: u32 = 4;
        const BODIES: u32 = 2_000;
        const WHOLE: u64 = (BODY_BYTES + KEY_BYTES + 32) as u64 * (GROUPS * BODIES) as u64;
        let folder = tempfile::tempdir().expect("tempdir");
        let store = Store::open(folder.path(), &StoreOptions::default()).expect("opens");
        fill(&store, 1..GROUPS + 1, 0..BODIES);
        store.reclaim_group(GroupId(1));
        let bytes = || blobs(folder.path()).iter().map(|(_, bytes)| bytes).sum::<u64>();
        let whole = bytes();
        assert!(whole > WHOLE * 95 / 100 && whole < WHOLE * 105 / 100, "{whole}");

        store.delete_group(GroupId(2)).expect("deletes");
        store.flush().expect("flushes");
        store.reclaim_group(GroupId(2));
        store.reclaim_bodies();
        let after = bytes();
        assert!(after < whole * 80 / 100, "{after} of {whole}");
        for group in [1, 3, 4] {
            let (from, to) = GroupId(group).key_range();
            let mut found = 0;
            let counted = store.scan(Column::Bodies, &from, &to, &mut |_, _| {
                found += 1;
                true
            });
            counted.expect("reads");
            assert_eq!(found, BODIES, "group {group}");
        }
    }
}
