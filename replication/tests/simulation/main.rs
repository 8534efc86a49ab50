//! Replication in simulation: machines, disks, clocks and a network that lose, delay and repeat, all from a seed, in one thread.
//!
//! A seed that fails is run again, event by event, by `make simulate SEEDS=… TRACE=1`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "says what it found")]

mod directory;
mod faults;
mod history;
mod invariants;
mod list;
mod machine;
mod shared;
mod workload;
mod world;

use rookery_simulation::runs::{self, Runs};

use crate::world::{ACKS_BEFORE_SYNC, FORGETS_VOTES, REUSES_NUMBERS};

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
        return runs::one(world::run);
    }
    let seeds = std::env::var("SEEDS").unwrap_or_else(|_| SEEDS.to_owned());
    let reports = runs::run_all(&Runs::parse(&seeds));
    runs::print_table(&reports);
    runs::assert_holds("replication", &reports);
}

#[test]
fn a_seed_runs_alike_each_time() {
    runs::assert_alike(SEEDS_TWICE);
}

#[test]
fn appends_that_are_acknowledged_before_they_are_durable_are_found() {
    runs::assert_found(ACKS_BEFORE_SYNC, SEEDS_BROKEN, runs::ANY);
}

#[test]
fn votes_that_are_forgotten_are_found() {
    runs::assert_found(FORGETS_VOTES, SEEDS_BROKEN, runs::ANY);
}

#[test]
fn replicas_that_come_back_empty_under_their_old_number_are_found() {
    runs::assert_found(REUSES_NUMBERS, SEEDS_BROKEN, runs::ANY);
}
