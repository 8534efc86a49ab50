//! `rookery status --hot`: who keeps a cluster busy is named.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, messages};
use serde_json::Value;

/// How long it may take until mailstores have said what they do.
const TOLD_MAX: Duration = Duration::from_secs(30);

fn hot(cluster: &Cluster) -> Value {
    let told = cluster.operate(&["--json", "status", "--hot", "5"], "").unwrap();
    serde_json::from_str(&told).unwrap()
}

#[test]
fn the_busiest_accounts_and_shards_are_named() {
    let cluster = Cluster::start(&Options {
        mailstores: 2,
        proxies: 1,
        accounts: 30,
        shards: Some(8),
        ..Options::default()
    })
    .unwrap();
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    let mut deliver = |user: u64, number: u64| {
        let recipient = format!("user{user}@example.test");
        let reply = smtp
            .deliver(&[recipient], &messages::numbered(number, 10_000))
            .unwrap();
        reply.expect("250").unwrap();
    };
    for number in 0..120 {
        deliver(7, number);
        if number < 30 {
            deliver(number + 1, 1000 + number);
        }
    }
    let mut imap = ImapClient::login(&cluster.proxy(0).imap, "user9@example.test").unwrap();
    imap.command("SELECT INBOX").unwrap().ok().unwrap();
    for _ in 0..300 {
        imap.command("FETCH 1 (BODY.PEEK[])").unwrap().ok().unwrap();
    }

    let number = |held: &Value| held.as_u64().unwrap();
    let began = Instant::now();
    let told = loop {
        // Shards are asked for before accounts: what both say need not be of one moment.
        let told = hot(&cluster);
        let accounts = ["user9", "user7"].map(|user| format!("{user}@example.test"));
        let are_named = (0..2).all(|at| told["accounts"][at]["address"] == accounts[at]);
        let shards: Vec<u64> = (0..2).map(|at| number(&told["shards"][at]["shard"])).collect();
        if are_named && (0..2).all(|at| shards.contains(&number(&told["accounts"][at]["shard"]))) {
            break told;
        }
        assert!(began.elapsed() < TOLD_MAX, "{told}");
        std::thread::sleep(Duration::from_millis(500));
    };
    assert_eq!(told["accounts"].as_array().unwrap().len(), 5, "{told}");
    let [reader, receiver] = [0, 1].map(|at| number(&told["accounts"][at]["bytes_per_second"]));
    // 300 times 10 kB and 121 times, over the same time.
    assert!(reader > receiver && receiver > 0, "{told}");

    let cpu = |of: &str| number(&told[of][0]["cpu_ppm"]);
    assert!(cpu("accounts") > 0 && cpu("shards") > 0, "{told}");

    let text = cluster.operate(&["status", "--hot"], "").unwrap();
    assert!(
        text.contains("user9@example.test") && text.contains("OPS/S"),
        "{text}"
    );
    for wrong in ["0", "101", "many"] {
        let output = cluster.try_operate(&["status", "--hot", wrong], "").unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}
