//! An account moves from shard to shard while it is used: no connection ends, nothing is lost or doubled, nothing gets
//! another number, whoever dies meanwhile.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rookery_tests::cluster::{program, run_program};
use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, messages};
use serde_json::Value;

const USER: &str = "user1@example.test";

/// Moves of the account that is used all the while.
const MOVES: usize = 10;

/// How long a move may take, with a death in it.
const END_MAX: Duration = Duration::from_secs(90);

/// What a command may wait for a move at most: far below what a client bears.
const WAIT_MAX: Duration = Duration::from_secs(2);

fn cluster(directories: u32) -> Cluster {
    Cluster::start(&Options {
        mailstores: 2,
        directories,
        proxies: 2,
        accounts: 2,
        shards: Some(4),
        ..Options::default()
    })
    .unwrap()
}

fn json(cluster: &Cluster, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = ["--json"].iter().chain(arguments).copied().collect();
    serde_json::from_str(&cluster.operate(&arguments, "").unwrap()).unwrap()
}

fn shard_of(cluster: &Cluster, user: &str) -> u64 {
    json(cluster, &["account", "show", user])["accounts"][0]["shard"]
        .as_u64()
        .unwrap()
}

/// The node that leads each shard, by number, once each has one.
fn leaders(cluster: &Cluster) -> Vec<(u64, String)> {
    let began = Instant::now();
    loop {
        let shards = json(cluster, &["shard", "list"]);
        let shards = shards["shards"].as_array().unwrap();
        let leader = |shard: &Value| {
            let id = shard["id"].as_u64().unwrap();
            (id, shard["leader"].as_str().unwrap_or_default().to_owned())
        };
        let leaders: Vec<(u64, String)> = shards.iter().map(leader).collect();
        if leaders.iter().all(|(_, node)| !node.is_empty()) {
            return leaders;
        }
        assert!(began.elapsed() < END_MAX, "a shard has no leader: {leaders:?}");
    }
}

/// Where the user's account is, and a shard that another node leads.
fn here_and_there(cluster: &Cluster) -> ((u64, String), (u64, String)) {
    let leaders = leaders(cluster);
    let here = shard_of(cluster, USER);
    let here = leaders.iter().find(|(id, _)| *id == here).unwrap().clone();
    let there = leaders.iter().find(|(_, node)| *node != here.1).unwrap().clone();
    (here, there)
}

fn deliver(address: &str, number: u64) {
    let mut smtp = SmtpClient::hello(address).unwrap();
    let message = messages::numbered(number, 500);
    let reply = smtp.deliver(&[USER.to_owned()], &message).unwrap();
    reply.expect("250").unwrap();
}

fn until(imap: &mut ImapClient, text: &str) {
    loop {
        let response = String::from_utf8(imap.response().unwrap()).unwrap();
        assert!(!response.starts_with("* BYE"), "{response}");
        if response.contains(text) {
            return;
        }
    }
}

