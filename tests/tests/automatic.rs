//! What the directory does without an operator's word, where it was told that it may.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, messages};
use serde_json::Value;

/// How long it may take: two looks, an interval between two acts, and what it does.
const DONE_MAX: Duration = Duration::from_secs(150);

/// Accounts, each with one message.
const ACCOUNTS: u64 = 6;

fn started(mailstores: u32, replicas: u32) -> Cluster {
    let environment = [("ENABLED", "true"), ("SILENT_MAX", "10s")]
        .map(|(key, value)| (format!("ROOKERY__DIRECTORY__AUTOMATIC__{key}"), value.to_owned()));
    let cluster = Cluster::start(&Options {
        mailstores,
        replicas,
        proxies: 1,
        accounts: ACCOUNTS,
        shards: Some(12),
        environment: environment.into(),
        ..Options::default()
    })
    .unwrap();
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    for number in 1..=ACCOUNTS {
        let recipient = format!("user{number}@example.test");
        let reply = smtp
            .deliver(&[recipient], &messages::numbered(number, 500))
            .unwrap();
        reply.expect("250").unwrap();
    }
    cluster
}

fn check_mail(cluster: &Cluster) {
    for number in 1..=ACCOUNTS {
        let user = format!("user{number}@example.test");
        let mut imap = ImapClient::login(&cluster.proxy(0).imap, &user).unwrap();
        let examined = imap.command("EXAMINE INBOX").unwrap().ok().unwrap();
        assert_eq!(examined.exists(), Some(1), "{user}");
    }
}

fn listed(cluster: &Cluster, what: &str) -> Vec<Value> {
    let text = cluster.operate(&["--json", what, "list"], "").unwrap();
    let listed: Value = serde_json::from_str(&text).unwrap();
    listed[format!("{what}s")].as_array().unwrap().clone()
}

/// Waits until the nodes of all shards are so.
fn until(cluster: &Cluster, what: &str, mut are_so: impl FnMut(&[Vec<String>]) -> bool) {
    let began = Instant::now();
    loop {
        let shards: Vec<Vec<String>> = listed(cluster, "shard")
            .iter()
            .map(|shard| {
                let replicas = shard["replicas"].as_array().unwrap().iter();
                replicas.map(|node| node.as_str().unwrap().to_owned()).collect()
            })
            .collect();
        if are_so(&shards) {
            return;
        }
        assert!(
            began.elapsed() < DONE_MAX,
            "{what}: {shards:?}\n{}",
            cluster.logs()
        );
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn a_mailstore_that_is_added_gets_its_share() {
    let mut cluster = started(2, 1);
    let added = cluster.grow(1).unwrap().remove(0);
    until(&cluster, "it has its share", |shards| {
        shards.iter().filter(|nodes| nodes.contains(&added)).count() >= 3
    });
    check_mail(&cluster);
}

#[test]
fn a_lost_mailstore_is_replaced() {
    let mut cluster = started(4, 3);
    let lost = "mailstore-2".to_owned();
    cluster.kill(&lost);
    until(&cluster, "all shards have three replicas elsewhere", |shards| {
        shards
            .iter()
            .all(|nodes| nodes.len() == 3 && !nodes.contains(&lost))
    });
    check_mail(&cluster);
    let nodes = listed(&cluster, "node");
    let given_up = nodes.iter().find(|node| node["id"] == *lost).unwrap();
    assert_eq!(given_up["draining"], true, "{given_up}");
    let events = cluster.operate(&["events"], "").unwrap();
    for told in ["mailstore-2 is given up", "has begun without an operator's word"] {
        assert!(events.contains(told), "{told}: {events}");
    }
}
