//! A whole cluster in simulation: directory, mailstores, proxies and mail clients on machines that are made up, from a seed.
//!
//! Beneath is `rookery_simulation`; the history of what clients did is held against the same invariants as that of the fault test
//! (`rookery_tests::faults`). A seed that fails is run again, event by event, by `make simulate KIND=sessions SEEDS=… TRACE=1`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "says what it found")]

mod clients;
mod cluster;
mod directory;
mod ending;
mod faults;
mod imap;
mod mailstore;
mod observer;
mod proxy;
mod rules;
mod sender;
mod session;
mod watcher;
mod world;

use rookery_simulation::runs::{self, Runs};

/// Seeds of each test run, unless SEEDS in the environment says others.
const SEEDS: &str = "1-80";

/// Seeds that are run twice.
const SEEDS_TWICE: std::ops::RangeInclusive<u64> = 1..=3;

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
    runs::assert_holds("sessions", &reports);
}

#[test]
fn a_seed_runs_alike_each_time() {
    runs::assert_alike(SEEDS_TWICE);
}

#[test]
fn appends_that_are_acknowledged_before_they_are_durable_are_found() {
    runs::assert_found(
        rules::ACKS_BEFORE_SYNC,
        SEEDS_BROKEN,
        "acknowledged messages are there once and whole: lost",
    );
}

#[test]
fn changes_that_are_made_twice_are_found() {
    runs::assert_found(
        rules::FORGETS_KEYS,
        SEEDS_BROKEN,
        "acknowledged messages are there once and whole: too often",
    );
}

#[test]
fn changes_that_are_answered_before_they_are_made_are_found() {
    runs::assert_found(rules::ANSWERS_EARLY, SEEDS_BROKEN, "no flag update is lost");
}

#[test]
fn old_reads_are_found() {
    runs::assert_found(
        rules::SERVES_OLD_READS,
        SEEDS_BROKEN,
        "no expunged message returns",
    );
}

#[test]
fn news_that_idle_sessions_are_not_told_is_found() {
    runs::assert_found(
        rules::LOSES_NEWS,
        SEEDS_BROKEN,
        "IDLE sessions are told of everything",
    );
}

#[test]
fn mail_of_others_is_found() {
    runs::assert_found(
        rules::MIXES_ACCOUNTS,
        SEEDS_BROKEN,
        "no account sees another's mail",
    );
}
