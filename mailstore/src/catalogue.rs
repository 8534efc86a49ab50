//! The metrics of a mailstore, and those of them that are looked at when the page is asked for.

use std::sync::Arc;

use rookery_process::telemetry::{self, Gathering};
use rookery_proto::Reason;
use rookery_proto::status::OUTCOMES;

use crate::service::Shards;

/// Calls of proxies and directories.
const CALLS: [&str; 34] = [
    "list_mailboxes",
    "create_mailbox",
    "delete_mailbox",
    "rename_mailbox",
    "set_subscription",
    "open_mailbox",
    "claim_recent",
    "changes",
    "fetch",
    "search",
    "store",
    "copy",
    "expunge",
    "upload",
    "append",
    "deliver",
    "hand_off",
    "lease_hand_offs",
    "complete_hand_off",
    "watch",
    "put_account",
    "purge_account",
    "export_shard",
    "import_rows",
    "import_account",
    "compare_replicas",
    "leave_account",
    "freeze_account",
    "export_account",
    "receive_account",
    "take_rows",
    "settle_account",
    "depart_account",
    "other",
];

/// What may become of a recipient.
const DELIVERIES: [&str; 7] = [
    "stored",
    "over_quota",
    "no_account",
    "moved",
    "frozen",
    "unavailable",
    "refused",
];

/// Places where reads are done.
const READS: [&str; 2] = ["read", "search"];

rookery_process::catalogue! {
    Used Counter CALLS_TOTAL "rookery_mailstore_calls_total" [call: &CALLS, outcome: &OUTCOMES]
        "Calls of proxies and directories that were answered";
    Used Histogram CALL_SECONDS "rookery_mailstore_call_seconds" [call: &CALLS]
        "How long the answer took; of a watch or an export, how long it lasted";
    Always Counter RECIPIENTS "rookery_mailstore_recipients_total" []
        "Recipients of deliveries that were decided on";
    Always Counter DELIVERIES_TOTAL "rookery_mailstore_deliveries_total" [outcome: &DELIVERIES]
        "Recipients of deliveries by what became of them";
    Always Gauge SHARDS "rookery_mailstore_shards" []
        "Shards that this node has an open replica of";
    Always Gauge REPLICAS "rookery_mailstore_replicas" [standing: &["leader", "voter", "learner"]]
        "Open replicas: those that lead, those that vote and follow, those that are being filled";
    Used Gauge REPLICAS_BEHIND "rookery_mailstore_replicas_behind" []
        "Replicas that have not caught up since the start, for which /readyz waits";
    Always Gauge REPLICAS_BYTES "rookery_mailstore_replicas_bytes" []
        "What open replicas have on disk";
    Used Gauge DISK_FREE_BYTES "rookery_mailstore_disk_free_bytes" []
        "What is free on the store's disk";
    Used Gauge DISK_BYTES "rookery_mailstore_disk_bytes" []
        "The size of the store's disk";
    Always Gauge READS_RUNNING "rookery_mailstore_reads_running" [kind: &READS]
        "Reads under way";
    Always Gauge READ_QUEUE "rookery_mailstore_read_queue_length" [kind: &READS]
        "Reads that wait for a place";
    Always Gauge ANALYSIS_QUEUE "rookery_mailstore_analysis_queue_length" []
        "New messages that wait to be analysed";
    Always Histogram ANALYSIS_SECONDS "rookery_mailstore_analysis_seconds" []
        "How long the analysis of a new message took, with the wait for it";
    Always Counter ANALYSIS_OVERRUNS "rookery_mailstore_analysis_overruns_total" []
        "Messages on which a thread took too long";
    Always Counter ANALYSIS_WORKERS_KILLED "rookery_mailstore_analysis_workers_killed_total" []
        "Processes that were killed, for they took too long for a message";
    Used Counter MESSAGES_OPAQUE "rookery_mailstore_messages_opaque_total" [cause: &["too large", "failed", "panicked"]]
        "Messages that could not be analysed and are served as opaque text";
    Always Counter CACHE_LOOKUPS "rookery_mailstore_cache_lookups_total" [cache: &["tokens", "mailboxes", "analyses"], outcome: &["hit", "miss"]]
        "What was looked for among checked tokens, views of large mailboxes, and analyses";
    Always Counter LEADERSHIPS "rookery_mailstore_leaderships_total" []
        "Times that this node took the lead of a shard";
    Always Counter HANDOVERS "rookery_mailstore_handovers_total" []
        "Times that it handed the lead of a shard over";
    Always Counter MEMBER_CHANGES "rookery_mailstore_member_changes_total" []
        "Changes of the members of shards that it led";
    Always Counter WATCH_REFRESHES "rookery_mailstore_watch_refreshes_total" []
        "Times that a proxy was told to look at everything, at first or because it was slow";
}

/// What is looked for is there, or not.
pub(crate) fn looked_up(cache: &str, is_there: bool) {
    let outcome = if is_there { "hit" } else { "miss" };
    CACHE_LOOKUPS.with(&[cache, outcome]).increment(1);
}

/// So many recipients had this outcome; no reason: their message is stored.
pub(crate) fn delivered(refused: Option<Reason>, recipients: usize) {
    let outcome = match refused {
        None => "stored",
        Some(Reason::OverQuota) => "over_quota",
        Some(Reason::NoAccount | Reason::Suspended) => "no_account",
        Some(Reason::Moved | Reason::WrongGeneration) => "moved",
        Some(Reason::Frozen) => "frozen",
        Some(
            Reason::Unavailable
            | Reason::NotLeader
            | Reason::DeadlineExceeded
            | Reason::Replan
            | Reason::NoSpace,
        ) => "unavailable",
        Some(_) => "refused",
    };
    DELIVERIES_TOTAL.with(&[outcome]).increment(recipients as u64);
}

/// Has it told how the replicas of this node stand whenever the page is asked for, as long as what is returned is held.
pub(crate) fn measure(shards: &Arc<Shards>) -> Gathering {
    begin();
    let shards = Arc::downgrade(shards);
    telemetry::gather(move || {
        if let Some(shards) = shards.upgrade() {
            look(&shards);
        }
    })
}

fn look(shards: &Shards) {
    let (mut leaders, mut voters, mut learners) = (0, 0, 0);
    let all = shards.all();
    for hosted in &all {
        let group = hosted.shard().group();
        let standing = group.standing();
        let mut members = standing.members.iter();
        if standing.leads {
            leaders += 1;
        } else if members.any(|(replica, _, votes)| *replica == group.replica() && *votes) {
            voters += 1;
        } else {
            learners += 1;
        }
    }
    SHARDS.set(all.len() as f64);
    REPLICAS.with(&["leader"]).set(f64::from(leaders));
    REPLICAS.with(&["voter"]).set(f64::from(voters));
    REPLICAS.with(&["learner"]).set(f64::from(learners));
}
