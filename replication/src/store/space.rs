//! Giving disk space back after a group's keys were deleted.
//!
//! Rows go with the files that are compacted. Values in blob files go only with the whole file, in which those of all groups
//! lie: when enough of them is garbage, what is left in them is written anew.

use std::path::Path;
use std::sync::atomic::Ordering;

use rocksdb::{BottommostLevelCompaction, CompactOptions};

use super::rocks::Rocks;
use crate::batch::Column;
use crate::entry::GroupId;

/// Garbage in blob files, in percent of all bytes in them, from which on what is left is written anew.
pub(crate) const BEGINS_PERCENT: u64 = 20;

/// Garbage until which it goes on then: about nine bytes are written for the last that becomes free.
pub(crate) const ENDS_PERCENT: u64 = 10;

/// In how many parts all bodies are written anew, from the oldest on. Their files go with the end of each part, so that is also the part of
/// the disk that is needed for it. All keys are written with each.
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

    pub(super) fn reclaim_bodies(&self, garbage_percent: u64) -> bool {
        let _one = self.reclaiming.lock();
        let Ok(family) = self.column(Column::Bodies) else {
            return false;
        };
        let property = |name: &str| self.db.property_int_value_cf(family, name).ok().flatten();
        let garbage = || property("rocksdb.live-blob-file-garbage-size").unwrap_or(0);
        let total = property("rocksdb.live-blob-file-size").unwrap_or(0);
        let files = property("rocksdb.num-blob-files").unwrap_or(0);
        let before = garbage();
        let is_enough = before.saturating_mul(100) >= total.saturating_mul(garbage_percent);
        if before == 0 || files == 0 || !is_enough || self.is_stopping.load(Ordering::SeqCst) {
            return false;
        }
        tracing::info!(
            garbage = before,
            total,
            "the oldest bodies are written anew, to free the space of those that were removed"
        );
        let set = |cutoff: f64| {
            // The options are synced, and all writes wait for that.
            let _others_wait = self.waits.write();
            let set = self
                .db
                .set_options_cf(family, &[(AGE_CUTOFF, &cutoff.to_string())]);
            set.inspect_err(|error| tracing::warn!(%error, "cannot say how bodies are compacted"))
        };
        let (oldest, sizes) = blob_files(self.db.path());
        if set(age_cutoff(&sizes, files)).is_err() {
            return false;
        }
        self.db
            .compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &everything());
        // Whether that is said or not, the next open says it.
        let _ = set(0.0);
        // Where something cannot be read nothing goes, however often it is tried.
        garbage() < before || blob_files(self.db.path()).0 > oldest
    }

    pub(super) fn stop_background(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.db.cancel_all_background_work(true);
    }
}

/// The number of a store's oldest blob file, and the sizes of all, the oldest first.
fn blob_files(folder: &Path) -> (u64, Vec<u64>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<(u64, u64)> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_suffix(".blob")?.parse().ok()?;
            Some((number, entry.metadata().ok()?.len()))
        })
        .collect();
    files.sort_unstable();
    let oldest = files.first().map_or(0, |(number, _)| *number);
    (oldest, files.into_iter().map(|(_, bytes)| bytes).collect())
}

/// The part of so many files, by age, that is written anew at a time: at least one of them, and not many more bytes than [`PARTS`] says. Old
/// files are large, as they were written anew before, and young ones small.
fn age_cutoff(sizes: &[u64], files: u64) -> f64 {
    let most = sizes.iter().sum::<u64>() / PARTS;
    let mut bytes = 0;
    let within = sizes.iter().take_while(|size| {
        bytes += **size;
        bytes <= most
    });
    let part = within.count().max(1);
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
    fn a_part_is_of_bytes_and_never_of_no_file() {
        let count = |sizes: &[u64]| (age_cutoff(sizes, sizes.len() as u64) * sizes.len() as f64) as usize;
        assert_eq!(count(&[10]), 1);
        assert_eq!(count(&[10; 15]), 1);
        assert_eq!(count(&[10; 17]), 1);
        assert_eq!(count(&[10; 1000]), 62);
        let old_and_young = [vec![1000; 8], vec![10; 8000]].concat();
        assert_eq!(count(&old_and_young), 5);
        assert_eq!(count(&[1000, 1, 1]), 1);
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
        assert!(!store.reclaim_bodies(1));
        assert_eq!(blobs(folder.path()), before);
    }

    #[test]
    fn what_was_removed_gives_its_space_back_in_small_parts_and_what_stays_is_there() {
        const GROUPS: u32 = 4;
        const ROUNDS: u32 = 20;
        const BODIES: u32 = 100;
        const ROUND: u64 = (BODY_BYTES + KEY_BYTES + 32) as u64 * (GROUPS * BODIES) as u64;
        // Nothing of the oldest files goes.
        const WITHOUT: u32 = 4;
        const WHOLE: u64 = ROUND / GROUPS as u64 * (GROUPS * ROUNDS - WITHOUT) as u64;
        let folder = tempfile::tempdir().expect("tempdir");
        let store = Store::open(folder.path(), &StoreOptions::default()).expect("opens");
        for round in 0..ROUNDS {
            let numbers = round * BODIES..(round + 1) * BODIES;
            fill(&store, 1..2, numbers.clone());
            let first = if round < WITHOUT { 3 } else { 2 };
            fill(&store, first..GROUPS + 1, numbers);
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
            let percent = if parts == 0 { BEGINS_PERCENT } else { ENDS_PERCENT };
            if !store.reclaim_bodies(percent) {
                break;
            }
            let now = blobs(folder.path());
            let written: u64 = now.difference(&before).map(|(_, bytes)| bytes).sum();
            assert!(written < 3 * ROUND, "part {parts}: {written} of {WHOLE}");
            parts += 1;
        }
        let after = bytes();
        assert!(after < whole * 90 / 100, "{after} of {whole}");
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
