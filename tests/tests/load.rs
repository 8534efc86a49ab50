//! `rookery-loadtest` against a whole server: what it counts is right, what was acknowledged is found, and what is wrong
//! is said.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use rookery_tests::cluster::program;
use rookery_tests::{Cluster, ImapClient};
use serde_json::Value;

/// Accounts of a cluster of one node.
const ACCOUNTS: u64 = 10;

/// Runs the load tester, which lies beside the program.
fn run(arguments: &[&str]) -> Output {
    let path = program().unwrap().with_file_name("rookery-loadtest");
    let output = Command::new(&path).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{}: {error}: run `cargo build --workspace` first", path.display()))
}

/// A run that must go well: its report.
fn load(cluster: &Cluster, arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir_in(cluster.scratch()).unwrap();
    let json = folder.path().join("report.json");
    let server = cluster.data().join("cluster.json");
    let always = ["--quiet", "--json", text(&json), "--server", text(&server)];
    let output = run(&[arguments, &always].concat());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{arguments:?}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.stderr.is_empty(), "{arguments:?} was quiet");
    assert!(said.contains("0 errors"), "{said}");
    serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The only run of a report.
fn only(report: &Value) -> &Value {
    assert_eq!(report["servers"].as_array().unwrap().len(), 1);
    assert_eq!(report["servers"][0].as_array().unwrap().len(), 1);
    &report["servers"][0][0]
}

/// How often an operation was done.
fn count(run: &Value, operation: &str) -> u64 {
    let operations = run["operations"].as_array().unwrap();
    let found = operations.iter().find(|of| of["operation"] == operation);
    found.map_or(0, |of| of["count"].as_u64().unwrap())
}

fn exists(cluster: &Cluster, number: u64) -> u64 {
    let user = format!("user{number}@example.test");
    let mut imap = ImapClient::login(&cluster.proxy(0).imap, &user).unwrap();
    let selected = imap.command("EXAMINE INBOX").unwrap().ok().unwrap();
    u64::from(selected.exists().unwrap())
}

#[test]
fn what_is_delivered_is_counted_and_found_again() {
    let cluster = Cluster::single();
    let by = |protocol: &str, more: &[&str]| {
        let set = format!("deliver.protocol={protocol}");
        let always = [
            "deliver",
            "--sessions",
            "4",
            "--operations",
            "60",
            "--oracle",
            "--set",
            &set,
        ];
        let report = load(&cluster, &[&always, more].concat());
        let run = only(&report);
        assert_eq!((run["total"].as_u64(), count(run, "deliver")), (Some(60), 60));
        let oracle = &run["oracle"];
        assert_eq!(oracle["acknowledged"], oracle["present"], "{oracle}");
        assert!(
            run["cost"]["pss_kib"].as_u64().unwrap() > 1_000,
            "{}",
            run["cost"]
        );
        oracle["acknowledged"].as_u64().unwrap()
    };
    assert_eq!(by("lmtp", &[]), 60);
    assert_eq!(
        by("smtp", &["--set", "deliver.recipients=3", "--size", "100KiB"]),
        180
    );
    assert_eq!(
        by("submission", &["--set", "deliver.messages_per_connection=7"]),
        60
    );
    let held: u64 = (1..=ACCOUNTS).map(|number| exists(&cluster, number)).sum();
    assert_eq!(held, 300, "each acknowledged message is there, and no other");
}

#[test]
fn encrypted_connections_hold_the_certificate_against_the_ca() {
    let cluster = Cluster::single();
    for (workload, tls) in [
        ("login", "implicit"),
        ("login", "starttls"),
        ("deliver", "implicit"),
        ("deliver", "starttls"),
    ] {
        let tls = format!("server.tls={tls}");
        let submission = "deliver.protocol=submission";
        let report = load(
            &cluster,
            &[
                workload,
                "--sessions",
                "3",
                "--operations",
                "9",
                "--set",
                &tls,
                "--set",
                submission,
            ],
        );
        assert_eq!(only(&report)["total"], 9, "{workload} {tls}");
    }
}

