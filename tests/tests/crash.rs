//! Kill -9 of a mailstore, again and again, under delivery: what got `250` is there once and whole.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rookery_tests::imap::literals;
use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, messages};

/// Connections that deliver at the same time.
const CONNECTIONS: u64 = 20;

/// How often the mailstore is killed.
const KILLS: usize = 5;

/// Deliveries that must be acknowledged between two kills.
const ACKNOWLEDGED_BETWEEN: u64 = 60;

/// What is known of each message: the number is in its Message-ID.
#[derive(Default)]
struct Oracle {
    /// Acknowledged: must be there once.
    acknowledged: Mutex<BTreeMap<u64, u64>>,
    /// Sent without an answer: may be there.
    unknown: Mutex<BTreeMap<u64, u64>>,
    count: AtomicU64,
}

#[test]
fn acknowledged_mail_survives_kills_once_and_whole() {
    let options = Options {
        mailstores: 1,
        proxies: 1,
        accounts: 10,
        ..Options::default()
    };
    let mut cluster = Cluster::start(&options).unwrap();
    let before: Vec<u64> = (1..=10).map(|user| uid_validity(&cluster, user)).collect();
    let oracle = Arc::new(Oracle::default());
    let stop = Arc::new(AtomicBool::new(false));
    let address = cluster.proxy(0).smtp.clone();
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|sender| {
            let (oracle, stop, address) = (Arc::clone(&oracle), Arc::clone(&stop), address.clone());
            std::thread::spawn(move || deliver_until_stopped(sender, &address, &oracle, &stop))
        })
        .collect();
    for _ in 0..KILLS {
        let goal = oracle.count.load(Ordering::SeqCst) + ACKNOWLEDGED_BETWEEN;
        while oracle.count.load(Ordering::SeqCst) < goal {
            std::thread::yield_now();
        }
        cluster.kill("mailstore-1");
        cluster.restart("mailstore-1").unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.join().unwrap();
    }

    let acknowledged = oracle.acknowledged.lock().unwrap();
    let unknown = oracle.unknown.lock().unwrap();
    let mut found = BTreeMap::new();
    for user in 1..=10 {
        assert_eq!(
            uid_validity(&cluster, user),
            before[user as usize - 1],
            "UIDVALIDITY of user{user}"
        );
        for number in inbox(&cluster, user) {
            *found.entry((user, number)).or_insert(0u32) += 1;
        }
    }
    for (number, user) in acknowledged.iter() {
        assert_eq!(
            found.get(&(*user, *number)),
            Some(&1),
            "acknowledged message {number} of user{user}"
        );
    }
    for ((user, number), count) in &found {
        assert_eq!(*count, 1, "message {number} of user{user} is there {count} times");
        let known = acknowledged.get(number).or_else(|| unknown.get(number));
        assert_eq!(known, Some(user), "message {number} was never sent to user{user}");
    }
    println!(
        "{} acknowledged, {} unknown, {} found",
        acknowledged.len(),
        unknown.len(),
        found.len()
    );
}

fn deliver_until_stopped(sender: u64, address: &str, oracle: &Oracle, stop: &AtomicBool) {
    let mut number = sender;
    let mut connection: Option<SmtpClient> = None;
    while !stop.load(Ordering::SeqCst) {
        number += CONNECTIONS;
        let user = number % 10 + 1;
        let mut client = match connection.take().map_or_else(|| SmtpClient::hello(address), Ok) {
            Ok(client) => client,
            Err(_) => continue,
        };
        let message = messages::numbered(number, 2_000 + (number as usize % 7) * 1_000);
        match client.deliver(&[format!("user{user}@example.test")], &message) {
            Ok(reply) if reply.code() == "250" => {
                oracle.acknowledged.lock().unwrap().insert(number, user);
                oracle.count.fetch_add(1, Ordering::SeqCst);
                connection = Some(client);
            }
            // Refused for now: nothing is promised, and the answer may stand for an unknown outcome.
            Ok(_) => {
                oracle.unknown.lock().unwrap().insert(number, user);
                connection = Some(client);
            }
            Err(_) => {
                oracle.unknown.lock().unwrap().insert(number, user);
            }
        }
    }
}

fn uid_validity(cluster: &Cluster, user: u64) -> u64 {
    let mut imap = ImapClient::login(&cluster.proxy(0).imap, &format!("user{user}@example.test")).unwrap();
    imap.command("EXAMINE INBOX")
        .unwrap()
        .ok()
        .unwrap()
        .code("UIDVALIDITY")
        .unwrap()
}

/// The numbers of the messages in an INBOX; each must be whole, and UIDs must ascend.
fn inbox(cluster: &Cluster, user: u64) -> Vec<u64> {
    let mut imap = ImapClient::login(&cluster.proxy(0).imap, &format!("user{user}@example.test")).unwrap();
    if imap.command("EXAMINE INBOX").unwrap().ok().unwrap().exists() == Some(0) {
        return Vec::new();
    }
    let fetched = imap.command("FETCH 1:* (UID BODY.PEEK[])").unwrap().ok().unwrap();
    let mut last_uid = 0;
    let mut numbers = Vec::new();
    for response in &fetched.untagged {
        let head = String::from_utf8_lossy(response);
        let uid: u32 = head
            .split("UID ")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!(uid > last_uid, "UIDs ascend: {uid} after {last_uid}");
        last_uid = uid;
        let body = String::from_utf8(literals(response).remove(0)).unwrap();
        let number: u64 = body
            .split("Message-ID: <")
            .nth(1)
            .unwrap()
            .split('@')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let whole = messages::numbered(number, 2_000 + (number as usize % 7) * 1_000);
        assert!(body.ends_with(&whole), "message {number} is not whole");
        numbers.push(number);
    }
    numbers
}
