//! A shard gives half of its accounts to a new one while they are used: no connection ends, nothing is lost or doubled, nothing gets
//! another number, and it comes to its end though the directory's leader dies.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rookery_tests::cluster::run_program;
use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, messages};
use serde_json::Value;

/// How long anything may take, with a death in it.
const END_MAX: Duration = Duration::from_secs(90);

/// What a command may wait for a move at most: far below what a client bears.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The shard that is split.
const FROM: &str = "0";

/// The number of the message that each account in use is sent in two halves.
const LARGE: u64 = 1_000_000;

fn json(cluster: &Cluster, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = ["--json"].iter().chain(arguments).copied().collect();
    let said = cluster.operate(&arguments, "").unwrap();
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// The addresses of each shard's accounts, in the order in which they were made.
fn accounts(cluster: &Cluster) -> BTreeMap<u64, Vec<String>> {
    let listed = json(cluster, &["account", "list"]);
    let mut all: Vec<&Value> = listed["accounts"].as_array().unwrap().iter().collect();
    all.sort_by_key(|account| account["id"].as_u64());
    let mut accounts: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for account in all {
        let address = account["address"].as_str().unwrap().to_owned();
        accounts
            .entry(account["shard"].as_u64().unwrap())
            .or_default()
            .push(address);
    }
    accounts
}

fn accounts_of(cluster: &Cluster, shard: u64) -> Vec<String> {
    accounts(cluster).remove(&shard).unwrap_or_default()
}

/// How the last split stands.
fn look(cluster: &Cluster) -> Value {
    json(cluster, &["shard", "split", FROM, "--watch", "--no-wait"])
}

/// The last of the objects that a command says, one a line.
fn last(said: &str) -> Value {
    serde_json::from_str(said.lines().last().unwrap()).unwrap()
}

fn fails(cluster: &Cluster, arguments: &[&str], code: i32, why: &str) {
    let output = cluster.try_operate(arguments, "").unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    let first = said.lines().next().unwrap_or_default();
    assert!(first.contains(why), "{arguments:?}: {said}");
}

fn deliver(address: &str, user: &str, number: u64) {
    let mut smtp = SmtpClient::hello(address).unwrap();
    let message = messages::numbered(number, 500);
    let reply = smtp.deliver(&[user.to_owned()], &message).unwrap();
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

/// Each of the messages is in the selected mailbox once, under UIDs without a gap.
fn check_inbox(imap: &mut ImapClient, numbers: &[u64], user: &str) {
    let fetched = imap
        .command("FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
        .unwrap()
        .ok()
        .unwrap();
    assert_eq!(messages::numbers(&fetched.untagged), numbers, "{user}");
    let uids = imap.command("UID SEARCH ALL").unwrap().ok().unwrap().search();
    let count = u32::try_from(numbers.len()).unwrap();
    assert_eq!(uids, (1..=count).collect::<Vec<u32>>(), "{user}");
}

/// The first half of a message: as long as the other one is not there, the account does not leave its shard.
fn begin_large(proxy: &str, user: &str) -> (ImapClient, String) {
    let mut writer = ImapClient::login(proxy, user).unwrap();
    let large = messages::numbered(LARGE, 1_000_000);
    let append = writer
        .begin(&format!("APPEND INBOX {{{}}}", large.len()))
        .unwrap();
    until(&mut writer, "+ ");
    writer.send(&large.as_bytes()[..800_000]).unwrap();
    (writer, append)
}

fn end_large((mut writer, append): (ImapClient, String)) {
    let large = messages::numbered(LARGE, 1_000_000);
    writer.send(&large.as_bytes()[800_000..]).unwrap();
    writer.send(b"\r\n").unwrap();
    writer.finish(&append).unwrap().ok().unwrap();
}

/// Waits until all are in the new shard that are to go, but for those who cannot go yet. Answers how many these are.
fn until_held(cluster: &Cluster, users: &[String]) -> u64 {
    let began = Instant::now();
    loop {
        let is_moving = |user: &&String| {
            let moved = cluster.try_operate(&["account", "move", user, "--no-wait"], "");
            moved.unwrap().status.success()
        };
        let held = users.iter().filter(is_moving).count() as u64;
        let seen = look(cluster);
        if held > 0 && seen["under_way"] == held && seen["moved"].as_u64() > Some(0) {
            return held;
        }
        assert!(
            seen["state"] == "forming" || seen["state"] == "running",
            "nothing is left behind or done: {seen}"
        );
        assert!(began.elapsed() < END_MAX, "{seen}");
    }
}

fn leader_of_directory(cluster: &Cluster) -> String {
    let nodes = json(cluster, &["node", "list"]);
    let nodes = nodes["nodes"].as_array().unwrap();
    let leads = |node: &&Value| node["leads"] == true && node["role"] == "directory";
    let leader = nodes.iter().find(leads).unwrap();
    leader["id"].as_str().unwrap().to_owned()
}

/// Makes a backup, which is whole.
fn back_up(cluster: &Cluster) {
    let folder = cluster.scratch().join("backup");
    let folder = folder.to_str().unwrap();
    cluster
        .operate(&["backup", "create", "--to", folder], "")
        .unwrap();
    let verified = run_program(&["backup", "verify", "--from", folder]).unwrap();
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success(), "{said}");
}

#[test]
fn a_shard_that_is_used_is_split_though_the_directorys_leader_dies() {
    let mut cluster = Cluster::start(&Options {
        mailstores: 3,
        directories: 3,
        replicas: 3,
        accounts: 24,
        shards: Some(2),
        ..Options::default()
    })
    .unwrap();
    let (smtp, imap) = (cluster.proxy(1).smtp.clone(), cluster.proxy(0).imap.clone());
    let all = accounts_of(&cluster, 0);
    assert!(all.len() >= 8, "{all:?}");
    for user in &all {
        deliver(&smtp, user, 0);
    }
    let users: Vec<String> = all[..4].to_vec();
    let mut watchers: Vec<(ImapClient, String, u64)> = users
        .iter()
        .map(|user| {
            let mut watcher = ImapClient::login(&cluster.proxy(1).imap, user).unwrap();
            let selected = watcher.command("SELECT INBOX").unwrap().ok().unwrap();
            let validity = selected.code("UIDVALIDITY").unwrap();
            let idle = watcher.begin("IDLE").unwrap();
            until(&mut watcher, "+ ");
            (watcher, idle, validity)
        })
        .collect();

    let is_over = AtomicBool::new(false);
    let (sent, longest, split) = std::thread::scope(|scope| {
        let delivering = scope.spawn(|| {
            let mut sent = 1;
            while !is_over.load(Ordering::SeqCst) {
                for user in &users {
                    deliver(&smtp, user, sent);
                }
                sent += 1;
            }
            sent
        });
        let storing = users.iter().take(2).map(|user| {
            let (imap, is_over) = (&imap, &is_over);
            scope.spawn(move || {
                let mut session = ImapClient::login(imap, user).unwrap();
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
                longest
            })
        });
        let storing: Vec<_> = storing.collect();
        let large: Vec<_> = users.iter().map(|user| begin_large(&imap, user)).collect();

        let begun = json(&cluster, &["shard", "split", FROM, "--no-wait"]);
        assert_eq!((&begun["from_shard"], &begun["to_shard"]), (&0.into(), &2.into()));
        let held = until_held(&cluster, &users);
        let why = "split 1 of shard 0 is under way";
        fails(&cluster, &["shard", "split", FROM], 1, why);
        fails(&cluster, &["shard", "split", "1"], 1, why);
        cluster.kill(&leader_of_directory(&cluster));
        let seen = look(&cluster);
        assert_eq!(
            (&seen["state"], &seen["under_way"]),
            (&"running".into(), &held.into())
        );
        for one in large {
            end_large(one);
        }
        let watched = cluster.operate(&["--json", "shard", "split", FROM, "--watch"], "");
        let split = last(&watched.unwrap());
        is_over.store(true, Ordering::SeqCst);
        let longest = storing.into_iter().map(|one| one.join().unwrap()).max();
        (delivering.join().unwrap(), longest.unwrap(), split)
    });
    println!("{sent} deliveries to each, the longest store took {longest:?}: {split}");
    assert_eq!((&split["state"], &split["left"]), (&"done".into(), &0.into()));
    assert!(longest < WAIT_MAX, "a command waited for {longest:?}");

    let gone = accounts_of(&cluster, 2);
    assert_eq!(split["moved"], gone.len());
    assert!(gone.iter().all(|user| all.contains(user)), "{gone:?}");
    assert_eq!(gone.len(), all.len() / 2, "{gone:?} of {all:?}");
    assert!(users.iter().any(|user| gone.contains(user)), "{gone:?}");
    let numbers: Vec<u64> = (0..sent).chain([LARGE]).collect();
    for ((watcher, idle, validity), user) in watchers.iter_mut().zip(&users) {
        until(watcher, &format!("* {} EXISTS", numbers.len()));
        watcher.send(b"DONE\r\n").unwrap();
        watcher.finish(idle).unwrap().ok().unwrap();
        check_inbox(watcher, &numbers, user);
        let selected = watcher.command("SELECT INBOX").unwrap().ok().unwrap();
        assert_eq!(selected.code("UIDVALIDITY"), Some(*validity));
    }
    check_the_new_shard(&mut cluster, &all);
    for (watcher, ..) in &mut watchers {
        watcher.command("NOOP").unwrap().ok().unwrap();
    }
}

/// It is like any other: told of, backed up, there again when a mailstore is, and given new accounts.
fn check_the_new_shard(cluster: &mut Cluster, all: &[String]) {
    let events = json_lines(cluster, &["events"]);
    let count = |kind: &str| events.iter().filter(|event| event["kind"] == kind).count();
    assert_eq!((count("split-begun"), count("split-done")), (1, 1), "{events:?}");
    let shown = json(cluster, &["shard", "show", "2"]);
    assert_eq!(shown["shards"][0]["replicas"].as_array().unwrap().len(), 3);

    back_up(cluster);

    cluster.kill("mailstore-1");
    cluster.restart("mailstore-1").unwrap();
    for user in all.iter().skip(4) {
        let mut imap = ImapClient::login(&cluster.proxy(0).imap, user).unwrap();
        imap.command("SELECT INBOX").unwrap().ok().unwrap();
        check_inbox(&mut imap, &[0], user);
    }
    for number in 0..6 {
        let user = format!("new{number}@example.test");
        cluster
            .operate(&["account", "add", &user], "playground\n")
            .unwrap();
    }
    let new: Vec<String> = accounts_of(cluster, 2)
        .into_iter()
        .filter(|user| user.starts_with("new"))
        .collect();
    assert!(!new.is_empty(), "none of the new accounts is in the new shard");
    for user in &new {
        deliver(&cluster.proxy(0).smtp, user, 7);
        let mut imap = ImapClient::login(&cluster.proxy(0).imap, user).unwrap();
        imap.command("SELECT INBOX").unwrap().ok().unwrap();
        check_inbox(&mut imap, &[7], user);
    }
}

/// JSON objects, one a line.
fn json_lines(cluster: &Cluster, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<&str> = ["--json"].iter().chain(arguments).copied().collect();
    let said = cluster.operate(&arguments, "").unwrap();
    let lines = said.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn a_rebalance_goes_first_and_an_abort_keeps_what_has_moved() {
    let mut cluster = Cluster::start(&Options {
        mailstores: 2,
        proxies: 1,
        accounts: 16,
        shards: Some(2),
        ..Options::default()
    })
    .unwrap();
    for (arguments, code, why) in [
        (&["shard", "split", "99"][..], 1, "there is no shard 99"),
        (&["shard", "split", FROM, "--watch"], 1, "no shard has been split"),
        (&["shard", "split", FROM, "--abort"], 1, "no split of shard 0"),
        (&["shard", "split"], 2, ""),
        (&["shard", "split", "first"], 2, ""),
        (&["shard", "split", FROM, "--abort", "--watch"], 2, ""),
    ] {
        fails(&cluster, arguments, code, why);
    }
    cluster.grow(1).unwrap();
    let other = json(&cluster, &["shard", "show", "1"]);
    let other = other["shards"][0]["replicas"][0].as_str().unwrap().to_owned();
    let there = ["shard", "transfer", "1", "--from", &other, "--to", "mailstore-3"];
    let back = ["shard", "transfer", "1", "--from", "mailstore-3", "--to", &other];
    cluster.operate(&there, "").unwrap();
    cluster.operate(&["rebalance", "pause"], "").unwrap();
    fails(&cluster, &["shard", "split", FROM], 1, "rebalance 1 is under way");
    cluster.operate(&["rebalance", "resume"], "").unwrap();
    cluster.operate(&["rebalance", "watch"], "").unwrap();

    let all = accounts_of(&cluster, 0);
    let imap = cluster.proxy(0).imap.clone();
    let large: Vec<_> = all.iter().map(|user| begin_large(&imap, user)).collect();
    cluster
        .operate(&["shard", "split", FROM, "--no-wait"], "")
        .unwrap();
    let began = Instant::now();
    while look(&cluster)["under_way"] == 0 {
        assert!(began.elapsed() < END_MAX, "nobody sets out");
    }
    // Replicas are moved all the same.
    let moved = cluster.operate(&back.iter().copied().chain(["--watch"]).collect::<Vec<_>>(), "");
    assert!(moved.unwrap().contains(" is done after "));
    cluster.operate(&["shard", "split", FROM, "--abort"], "").unwrap();
    assert_eq!(look(&cluster)["state"], "aborting");
    for one in large {
        end_large(one);
    }
    fails(
        &cluster,
        &["shard", "split", FROM, "--watch"],
        1,
        "split 1 was aborted",
    );
    let gone = accounts_of(&cluster, 2);
    assert!(!gone.is_empty() && gone.len() < all.len(), "{gone:?}");
    assert_eq!(look(&cluster)["moved"], gone.len());

    let said = cluster.operate(&["shard", "split", FROM], "").unwrap();
    assert!(said.contains("split 2 is done after "), "{said}");
    let shards = accounts(&cluster);
    let stay = all.len() - gone.len();
    assert_eq!(shards[&3].len(), stay / 2, "{shards:?}");
    for user in &all {
        let mut imap = ImapClient::login(&imap, user).unwrap();
        imap.command("SELECT INBOX").unwrap().ok().unwrap();
        check_inbox(&mut imap, &[LARGE], user);
    }
}

#[test]
fn a_single_node_has_one_shard_more_and_finds_it_again() {
    let mut cluster = Cluster::start(&Options {
        single: true,
        mailstores: 1,
        proxies: 1,
        accounts: 4,
        shards: Some(1),
        ..Options::default()
    })
    .unwrap();
    for user in accounts_of(&cluster, 0) {
        deliver(&cluster.proxy(0).smtp, &user, 3);
    }
    cluster.operate(&["shard", "split", FROM], "").unwrap();
    let node = cluster.manifest().nodes[0].id.clone();
    cluster.kill(&node);
    cluster.restart(&node).unwrap();
    let shards = accounts(&cluster);
    assert_eq!((shards[&0].len(), shards[&1].len()), (2, 2), "{shards:?}");
    for user in shards.values().flatten() {
        let mut imap = ImapClient::login(&cluster.proxy(0).imap, user).unwrap();
        imap.command("SELECT INBOX").unwrap().ok().unwrap();
        check_inbox(&mut imap, &[3], user);
    }
}

#[test]
fn a_new_shard_whose_node_died_is_formed_with_another_and_no_backup_waits_for_it() {
    let mut cluster = Cluster::start(&Options {
        mailstores: 3,
        proxies: 1,
        replicas: 3,
        accounts: 12,
        shards: Some(2),
        ..Options::default()
    })
    .unwrap();
    let all = accounts_of(&cluster, 0);
    for user in &all {
        deliver(&cluster.proxy(0).smtp, user, 3);
    }
    let dead = follower_of(&cluster, FROM);
    // It is taken for one that is there, until it has been silent for some seconds.
    cluster.pause(&dead);
    cluster
        .operate(&["shard", "split", FROM, "--no-wait"], "")
        .unwrap();
    cluster.kill(&dead);
    assert_eq!(look(&cluster)["state"], "forming");

    back_up(&cluster);
    assert_eq!(look(&cluster)["state"], "forming");

    cluster.grow(1).unwrap();
    let transfer = [
        "shard",
        "transfer",
        "2",
        "--from",
        &dead,
        "--to",
        "mailstore-4",
        "--watch",
    ];
    let moved = cluster.operate(&transfer, "").unwrap();
    assert!(moved.contains(" is done after "), "{moved}");
    let watch = ["--json", "shard", "split", FROM, "--watch"];
    let split = last(&cluster.operate(&watch, "").unwrap());
    assert_eq!(split["state"], "done", "{split}");
    cluster.restart(&dead).unwrap();
    let shards = accounts(&cluster);
    assert_eq!(shards[&2].len(), all.len() / 2, "{shards:?}");
    let shown = json(&cluster, &["shard", "show", "2"]);
    let replicas = shown["shards"][0]["replicas"].as_array().unwrap();
    assert!(replicas.contains(&"mailstore-4".into()), "{shown}");
    assert!(!replicas.contains(&dead.into()), "{shown}");
    for user in &all {
        let mut imap = ImapClient::login(&cluster.proxy(0).imap, user).unwrap();
        imap.command("SELECT INBOX").unwrap().ok().unwrap();
        check_inbox(&mut imap, &[3], user);
    }
}

/// A mailstore with a replica of a shard, that does not lead it.
fn follower_of(cluster: &Cluster, shard: &str) -> String {
    let shown = json(cluster, &["shard", "show", shard]);
    let shown = &shown["shards"][0];
    let replicas = shown["replicas"].as_array().unwrap();
    let follower = replicas.iter().find(|node| **node != shown["leader"]).unwrap();
    follower.as_str().unwrap().to_owned()
}