/// Each of the messages is in the INBOX once, under the UID of its place.
fn check_inbox(imap: &mut ImapClient, count: u64) {
    let fetched = imap
        .command("FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
        .unwrap()
        .ok()
        .unwrap();
    let numbers = messages::numbers(&fetched.untagged);
    assert_eq!(numbers, (0..count).collect::<Vec<u64>>());
    let uids = imap.command("UID SEARCH ALL").unwrap().ok().unwrap().search();
    let count = u32::try_from(count).unwrap();
    assert_eq!(
        uids,
        (1..=count).collect::<Vec<u32>>(),
        "no UID was given twice or passed over"
    );
}

#[test]
fn an_account_that_is_used_moves_back_and_forth() {
    let cluster = cluster(1);
    let (smtp, imap) = (cluster.proxy(1).smtp.clone(), cluster.proxy(0).imap.clone());
    deliver(&smtp, 0);
    let mut watcher = ImapClient::login(&cluster.proxy(1).imap, USER).unwrap();
    let selected = watcher.command("SELECT INBOX").unwrap().ok().unwrap();
    let validity = selected.code("UIDVALIDITY").unwrap();
    let idle = watcher.begin("IDLE").unwrap();
    until(&mut watcher, "+ ");

    let is_over = AtomicBool::new(false);
    let sent = AtomicU64::new(1);
    let (longest, stores, frozen) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                deliver(&smtp, sent.fetch_add(1, Ordering::SeqCst));
            }
        });
        let storing = scope.spawn(|| {
            let mut session = ImapClient::login(&imap, USER).unwrap();
            session.command("SELECT INBOX").unwrap().ok().unwrap();
            let (mut longest, mut stores) = (Duration::ZERO, 0u64);
            while !is_over.load(Ordering::SeqCst) {
                let sign = if stores % 2 == 0 { '+' } else { '-' };
                let began = Instant::now();
                let stored = session.command(&format!("UID STORE 1 {sign}FLAGS (\\Flagged)"));
                let lines = stored.unwrap().ok().unwrap().lines();
                longest = longest.max(began.elapsed());
                let is_flagged = lines.iter().any(|line| line.contains("\\Flagged"));
                assert_eq!(is_flagged, sign == '+', "{lines:?}");
                stores += 1;
            }
            session.command("LOGOUT").unwrap();
            (longest, stores)
        });
        let mut frozen = Vec::new();
        for _ in 0..MOVES {
            let (_, (to, _)) = here_and_there(&cluster);
            let said = cluster.operate(
                &["--json", "account", "move", USER, "--to-shard", &to.to_string()],
                "",
            );
            let said = said.unwrap();
            let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
            assert_eq!(last["state"], "done", "{said}");
            frozen.push(last["frozen_seconds"].as_f64().unwrap());
            assert_eq!(shard_of(&cluster, USER), to);
        }
        is_over.store(true, Ordering::SeqCst);
        let (longest, stores) = storing.join().unwrap();
        (longest, stores, frozen)
    });
    let sent = sent.load(Ordering::SeqCst);
    println!(
        "{MOVES} moves, {sent} deliveries, {stores} stores: frozen for {frozen:.4?} seconds, the longest store took {longest:?}"
    );
    assert!(longest < WAIT_MAX, "a command waited for {longest:?}");
    until(&mut watcher, &format!("* {sent} EXISTS"));
    watcher.send(b"DONE\r\n").unwrap();
    watcher.finish(&idle).unwrap().ok().unwrap();
    check_inbox(&mut watcher, sent);
    let selected = watcher.command("SELECT INBOX").unwrap().ok().unwrap();
    assert_eq!(selected.code("UIDVALIDITY"), Some(validity));
}

#[test]
fn what_cannot_be_moved_is_refused() {
    let cluster = cluster(1);
    let (here, there) = here_and_there(&cluster);
    let refused = |user: &str, shard: &str, why: &str| {
        let output = cluster
            .try_operate(&["account", "move", user, "--to-shard", shard], "")
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(why), "{error}");
    };
    refused("nobody@example.test", "0", "there is no account");
    refused(USER, "99", "there is no shard 99");
    refused(USER, &here.0.to_string(), "already");
    // One that waits for the rest of an upload is under way.
    let mut imap = ImapClient::login(&cluster.proxy(0).imap, USER).unwrap();
    let large = messages::numbered(0, 1_000_000);
    let append = imap.begin(&format!("APPEND INBOX {{{}}}", large.len())).unwrap();
    until(&mut imap, "+ ");
    imap.send(&large.as_bytes()[..800_000]).unwrap();
    let to = there.0.to_string();
    cluster
        .operate(&["account", "move", USER, "--to-shard", &to, "--no-wait"], "")
        .unwrap();
    refused(USER, &to, "is being moved");
    imap.send(&large.as_bytes()[800_000..]).unwrap();
    imap.send(b"\r\n").unwrap();
    imap.finish(&append).unwrap().ok().unwrap();
    cluster.operate(&["account", "move", USER], "").unwrap();
    assert_eq!(shard_of(&cluster, USER), there.0);
    imap.command("SELECT INBOX").unwrap().ok().unwrap();
    check_inbox(&mut imap, 1);
}

/// A message that is sent half: its account does not leave its shard meanwhile.
struct Half {
    writer: ImapClient,
    append: String,
    message: String,
}

fn begin_large(cluster: &Cluster, number: u64) -> Half {
    let mut writer = ImapClient::login(&cluster.proxy(0).imap, USER).unwrap();
    let message = messages::numbered(number, 1_000_000);
    let append = writer
        .begin(&format!("APPEND INBOX {{{}}}", message.len()))
        .unwrap();
    until(&mut writer, "+ ");
    writer.send(&message.as_bytes()[..800_000]).unwrap();
    Half {
        writer,
        append,
        message,
    }
}

impl Half {
    fn end(mut self) {
        self.writer.send(&self.message.as_bytes()[800_000..]).unwrap();
        self.writer.send(b"\r\n").unwrap();
        self.writer.finish(&self.append).unwrap().ok().unwrap();
    }
}

