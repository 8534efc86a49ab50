//! Replication in simulation: machines, disks, clocks and a network that lose, delay and repeat, all from a seed, in one thread.
//!
//! A seed that fails is run again, event by event, by `make simulate SEEDS=… TRACE=1`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "says what it found")]

mod directory;
mod entropy;
mod faults;
mod history;
mod invariants;
mod list;
mod log;
mod machine;
mod network;
mod runs;
mod shared;
mod trace;
mod workload;
mod world;

use crate::log::Broken;
use crate::runs::{Runs, run_all};
use crate::world::Rule;

/// Seeds of each test run, unless SEEDS in the environment says others.
const SEEDS: &str = "1-200";

/// Seeds that are run twice.
const SEEDS_TWICE: std::ops::RangeInclusive<u64> = 1..=6;

/// Seeds of which at least one has to find a broken rule.
const SEEDS_BROKEN: std::ops::RangeInclusive<u64> = 1..=60;

/// The seeds are run by processes that begin here as well: each is told its one seed.
#[test]
fn what_is_promised_holds_in_every_run() {
    if runs::is_one() {
        return runs::one();
    }
    let seeds = std::env::var("SEEDS").unwrap_or_else(|_| SEEDS.to_owned());
    let reports = run_all(&Runs::parse(&seeds));
    runs::print_table(&reports);
    runs::assert_holds(&reports);
}

#[test]
fn a_seed_runs_alike_each_time() {
    let first = run_all(&Runs::of(SEEDS_TWICE));
    let second = run_all(&Runs::of(SEEDS_TWICE));
    assert_eq!(first, second);
    let hashes: std::collections::BTreeSet<u64> = first.iter().map(|(_, report)| report.hash).collect();
    assert_eq!(hashes.len(), first.len(), "each seed is another run");
}

#[test]
fn appends_that_are_acknowledged_before_they_are_durable_are_found() {
    assert_found(Rule::Log(Broken::AcksBeforeSync));
}

#[test]
fn votes_that_are_forgotten_are_found() {
    assert_found(Rule::Log(Broken::ForgetsVotes));
}

#[test]
fn replicas_that_come_back_empty_under_their_old_number_are_found() {
    assert_found(Rule::ReusesNumbers);
}

fn assert_found(rule: Rule) {
    let runs = Runs {
        rule: Some(rule),
        until_found: true,
        ..Runs::of(SEEDS_BROKEN)
    };
    let reports = run_all(&runs);
    let found = reports.iter().find(|(_, report)| !report.violations.is_empty());
    let (seed, report) = found.expect("a broken rule is found");
    println!("{rule:?}: seed {seed}: {}", report.violations[0]);
}
