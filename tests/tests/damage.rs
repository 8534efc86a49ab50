//! Bytes that change on a mailstore's disk: never served, told with file and key, and made good from other replicas when there
//! are any.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rookery_tests::imap::literals;
use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, messages};
use serde_json::Value;

const ACCOUNTS: u64 = 6;

/// Messages of each account.
const EACH: u64 = 6;

/// How long a node may take until it is rebuilt: it has to get its leads back first, and be asked for what is damaged.
const REBUILT_MAX: Duration = Duration::from_secs(90);

fn user(number: u64) -> String {
    format!("user{}@example.test", number % ACCOUNTS + 1)
}

fn message(number: u64) -> String {
    messages::numbered(number, 3_000)
}

fn deliver(cluster: &Cluster, numbers: std::ops::Range<u64>) {
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    for number in numbers {
        let reply = smtp.deliver(&[user(number)], &message(number)).unwrap();
        reply.expect("250").unwrap();
    }
}

/// Files of a node's store whose names are as wanted, the largest first.
fn files(store: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut files: Vec<(u64, PathBuf)> = std::fs::read_dir(store)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| is_wanted(&entry.file_name().to_string_lossy()))
        .map(|entry| (entry.metadata().unwrap().len(), entry.path()))
        .collect();
    files.sort();
    files.reverse();
    files.into_iter().map(|(_, path)| path).collect()
}

/// Changes one byte in so many, from a place on.
fn flip(file: &Path, from: usize, every: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    for at in (from..bytes.len()).step_by(every) {
        bytes[at] ^= 0x10;
    }
    std::fs::write(file, bytes).unwrap();
}

/// The bodies of an account's messages, as its session reads them, without what delivery has put before them.
fn read(session: &mut ImapClient) -> Vec<String> {
    session.command("NOOP").unwrap().ok().unwrap();
    let fetched = session
        .command("UID FETCH 1:* (FLAGS BODY.PEEK[])")
        .unwrap()
        .ok()
        .unwrap();
    fetched
        .untagged
        .iter()
        .flat_map(|response| literals(response))
        .map(|body| {
            let body = String::from_utf8(body).unwrap();
            body[body.find("From: Sender").unwrap()..].to_owned()
        })
        .collect()
}

fn log(cluster: &Cluster, node: &str) -> String {
    std::fs::read_to_string(cluster.node(node).data.join("log")).unwrap()
}

fn shards(cluster: &Cluster) -> BTreeMap<u64, (Vec<u64>, Vec<u64>)> {
    let text = cluster.operate(&["--json", "shard", "list"], "").unwrap();
    let shards: Value = serde_json::from_str(&text).unwrap();
    let numbers = |shard: &Value, of: &str| {
        let mut numbers: Vec<u64> = shard[of]
            .as_array()
            .unwrap()
            .iter()
            .map(|number| number.as_u64().unwrap())
            .collect();
        numbers.sort_unstable();
        numbers
    };
    shards["shards"]
        .as_array()
        .unwrap()
        .iter()
        .map(|shard| {
            (
                shard["id"].as_u64().unwrap(),
                (numbers(shard, "members"), numbers(shard, "voters")),
            )
        })
        .collect()
}

struct Three {
    cluster: Cluster,
    sessions: Vec<ImapClient>,
}

impl Three {
    fn start() -> Self {
        let options = Options {
            replicas: 3,
            shards: Some(6),
            proxies: 1,
            accounts: ACCOUNTS,
            ..Options::default()
        };
        let cluster = Cluster::start(&options).unwrap();
        deliver(&cluster, 0..ACCOUNTS * EACH);
        let sessions = (0..ACCOUNTS)
            .map(|number| {
                let mut session = ImapClient::login(&cluster.proxy(0).imap, &user(number)).unwrap();
                session.command("SELECT INBOX").unwrap().ok().unwrap();
                session
            })
            .collect();
        Self { cluster, sessions }
    }

    /// Every message, from the cluster, right.
    fn read_all(&mut self) {
        for (account, session) in self.sessions.iter_mut().enumerate() {
            let sent: Vec<String> = (0..ACCOUNTS * EACH)
                .filter(|number| number % ACCOUNTS == account as u64)
                .map(message)
                .collect();
            assert_eq!(read(session), sent, "{}", user(account as u64));
        }
    }

    /// Reads all until each replica of the node has been replaced by another that votes.
    fn until_rebuilt(&mut self, before: &BTreeMap<u64, (Vec<u64>, Vec<u64>)>) {
        let began = Instant::now();
        loop {
            self.read_all();
            let now = shards(&self.cluster);
            let is_rebuilt = now
                .iter()
                .all(|(shard, (members, voters))| members == voters && *members != before[shard].0);
            if is_rebuilt {
                return self.read_all();
            }
            assert!(
                began.elapsed() < REBUILT_MAX,
                "not rebuilt: {now:?}\n{}",
                self.cluster.logs()
            );
        }
    }
}