/// Begins a backup, which waits for the account that is on its way.
fn begin_backup(cluster: &Cluster, folder: &Path) -> (Child, BufReader<ChildStderr>) {
    let mut create = Command::new(program().unwrap())
        .args(["backup", "create", "--to"])
        .arg(folder)
        .arg("--cluster")
        .arg(cluster.data().join("cluster.json"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(create.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(
        line.contains("waiting for 1 accounts") && line.contains(USER),
        "{line}"
    );
    (create, said)
}

#[test]
fn a_backup_does_not_wait_for_who_cannot_leave() {
    let cluster = cluster(1);
    let ((here, _), (to, _)) = here_and_there(&cluster);
    for number in 0..3 {
        deliver(&cluster.proxy(1).smtp, number);
    }
    let half = begin_large(&cluster, 3);
    let to = to.to_string();
    cluster
        .operate(&["account", "move", USER, "--to-shard", &to, "--no-wait"], "")
        .unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("backup");
    let (mut create, mut said) = begin_backup(&cluster, &folder);
    // Nothing more of the message comes until the backup is there.
    std::io::copy(&mut said, &mut std::io::sink()).unwrap();
    assert!(create.wait().unwrap().success());
    let verified = run_program(&["backup", "verify", "--from", folder.to_str().unwrap()]).unwrap();
    assert!(verified.status.success(), "{verified:?}");
    assert_eq!(shard_of(&cluster, USER), here);
    half.end();
    let mut imap = ImapClient::login(&cluster.proxy(0).imap, USER).unwrap();
    imap.command("SELECT INBOX").unwrap().ok().unwrap();
    check_inbox(&mut imap, 4);
    // Who made the backup has let go.
    cluster
        .operate(&["account", "move", USER, "--to-shard", &to], "")
        .unwrap();
    assert_eq!(shard_of(&cluster, USER).to_string(), to);
}

/// A backup reads shard after shard: one that is on its way would be in none of them.
#[test]
fn a_backup_waits_for_who_is_on_the_way_and_nobody_else_sets_out() {
    let cluster = cluster(1);
    let (_, (to, _)) = here_and_there(&cluster);
    let to = to.to_string();
    for number in 0..3 {
        deliver(&cluster.proxy(1).smtp, number);
    }
    let half = begin_large(&cluster, 3);
    cluster
        .operate(&["account", "move", USER, "--to-shard", &to, "--no-wait"], "")
        .unwrap();

    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("backup");
    let (mut create, mut said) = begin_backup(&cluster, &folder);
    let other = "user2@example.test";
    let free = if shard_of(&cluster, other) == 0 { "1" } else { "0" };
    let elsewhere = ["account", "move", other, "--to-shard", free];
    let refused = cluster.try_operate(&elsewhere, "").unwrap();
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{error}");
    assert!(error.contains("a backup is being made"), "{error}");

    half.end();
    std::io::copy(&mut said, &mut std::io::sink()).unwrap();
    assert!(create.wait().unwrap().success());
    assert_eq!(shard_of(&cluster, USER).to_string(), to);
    // Whoever made the backup has let go.
    cluster.operate(&elsewhere, "").unwrap();
    drop(cluster);

    let target = Cluster::start(&Options {
        mailstores: 1,
        proxies: 1,
        accounts: 0,
        shards: Some(2),
        ..Options::default()
    })
    .unwrap();
    let from = folder.to_str().unwrap();
    target
        .operate(&["backup", "restore", "--from", from], "")
        .unwrap();
    let mut imap = ImapClient::login(&target.proxy(0).imap, USER).unwrap();
    imap.command("SELECT INBOX").unwrap().ok().unwrap();
    check_inbox(&mut imap, 4);
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Source,
    Target,
    Directory,
}

fn state_of_move(cluster: &Cluster) -> Option<String> {
    let seen = cluster.operate(&["--json", "account", "move", USER, "--no-wait"], "");
    let seen: Value = serde_json::from_str(seen.ok()?.lines().last()?).ok()?;
    Some(seen["state"].as_str()?.to_owned())
}

/// At once, and while all but the last rows are copied: a half-sent message holds the move there, and is stored in the end.
#[test]
fn whoever_dies_the_move_ends_and_the_account_is_in_one_place() {
    let mut cluster = cluster(3);
    let mut session = ImapClient::login(&cluster.proxy(0).imap, USER).unwrap();
    session.command("SELECT INBOX").unwrap().ok().unwrap();
    let mut sent = 0;
    while sent < 20 {
        deliver(&cluster.proxy(0).smtp, sent);
        sent += 1;
    }
    for is_held in [false, true] {
        for victim in [Victim::Source, Victim::Target, Victim::Directory] {
            let what = format!("{victim:?} killed, held: {is_held}");
            let (here, there) = here_and_there(&cluster);
            let mut writer = ImapClient::login(&cluster.proxy(1).imap, USER).unwrap();
            let large = messages::numbered(sent, 1_000_000);
            let append = writer
                .begin(&format!("APPEND INBOX {{{}}}", large.len()))
                .unwrap();
            until(&mut writer, "+ ");
            let half = if is_held { 800_000 } else { 0 };
            writer.send(&large.as_bytes()[..half]).unwrap();
            let to = there.0.to_string();
            cluster
                .operate(&["account", "move", USER, "--to-shard", &to, "--no-wait"], "")
                .unwrap();
            let began = Instant::now();
            if is_held {
                while state_of_move(&cluster).as_deref() != Some("freezing") {
                    assert!(began.elapsed() < END_MAX, "{what}: it is never held");
                }
            }
            let victim = match victim {
                Victim::Source => here.1.clone(),
                Victim::Target => there.1.clone(),
                Victim::Directory => leader_of_directory(&cluster),
            };
            cluster.kill(&victim);
            cluster.restart(&victim).unwrap();
            writer.send(&large.as_bytes()[half..]).unwrap();
            writer.send(b"\r\n").unwrap();
            writer.finish(&append).unwrap().ok().unwrap();
            sent += 1;
            let ended = loop {
                match state_of_move(&cluster).as_deref() {
                    Some(state @ ("done" | "reverted")) => break state.to_owned(),
                    // The command says why, and fails, when it was taken back.
                    None if shard_of(&cluster, USER) == here.0 && is_reverted(&cluster) => {
                        break "reverted".to_owned();
                    }
                    _ => {}
                }
                assert!(began.elapsed() < END_MAX, "{what}: it does not end");
            };
            println!("{what}: {ended} after {:?}", began.elapsed());
            let expected = if ended == "done" { there.0 } else { here.0 };
            assert_eq!(shard_of(&cluster, USER), expected, "{what}");
            deliver(&cluster.proxy(1).smtp, sent);
            sent += 1;
            session.command("NOOP").unwrap().ok().unwrap();
            check_inbox(&mut session, sent);
        }
    }
}

fn is_reverted(cluster: &Cluster) -> bool {
    let output = cluster
        .try_operate(&["account", "move", USER, "--no-wait"], "")
        .unwrap();
    String::from_utf8_lossy(&output.stderr).contains("is where it was")
}

fn leader_of_directory(cluster: &Cluster) -> String {
    let nodes = json(cluster, &["node", "list"]);
    let nodes = nodes["nodes"].as_array().unwrap();
    let leads = |node: &&Value| node["leads"].as_bool() == Some(true) && node["role"] == "directory";
    let leader = nodes.iter().find(leads).unwrap();
    leader["id"].as_str().unwrap().to_owned()
}

/// What is known of a message's structure is one row, and that may be larger than a request.
#[test]
fn a_message_with_a_large_structure_goes_along() {
    let cluster = cluster(1);
    let mut message = String::from(
        "From: a@example.test\r\nSubject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n",
    );
    for part in 0..12 {
        message.push_str("--b\r\nContent-Type: application/octet-stream");
        for number in 0..130 {
            message.push_str(&format!(";\r\n p{part}x{number}=\"{}\"", "v".repeat(900)));
        }
        message.push_str("\r\n\r\ntext\r\n");
    }
    message.push_str("--b--\r\n");
    let mut session = ImapClient::login(&cluster.proxy(0).imap, USER).unwrap();
    session.append("INBOX", "()", &message).unwrap().ok().unwrap();
    session.command("SELECT INBOX").unwrap().ok().unwrap();
    let structure = |session: &mut ImapClient| {
        let fetched = session
            .command("FETCH 1 (BODY BODYSTRUCTURE)")
            .unwrap()
            .ok()
            .unwrap();
        fetched.untagged.concat()
    };
    let before = structure(&mut session);
    assert!(before.len() > 1024 * 1024, "{} bytes", before.len());
    let (_, (there, _)) = here_and_there(&cluster);
    let moved = ["account", "move", USER, "--to-shard", &there.to_string()];
    cluster.operate(&moved, "").unwrap();
    assert_eq!(shard_of(&cluster, USER), there);
    assert!(structure(&mut session) == before, "the structure is another");
}
