//! An operator's commands for nodes that come and go: add, plan, apply, watch, transfer, drain, remove.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rookery_tests::cluster::program;
use rookery_tests::faults::room::Room;
use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, http, imap, messages};
use serde_json::Value;

/// How long the directory may take to call a node silent that has stopped.
const SILENT_MAX: Duration = Duration::from_secs(60);

/// How long the first piece of a copy may take to come.
const COPYING_MAX: Duration = Duration::from_secs(60);

/// What is left of a disk that is full: less than the directory has kept free of one of this size.
const FULL_LEFT_BYTES: u64 = 8 << 20;

/// Accounts, each with one message.
const ACCOUNTS: u64 = 6;

fn small() -> Cluster {
    with_directories(1)
}

fn with_directories(directories: u32) -> Cluster {
    let cluster = Cluster::start(&Options {
        directories,
        mailstores: 2,
        proxies: 1,
        accounts: ACCOUNTS,
        shards: Some(12),
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

/// Each account has its message.
fn check_mail(cluster: &Cluster) {
    for number in 1..=ACCOUNTS {
        let user = format!("user{number}@example.test");
        let mut imap = ImapClient::login(&cluster.proxy(0).imap, &user).unwrap();
        let examined = imap.command("EXAMINE INBOX").unwrap().ok().unwrap();
        assert_eq!(examined.exists(), Some(1), "{user}");
    }
}

fn json(cluster: &Cluster, arguments: &[&str]) -> Value {
    let mut arguments = arguments.to_vec();
    arguments.push("--json");
    serde_json::from_str(&cluster.operate(&arguments, "").unwrap()).unwrap()
}

/// JSON objects, one a line.
fn json_lines(cluster: &Cluster, arguments: &[&str]) -> Vec<Value> {
    let mut arguments = arguments.to_vec();
    arguments.push("--json");
    let text = cluster.operate(&arguments, "").unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn node(cluster: &Cluster, id: &str) -> Option<Value> {
    let listed = json(cluster, &["node", "list"]);
    let nodes = listed["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["id"] == id).cloned()
}

fn shards_of(cluster: &Cluster, id: &str) -> u64 {
    node(cluster, id).unwrap()["shards"].as_u64().unwrap()
}

/// The columns of a table.
fn heading(table: &str) -> BTreeSet<&str> {
    table.lines().next().unwrap().split_whitespace().collect()
}

/// A command that must fail so: its exit code, and on standard error first a line that says what.
fn fails(output: &Output, code: i32, about: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let first = said.lines().next().unwrap_or_default();
    assert!(first.contains(about), "the first line names {about}: {said}");
    assert!(
        output.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn a_node_that_is_added_is_filled_and_one_that_is_drained_is_emptied_and_removed() {
    let mut cluster = small();
    cluster.grow(1).unwrap();
    assert_eq!(shards_of(&cluster, "mailstore-3"), 0);
    for command in ["watch", "pause", "abort"] {
        fails(
            &cluster.try_operate(&["rebalance", command], "").unwrap(),
            1,
            "no rebalance",
        );
    }

    let plan = json(&cluster, &["rebalance", "plan"]);
    assert!(!plan["transfers"].as_array().unwrap().is_empty(), "{plan}");
    let text = cluster.operate(&["rebalance", "plan"], "").unwrap();
    assert!(text.contains("mailstore-3"), "{text}");
    for arguments in [&["rebalance"][..], &["rebalance", "apply"]] {
        fails(&cluster.try_operate(arguments, "yes\n").unwrap(), 2, "--yes");
    }
    assert_eq!(
        shards_of(&cluster, "mailstore-3"),
        0,
        "nobody has agreed to anything"
    );

    let told = json_lines(&cluster, &["rebalance", "--yes", "--max-transfers", "4"]);
    assert!(told[0]["plan"]["transfers"].is_array(), "{told:?}");
    let job = told[1]["job"].as_u64().unwrap();
    let last = told.last().unwrap();
    assert_eq!(
        (&last["state"], last["job"].as_u64().unwrap()),
        (&"done".into(), job)
    );
    assert_eq!(last["limits"]["transfers_max"], 4);
    assert_eq!(last["transfers"]["done"], last["transfers"]["all"], "{last}");
    assert!(shards_of(&cluster, "mailstore-3") > 0);
    check_mail(&cluster);

    let said = cluster.operate(&["node", "drain", "mailstore-1"], "").unwrap();
    assert!(said.contains("`rookery rebalance`"), "{said}");
    assert_eq!(node(&cluster, "mailstore-1").unwrap()["draining"], true);
    let said = cluster.operate(&["rebalance", "apply", "--yes"], "").unwrap();
    assert!(said.contains("rookery rebalance watch"), "{said}");
    let said = cluster.operate(&["rebalance", "watch"], "").unwrap();
    assert!(said.contains(" is done after "), "{said}");
    assert_eq!(shards_of(&cluster, "mailstore-1"), 0);
    check_mail(&cluster);

    let refused = cluster
        .try_operate(&["node", "remove", "mailstore-1"], "")
        .unwrap();
    fails(&refused, 1, "mailstore-1");
    cluster.stop("mailstore-1");
    let began = Instant::now();
    while !cluster
        .try_operate(&["node", "remove", "mailstore-1"], "")
        .unwrap()
        .status
        .success()
    {
        assert!(
            began.elapsed() < SILENT_MAX,
            "a node that has stopped is not removed"
        );
    }
    assert!(node(&cluster, "mailstore-1").is_none());
    check_mail(&cluster);
}

/// For whoever stops a node by a program: success is that it may go.
#[test]
fn a_drain_that_is_waited_for_ends_with_an_empty_node_or_fails() {
    let mut cluster = small();
    let told = json_lines(
        &cluster,
        &["node", "drain", "mailstore-1", "--wait", "--max-transfers", "4"],
    );
    assert!(told[0]["plan"]["transfers"].is_array(), "{told:?}");
    assert!(
        told.last().unwrap()["done"]
            .as_str()
            .unwrap()
            .contains("mailstore-1"),
        "{told:?}"
    );
    assert_eq!(shards_of(&cluster, "mailstore-1"), 0);
    check_mail(&cluster);
    // Again, as a hook that is run twice does.
    let said = cluster
        .operate(&["node", "drain", "mailstore-1", "--wait"], "")
        .unwrap();
    assert!(said.contains("has no replicas"), "{said}");

    let refused = cluster
        .try_operate(&["node", "drain", "mailstore-2", "--wait"], "")
        .unwrap();
    fails(&refused, 1, "mailstore-2 has 12 replicas still");
    assert_eq!(shards_of(&cluster, "mailstore-2"), 12);
    check_mail(&cluster);
    let both = cluster
        .try_operate(&["node", "drain", "mailstore-2", "--wait", "--undo"], "")
        .unwrap();
    assert_eq!(both.status.code(), Some(2));

    cluster.stop("mailstore-1");
    let remove = ["node", "remove", "mailstore-1", "--if-there"];
    let began = Instant::now();
    while !cluster.try_operate(&remove, "").unwrap().status.success() {
        assert!(
            began.elapsed() < SILENT_MAX,
            "a node that has stopped is not removed"
        );
    }
    let said = cluster.operate(&remove, "").unwrap();
    assert!(said.contains("there is no node mailstore-1"), "{said}");
    fails(&cluster.try_operate(&remove[..3], "").unwrap(), 1, "mailstore-1");
}

#[test]
fn one_replica_goes_where_the_operator_says() {
    let cluster = small();
    let shown = json(&cluster, &["shard", "show", "3"]);
    let held = shown["shards"][0]["replicas"][0].as_str().unwrap().to_owned();
    let other = if held == "mailstore-1" {
        "mailstore-2"
    } else {
        "mailstore-1"
    };
    let transfer = ["shard", "transfer", "3", "--from", &held, "--to"];
    let to = |node: &'static str| transfer.iter().copied().chain([node]).collect::<Vec<&str>>();
    fails(
        &cluster.try_operate(&to("mailstore-9"), "").unwrap(),
        1,
        "mailstore-9",
    );

    let mut arguments = to(other);
    arguments.extend(["--throttle", "50MB/s", "--watch"]);
    let told = json_lines(&cluster, &arguments);
    assert!(told[0]["job"].as_u64().unwrap() > 0);
    let last = told.last().unwrap();
    assert_eq!(last["state"], "done", "{told:?}");
    assert_eq!(last["limits"]["bytes_per_second"], 50_000_000);
    let text = cluster.operate(&["shard", "show", "3"], "").unwrap();
    assert!(
        text.contains(&format!("led by {other}")) && !text.contains(&held),
        "{text}"
    );
    fails(&cluster.try_operate(&to(other), "").unwrap(), 1, &held);
    check_mail(&cluster);
}

#[test]
fn a_transfer_to_a_disk_that_fills_up_is_taken_back_and_done_once_there_is_room() {
    const LOG: &str = "rookery_log_bytes ";
    const RECEIVED: &str = "rookery_replication_snapshot_received_bytes_total ";
    const MAIL_BYTES: usize = 4_000_000;
    const MAILS_MAX: u64 = 500;
    let mut cluster = Cluster::start(&Options {
        mailstores: 2,
        proxies: 1,
        accounts: 1,
        shards: Some(2),
        environment: vec![("ROOKERY__MAILSTORE__LOG_SIZE_MAX".to_owned(), "16MiB".to_owned())],
        ..Options::default()
    })
    .unwrap();
    let user = "user1@example.test";
    let shard = json(&cluster, &["account", "list"])["accounts"][0]["shard"].to_string();
    let shown = json(&cluster, &["shard", "show", &shard]);
    let held = shown["shards"][0]["replicas"][0].as_str().unwrap().to_owned();
    let other = ["mailstore-1", "mailstore-2"]
        .into_iter()
        .find(|node| *node != held)
        .unwrap();
    // What the log still has is not copied but told again, so it is filled until its beginning is cut off.
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    let mut log = 0.0;
    let cut = (1..=MAILS_MAX).find(|mails| {
        let message = messages::numbered(mails - 1, MAIL_BYTES);
        let reply = smtp.deliver(&[user.to_owned()], &message).unwrap();
        reply.expect("250").unwrap();
        let before = std::mem::replace(&mut log, metric(&cluster, &held, LOG).unwrap());
        log < before
    });
    let mails = cut.expect("the log is cut");
    cluster.stop(other);
    let room = Room::over(&cluster.node(other).data.join("store")).unwrap();
    cluster.restart(other).unwrap();

    let transfer = ["shard", "transfer", &shard, "--from", &held, "--to", other];
    let slowly = [&transfer[..], &["--throttle", "100KB/s"]].concat();
    cluster.operate(&slowly, "").unwrap();
    let began = Instant::now();
    while metric(&cluster, other, RECEIVED).is_none() {
        assert!(began.elapsed() < COPYING_MAX, "nothing is copied");
    }
    room.fill(FULL_LEFT_BYTES).unwrap();
    let told = cluster.try_operate(&["rebalance", "watch"], "").unwrap();
    let told = [told.stdout, told.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("1 taken back"), "{told}");
    assert!(told.contains(&format!("the disk of {other} is full")), "{told}");
    let shown = json(&cluster, &["shard", "show", &shard]);
    assert_eq!(shown["shards"][0]["replicas"], serde_json::json!([held]));

    room.empty().unwrap();
    let last = json_lines(&cluster, &[&transfer[..], &["--watch"]].concat());
    let last = last.last().unwrap();
    assert_eq!(last["transfers"]["done"], 1, "{last}");
    let shown = json(&cluster, &["shard", "show", &shard]);
    assert_eq!(shown["shards"][0]["replicas"], serde_json::json!([other]));
    let mut imap = ImapClient::login(&cluster.proxy(0).imap, user).unwrap();
    imap.command("EXAMINE INBOX").unwrap().ok().unwrap();
    for number in 0..mails {
        let fetch = format!("FETCH {} BODY.PEEK[]", number + 1);
        let fetched = imap.command(&fetch).unwrap().ok().unwrap();
        let whole = messages::numbered(number, MAIL_BYTES);
        let texts: Vec<Vec<u8>> = fetched
            .untagged
            .iter()
            .flat_map(|said| imap::literals(said))
            .collect();
        assert!(
            texts.len() == 1 && texts[0].ends_with(whole.as_bytes()),
            "message {number}"
        );
    }
}

/// What a node says of a figure, if it says anything.
fn metric(cluster: &Cluster, node: &str, name: &str) -> Option<f64> {
    let (_, metrics) = http::get(&cluster.node(node).http, "/metrics").unwrap();
    let value = metrics.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().parse().unwrap())
}

#[test]
fn who_watches_sees_the_end_though_the_directorys_leader_dies() {
    let mut cluster = with_directories(3);
    cluster.grow(1).unwrap();
    cluster
        .operate(&["rebalance", "apply", "--yes", "--max-transfers", "1"], "")
        .unwrap();
    cluster.operate(&["rebalance", "pause"], "").unwrap();

    let mut watching = Command::new(program().unwrap())
        .args(["rebalance", "watch", "--json", "--cluster"])
        .arg(cluster.data().join("cluster.json"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["state"], "paused", "{first}");

    let listed = json(&cluster, &["node", "list"]);
    let leader = listed["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|node| node["leads"] == true);
    let leader = leader.unwrap()["id"].as_str().unwrap().to_owned();
    cluster.kill(&leader);
    // Only the next leader can say so.
    cluster
        .operate(&["rebalance", "resume", "--max-transfers", "4"], "")
        .unwrap();
    let last = lines.map_while(Result::ok).last().unwrap();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert!(watching.wait().unwrap().success(), "{last}");
    assert_eq!((&last["state"], &last["job"]), (&"done".into(), &first["job"]));
    assert_eq!(last["limits"]["transfers_max"], 4);
    check_mail(&cluster);
}

#[test]
fn a_drain_can_be_undone_and_unknown_nodes_are_named() {
    let cluster = small();
    cluster.operate(&["node", "drain", "mailstore-2"], "").unwrap();
    cluster
        .operate(&["node", "drain", "mailstore-2", "--undo"], "")
        .unwrap();
    assert_eq!(node(&cluster, "mailstore-2").unwrap()["draining"], false);
    for command in ["drain", "remove"] {
        let output = cluster
            .try_operate(&["node", command, "mailstore-9"], "")
            .unwrap();
        fails(&output, 1, "mailstore-9");
    }
    for wrong in [
        &["node", "drain"][..],
        &["node", "remove"],
        &["shard", "transfer", "3", "--to", "mailstore-2"],
        &["rebalance", "--throttle", "slow"],
        &["rebalance", "watch", "--yes"],
        &["rebalance", "--yes", "watch"],
    ] {
        assert_eq!(
            cluster.try_operate(wrong, "").unwrap().status.code(),
            Some(2),
            "{wrong:?}"
        );
    }
    let table = cluster.operate(&["node", "list"], "").unwrap();
    for column in ["ZONE", "BYTES", "LEADS", "FREE"] {
        assert!(heading(&table).contains(column), "{table}");
    }
    let table = cluster.operate(&["shard", "list"], "").unwrap();
    for column in ["BYTES", "OPS/S"] {
        assert!(heading(&table).contains(column), "{table}");
    }
}
