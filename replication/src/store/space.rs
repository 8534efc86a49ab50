//! Giving disk space back after a group's keys were deleted.
//!
//! Rows go with the files that are compacted. Values in blob files go only with the whole file, in which those of all groups
//! lie: when enough of them is garbage, what is left in them is written anew.

use std::sync::atomic::Ordering;

use rocksdb::{BottommostLevelCompaction, CompactOptions};

use super::rocks::Rocks;
use crate::batch::Column;
use crate::entry::GroupId;

/// Garbage in blob files, in percent of all bytes in them, from which on what is left is written anew: so at most ten bytes
/// are written for each that becomes free.
const GARBAGE_PERCENT: u64 = 10;

/// How old blob files are, as a part of all of them, that compaction writes anew.
const AGE_CUTOFF: &str = "blob_garbage_collection_age_cutoff";

/// RocksDB's default of [`AGE_CUTOFF`].
const AGE_CUTOFF_USUAL: &str = "0.25";

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
            if let Err(error) = self.db.set_options_cf(family, &[(AGE_CUTOFF, cutoff)]) {
                tracing::warn!(%error, "cannot say how bodies are compacted");
            }
        };
        set("1.0");
        self.db
            .compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &everything());
        set(AGE_CUTOFF_USUAL);
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
