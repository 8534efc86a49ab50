//! A mailstore that starts again is ready once its replicas have caught up, so that two are never behind at one time; and it does not
//! wait for what nobody can tell it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ops::Range;
use std::time::{Duration, Instant};

use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, http, messages};

const MAILSTORES: [&str; 3] = ["mailstore-1", "mailstore-2", "mailstore-3"];

const ACCOUNTS: u64 = 6;

/// Longer than anything here is waited for: what takes longer is a defect.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Three mailstores, each with a replica of each shard.
fn cluster() -> Cluster {
    Cluster::start(&Options {
        replicas: 3,
        shards: Some(6),
        proxies: 1,
        accounts: ACCOUNTS,
        ..Options::default()
    })
    .unwrap_or_else(|error| panic!("{error:?}"))
}

fn user(number: u64) -> String {
    format!("user{}@example.test", number % ACCOUNTS + 1)
}

fn deliver(cluster: &Cluster, numbers: Range<u64>) {
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    for number in numbers {
        let reply = smtp.deliver(&[user(number)], &messages::numbered(number, 20_000));
        reply.unwrap().expect("250").unwrap();
    }
}

/// All that was delivered is there.
fn assert_delivered(cluster: &Cluster, all: Range<u64>) {
    let mut held = Vec::new();
    for account in 0..ACCOUNTS {
        let mut imap = ImapClient::login(&cluster.proxy(0).imap, &user(account)).unwrap();
        imap.command("EXAMINE INBOX").unwrap().ok().unwrap();
        let fetched = imap
            .command("FETCH 1:* BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]")
            .unwrap();
        held.extend(messages::numbers(&fetched.untagged));
    }
    held.sort_unstable();
    assert_eq!(held, all.collect::<Vec<_>>());
}

/// Waits until a node's readiness is told so. One that starts may not listen yet.
fn wait_until(cluster: &Cluster, node: &str, wanted: impl Fn(u16, &str) -> bool) {
    let begun = Instant::now();
    loop {
        let told = http::get(&cluster.node(node).http, "/readyz");
        if told.as_ref().is_ok_and(|(status, said)| wanted(*status, said)) {
            return;
        }
        assert!(begun.elapsed() < WAIT_MAX, "{told:?} {}", cluster.logs());
    }
}

fn is_behind(status: u16, said: &str) -> bool {
    status == 503 && said.contains("caught-up: ") && said.contains("have not caught up")
}

/// The replicas that a node waits for, as its metrics tell.
fn behind(cluster: &Cluster, node: &str) -> f64 {
    let (_, metrics) = http::get(&cluster.node(node).http, "/metrics").unwrap();
    let told = metrics
        .lines()
        .find_map(|line| line.strip_prefix("rookery_mailstore_replicas_behind "));
    told.expect("it is told").trim().parse().unwrap()
}

#[test]
fn one_that_was_away_is_ready_once_it_has_what_the_others_have() {
    let mut cluster = cluster();
    cluster.kill("mailstore-1");
    deliver(&cluster, 0..30);
    // Whoever leads stands still: how far the shards are cannot be told, and what is missing cannot come.
    cluster.pause("mailstore-2");
    cluster.pause("mailstore-3");
    cluster.begin("mailstore-1").unwrap();
    wait_until(&cluster, "mailstore-1", is_behind);
    assert!(behind(&cluster, "mailstore-1") > 0.0);
    cluster.resume("mailstore-2");
    cluster.resume("mailstore-3");
    wait_until(&cluster, "mailstore-1", |status, _| status == 200);
    assert!(behind(&cluster, "mailstore-1") == 0.0);
    // What another takes with it, this one has.
    cluster.kill("mailstore-2");
    deliver(&cluster, 30..36);
    assert_delivered(&cluster, 0..36);
}

#[test]
fn all_that_are_restarted_one_after_the_other_are_never_two_behind() {
    let mut cluster = cluster();
    deliver(&cluster, 0..12);
    let mut next = 12;
    for node in MAILSTORES {
        cluster.stop(node);
        deliver(&cluster, next..next + 12);
        next += 12;
        // Waits until it is ready.
        cluster.restart(node).unwrap();
        for one in MAILSTORES {
            assert!(behind(&cluster, one) == 0.0, "{one} after {node}");
        }
    }
    assert_delivered(&cluster, 0..next);
}

#[test]
fn after_an_outage_of_all_each_is_ready_though_it_is_the_first() {
    let mut cluster = cluster();
    deliver(&cluster, 0..6);
    for node in MAILSTORES {
        cluster.kill(node);
    }
    cluster.begin("mailstore-1").unwrap();
    wait_until(&cluster, "mailstore-1", is_behind);
    // As Kubernetes starts the next only when this one is ready, it must become ready alone.
    wait_until(&cluster, "mailstore-1", |status, _| status == 200);
    for node in &MAILSTORES[1..] {
        cluster.restart(node).unwrap();
    }
    deliver(&cluster, 6..12);
    assert_delivered(&cluster, 0..12);
}