#[test]
fn an_open_loop_begins_what_it_should_and_a_page_is_written() {
    let cluster = Cluster::single();
    let page = cluster.scratch().join("report.html");
    let rate = ["--rate", "50", "--seconds", "2", "--set", "spacing=even"];
    let report = load(
        &cluster,
        &[&["deliver", "--warmup", "0", "--html", text(&page)][..], &rate].concat(),
    );
    let run = only(&report);
    assert_eq!(
        (run["total"].as_u64(), run["missed"].as_u64()),
        (Some(100), Some(0))
    );
    assert!(
        run["timeline"].as_array().unwrap().len() >= 2,
        "{}",
        run["timeline"]
    );
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.starts_with("<!DOCTYPE html>") && page.contains("<svg"),
        "{page}"
    );
    assert!(!page.contains("http"), "a page needs nothing from elsewhere");
}

#[test]
fn every_workload_of_mail_clients_ends_well() {
    let cluster = Cluster::single();
    let report = load(
        &cluster,
        &[
            "append",
            "--operations",
            "40",
            "--set",
            "append.batch=4",
            "--oracle",
        ],
    );
    assert_eq!(only(&report)["oracle"]["present"], 160);

    // More sessions than accounts, so that they share some.
    let mixed = [
        "mixed",
        "--sessions",
        "14",
        "--operations",
        "400",
        "--set",
        "mixed.messages=12",
        "--oracle",
    ];
    let report = load(&cluster, &mixed);
    let run = only(&report);
    assert_eq!(run["total"], 400);
    for command in [
        "login",
        "list",
        "status",
        "select",
        "fetch",
        "fetch body",
        "store",
        "append",
        "logout",
    ] {
        assert!(count(run, command) > 0, "{command}: {}", run["operations"]);
    }
    assert_eq!(run["oracle"]["lost"], 0);

    let report = load(
        &cluster,
        &[
            "sync",
            "--operations",
            "5",
            "--set",
            "sync.messages=30",
            "--set",
            "sync.accounts=3",
            "--set",
            "sync.batch=7",
        ],
    );
    assert_eq!(count(only(&report), "sync"), 5);

    let report = load(
        &cluster,
        &[
            "search",
            "--sessions",
            "1",
            "--operations",
            "12",
            "--set",
            "search.messages=120",
            "--set",
            "search.accounts=2",
        ],
    );
    for kind in ["flags", "from", "subject", "since", "body", "text"] {
        assert_eq!(count(only(&report), &format!("search {kind}")), 2, "{kind}");
    }

    let report = load(&cluster, &["login", "--operations", "20", "--sessions", "5"]);
    let run = only(&report);
    assert_eq!((count(run, "session"), count(run, "logout")), (20, 20));

    let big = [
        "--set",
        "big_mailbox.messages=200",
        "--set",
        "big_mailbox.repeat=2",
    ];
    let report = load(&cluster, &[&["big-mailbox"][..], &big].concat());
    let run = only(&report);
    assert_eq!((count(run, "fetch bodies"), count(run, "expunge half")), (2, 2));
    // It is filled once.
    let report = load(&cluster, &[&["big-mailbox"][..], &big].concat());
    assert_eq!(only(&report)["figures"].as_array().unwrap().len(), 0);
}

