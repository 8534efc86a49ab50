//! Three replicas of each shard: a mailstore is killed, another loses its disk, and clients notice nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, messages};
use rustix::process::Signal;
use serde_json::Value;

const ACCOUNTS: u64 = 6;

/// How long a cluster may take to be whole again.
const WHOLE_MAX: Duration = Duration::from_secs(60);

fn user(number: u64) -> String {
    format!("user{}@example.test", number % ACCOUNTS + 1)
}

fn deliver(smtp: &mut SmtpClient, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let reply = smtp
            .deliver(&[user(number)], &messages::numbered(number, 2_000))
            .unwrap();
        reply.expect("250").unwrap();
    }
}

fn shards(cluster: &Cluster) -> Vec<Value> {
    let text = cluster.operate(&["--json", "shard", "list"], "").unwrap();
    let shards: Value = serde_json::from_str(&text).unwrap();
    shards["shards"].as_array().unwrap().clone()
}

fn numbers(shard: &Value, of: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> = shard[of]
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_u64().unwrap())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Waits until each shard's members are those that vote, and as wanted; gives them.
fn whole(cluster: &Cluster, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let shards = shards(cluster);
        let is_whole = |shard: &Value| numbers(shard, "members") == numbers(shard, "voters");
        if shards.iter().all(|shard| is_whole(shard) && wanted(shard)) {
            return shards;
        }
        assert!(began.elapsed() < WHOLE_MAX, "not whole: {shards:?}");
    }
}

/// What `shard verify` says once all replicas can be compared: a node that has just started opens them one after the other.
fn verified(cluster: &Cluster) -> Value {
    let began = Instant::now();
    loop {
        match cluster.operate(&["--json", "shard", "verify"], "") {
            Ok(said) => return serde_json::from_str(&said).unwrap(),
            Err(error) => {
                let is_early = error.to_string().contains("try again when its nodes are there");
                assert!(is_early && began.elapsed() < WHOLE_MAX, "{error}");
            }
        }
    }
}

#[test]
fn a_mailstore_may_die_and_another_lose_its_disk() {
    let options = Options {
        replicas: 3,
        shards: Some(12),
        proxies: 1,
        accounts: ACCOUNTS,
        ..Options::default()
    };
    let mut cluster = Cluster::start(&options).unwrap();
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    let mut sessions: Vec<ImapClient> = (0..ACCOUNTS)
        .map(|number| {
            let mut session = ImapClient::login(&cluster.proxy(0).imap, &user(number)).unwrap();
            session.command("SELECT INBOX").unwrap().ok().unwrap();
            session
        })
        .collect();
    deliver(&mut smtp, 0..60);
    let before = whole(&cluster, |_| true);

    // One dies in the midst: the same connections go on.
    cluster.kill("mailstore-1");
    deliver(&mut smtp, 60..120);
    for session in &mut sessions {
        session.command("NOOP").unwrap().ok().unwrap();
        session
            .command("UID STORE 1:* +FLAGS (\\Flagged)")
            .unwrap()
            .ok()
            .unwrap();
    }

    // It comes back without its disk, and is given new replicas from what the others have.
    std::fs::remove_dir_all(cluster.node("mailstore-1").data.join("store")).unwrap();
    cluster.restart("mailstore-1").unwrap();
    let old: BTreeMap<u64, Vec<u64>> = before
        .iter()
        .map(|shard| (shard["id"].as_u64().unwrap(), numbers(shard, "members")))
        .collect();
    whole(&cluster, |shard| {
        numbers(shard, "members") != old[&shard["id"].as_u64().unwrap()]
    });

    // Now it counts: with another one gone, nothing is agreed on without it.
    cluster.kill("mailstore-2");
    deliver(&mut smtp, 120..180);
    for (number, session) in sessions.iter_mut().enumerate() {
        session.command("NOOP").unwrap().ok().unwrap();
        let answer = session
            .command("UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
            .unwrap()
            .ok()
            .unwrap();
        let found = messages::numbers(&answer.untagged);
        let sent: Vec<u64> = (0..180).filter(|sent| sent % ACCOUNTS == number as u64).collect();
        assert_eq!(found, sent, "each once, for {}", user(number as u64));
        let flagged = answer
            .untagged
            .iter()
            .filter(|response| String::from_utf8_lossy(response).contains("\\Flagged"))
            .count();
        assert_eq!(flagged, 20, "no flag is lost");
    }

    // What each node holds is the same, what came by log and what came as a whole alike.
    cluster.restart("mailstore-2").unwrap();
    whole(&cluster, |shard| shard["leader"] != "");
    let said = verified(&cluster);
    let compared = said["shards"].as_array().unwrap();
    assert_eq!(compared.len(), 12);
    for shard in compared {
        assert_eq!(shard["verdict"], "equal", "{shard}");
        assert_eq!(shard["replicas"].as_array().unwrap().len(), 3, "{shard}");
    }
}

#[test]
fn a_mailstore_that_is_told_to_stop_hands_its_shards_over() {
    let options = Options {
        replicas: 3,
        shards: Some(12),
        proxies: 1,
        accounts: ACCOUNTS,
        ..Options::default()
    };
    let mut cluster = Cluster::start(&options).unwrap();
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    deliver(&mut smtp, 0..12);
    for id in ["mailstore-1", "mailstore-2", "mailstore-3"] {
        whole(&cluster, |shard| shard["leader"] != "");
        cluster.stop(id);
        deliver(&mut smtp, 12..24);
        cluster.restart(id).unwrap();
    }
    let mut session = ImapClient::login(&cluster.proxy(0).imap, &user(0)).unwrap();
    let answer = session.command("SELECT INBOX").unwrap().ok().unwrap();
    assert_eq!(answer.exists(), Some(2 + 3 * 2));
}

/// How long a node may take to stop, whatever the others do: what it waits for is bounded by half of it.
const STOP_MAX: Duration = Duration::from_secs(90);

#[test]
fn a_mailstore_whose_others_are_dead_stops_when_it_is_told_to() {
    let options = Options {
        replicas: 3,
        shards: Some(12),
        proxies: 1,
        accounts: ACCOUNTS,
        ..Options::default()
    };
    let mut cluster = Cluster::start(&options).unwrap();
    whole(&cluster, |shard| shard["leader"] != "");
    let address = cluster.proxy(0).smtp.clone();
    // Something is under way on every shard when the others die, and is never agreed on.
    let senders: Vec<_> = (0..ACCOUNTS)
        .map(|number| {
            let mut smtp = SmtpClient::hello(&address).unwrap();
            std::thread::spawn(move || {
                let deliver = |smtp: &mut SmtpClient| {
                    let reply = smtp.deliver(&[user(number)], &messages::numbered(number, 500));
                    reply.is_ok_and(|reply| reply.expect("250").is_ok())
                };
                while deliver(&mut smtp) {}
            })
        })
        .collect();
    cluster.kill("mailstore-1");
    cluster.kill("mailstore-2");
    cluster.signal("mailstore-3", Signal::TERM).unwrap();
    let began = Instant::now();
    while cluster.is_running("mailstore-3") {
        assert!(began.elapsed() < STOP_MAX, "it does not stop: {}", cluster.logs());
        std::thread::sleep(Duration::from_millis(20));
    }
    for sender in senders {
        sender.join().unwrap();
    }
}
