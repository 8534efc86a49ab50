//! What nodes measure is what the catalogue says, in a cluster that is used as clients use it: no other name, no other label, no
//! other value, and nothing missing. Whoever sends nonsense makes no series.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rookery_process::telemetry::{self, Kind, Metric, Presence};
use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, http, messages};

/// Longer than anything that is waited for takes.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Shards of the cluster.
const SHARDS: u32 = 12;

/// What a cluster that works has no reason to record.
const NOT_EXPECTED: [&str; 6] = [
    "rookery_directory_account_frozen_seconds",
    "rookery_mailstore_messages_opaque_total",
    "rookery_process_spans_lost_total",
    "rookery_proxy_headers_refused_total",
    "rookery_proxy_smtp_hand_offs_total",
    "rookery_replication_damages_total",
];

/// The catalogues, and the roles whose pages have them.
fn catalogues() -> [(&'static [&'static str], &'static [&'static Metric]); 5] {
    [
        (&["proxy", "directory", "mailstore"], telemetry::CATALOGUE),
        (&["proxy"], rookery_proxy::catalogue::CATALOGUE),
        (&["directory"], rookery_directory::catalogue::CATALOGUE),
        (&["mailstore"], rookery_mailstore::catalogue::CATALOGUE),
        (&["directory", "mailstore"], rookery_mailstore::STORE_CATALOGUE),
    ]
}

/// A sample of a page.
#[derive(Debug)]
struct Sample {
    /// With the ending that a histogram's have.
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let (name, labels) = match series.split_once('{') {
            None => (series, ""),
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
        };
        let labels = labels.split_terminator(',').map(|label| {
            let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
            (name.to_owned(), value.trim_matches('"').to_owned())
        });
        Self {
            name: name.to_owned(),
            labels: labels.collect(),
            value: value.parse().unwrap_or_else(|_| panic!("{line}")),
        }
    }

    /// The metric that it is of.
    fn metric<'a>(&self, metrics: &BTreeMap<&str, &'a Metric>) -> Option<&'a Metric> {
        if let Some(metric) = metrics.get(self.name.as_str()) {
            return (metric.kind != Kind::Histogram).then_some(*metric);
        }
        let endings = ["_bucket", "_sum", "_count"];
        let mut names = endings.iter().filter_map(|ending| self.name.strip_suffix(ending));
        let metric = names.find_map(|name| metrics.get(name))?;
        (metric.kind == Kind::Histogram).then_some(*metric)
    }
}

/// The page of a node.
fn page(address: &str) -> String {
    let (status, page) = http::get(address, "/metrics").unwrap();
    assert_eq!(status, 200, "{page}");
    page
}

fn samples(page: &str) -> Vec<Sample> {
    let lines = page
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(Sample::parse).collect()
}

/// The sum of a metric's samples with these labels among theirs.
fn sum(page: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |sample: &&Sample| {
        let is = |(name, value): &(&str, &str)| sample.labels.get(*name).is_some_and(|held| held == value);
        sample.name == name && labels.iter().all(is)
    };
    samples(page).iter().filter(has).map(|sample| sample.value).sum()
}