/// Damages a stopped mailstore of three, starts it, and waits until it is rebuilt; the damaged file must have been named.
fn rebuilt_after(damage: impl Fn(&Path) -> PathBuf) {
    const NODE: &str = "mailstore-1";
    let mut three = Three::start();
    let whole = |three: &Three| {
        let shards = shards(&three.cluster);
        shards
            .values()
            .all(|(members, voters)| members == voters)
            .then_some(shards)
    };
    let before = loop {
        if let Some(shards) = whole(&three) {
            break shards;
        }
    };
    three.cluster.stop(NODE);
    let store = three.cluster.node(NODE).data.join("store");
    let file = damage(&store);
    three.read_all();
    three.cluster.restart(NODE).unwrap();
    three.until_rebuilt(&before);
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let log = log(&three.cluster, NODE);
    assert!(
        log.contains(&format!("{name} is damaged")),
        "{name} is not named:\n{log}"
    );
    assert!(
        store.with_extension("damaged").exists(),
        "the damaged store is kept"
    );
    assert!(three.cluster.is_running(NODE));

    // Now it counts: with another one gone, nothing is read without it.
    three.cluster.kill("mailstore-2");
    three.read_all();
}

#[test]
fn a_node_with_damaged_rows_is_rebuilt_from_the_others() {
    rebuilt_after(|store| {
        let file = files(&store.join("rows"), |name| name.ends_with(".sst")).remove(0);
        flip(&file, 50, 2_000);
        file
    });
}

#[test]
fn a_node_with_damaged_bodies_is_rebuilt_from_the_others() {
    rebuilt_after(|store| {
        let file = files(&store.join("rows"), |name| name.ends_with(".blob")).remove(0);
        flip(&file, 100, 500);
        file
    });
}

#[test]
fn a_node_whose_files_are_no_longer_described_is_rebuilt_from_the_others() {
    rebuilt_after(|store| {
        let file = files(&store.join("rows"), |name| name.starts_with("MANIFEST")).remove(0);
        flip(&file, 20, 1_000_000);
        file
    });
}

#[test]
fn a_node_with_a_damaged_log_is_rebuilt_from_the_others() {
    rebuilt_after(|store| {
        let mut logs = files(&store.join("log"), |name| name.ends_with(".log"));
        logs.sort();
        let file = logs.remove(0);
        // Within a batch that others follow.
        flip(&file, 3 * 4096 + 100, usize::MAX);
        file
    });
}

#[test]
fn the_only_copy_is_served_but_what_is_damaged() {
    let options = Options {
        single: true,
        mailstores: 1,
        proxies: 1,
        accounts: ACCOUNTS,
        ..Options::default()
    };
    let mut cluster = Cluster::start(&options).unwrap();
    let node = cluster.manifest().nodes[0].id.clone();
    deliver(&cluster, 0..ACCOUNTS * EACH);
    cluster.stop(&node);
    let rows = cluster.node(&node).data.join("store/rows");
    let blobs = files(&rows, |name| name.ends_with(".blob"));
    // Values in blob files are compressed, each for itself: where one lies is told by nothing but its place.
    flip(&blobs[0], 1_000, usize::MAX);
    cluster.restart(&node).unwrap();

    let (mut refused, mut right) = (0, 0);
    for account in 0..ACCOUNTS {
        let mut session = ImapClient::login(&cluster.proxy(0).imap, &user(account)).unwrap();
        session.command("SELECT INBOX").unwrap().ok().unwrap();
        for at in 0..EACH {
            let answer = session.command(&format!("FETCH {} BODY.PEEK[]", at + 1)).unwrap();
            if answer.tagged.starts_with("NO [UNAVAILABLE]") {
                assert!(answer.tagged.contains("damaged"), "{}", answer.tagged);
                assert!(answer.untagged.is_empty());
                refused += 1;
                continue;
            }
            let answer = answer.ok().unwrap();
            let body = String::from_utf8(literals(&answer.untagged[0]).remove(0)).unwrap();
            assert!(body.ends_with(&message(at * ACCOUNTS + account)), "{body}");
            right += 1;
        }
    }
    assert_eq!((refused, right), (1, ACCOUNTS * EACH - 1));
    let log = log(&cluster, &node);
    let name = blobs[0].file_name().unwrap().to_string_lossy().into_owned();
    assert!(
        log.contains(&format!("{name} is damaged where chunk 0 of body ")),
        "{log}"
    );
    // It goes on: mail comes and is read.
    deliver(&cluster, 0..ACCOUNTS);
    let mut session = ImapClient::login(&cluster.proxy(0).imap, &user(0)).unwrap();
    assert_eq!(
        session.command("SELECT INBOX").unwrap().ok().unwrap().exists(),
        Some(EACH as u32 + 1)
    );
}

#[test]
fn the_only_copy_is_not_begun_anew() {
    let options = Options {
        single: true,
        mailstores: 1,
        proxies: 1,
        accounts: 1,
        ..Options::default()
    };
    let mut cluster = Cluster::start(&options).unwrap();
    let node = cluster.manifest().nodes[0].id.clone();
    deliver(&cluster, 0..1);
    cluster.stop(&node);
    let rows = cluster.node(&node).data.join("store/rows");
    std::fs::remove_file(rows.join("CURRENT")).unwrap();
    assert!(cluster.restart(&node).is_err());
    let log = log(&cluster, &node);
    assert!(
        log.contains("CURRENT is damaged") && log.contains("backup"),
        "{log}"
    );
    assert!(rows.exists());
}
