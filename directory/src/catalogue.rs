//! The metrics of a directory, and those of them that are looked at when the page is asked for.

use std::collections::HashSet;
use std::sync::Arc;

use rookery_process::telemetry::{self, Gathering};
use rookery_proto::directory::v1::{Node, NodeRole, Shard};
use rookery_proto::status::OUTCOMES;

use crate::post::Post;
use crate::rebalance::execute::Job;
use crate::rebalance::stored::{JobState, Stage};

/// Calls of proxies, mailstores and other members.
const CALLS: [&str; 9] = [
    "resolve_recipient",
    "authenticate",
    "renew_token",
    "watch",
    "register_node",
    "describe_member",
    "form_group",
    "join_group",
    "other",
];

/// Calls of operators.
const ADMIN_CALLS: [&str; 46] = [
    "add_domain",
    "list_domains",
    "remove_domain",
    "add_accounts",
    "list_accounts",
    "get_account",
    "set_password",
    "set_quota",
    "set_suspended",
    "delete_account",
    "move_account",
    "get_account_move",
    "add_alias",
    "list_aliases",
    "remove_alias",
    "list_nodes",
    "list_shards",
    "compare_replicas",
    "list_busy_accounts",
    "get_status",
    "list_events",
    "hold_moves",
    "release_moves",
    "begin_restore",
    "restore_directory",
    "place_accounts",
    "restore_rows",
    "finish_accounts",
    "end_restore",
    "add_node",
    "list_joins",
    "revoke_join",
    "redeem",
    "make_plan",
    "apply_plan",
    "transfer_shard",
    "get_job",
    "pause_job",
    "resume_job",
    "abort_job",
    "split_shard",
    "get_split",
    "abort_split",
    "set_draining",
    "remove_node",
    "other",
];

/// Roles of nodes.
const ROLES: [(NodeRole, &str); 3] = [
    (NodeRole::Directory, "directory"),
    (NodeRole::Mailstore, "mailstore"),
    (NodeRole::Proxy, "proxy"),
];

/// How a rebalance stands.
const JOB_STATES: [(JobState, &str); 6] = [
    (JobState::Storing, "storing"),
    (JobState::Running, "running"),
    (JobState::Paused, "paused"),
    (JobState::Aborting, "aborting"),
    (JobState::Done, "done"),
    (JobState::Aborted, "aborted"),
];

/// How a part of it stands.
const STAGES: [(Stage, &str); 7] = [
    (Stage::Waiting, "waiting"),
    (Stage::Changing, "changing"),
    (Stage::Removing, "removing"),
    (Stage::Done, "done"),
    (Stage::Skipped, "skipped"),
    (Stage::Reverting, "reverting"),
    (Stage::Reverted, "reverted"),
];

