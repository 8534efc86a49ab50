//! A backup that is made while mail flows becomes a cluster of another size; a damaged one is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rookery_tests::cluster::{program, run_program};
use rookery_tests::imap::literals;
use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, messages};
use serde_json::Value;

/// Numbers of messages that were sent while the backup was made.
const UNDER_LOAD: u64 = 1_000_000;

/// The name of a message: its number.
fn number_of(text: &str) -> u64 {
    let at = text.find("Message-ID: <").expect("every message has its number") + 13;
    let digits: String = text[at..].chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    flags: BTreeSet<String>,
    date: String,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mailbox {
    uid_validity: u64,
    messages: BTreeMap<u32, Message>,
}

type Account = BTreeMap<String, Mailbox>;

/// All that an account's owner can see.
fn account(cluster: &Cluster, user: &str, password: &str) -> Account {
    let mut imap = ImapClient::connect(&cluster.proxy(0).imap).unwrap();
    imap.command(&format!("LOGIN {user} {password}"))
        .unwrap()
        .ok()
        .unwrap();
    let listed = imap.command("LIST \"\" *").unwrap().ok().unwrap().lines();
    let names = listed
        .iter()
        .filter_map(|line| line.strip_prefix("* LIST")?.rsplit(' ').next())
        .map(|name| name.trim_matches('"').to_owned());
    names
        .map(|name| {
            let mailbox = mailbox(&mut imap, &name);
            (name, mailbox)
        })
        .collect()
}

fn mailbox(imap: &mut ImapClient, name: &str) -> Mailbox {
    let examined = imap.command(&format!("EXAMINE {name}")).unwrap().ok().unwrap();
    let mut messages = BTreeMap::new();
    let fetched = imap
        .command("UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])")
        .unwrap()
        .ok()
        .unwrap();
    for response in fetched.untagged.iter().filter(|line| line.ends_with(b")")) {
        let Some(text) = literals(response).pop() else {
            continue;
        };
        let line = String::from_utf8_lossy(response).into_owned();
        let after = |item: &str| {
            let at = line.find(item).unwrap() + item.len();
            &line[at..]
        };
        let uid: String = after("UID ").chars().take_while(char::is_ascii_digit).collect();
        let flags = after("FLAGS (").split(')').next().unwrap();
        let flags = flags
            .split_whitespace()
            .filter(|flag| *flag != "\\Recent")
            .map(str::to_owned)
            .collect();
        let date = after("INTERNALDATE \"").split('"').next().unwrap().to_owned();
        let message = Message {
            flags,
            date,
            text: String::from_utf8(text).unwrap(),
        };
        let before = messages.insert(uid.parse().unwrap(), message);
        assert!(before.is_none(), "UID {uid} of {name} comes twice");
    }
    Mailbox {
        uid_validity: examined.code("UIDVALIDITY").unwrap(),
        messages,
    }
}

/// What was there before a backup is there; what is there besides was sent while it was made.
fn compare(user: &str, before: &Account, after: &Account, sent: &BTreeSet<u64>) {
    for (name, before) in before {
        let after = after
            .get(name)
            .unwrap_or_else(|| panic!("{user} has lost {name}"));
        assert_eq!(after.uid_validity, before.uid_validity, "{user} {name}");
        for (uid, message) in &before.messages {
            assert_eq!(
                after.messages.get(uid),
                Some(message),
                "UID {uid} of {user} {name}"
            );
        }
        let known: BTreeSet<u64> = before.messages.values().map(|m| number_of(&m.text)).collect();
        let highest = before.messages.keys().max().copied().unwrap_or(0);
        let mut new = BTreeSet::new();
        for (uid, message) in &after.messages {
            if before.messages.contains_key(uid) {
                continue;
            }
            let number = number_of(&message.text);
            assert!(
                *uid > highest,
                "UID {uid} of {user} {name} is new below those of before"
            );
            assert!(sent.contains(&number), "{number} in {user} {name} was never sent");
            assert!(
                !known.contains(&number),
                "{number} in {user} {name} was there before"
            );
            if name == "INBOX" {
                assert!(new.insert(number), "{number} in {user} {name} is doubled");
            }
        }
    }
    for name in after.keys() {
        assert!(before.contains_key(name), "{user} has got {name}");
    }
}

fn deliver(cluster: &Cluster, users: &[String], number: u64, size: usize) {
    SmtpClient::hello(&cluster.proxy(1).smtp)
        .unwrap()
        .deliver(users, &messages::numbered(number, size))
        .unwrap()
        .expect("250")
        .unwrap();
}

fn user(number: u64) -> String {
    format!("user{number}@example.test")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn fails(output: &Output, about: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let first = said.lines().next().unwrap_or_default();
    assert!(first.contains(about), "the first line names {about}: {said}");
}

fn verify(folder: &Path) -> Output {
    run_program(&["backup", "verify", "--from", folder.to_str().unwrap()]).unwrap()
}

fn restore(cluster: &Cluster, folder: &Path) -> Output {
    let arguments = ["backup", "restore", "--json", "--from", folder.to_str().unwrap()];
    cluster.try_operate(&arguments, "").unwrap()
}

fn create(cluster: &Cluster, folder: &Path) -> Output {
    let arguments = ["backup", "create", "--json", "--to", folder.to_str().unwrap()];
    cluster.try_operate(&arguments, "").unwrap()
}

/// A cluster without accounts.
fn empty(mailstores: u32, shards: u32) -> Cluster {
    Cluster::start(&Options {
        mailstores,
        proxies: 1,
        accounts: 0,
        shards: Some(shards),
        ..Options::default()
    })
    .unwrap()
}

/// Mail of every kind: delivered and appended, small and large, copied, flagged, moved and expunged.
fn fill(cluster: &Cluster, accounts: u64) {
    let everybody: Vec<String> = (1..=accounts).map(user).collect();
    // One body for all, once in one piece and once by an upload.
    deliver(cluster, &everybody, 1, 20_000);
    deliver(cluster, &everybody, 2, 700_000);
    for number in 1..=accounts {
        let mut imap = ImapClient::login(&cluster.proxy(0).imap, &user(number)).unwrap();
        let mut run = |line: &str| drop(imap.command(line).unwrap().ok().unwrap());
        run("CREATE Work/Deep");
        run("SELECT INBOX");
        run("COPY 1:2 Work/Deep");
        run("COPY 1 Work/Deep");
        run("STORE 1 +FLAGS (\\Flagged $Label)");
        run("DELETE Archive");
        run("CREATE Archive");
        for more in 0..3 {
            let message = messages::numbered(1000 * number + more, 3_000);
            let flags = "(\\Seen) \"01-Feb-2020 03:04:05 +0100\"";
            imap.append("Archive", flags, &message).unwrap().ok().unwrap();
        }
        let mut run = |line: &str| drop(imap.command(line).unwrap().ok().unwrap());
        // One is gone from here and stays elsewhere, one is gone.
        run("STORE 2 +FLAGS (\\Deleted)");
        run("EXPUNGE");
        run("SELECT Archive");
        run("STORE 2 +FLAGS (\\Deleted)");
        run("EXPUNGE");
        run("MOVE 1 Work/Deep");
    }
}

struct Load {
    stop: AtomicBool,
    next: AtomicU64,
}

impl Load {
    fn new() -> Self {
        Self {
            stop: AtomicBool::new(false),
            next: AtomicU64::new(UNDER_LOAD),
        }
    }

    fn next(&self) -> Option<u64> {
        (!self.stop.load(Ordering::SeqCst)).then(|| self.next.fetch_add(1, Ordering::SeqCst))
    }

    /// Numbers that may have been sent.
    fn sent(&self) -> BTreeSet<u64> {
        (UNDER_LOAD..self.next.load(Ordering::SeqCst)).collect()
    }

    fn deliveries(&self, cluster: &Cluster, accounts: u64) {
        while let Some(number) = self.next() {
            let to: Vec<String> = (1..=accounts)
                .filter(|at| (number + at) % 3 == 0)
                .map(user)
                .collect();
            deliver(
                cluster,
                &to,
                number,
                if number % 20 == 0 { 400_000 } else { 4_000 },
            );
        }
    }

    /// Appends, flags, copies, expunges, of what came under load alone.
    fn sessions(&self, cluster: &Cluster, account: u64) {
        let mut imap = ImapClient::login(&cluster.proxy(1).imap, &user(account)).unwrap();
        imap.command("SELECT Load").unwrap().ok().unwrap();
        while let Some(number) = self.next() {
            let message = messages::numbered(number, 2_000);
            let appended = imap.append("Load", "()", &message).unwrap().ok().unwrap();
            let uid = appended.tagged.split(['[', ']']).nth(1).unwrap();
            let uid = uid.rsplit(' ').next().unwrap().to_owned();
            let mut run = |line: String| drop(imap.command(&line).unwrap().ok().unwrap());
            run(format!("UID COPY {uid} Drafts"));
            run(format!("UID STORE {uid} +FLAGS (\\Flagged)"));
            if number % 2 == 0 {
                run(format!("UID STORE {uid} +FLAGS (\\Deleted)"));
                run(format!("UID EXPUNGE {uid}"));
            }
        }
    }
}

fn flip(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let position = at(bytes.len());
    bytes[position] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// The largest file of a kind.
fn file(folder: &Path, begins: &str, holds: &str) -> PathBuf {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let fitting = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with(begins) && name.contains(holds)
    });
    fitting
        .max_by_key(|entry| entry.metadata().unwrap().len())
        .unwrap_or_else(|| panic!("there is no {begins}*{holds}* in {}", folder.display()))
        .path()
}

const ACCOUNTS: u64 = 9;

#[test]
fn a_backup_under_load_becomes_a_cluster_of_another_size() {
    let source = Cluster::start(&Options {
        accounts: ACCOUNTS,
        shards: Some(7),
        ..Options::default()
    })
    .unwrap();
    source
        .operate(&["account", "passwd", &user(2)], "another secret\n")
        .unwrap();
    source
        .operate(&["alias", "add", "all@example.test", &user(1), &user(3)], "")
        .unwrap();
    source.operate(&["domain", "add", "second.test"], "").unwrap();
    source.operate(&["account", "suspend", &user(4)], "").unwrap();
    source
        .operate(&["account", "suspend", &user(4), "--resume"], "")
        .unwrap();
    // Deleted for ever, so that the next account has a higher id than the last.
    source
        .operate(&["account", "add", "gone@second.test"], "secret\n")
        .unwrap();
    source
        .operate(
            &["account", "delete", "gone@second.test", "--grace-seconds", "0"],
            "",
        )
        .unwrap();
    // user2 has another password than the others.
    source
        .operate(&["account", "passwd", &user(2)], "playground\n")
        .unwrap();
    fill(&source, ACCOUNTS);
    source
        .operate(&["account", "passwd", &user(2)], "secret-2\n")
        .unwrap();
    let password = |number| if number == 2 { "secret-2" } else { "playground" };
    for number in [5, 6] {
        let mut imap = ImapClient::login(&source.proxy(0).imap, &user(number)).unwrap();
        imap.command("CREATE Load").unwrap().ok().unwrap();
    }
    let before: Vec<Account> = (1..=ACCOUNTS)
        .map(|number| account(&source, &user(number), password(number)))
        .collect();
    assert_eq!(before[0]["Work/Deep"].messages.len(), 4, "{:?}", before[0].keys());
    assert_eq!(before[0]["INBOX"].messages.len(), 1);

    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("backup");
    let load = Load::new();
    let created = std::thread::scope(|scope| {
        scope.spawn(|| load.deliveries(&source, ACCOUNTS));
        scope.spawn(|| load.sessions(&source, 5));
        scope.spawn(|| load.sessions(&source, 6));
        let created = create(&source, &folder);
        load.stop.store(true, Ordering::SeqCst);
        created
    });
    assert!(
        created.status.success(),
        "{}",
        String::from_utf8_lossy(&created.stderr)
    );
    assert_eq!(json(&created)["accounts"], ACCOUNTS);
    fails(&create(&source, &folder), "not empty");
    fails(&restore(&source, &folder), "not empty");
    drop(source);

    let verified = verify(&folder);
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
    let target = empty(2, 5);
    for (begins, holds) in [
        ("manifest", ""),
        ("shard", ".rows."),
        ("shard", ".bodies."),
        ("shard", ".counters."),
        ("directory", ".rows."),
    ] {
        let path = file(&folder, begins, holds);
        let name = path.file_name().unwrap().to_str().unwrap();
        for at in [|_| 40, |bytes| bytes / 2, |bytes| bytes - 5] {
            flip(&path, at);
            fails(&verify(&folder), name);
            flip(&path, at);
        }
        flip(&path, |bytes| bytes / 2);
        fails(&restore(&target, &folder), name);
        flip(&path, |bytes| bytes / 2);
    }

    let restored = restore(&target, &folder);
    assert!(
        restored.status.success(),
        "{}",
        String::from_utf8_lossy(&restored.stderr)
    );
    assert_eq!(json(&restored)["accounts"], ACCOUNTS);
    assert_eq!(json(&restored)["unknown_accounts"], serde_json::json!([]));
    let sent = load.sent();
    for (number, before) in (1..).zip(&before) {
        let after = account(&target, &user(number), password(number));
        compare(&user(number), before, &after, &sent);
    }
    let mut imap = ImapClient::connect(&target.proxy(0).imap).unwrap();
    let refused = imap.command(&format!("LOGIN {} playground", user(2))).unwrap();
    assert!(refused.tagged.starts_with("NO ["), "{}", refused.tagged);

    // The cluster goes on: mail by the alias, and new accounts with new ids.
    deliver_by(&target, "all@example.test", 77);
    for number in [1, 3] {
        let inbox = &account(&target, &user(number), "playground")["INBOX"];
        let found = inbox
            .messages
            .values()
            .filter(|m| number_of(&m.text) == 77)
            .count();
        assert_eq!(found, 1, "{}", user(number));
    }
    let added = target
        .operate(&["account", "add", "new@second.test", "--json"], "secret\n")
        .unwrap();
    let added: Value = serde_json::from_str(&added).unwrap();
    assert!(
        added["accounts"][0]["id"].as_u64().unwrap() > ACCOUNTS + 1,
        "{added}"
    );
    fails(&restore(&target, &folder), "not empty");
}

fn deliver_by(cluster: &Cluster, recipient: &str, number: u64) {
    SmtpClient::hello(&cluster.proxy(0).smtp)
        .unwrap()
        .deliver(&[recipient.to_owned()], &messages::numbered(number, 500))
        .unwrap()
        .expect("250")
        .unwrap();
}

/// Waits until a command has got somewhere, or has ended.
fn until(child: &mut std::process::Child, mut has_begun: impl FnMut() -> bool) {
    while child.try_wait().unwrap().is_none() && !has_begun() {
        std::thread::yield_now();
    }
}

fn live_accounts(cluster: &Cluster) -> usize {
    let listed = cluster.operate(&["account", "list", "--json"], "").unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let accounts = listed["accounts"].as_array().unwrap();
    accounts
        .iter()
        .filter(|account| account["state"] == "active")
        .count()
}

fn start(cluster: &Cluster, arguments: &[&str]) -> std::process::Child {
    std::process::Command::new(program().unwrap())
        .args(arguments)
        .arg("--cluster")
        .arg(cluster.data().join("cluster.json"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn what_is_killed_meanwhile_costs_another_run_at_most() {
    let accounts = 6;
    let mut source = Cluster::start(&Options {
        accounts,
        shards: Some(6),
        ..Options::default()
    })
    .unwrap();
    fill(&source, accounts);
    let before: Vec<Account> = (1..=accounts)
        .map(|number| account(&source, &user(number), "playground"))
        .collect();
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("backup");
    let partial = scratch.path().join("backup.partial");
    let to = ["backup", "create", "--to", folder.to_str().unwrap()];

    // The command itself is killed: what it leaves is no backup.
    let has_shard = |folder: &Path| {
        let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.any(|entry| entry.file_name().to_string_lossy().starts_with("shard-"))
    };
    let mut killed = start(&source, &to);
    until(&mut killed, || has_shard(&partial));
    killed.kill().unwrap();
    killed.wait().unwrap();
    if !folder.exists() {
        fails(&verify(&partial), "not a whole backup");
        fails(&restore(&source, &partial), "not a whole backup");
    }
    std::fs::remove_dir_all(&folder).ok();

    // A mailstore is killed: the command waits for it, or is run again.
    let mut waiting = start(&source, &to);
    until(&mut waiting, || has_shard(&partial));
    source.kill("mailstore-2");
    source.restart("mailstore-2").unwrap();
    if !waiting.wait().unwrap().success() {
        let created = create(&source, &folder);
        assert!(
            created.status.success(),
            "{}",
            String::from_utf8_lossy(&created.stderr)
        );
    }
    drop(source);
    assert!(verify(&folder).status.success());

    // The restore is killed as soon as so many accounts are live, some of them half done; at last a mailstore is.
    let mut target = empty(3, 16);
    let from = ["backup", "restore", "--from", folder.to_str().unwrap()];
    for live in 0..3 {
        let mut killed = start(&target, &from);
        until(&mut killed, || live_accounts(&target) >= live);
        killed.kill().unwrap();
        killed.wait().unwrap();
    }
    let mut waiting = start(&target, &from);
    until(&mut waiting, || live_accounts(&target) >= 3);
    target.kill("mailstore-1");
    target.restart("mailstore-1").unwrap();
    let ended = waiting.wait_with_output().unwrap();
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        let restored = restore(&target, &folder);
        let again = String::from_utf8_lossy(&restored.stderr).into_owned();
        // One of those that were killed had come to its end.
        assert!(
            restored.status.success() || said.contains("not empty"),
            "{said} {again}"
        );
    }
    for (number, before) in (1..).zip(&before) {
        let after = account(&target, &user(number), "playground");
        compare(&user(number), before, &after, &BTreeSet::new());
        assert_eq!(&after, before, "{}", user(number));
    }
}

#[test]
fn without_a_cluster_or_a_backup_it_says_so() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("backup");
    fails(&verify(&folder), "not a whole backup");
    let cluster = Cluster::single();
    let manifest = std::fs::read(cluster.data().join("cluster.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let connection = [
        "--admin",
        "https://127.0.0.1:1",
        "--token-file",
        manifest["admin_token_file"].as_str().unwrap(),
        "--ca",
        manifest["ca_file"].as_str().unwrap(),
    ];
    for (command, option) in [("create", "--to"), ("restore", "--from")] {
        let mut arguments = vec!["backup", command, option, folder.to_str().unwrap()];
        arguments.extend(connection);
        fails(&run_program(&arguments).unwrap(), "cannot reach the directory");
        assert!(!folder.exists());
    }
    let within_a_file = scratch.path().join("file").join("backup");
    std::fs::write(scratch.path().join("file"), "x").unwrap();
    fails(&create(&cluster, &within_a_file), "backup");
}

#[test]
fn mail_that_waits_for_delivery_is_restored_and_delivered_once() {
    let accounts = 9;
    let mut source = Cluster::start(&Options {
        accounts,
        shards: Some(9),
        ..Options::default()
    })
    .unwrap();
    let recipients: Vec<String> = (1..=accounts).map(user).collect();
    source.kill("mailstore-3");
    // In one piece and by an upload.
    deliver(&source, &recipients, 1, 3_000);
    deliver(&source, &recipients, 2, 300_000);
    // Nobody is left who could deliver what waits when the mailstore is back.
    source.kill("proxy-1");
    source.kill("proxy-2");
    source.restart("mailstore-3").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("backup");
    let created = create(&source, &folder);
    assert!(
        created.status.success(),
        "{}",
        String::from_utf8_lossy(&created.stderr)
    );
    drop(source);
    let hand_offs = file(&folder, "handoffs-", ".bodies.");
    flip(&hand_offs, |bytes| bytes / 2);
    fails(&verify(&folder), "handoffs-");
    flip(&hand_offs, |bytes| bytes / 2);

    let target = empty(2, 4);
    let restored = json(&restore(&target, &folder));
    assert!(restored["hand_offs"].as_u64().unwrap() >= 2, "{restored}");
    assert_eq!(restored["unknown_hand_offs"], 0, "{restored}");
    for recipient in &recipients {
        let mut imap = ImapClient::login(&target.proxy(0).imap, recipient).unwrap();
        let mut held = imap.command("EXAMINE INBOX").unwrap().ok().unwrap().exists();
        imap.begin("IDLE").unwrap();
        while held != Some(2) {
            let response = String::from_utf8(imap.response().unwrap()).unwrap();
            let exists = response
                .strip_prefix("* ")
                .and_then(|rest| rest.strip_suffix(" EXISTS"));
            held = exists.map(|count| count.parse().unwrap()).or(held);
        }
    }
    for recipient in &recipients {
        let inbox = &account(&target, recipient, "playground")["INBOX"];
        let mut numbers: Vec<u64> = inbox.messages.values().map(|m| number_of(&m.text)).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2], "{recipient}");
    }
}
