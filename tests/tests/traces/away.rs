//! Collectors that take nothing: mail does not wait for them, and what they miss is counted.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, http, messages};

use crate::collector::Collector;

/// How long an export waits for the collector here. Whatever waited for one would take as long.
const EXPORT_MAX: Duration = Duration::from_secs(120);

/// Longer than mail takes, and much shorter than an export.
const MAIL_MAX: Duration = Duration::from_secs(40);

fn cluster(endpoint: &str, queue_max: u32) -> Cluster {
    let environment = [
        ("ROOKERY__TRACES__ENDPOINT", endpoint.to_owned()),
        ("ROOKERY__TRACES__SAMPLE", "1.0".to_owned()),
        ("ROOKERY__TRACES__QUEUE_MAX", queue_max.to_string()),
        ("ROOKERY__TRACES__TIMEOUT", format!("{}s", EXPORT_MAX.as_secs())),
    ];
    Cluster::start(&Options {
        mailstores: 1,
        proxies: 1,
        accounts: 1,
        environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
        ..Options::default()
    })
    .unwrap()
}

/// Delivers messages and reads them.
fn mail(cluster: &Cluster, numbers: std::ops::Range<u64>) {
    let began = Instant::now();
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    for number in numbers.clone() {
        let delivered = smtp.deliver(
            &["user1@example.test".to_owned()],
            &messages::numbered(number, 500),
        );
        delivered.unwrap().expect("250").unwrap();
    }
    let mut imap = ImapClient::login(&cluster.proxy(0).imap, "user1@example.test").unwrap();
    let selected = imap.command("SELECT INBOX").unwrap().ok().unwrap();
    assert_eq!(selected.exists().map(u64::from), Some(numbers.end));
    assert!(began.elapsed() < MAIL_MAX, "mail waited: {:?}", began.elapsed());
}

/// Spans that a node has lost so far.
fn lost(cluster: &Cluster, node: &str, reason: &str) -> u64 {
    let (status, page) = http::get(&cluster.node(node).http, "/metrics").unwrap();
    assert_eq!(status, 200);
    let start = format!("rookery_process_spans_lost_total{{reason=\"{reason}\"}} ");
    let held = page.lines().find_map(|line| line.strip_prefix(&start));
    held.map_or(0, |count| count.parse().unwrap())
}

/// Stops all nodes and says how long that took.
fn stop(cluster: &mut Cluster) -> Duration {
    let began = Instant::now();
    for id in ["proxy-1", "mailstore-1", "directory-1"] {
        cluster.stop(id);
    }
    began.elapsed()
}

#[test]
fn a_collector_that_never_answers_costs_spans_and_no_time() {
    // Connections are made by the system, and nobody ever reads them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut cluster = cluster(&format!("http://{}", silent.local_addr().unwrap()), 8);
    // What comes while the first export waits fills the queue.
    let mut delivered = 0;
    while ["proxy-1", "mailstore-1"]
        .iter()
        .any(|node| lost(&cluster, node, "queue_full") == 0)
    {
        assert!(delivered < 1_000, "the queue has room without end");
        mail(&cluster, delivered..delivered + 20);
        delivered += 20;
    }
    let took = stop(&mut cluster);
    assert!(took < MAIL_MAX, "nodes waited for the collector: {took:?}");
}

#[test]
fn a_collector_that_dies_costs_spans_and_no_time() {
    let mut collector = Collector::start().unwrap();
    let mut cluster = cluster(collector.endpoint(), 4096);
    mail(&cluster, 0..5);
    collector.kill();
    mail(&cluster, 5..50);
    // The system refuses a connection to a port that nobody listens at, so that exports fail at once.
    let until = Instant::now() + MAIL_MAX;
    while lost(&cluster, "proxy-1", "export") == 0 {
        assert!(Instant::now() < until, "nothing was counted as lost");
        std::thread::sleep(Duration::from_millis(50));
    }
    let took = stop(&mut cluster);
    assert!(took < MAIL_MAX, "nodes waited for the collector: {took:?}");
}
