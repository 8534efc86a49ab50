//! The metrics of a node's log, store and replicas, and those of them that are looked at when the page is asked for.

use std::sync::Arc;

use rookery_process::telemetry::{self, Gathering};
use rookery_proto::status::OUTCOMES;

use crate::group::Member;
use crate::store::Store;

/// Calls between members.
const CALLS: [&str; 10] = [
    "append",
    "request_vote",
    "request_pre_vote",
    "transfer_leader",
    "install_snapshot",
    "read_snapshot",
    "beat",
    "read_digest",
    "ask_position",
    "other",
];

/// Which way a state goes.
const DIRECTIONS: [&str; 2] = ["sent", "received"];

/// The columns of the store, and this crate's own rows.
const COLUMNS: [&str; 4] = ["rows", "bodies", "counters", "own"];

rookery_process::catalogue! {
    Always Gauge LOG_BYTES "rookery_log_bytes" []
        "Length of the node's log";
    Always Histogram LOG_SYNC_SECONDS "rookery_log_sync_seconds" []
        "How long a write of the log took that synced";
    Always Histogram LOG_SYNC_RECORDS "rookery_log_sync_records" []
        "Records that one sync of the log served";

    Always Gauge REPLICAS "rookery_replication_replicas" []
        "Replicas that are open, that of a directory too";
    Always Gauge LAG "rookery_replication_lag_entries" []
        "Entries that the follower lacks which is furthest behind, of the groups that this node leads";
    Always Gauge LAG_SUM "rookery_replication_lag_entries_sum" []
        "Entries that followers lack, all of them together, of the groups that this node leads";
    Always Gauge LOG_ENTRIES "rookery_replication_log_entries" []
        "Entries that the log holds, of all replicas";
    Always Gauge UNAPPLIED "rookery_replication_unapplied_entries" []
        "Entries in the log that are not applied here yet, of all replicas";
    Used Counter CALLS_TOTAL "rookery_replication_calls_total" [call: &CALLS, outcome: &OUTCOMES]
        "Calls of other members that were answered";
    Used Histogram CALL_SECONDS "rookery_replication_call_seconds" [call: &CALLS]
        "How long answers to other members took";
    Always Counter SNAPSHOTS "rookery_replication_snapshots_total" [direction: &DIRECTIONS, outcome: &["done", "failed"]]
        "States of groups that were sent to other members or received from them";
    Always Gauge SNAPSHOTS_UNDER_WAY "rookery_replication_snapshots_under_way" [direction: &DIRECTIONS]
        "States that are being sent or received";
    Always Counter SNAPSHOT_SENT "rookery_replication_snapshot_sent_bytes_total" []
        "Bytes of states that were sent";
    Always Counter SNAPSHOT_RECEIVED "rookery_replication_snapshot_received_bytes_total" []
        "Bytes of states that were received";
    Always Gauge SNAPSHOT_FETCHED "rookery_replication_snapshot_fetched_bytes" []
        "What has come so far of the states that are being received";
    Always Counter SNAPSHOT_PAUSES "rookery_replication_snapshot_pauses_total" []
        "Pauses of receiving states, for what is served";
    Used Counter DAMAGES "rookery_replication_damages_total" [file: &["sst", "blob", "log", "other"]]
        "Places of the store that were found damaged, by kind of file";
    Always Counter SCRUBBED "rookery_replication_scrubbed_bytes_total" []
        "Bytes of the store that were read to find damage";
    Used Gauge SCRUB_COMPLETED "rookery_replication_scrub_completed_seconds" []
        "When all of the store had been read last, unix seconds";
    Used Gauge SCRUB_AGE "rookery_replication_scrub_age_seconds" []
        "How long ago all of the store had been read last";

    Always Gauge CACHE_BYTES "rookery_store_block_cache_bytes" []
        "Blocks of the store in the cache";
    Always Gauge CACHE_MAX_BYTES "rookery_store_block_cache_max_bytes" []
        "Room in the cache of blocks";
    Always Gauge CACHE_PINNED_BYTES "rookery_store_block_cache_pinned_bytes" []
        "Blocks in the cache that are in use";
    Always Counter CACHE_LOOKUPS "rookery_store_block_cache_lookups_total" [part: &["data", "index", "filter"], outcome: &["hit", "miss"]]
        "Blocks that were looked for in the cache";
    Always Gauge MEMTABLE_BYTES "rookery_store_memtable_bytes" [column: &COLUMNS]
        "Writes in memory that are in no file yet";
    Always Gauge SST_BYTES "rookery_store_sst_bytes" [column: &COLUMNS]
        "Files of sorted rows that are in use";
    Always Gauge BLOB_BYTES "rookery_store_blob_bytes" []
        "Files of bodies";
    Always Gauge BLOB_GARBAGE_BYTES "rookery_store_blob_garbage_bytes" []
        "What nobody needs in the files of bodies";
    Always Gauge PENDING_COMPACTION_BYTES "rookery_store_pending_compaction_bytes" [column: &COLUMNS]
        "Bytes that compactions have to write anew, as RocksDB reckons";
    Always Gauge RUNNING_COMPACTIONS "rookery_store_running_compactions" []
        "Compactions that are running";
    Always Gauge RUNNING_FLUSHES "rookery_store_running_flushes" []
        "Flushes that are running";
    Always Gauge DELAYED_WRITE_RATE "rookery_store_delayed_write_bytes_per_second" []
        "What writes are slowed down to; 0: they are not";
    Always Gauge WRITE_STOPPED "rookery_store_write_stopped" []
        "1 while writes wait for compactions or flushes";
    Always Counter BACKGROUND_ERRORS "rookery_store_background_errors_total" []
        "Flushes and compactions that failed";
}

