//! Runs of fixed seeds, and one that must fail, so that the oracle is known to see what it is there for.

use std::time::Duration;

use rookery_tests::faults::run::{RunOptions, run};

/// Acknowledged operations that a run must at least have, or nothing was tested. A busy machine makes few.
const ACKNOWLEDGED_MIN: usize = 100;

fn holds(seed: u64, nemeses: &[&str]) {
    holds_with(RunOptions::small(seed, nemeses));
}

fn holds_with(options: RunOptions) {
    let report = run(&options).unwrap_or_else(|error| panic!("{error:?}\nagain with `{}`", options.replay()));
    assert!(report.is_good(), "{report}");
    let acknowledged: usize = report.operations.values().map(|count| count.ok).sum();
    let faults: usize = report.faults.values().sum();
    assert!(
        acknowledged >= ACKNOWLEDGED_MIN && faults >= 1,
        "{acknowledged} acknowledged operations and {faults} faults test nothing: {report}"
    );
}

#[test]
fn mail_outlives_kills_pauses_and_wrong_clocks() {
    holds(1, &["kill", "pause", "clock"]);
}

#[test]
fn mail_outlives_power_cuts_and_slow_disks() {
    holds(2, &["power_cut", "slow_disk", "kill"]);
}

#[test]
fn mail_outlives_cuts_of_the_network_and_full_disks() {
    holds(3, &["cut", "full_disk"]);
}

#[test]
fn mail_and_sessions_outlive_leaders() {
    let mut options = RunOptions::small(5, &["kill_leader", "handover"]);
    options.replicas = 3;
    holds_with(options);
}

#[test]
fn three_replicas_outlive_cuts_and_power_cuts() {
    let mut options = RunOptions::small(6, &["cut", "power_cut", "pause"]);
    options.replicas = 3;
    holds_with(options);
}

#[test]
fn mail_and_sessions_move_between_mailstores_that_die() {
    let mut options = RunOptions::small(7, &["rebalance", "kill_leader", "pause"]);
    options.replicas = 3;
    options.mailstores = 4;
    holds_with(options);
}

#[test]
fn the_only_replica_of_a_shard_moves() {
    let mut options = RunOptions::small(8, &["rebalance"]);
    options.pace.pairs = 0.0;
    holds_with(options);
}

#[test]
fn accounts_move_between_shards_that_change_leaders_and_die() {
    let mut options = RunOptions::small(9, &["account_move", "kill_leader", "handover", "pause"]);
    options.replicas = 3;
    holds_with(options);
}

#[test]
fn the_oracle_sees_mail_that_a_lying_disk_lost() {
    let mut options = RunOptions::small(4, &["power_cut"]);
    options.lie = true;
    options.duration = Duration::from_secs(3);
    // What is lost does not arrive.
    options.settle_max = Duration::from_secs(1);
    let report = match run(&options) {
        Ok(report) => report,
        // A node that does not find a replica that it held serves nothing in its place: that is seen as well.
        Err(error) if format!("{error:#}").contains("[UNAVAILABLE]") => return,
        Err(error) => panic!("{error:?}"),
    };
    let broken: Vec<&str> = report
        .verdicts
        .iter()
        .filter(|verdict| !verdict.broken.is_empty())
        .map(|verdict| verdict.invariant)
        .collect();
    assert!(
        broken.contains(&"acknowledged messages are there once and whole"),
        "{broken:?}"
    );
}
