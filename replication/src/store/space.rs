//! Giving disk space back after a group's keys were deleted.
//!
//! Rows go with the files that are compacted. Values in blob files go only with the whole file, in which those of all groups
//! lie: when enough of them is garbage, what is left in them is written anew.

use std::sync::atomic::Ordering;

use rocksdb::{BottommostLevelCompaction, CompactOptions, LiveFile};

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

    pub(super) fn begin_reclaiming_bodies(&self) -> bool {
        let Ok(family) = self.column(Column::Bodies) else {
            return false;
        };
        let property = |name: &str| self.db.property_int_value_cf(family, name).ok().flatten();
        let garbage = property("rocksdb.live-blob-file-garbage-size").unwrap_or(0);
        let total = property("rocksdb.live-blob-file-size").unwrap_or(0);
        if garbage == 0 || garbage.saturating_mul(100) < total.saturating_mul(GARBAGE_PERCENT) {
            return false;
        }
        tracing::info!(
            garbage,
            total,
            "bodies are written anew, to free the space of those that were removed"
        );
        // Keys alone, all of them to the lowest level: whatever names an old file keeps all files that are newer.
        let nothing = None::<&[u8]>;
        self.db
            .compact_range_cf_opt(family, nothing, nothing, &beside_others());
        true
    }

    pub(super) fn reclaim_bodies(&self, from: &[u8]) -> Option<Vec<u8>> {
        let _one = self.reclaiming.lock();
        let family = self.column(Column::Bodies).ok()?;
        let files = self.db.live_files().ok()?;
        let last = next_part(files, from)?;
        let set = |cutoff: &str| {
            // The options are synced, and all writes wait for that.
            let _others_wait = self.waits.write();
            if let Err(error) = self.db.set_options_cf(family, &[(AGE_CUTOFF, cutoff)]) {
                tracing::warn!(%error, "cannot say how bodies are compacted");
            }
        };
        if self.is_stopping.load(Ordering::SeqCst) {
            return None;
        }
        // With a range of keys newer files of all keys would come in, and with them all of the lowest level.
        let key = Some(last.as_slice());
        set("1.0");
        self.db.compact_range_cf_opt(family, key, key, &everything());
        set("0.0");
        Some([last.as_slice(), &[0]].concat())
    }

    pub(super) fn stop_background(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.db.cancel_all_background_work(true);
    }
}

/// The last key of the file of the lowest level that has the first key from here on.
fn next_part(files: Vec<LiveFile>, from: &[u8]) -> Option<Vec<u8>> {
    let bodies = |file: &LiveFile| file.column_family_name == Column::Bodies.name();
    let files: Vec<_> = files.into_iter().filter(bodies).collect();
    let lowest = files.iter().map(|file| file.level).max()?;
    let at_lowest = files.into_iter().filter(|file| file.level == lowest);
    at_lowest
        .filter_map(|file| file.end_key)
        .filter(|last| last.as_slice() >= from)
        .min()
}

fn everything() -> CompactOptions {
    let mut options = beside_others();
    options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
    options
}

/// What is compacted by itself goes on.
fn beside_others() -> CompactOptions {
    let mut options = CompactOptions::default();
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
        assert!(!store.begin_reclaiming_bodies());
    }

    #[test]
    fn what_was_removed_gives_its_space_back_part_by_part_and_what_stays_is_there() {
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
        assert!(store.begin_reclaiming_bodies());
        let (mut from, mut parts) = (Vec::new(), 0);
        loop {
            // Comes meanwhile, among all others.
            fill(&store, 1..GROUPS + 1, BODIES + parts..BODIES + parts + 1);
            let before = blobs(folder.path());
            let Some(next) = store.reclaim_bodies(&from) else {
                break;
            };
            let now = blobs(folder.path());
            let written: u64 = now.difference(&before).map(|(_, bytes)| bytes).sum();
            assert!(written < WHOLE / 2, "part {parts}: {written} of {WHOLE}");
            (from, parts) = (next, parts + 1);
        }
        assert!(parts > 2, "{parts}");
        assert!(!store.begin_reclaiming_bodies());
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
            assert_eq!(found, BODIES + parts + 1, "group {group}");
        }
    }
}