#[test]
fn sessions_that_stay_hear_of_every_message_and_answer() {
    let cluster = Cluster::single();
    let idle = [
        "--seconds",
        "2",
        "--set",
        "spacing=even",
        "--set",
        "idle.notify_rate=10",
    ];
    let few = ["--sessions", "22", "--set", "open_rate=200"];
    let report = load(
        &cluster,
        &[&["idle", "--set", "idle.settle_seconds=0"][..], &idle, &few].concat(),
    );
    let run = only(&report);
    // 20 messages, each of an account that has two sessions or, the first two accounts, three.
    let heard = count(run, "notify");
    assert!((40..=60).contains(&heard), "{heard}");
    let told: Vec<&str> = run["figures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| of["name"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["sessions opened", "server memory a session (PSS)"]);

    let long = [
        "--set",
        "long_lived.seconds_between=0.5",
        "--set",
        "long_lived.settle_seconds=0",
    ];
    let seconds = ["--seconds", "2", "--set", "spacing=even"];
    let report = load(&cluster, &[&["long-lived"][..], &long, &seconds, &few].concat());
    assert_eq!(only(&report)["total"], 88, "22 sessions, four commands each");
}

#[test]
fn two_servers_are_measured_in_turn_and_put_side_by_side() {
    let cluster = Cluster::single();
    let manifest = cluster.data().join("cluster.json");
    let json = cluster.scratch().join("report.json");
    let described = |name: &str| format!("name={name},cluster={}", text(&manifest));
    let output = run(&[
        "deliver",
        "--server",
        &described("first"),
        "--beside",
        &described("second"),
        "--operations",
        "40",
        "--rounds",
        "2",
        "--json",
        text(&json),
    ]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("second / first") && said.contains("medians of 2 rounds"),
        "{said}"
    );
    let progress = String::from_utf8_lossy(&output.stderr).into_owned();
    let turns: Vec<&str> = progress.lines().filter(|line| line.contains("round")).collect();
    let expected = [
        "first: round 1 of 2",
        "second: round 1 of 2",
        "first: round 2 of 2",
        "second: round 2 of 2",
    ];
    assert_eq!(turns, expected);
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let ratio = &report["rows"][0]["ratio"];
    assert!(
        ratio["min"].as_f64().unwrap() <= ratio["max"].as_f64().unwrap(),
        "{ratio}"
    );
}

/// A run that must not go well: its exit code, and what it said of that.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(arguments);
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("profile.toml");
    std::fs::write(&profile, "workload = \"deliver\"\nsesions = 5\n").unwrap();
    let (code, said) = refused(&["--profile", text(&profile)]);
    assert!(
        code == Some(2) && said.contains("sesions") && said.contains("line 2"),
        "{said}"
    );

    let (code, said) = refused(&["deliver"]);
    assert!(code == Some(2) && said.contains("--server"), "{said}");
    let (code, said) = refused(&["deliver", "--server", "smtp=127.0.0.1:25", "--quiet"]);
    assert!(code == Some(2) && said.contains("lmtp=HOST:PORT"), "{said}");

    let (code, said) = refused(&[
        "deliver",
        "--server",
        "lmtp=127.0.0.1:24",
        "--json",
        "/nonexistent/report.json",
    ]);
    assert!(
        code == Some(1) && said.contains("cannot write /nonexistent"),
        "{said}"
    );

    // A port that was free a moment ago, and is nobody's.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (code, said) = refused(&[
        "deliver",
        "--quiet",
        "--server",
        &format!("lmtp=127.0.0.1:{port}"),
    ]);
    assert!(
        code == Some(1) && said.contains("is the server running"),
        "{said}"
    );

    let cluster = Cluster::single();
    let wrong = folder.path().join("password");
    std::fs::write(&wrong, "not-this-one\n").unwrap();
    let manifest = cluster.data().join("cluster.json");
    let server = format!("cluster={},password_file={}", text(&manifest), text(&wrong));
    let (code, said) = refused(&["login", "--quiet", "--server", &server]);
    assert!(
        code == Some(1) && said.contains("LOGIN of user1@example.test"),
        "{said}"
    );
    assert!(!said.contains("not-this-one"), "{said}");
}

#[test]
fn errors_while_it_runs_are_counted_and_end_it_with_one() {
    let cluster = Cluster::single();
    // The last of eleven accounts is nobody's.
    let server = format!(
        "cluster={},accounts=11",
        text(&cluster.data().join("cluster.json"))
    );
    let output = run(&[
        "deliver",
        "--quiet",
        "--operations",
        "22",
        "--sessions",
        "1",
        "--server",
        &server,
    ]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("2 errors") && said.contains("RCPT TO:<user11@example.test>"),
        "{said}"
    );
    assert!(said.contains("20 operations"), "{said}");
}
