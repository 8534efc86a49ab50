//! Mail goes in through one proxy and comes out of another, wherever its account lies.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use rookery_tests::imap::literals;
use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, messages};

#[test]
fn what_comes_in_through_one_proxy_is_read_through_another() {
    let cluster = Cluster::three();
    let message = messages::numbered(1, 5_000);
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    smtp.deliver(&["user1@example.test".to_owned()], &message)
        .unwrap()
        .expect("250")
        .unwrap();

    let mut imap = ImapClient::login(&cluster.proxy(1).imap, "user1@example.test").unwrap();
    let selected = imap.command("SELECT INBOX").unwrap().ok().unwrap();
    assert_eq!(selected.exists(), Some(1), "{:?}", selected.lines());
    let fetched = imap.command("FETCH 1 BODY.PEEK[]").unwrap().ok().unwrap();
    let body = String::from_utf8(literals(&fetched.untagged[0]).remove(0)).unwrap();
    assert!(
        body.ends_with(&message),
        "the message as it was sent comes last: {body}"
    );
    let trace = &body[..body.len() - message.len()];
    assert!(
        trace.starts_with("Return-Path: <sender@remote.test>\r\n"),
        "{trace}"
    );
    assert!(trace.contains("\r\nReceived: "), "{trace}");
}

#[test]
fn accounts_are_spread_over_the_mailstores() {
    let cluster = Cluster::start(&Options {
        accounts: 60,
        ..Options::default()
    })
    .unwrap();
    let listed = cluster.operate(&["account", "list", "--json"], "").unwrap();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let mut counts = std::collections::BTreeMap::new();
    for account in listed["accounts"].as_array().unwrap() {
        *counts
            .entry(account["node"].as_str().unwrap().to_owned())
            .or_insert(0) += 1;
    }
    assert_eq!(counts.values().sum::<i32>(), 60, "{counts:?}");
    assert_eq!(counts.len(), 3, "each mailstore has accounts: {counts:?}");
}

#[test]
fn fifty_recipients_on_three_mailstores_get_one_each() {
    let cluster = Cluster::start(&Options {
        accounts: 50,
        ..Options::default()
    })
    .unwrap();
    let recipients: Vec<String> = (1..=50)
        .map(|number| format!("user{number}@example.test"))
        .collect();
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    smtp.deliver(&recipients, &messages::numbered(7, 20_000))
        .unwrap()
        .expect("250")
        .unwrap();
    for recipient in &recipients {
        assert_eq!(inbox_count(&cluster, 1, recipient), 1, "{recipient}");
    }
}

#[test]
fn a_mailstore_killed_in_the_middle_loses_and_doubles_nothing() {
    let mut cluster = Cluster::start(&Options {
        accounts: 50,
        ..Options::default()
    })
    .unwrap();
    let recipients: Vec<String> = (1..=50)
        .map(|number| format!("user{number}@example.test"))
        .collect();
    let message = messages::numbered(8, 20_000);
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    smtp.command("MAIL FROM:<sender@remote.test>")
        .unwrap()
        .expect("250")
        .unwrap();
    for recipient in &recipients {
        smtp.command(&format!("RCPT TO:<{recipient}>"))
            .unwrap()
            .expect("250")
            .unwrap();
    }
    smtp.command("DATA").unwrap().expect("354").unwrap();
    let data = rookery_tests::smtp::stuffed(&message);
    let (first, second) = data.split_at(data.len() / 2);
    smtp.send(first.as_bytes()).unwrap();
    cluster.kill("mailstore-2");
    smtp.send(second.as_bytes()).unwrap();
    // Either the rest is kept as hand-offs, or the mailstore is back before the proxy's patience ends.
    cluster.restart("mailstore-2").unwrap();
    smtp.reply().unwrap().expect("250").unwrap();
    for recipient in &recipients {
        wait_for_inbox(&cluster, recipient, 1);
    }
    for recipient in &recipients {
        assert_eq!(inbox_count(&cluster, 1, recipient), 1, "{recipient}");
    }
}

#[test]
fn recipients_of_a_dead_mailstore_are_handed_off_and_delivered_when_it_is_back() {
    let mut cluster = Cluster::start(&Options {
        accounts: 50,
        ..Options::default()
    })
    .unwrap();
    let recipients: Vec<String> = (1..=50)
        .map(|number| format!("user{number}@example.test"))
        .collect();
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    cluster.kill("mailstore-3");
    smtp.deliver(&recipients, &messages::numbered(9, 300_000))
        .unwrap()
        .expect("250")
        .unwrap();
    cluster.restart("mailstore-3").unwrap();
    for recipient in &recipients {
        wait_for_inbox(&cluster, recipient, 1);
    }
    for recipient in &recipients {
        assert_eq!(inbox_count(&cluster, 1, recipient), 1, "{recipient}");
    }
}

fn inbox_count(cluster: &Cluster, proxy: usize, user: &str) -> u32 {
    let mut imap = ImapClient::login(&cluster.proxy(proxy).imap, user).unwrap();
    imap.command("EXAMINE INBOX")
        .unwrap()
        .ok()
        .unwrap()
        .exists()
        .unwrap()
}

/// Waits in IDLE until the INBOX holds so many messages.
fn wait_for_inbox(cluster: &Cluster, user: &str, count: u32) {
    let mut imap = ImapClient::login(&cluster.proxy(0).imap, user).unwrap();
    let mut held = imap
        .command("EXAMINE INBOX")
        .unwrap()
        .ok()
        .unwrap()
        .exists()
        .unwrap();
    if held >= count {
        return;
    }
    imap.begin("IDLE").unwrap();
    assert!(imap.response().unwrap().starts_with(b"+"));
    while held < count {
        let response = String::from_utf8(imap.response().unwrap()).unwrap();
        if let Some(exists) = response
            .strip_prefix("* ")
            .and_then(|rest| rest.strip_suffix(" EXISTS"))
        {
            held = exists.parse().unwrap();
        }
    }
}