/// Has the figures of a node's store and replicas told whenever the page is asked for, as long as what is returned is held.
pub fn measure(member: &Arc<Member>) -> Gathering {
    begin();
    let member = Arc::downgrade(member);
    telemetry::gather(move || {
        if let Some(member) = member.upgrade() {
            member.look();
            look_at_store(member.store());
        }
    })
}

fn look_at_store(store: &Store) {
    let Some(figures) = store.figures() else { return };
    CACHE_BYTES.set(figures.cache as f64);
    CACHE_MAX_BYTES.set(figures.cache_max as f64);
    CACHE_PINNED_BYTES.set(figures.cache_pinned as f64);
    for (part, hits, misses) in figures.cache_lookups {
        CACHE_LOOKUPS.with(&[part, "hit"]).absolute(hits);
        CACHE_LOOKUPS.with(&[part, "miss"]).absolute(misses);
    }
    for (column, of_column) in COLUMNS.iter().zip(figures.columns) {
        MEMTABLE_BYTES.with(&[column]).set(of_column.memtable as f64);
        SST_BYTES.with(&[column]).set(of_column.sst as f64);
        PENDING_COMPACTION_BYTES
            .with(&[column])
            .set(of_column.pending_compaction as f64);
    }
    BLOB_BYTES.set(figures.blob as f64);
    BLOB_GARBAGE_BYTES.set(figures.blob_garbage as f64);
    RUNNING_COMPACTIONS.set(figures.running_compactions as f64);
    RUNNING_FLUSHES.set(figures.running_flushes as f64);
    DELAYED_WRITE_RATE.set(figures.delayed_write_rate as f64);
    WRITE_STOPPED.set(figures.write_stopped as f64);
    BACKGROUND_ERRORS.with(&[]).absolute(figures.background_errors);
}

/// A state that is being sent or received, as long as it lives.
pub(crate) struct OnItsWay {
    direction: &'static str,
    outcome: &'static str,
}

impl OnItsWay {
    /// A follower fetches one from this node.
    pub(crate) fn sent() -> Self {
        Self::begin("sent")
    }

    /// This node fetches one.
    pub(crate) fn received() -> Self {
        Self::begin("received")
    }

    fn begin(direction: &'static str) -> Self {
        SNAPSHOTS_UNDER_WAY.with(&[direction]).increment(1.0);
        Self {
            direction,
            outcome: "failed",
        }
    }

    /// It has been taken in; otherwise it counts as failed.
    pub(crate) fn done(mut self) {
        self.outcome = "done";
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        SNAPSHOTS_UNDER_WAY.with(&[self.direction]).decrement(1.0);
        SNAPSHOTS.with(&[self.direction, self.outcome]).increment(1);
    }
}