/// The names of what is listed.
const fn names<T: Copy, const N: usize>(listed: &[(T, &'static str); N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut place = 0;
    while place < N {
        names[place] = listed[place].1;
        place += 1;
    }
    names
}

const ROLE_NAMES: [&str; 3] = names(&ROLES);
const JOB_STATE_NAMES: [&str; 6] = names(&JOB_STATES);
const STAGE_NAMES: [&str; 7] = names(&STAGES);
const SHARD_STATES: [&str; 3] = ["whole", "degraded", "leaderless"];

rookery_process::catalogue! {
    Always Gauge LEADS "rookery_directory_leads" []
        "1 on the member that leads the directory";
    Always Gauge VOTES "rookery_directory_votes" []
        "1 on a member that votes";
    Always Gauge REPLICA "rookery_directory_replica" []
        "The number of the member's replica; 0: it has none";
    Always Counter LEADERSHIPS "rookery_directory_leaderships_total" []
        "Times that this member took the lead";
    Used Counter CALLS_TOTAL "rookery_directory_calls_total" [call: &CALLS, outcome: &OUTCOMES]
        "Calls of proxies, mailstores and other members that were answered";
    Used Histogram CALL_SECONDS "rookery_directory_call_seconds" [call: &CALLS]
        "How long the answer took; of a watch, how long it lasted";
    Used Counter ADMIN_CALLS_TOTAL "rookery_directory_admin_calls_total" [call: &ADMIN_CALLS, outcome: &OUTCOMES]
        "Calls of operators that were answered";
    Used Histogram ADMIN_CALL_SECONDS "rookery_directory_admin_call_seconds" [call: &ADMIN_CALLS]
        "How long the answer to an operator took";
    Always Counter FOLLOWER_LOOKUPS "rookery_directory_follower_lookups_total" [outcome: &["answered", "passed_on"]]
        "Lookups at a member that follows: answered there, or left to the one that leads";
    Always Gauge WATCHERS "rookery_directory_watchers" []
        "Nodes that follow the watch of this member";
    Always Counter PASSWORD_VERIFICATIONS "rookery_directory_password_verifications_total" [result: &["cached", "right", "wrong", "refused"]]
        "Passwords that came; refused: too many were waiting";
    Always Histogram PASSWORD_SECONDS "rookery_directory_password_seconds" []
        "How long verifying a password took that was not in the cache, with the wait for it";
    Always Gauge PASSWORD_QUEUE "rookery_directory_password_queue_length" []
        "Passwords that wait to be verified or hashed";
    Always Gauge PASSWORD_QUEUE_MAX "rookery_directory_password_queue_max" []
        "Passwords that may wait";
    Always Counter CACHE_LOOKUPS "rookery_directory_cache_lookups_total" [cache: &["passwords", "tokens"], outcome: &["hit", "miss"]]
        "What was looked for among passwords that were verified lately and tokens that were signed lately";
    Always Gauge NODES "rookery_directory_nodes" [role: &ROLE_NAMES, state: &["alive", "silent"]]
        "Nodes of the cluster; 0 on members that do not lead";
    Always Gauge SHARDS "rookery_directory_shards" [state: &SHARD_STATES]
        "Shards: whole when led and all replicas vote on nodes that are alive; 0 on members that do not lead";
    Always Gauge REBALANCE_STATE "rookery_directory_rebalance_state" [state: &JOB_STATE_NAMES]
        "1 for how the last rebalance stands; 0 on members that do not lead";
    Always Gauge REBALANCE_TRANSFERS "rookery_directory_rebalance_transfers" [stage: &STAGE_NAMES]
        "Transfers of the last rebalance by how they stand; 0 on members that do not lead";
    Always Gauge REBALANCE_LEADS "rookery_directory_rebalance_leads" [stage: &STAGE_NAMES]
        "Changes of leads of the last rebalance by how they stand; 0 on members that do not lead";
    Always Gauge REBALANCE_PLANNED_BYTES "rookery_directory_rebalance_planned_bytes" []
        "Bytes of all transfers of the last rebalance; 0 on members that do not lead";
    Always Gauge REBALANCE_DONE_BYTES "rookery_directory_rebalance_done_bytes" []
        "Bytes of those that are done; 0 on members that do not lead";
    Always Counter TRANSFERS "rookery_directory_transfers_total" []
        "Transfers that were done";
    Always Counter TRANSFERRED_BYTES "rookery_directory_transferred_bytes_total" []
        "Their bytes";
    Always Gauge ACCOUNT_MOVES "rookery_directory_account_moves" []
        "Moves of accounts that are under way; 0 on members that do not lead";
    Always Counter ACCOUNT_MOVES_TOTAL "rookery_directory_account_moves_total" [outcome: &["done", "reverted"]]
        "Moves of accounts that have ended";
    Used Histogram ACCOUNT_FROZEN_SECONDS "rookery_directory_account_frozen_seconds" []
        "How long an account was frozen at the end of its move";
    Always Counter AUTOMATIC_ACTS "rookery_directory_automatic_acts_total" [act: &["rebalance", "give_up"]]
        "What was done without an operator's word";
}

/// What is looked for is there, or not.
pub(crate) fn looked_up(cache: &str, is_there: bool) {
    let outcome = if is_there { "hit" } else { "miss" };
    CACHE_LOOKUPS.with(&[cache, outcome]).increment(1);
}

/// Tells how the last rebalance stands.
pub(crate) fn tell_rebalance(job: &Job) {
    for (state, name) in JOB_STATES {
        let is_so = job.row.state() == state;
        REBALANCE_STATE.with(&[name]).set(f64::from(u8::from(is_so)));
    }
    for (stage, name) in STAGES {
        let transfers = job.transfers.iter().filter(|row| row.stage() == stage);
        REBALANCE_TRANSFERS.with(&[name]).set(transfers.count() as f64);
        let leads = job.leads.iter().filter(|row| row.stage() == stage);
        REBALANCE_LEADS.with(&[name]).set(leads.count() as f64);
    }
    let planned: u64 = job.transfers.iter().map(|row| row.bytes).sum();
    let done = job.transfers.iter().filter(|row| row.stage() == Stage::Done);
    REBALANCE_PLANNED_BYTES.set(planned as f64);
    REBALANCE_DONE_BYTES.set(done.map(|row| row.bytes).sum::<u64>() as f64);
}

/// Has it told how nodes and shards stand whenever the page is asked for, as long as what is returned is held.
pub(crate) fn measure(post: &Arc<Post>) -> Gathering {
    begin();
    let post = Arc::downgrade(post);
    telemetry::gather(move || {
        let Some(post) = post.upgrade() else { return };
        match post.core() {
            Ok(core) => {
                look(&core.picture.nodes(), &core.picture.shards());
                ACCOUNT_MOVES.set(core.moves.under_way() as f64);
            }
            Err(_) => {
                look(&[], &[]);
                ACCOUNT_MOVES.set(0.0);
                tell_no_rebalance();
            }
        }
    })
}

/// This member knows nothing of one.
fn tell_no_rebalance() {
    for name in JOB_STATE_NAMES {
        REBALANCE_STATE.with(&[name]).set(0.0);
    }
    for name in STAGE_NAMES {
        REBALANCE_TRANSFERS.with(&[name]).set(0.0);
        REBALANCE_LEADS.with(&[name]).set(0.0);
    }
    REBALANCE_PLANNED_BYTES.set(0.0);
    REBALANCE_DONE_BYTES.set(0.0);
}

fn look(nodes: &[Node], shards: &[Shard]) {
    for (role, name) in ROLES {
        for (state, alive) in [("alive", true), ("silent", false)] {
            let such = nodes
                .iter()
                .filter(|node| node.role() == role && node.alive == alive);
            NODES.with(&[name, state]).set(such.count() as f64);
        }
    }
    let alive = nodes.iter().filter(|node| node.alive);
    let alive: HashSet<&str> = alive.map(|node| node.id.as_str()).collect();
    let states: Vec<&str> = shards.iter().map(|shard| shard_state(shard, &alive)).collect();
    for state in SHARD_STATES {
        let such = states.iter().filter(|found| **found == state);
        SHARDS.with(&[state]).set(such.count() as f64);
    }
}

fn shard_state(shard: &Shard, alive: &HashSet<&str>) -> &'static str {
    if !alive.contains(shard.leader.as_str()) {
        return "leaderless";
    }
    let mut members = shard.members.iter();
    match members.all(|member| shard.voters.contains(&member.id) && alive.contains(member.node.as_str())) {
        true => "whole",
        false => "degraded",
    }
}

#[cfg(test)]
mod tests {
    use rookery_proto::directory::v1::ShardReplica;

    use super::*;

    #[test]
    fn a_shard_is_whole_when_it_is_led_and_all_vote_and_are_there() {
        let member = |id, node: &str| ShardReplica {
            id,
            node: node.to_owned(),
            ..ShardReplica::default()
        };
        let shard = |leader: &str, voters: &[u64]| Shard {
            leader: leader.to_owned(),
            voters: voters.to_vec(),
            members: vec![member(1, "a"), member(2, "b")],
            ..Shard::default()
        };
        let (both, one) = (HashSet::from(["a", "b"]), HashSet::from(["a"]));
        for (leader, voters, alive, state) in [
            ("a", &[1, 2][..], &both, "whole"),
            ("a", &[1], &both, "degraded"),
            ("a", &[1, 2], &one, "degraded"),
            ("b", &[1, 2], &one, "leaderless"),
            ("", &[1, 2], &both, "leaderless"),
        ] {
            assert_eq!(
                shard_state(&shard(leader, voters), alive),
                state,
                "{leader} {voters:?}"
            );
        }
    }
}