/// The same on the pages of all nodes of a role.
fn sum_of(cluster: &Cluster, role: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let nodes = cluster.manifest().nodes.iter().filter(|node| node.role == role);
    nodes.map(|node| sum(&page(&node.http), name, labels)).sum()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<(), String>) {
    let began = Instant::now();
    loop {
        match is_so() {
            Ok(()) => return,
            Err(why_not) if began.elapsed() > WAIT_MAX => panic!("{what}: {why_not}"),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Each name and label of the page is in the catalogue of the node's role, described as it says.
fn check(id: &str, role: &str, page: &str) {
    let of_role = catalogues()
        .into_iter()
        .filter(|(roles, _)| roles.contains(&role));
    let metrics: BTreeMap<&str, &Metric> = of_role
        .flat_map(|(_, metrics)| metrics)
        .map(|metric| (metric.name, *metric))
        .collect();
    for sample in samples(page) {
        let metric = sample.metric(&metrics);
        let metric = metric.unwrap_or_else(|| panic!("{id}: {sample:?} is in no catalogue of a {role}"));
        let mut labels: Vec<&str> = metric.labels.iter().map(|label| label.name).collect();
        if sample.name.ends_with("_bucket") && metric.kind == Kind::Histogram {
            labels.push("le");
        }
        let has: BTreeSet<&str> = sample.labels.keys().map(String::as_str).collect();
        assert_eq!(has, labels.into_iter().collect(), "{id}: {sample:?}");
        for label in metric.labels {
            let value = sample.labels[label.name].as_str();
            assert!(label.values.contains(&value), "{id}: {sample:?}");
        }
        for line in [
            format!("# HELP {} {}", metric.name, metric.help),
            format!("# TYPE {} {}", metric.name, metric.kind.name()),
        ] {
            let times = page.lines().filter(|held| *held == line).count();
            assert_eq!(times, 1, "{id}: {line}");
        }
    }
}

/// What is missing of what these pages must have, by node.
fn missing(pages: &[(String, String, String)]) -> Vec<String> {
    let mut missing = Vec::new();
    let has = |page: &str, metric: &Metric| page.contains(&format!("# TYPE {} ", metric.name));
    for (roles, metrics) in catalogues() {
        let of_roles = || pages.iter().filter(|(_, role, _)| roles.contains(&role.as_str()));
        for metric in metrics {
            if NOT_EXPECTED.contains(&metric.name) {
                continue;
            }
            match metric.presence {
                Presence::Always => missing.extend(
                    of_roles()
                        .filter(|(_, _, page)| !has(page, metric))
                        .map(|(id, _, _)| format!("{} of {id}", metric.name)),
                ),
                Presence::Used if of_roles().any(|(_, _, page)| has(page, metric)) => {}
                Presence::Used => missing.push(metric.name.to_owned()),
            }
        }
    }
    missing
}

fn pages(cluster: &Cluster) -> Vec<(String, String, String)> {
    let nodes = cluster.manifest().nodes.iter();
    nodes
        .map(|node| (node.id.clone(), node.role.clone(), page(&node.http)))
        .collect()
}

/// Mail comes in every way that there is.
fn send(cluster: &Cluster) {
    let both = ["user1@example.test".to_owned(), "user2@example.test".to_owned()];
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    let delivered = smtp.deliver(&both, &messages::numbered(1, 20_000)).unwrap();
    delivered.expect("250").unwrap();
    smtp.command("MAIL FROM:<sender@remote.test>").unwrap();
    smtp.command("RCPT TO:<nobody@example.test>")
        .unwrap()
        .expect("550")
        .unwrap();
    smtp.command("XYZZY").unwrap().expect("500").unwrap();
    smtp.command("QUIT").unwrap().expect("221").unwrap();

    let mut lmtp = SmtpClient::connect(&cluster.proxy(0).lmtp).unwrap();
    lmtp.command("LHLO client.test").unwrap().expect("250").unwrap();
    let delivered = lmtp.deliver(&both[..1], &messages::numbered(2, 3_000)).unwrap();
    delivered.expect("250").unwrap();

    let mut submission = SmtpClient::hello(&cluster.proxy(0).submission).unwrap();
    for (password, answer) in [("wrong", "535"), ("playground", "235")] {
        let credentials = BASE64.encode(format!("\0user1@example.test\0{password}"));
        let tried = submission.command(&format!("AUTH PLAIN {credentials}")).unwrap();
        tried.expect(answer).unwrap();
    }
    submission
        .command("MAIL FROM:<user1@example.test>")
        .unwrap()
        .expect("250")
        .unwrap();
    submission.command("RSET").unwrap().expect("250").unwrap();
}

/// A client reads, writes and searches.
fn read(cluster: &Cluster) {
    let mut guess = ImapClient::connect(&cluster.proxy(1).imap).unwrap();
    let refused = guess.command("LOGIN user1@example.test wrong").unwrap();
    assert!(refused.tagged.starts_with("NO"), "{}", refused.tagged);
    // Held back for longer than the first.
    let refused = guess.command("LOGIN user1@example.test wronger").unwrap();
    assert!(refused.tagged.starts_with("NO"), "{}", refused.tagged);

    let mut imap = ImapClient::login(&cluster.proxy(1).imap, "user1@example.test").unwrap();
    for line in [
        "CAPABILITY",
        "LIST \"\" *",
        "CREATE Elsewhere",
        "SELECT INBOX",
        "FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)",
        "FETCH 1 BODY.PEEK[]",
        "STORE 1 +FLAGS (\\Seen)",
        "SEARCH TEXT message",
        "COPY 1 Elsewhere",
        "MOVE 2 Elsewhere",
        "STATUS Elsewhere (MESSAGES)",
        "NOOP",
    ] {
        imap.command(line).unwrap().ok().unwrap();
    }
    imap.append("Elsewhere", "(\\Seen)", &messages::numbered(3, 2_000))
        .unwrap()
        .ok()
        .unwrap();
    imap.command("XYZZY").unwrap();
    imap.command("LOGOUT").unwrap().ok().unwrap();

    // Who does not speak TLS where it is spoken.
    let mut plain = TcpStream::connect(&cluster.proxy(1).imaps).unwrap();
    plain
        .write_all(b"a CAPABILITY\r\nthis is no handshake\r\n")
        .unwrap();
    // An alert, or an end.
    let _ = plain.read_to_end(&mut Vec::new());
}

#[test]
fn pages_have_what_the_catalogue_says_and_nothing_else() {
    let cluster = Cluster::start(&Options {
        replicas: 3,
        shards: Some(SHARDS),
        accounts: 3,
        ..Options::default()
    })
    .unwrap();
    // Of a node that nobody has asked for anything, too.
    for (id, role, page) in pages(&cluster) {
        check(&id, &role, &page);
    }
    send(&cluster);
    read(&cluster);
    cluster.operate(&["status"], "").unwrap();
    // Some of it is known a moment later: how large a disk is, that all of the store has been read.
    wait_until("everything is there that has to be", || {
        let missing = missing(&pages(&cluster));
        missing.is_empty().then_some(()).ok_or_else(|| missing.join(", "))
    });
    for (id, role, page) in pages(&cluster) {
        check(&id, &role, &page);
    }
    say_what_is_so(&cluster);
    sessions_are_counted_where_they_stand(&cluster);
    nonsense_makes_no_series(&cluster);
}

/// Figures are those of what was done.
fn say_what_is_so(cluster: &Cluster) {
    wait_until("each shard is whole", || {
        let whole = sum_of(
            cluster,
            "directory",
            "rookery_directory_shards",
            &[("state", "whole")],
        );
        let leaders = sum_of(
            cluster,
            "mailstore",
            "rookery_mailstore_replicas",
            &[("standing", "leader")],
        );
        let voters = sum_of(
            cluster,
            "mailstore",
            "rookery_mailstore_replicas",
            &[("standing", "voter")],
        );
        let shards = f64::from(SHARDS);
        let found = (whole, leaders, voters);
        match found == (shards, shards, 2.0 * shards) {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    });
    for (role, name, labels, wanted) in [
        (
            "directory",
            "rookery_directory_nodes",
            &[("role", "mailstore"), ("state", "alive")][..],
            3.0,
        ),
        (
            "mailstore",
            "rookery_mailstore_deliveries_total",
            &[("outcome", "stored")],
            3.0,
        ),
        (
            "proxy",
            "rookery_proxy_smtp_deliveries_total",
            &[("protocol", "lmtp"), ("outcome", "stored")],
            1.0,
        ),
        (
            "proxy",
            "rookery_proxy_smtp_commands_total",
            &[("protocol", "smtp"), ("command", "RCPT"), ("outcome", "refused")],
            1.0,
        ),
        (
            "proxy",
            "rookery_proxy_smtp_commands_total",
            &[("protocol", "smtp"), ("command", "DATA"), ("outcome", "ok")],
            1.0,
        ),
        (
            "proxy",
            "rookery_proxy_smtp_commands_total",
            &[("command", "AUTH"), ("outcome", "refused")],
            1.0,
        ),
        (
            "proxy",
            "rookery_proxy_imap_commands_total",
            &[("command", "MOVE"), ("outcome", "ok")],
            1.0,
        ),
        (
            "proxy",
            "rookery_proxy_imap_commands_total",
            &[("command", "other"), ("outcome", "bad")],
            1.0,
        ),
        (
            "proxy",
            "rookery_proxy_imap_logins_total",
            &[("outcome", "failed")],
            2.0,
        ),
        (
            "proxy",
            "rookery_proxy_logins_throttled_total",
            &[("protocol", "imap")],
            1.0,
        ),
        (
            "proxy",
            "rookery_proxy_tls_handshakes_total",
            &[("outcome", "failed")],
            1.0,
        ),
        ("proxy", "rookery_proxy_connections_max", &[], 40_000.0),
    ] {
        assert_eq!(sum_of(cluster, role, name, labels), wanted, "{name} {labels:?}");
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    for node in &cluster.manifest().nodes {
        let page = page(&node.http);
        let ends = sum(&page, "rookery_certificate_not_after_seconds", &[("use", "node")]);
        assert!(ends > now, "{}: {ends}", node.id);
        assert_eq!(sum(&page, "rookery_process_ready", &[]), 1.0, "{}", node.id);
        assert!(
            sum(&page, "rookery_runtime_busy_seconds_total", &[]) > 0.0,
            "{}",
            node.id
        );
        if node.role == "mailstore" {
            assert!(sum(&page, "rookery_log_bytes", &[]) > 0.0, "{}", node.id);
            assert!(
                sum(&page, "rookery_store_memtable_bytes", &[]) > 0.0,
                "{}",
                node.id
            );
            let free = sum(&page, "rookery_mailstore_disk_free_bytes", &[]);
            assert!(free > 0.0 && free <= sum(&page, "rookery_mailstore_disk_bytes", &[]));
        }
    }
}

fn sessions_are_counted_where_they_stand(cluster: &Cluster) {
    let proxy = &cluster.node("proxy-2").http;
    let by_state = || {
        let page = page(proxy);
        let state = |state| sum(&page, "rookery_proxy_imap_sessions", &[("state", state)]);
        let states = ["not_authenticated", "authenticated", "selected", "idle"].map(state);
        (states, sum(&page, "rookery_proxy_connections", &[]))
    };
    wait_until("those of before have gone", || match by_state() {
        ([0.0, 0.0, 0.0, 0.0], 0.0) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let mut imap = ImapClient::connect(&cluster.proxy(1).imap).unwrap();
    assert_eq!(by_state(), ([1.0, 0.0, 0.0, 0.0], 1.0));
    imap.command("LOGIN user1@example.test playground")
        .unwrap()
        .ok()
        .unwrap();
    assert_eq!(by_state(), ([0.0, 1.0, 0.0, 0.0], 1.0));
    imap.command("SELECT INBOX").unwrap().ok().unwrap();
    assert_eq!(by_state(), ([0.0, 0.0, 1.0, 0.0], 1.0));
    let tag = imap.begin("IDLE").unwrap();
    imap.response().unwrap();
    assert_eq!(by_state(), ([0.0, 0.0, 0.0, 1.0], 1.0));
    imap.send(b"DONE\r\n").unwrap();
    imap.finish(&tag).unwrap().ok().unwrap();
    assert_eq!(by_state(), ([0.0, 0.0, 1.0, 0.0], 1.0));
}

fn nonsense_makes_no_series(cluster: &Cluster) {
    let proxy = &cluster.node("proxy-2").http;
    let series = || {
        let of_page = samples(&page(proxy)).into_iter();
        let series: BTreeSet<_> = of_page.map(|sample| (sample.name, sample.labels)).collect();
        series
    };
    let nonsense = |numbers: std::ops::Range<u32>| {
        let mut imap = ImapClient::login(&cluster.proxy(1).imap, "user1@example.test").unwrap();
        for number in numbers {
            let answer = imap.command(&format!("XYZZY{number} {number}")).unwrap();
            assert!(answer.tagged.starts_with("BAD"), "{}", answer.tagged);
            if number % 10 == 0 {
                // So that it is not sent away.
                imap.command("NOOP").unwrap().ok().unwrap();
            }
        }
        imap.command("LOGOUT").unwrap().ok().unwrap();
    };
    let nonsense_of_smtp = |numbers: std::ops::Range<u32>| {
        // After twenty errors it is sent away.
        let numbers: Vec<u32> = numbers.collect();
        for some in numbers.chunks(15) {
            let mut smtp = SmtpClient::hello(&cluster.proxy(1).smtp).unwrap();
            for number in some {
                let answer = smtp.command(&format!("XYZZY{number} {number}")).unwrap();
                answer.expect("500").unwrap();
            }
            smtp.command("QUIT").unwrap().expect("221").unwrap();
        }
    };
    nonsense(0..1);
    nonsense_of_smtp(0..1);
    let before = series();
    nonsense(1..1001);
    nonsense_of_smtp(1..1001);
    let after = series();
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:?}");
    let labels = [("command", "other")];
    let page = page(proxy);
    assert!(sum(&page, "rookery_proxy_imap_commands_total", &labels) >= 1001.0);
    assert!(sum(&page, "rookery_proxy_smtp_commands_total", &labels) >= 1001.0);
}

#[test]
fn a_node_that_is_to_measure_nothing_says_so() {
    let cluster = Cluster::start(&Options {
        single: true,
        mailstores: 1,
        proxies: 1,
        environment: vec![("ROOKERY__NODE__METRICS".to_owned(), "false".to_owned())],
        ..Options::default()
    })
    .unwrap();
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    smtp.deliver(&["user1@example.test".to_owned()], &messages::numbered(1, 1_000))
        .unwrap()
        .expect("250")
        .unwrap();
    for node in &cluster.manifest().nodes {
        let (status, said) = http::get(&node.http, "/metrics").unwrap();
        assert_eq!(status, 404, "{said}");
        assert!(said.contains("node.metrics = false"), "{said}");
        assert_eq!(http::get(&node.http, "/readyz").unwrap().0, 200);
    }
}
