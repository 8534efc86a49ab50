//! A directory or mailstore that is down: "try later", never "unknown user", and all comes back by itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use rookery_tests::{Cluster, ImapClient, SmtpClient, http, messages};

/// Longer than anything here is waited for: what takes longer is a defect.
const WAIT_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_directory_that_is_down_is_never_an_unknown_user() {
    let mut cluster = Cluster::three();
    let mut before = ImapClient::login(&cluster.proxy(0).imap, "user1@example.test").unwrap();
    before.command("SELECT INBOX").unwrap().ok().unwrap();
    cluster.kill("directory-1");

    let mut imap = ImapClient::connect(&cluster.proxy(0).imap).unwrap();
    for user in ["user2@example.test", "nobody@example.test"] {
        let answer = imap.command(&format!("LOGIN {user} playground")).unwrap();
        assert!(
            answer.tagged.starts_with("NO [UNAVAILABLE]"),
            "{user}: {}",
            answer.tagged
        );
    }
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    smtp.command("MAIL FROM:<sender@remote.test>")
        .unwrap()
        .expect("250")
        .unwrap();
    for user in ["user5@example.test", "nobody@example.test"] {
        let reply = smtp.command(&format!("RCPT TO:<{user}>")).unwrap();
        assert!(reply.code().starts_with('4'), "{user}: {}", reply.0);
    }
    // Sessions that are there go on.
    before.command("NOOP").unwrap().ok().unwrap();
    before.command("STATUS Drafts (MESSAGES)").unwrap().ok().unwrap();

    cluster.restart("directory-1").unwrap();
    let mut imap = login_when_back(&cluster, 0, "user2@example.test");
    imap.command("SELECT INBOX").unwrap().ok().unwrap();
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    smtp.deliver(&["user5@example.test".to_owned()], &messages::numbered(1, 100))
        .unwrap()
        .expect("250")
        .unwrap();
}

#[test]
fn proxies_stay_in_service_while_the_directory_is_away_and_logins_count() {
    let mut cluster = Cluster::three();
    let user = "user1@example.test";
    ImapClient::login(&cluster.proxy(0).imap, user).unwrap();
    let proxy = cluster.node("proxy-1").http.clone();
    assert_eq!(http::get(&proxy, "/readyz").unwrap().0, 200);

    cluster.kill("directory-1");
    wait_until_unheard(&proxy);
    let (status, said) = http::get(&proxy, "/readyz").unwrap();
    assert_eq!(status, 200, "who is known can still log in: {said}");
    let mut imap = ImapClient::login(&cluster.proxy(0).imap, user).unwrap();
    imap.command("SELECT INBOX").unwrap().ok().unwrap();

    // One that starts has nothing that anybody could come for before it has heard the directory once.
    let other = cluster.node("proxy-2").http.clone();
    cluster.kill("proxy-2");
    cluster.begin("proxy-2").unwrap();
    // It runs, and the directory is all that it lacks.
    wait_until(&other, |status, said| {
        status == 503 && said.starts_with("cluster: ") && !said.contains("process: ")
    });

    cluster.restart("directory-1").unwrap();
    wait_until(&other, |status, _| status == 200);
    assert_eq!(http::get(&proxy, "/readyz").unwrap().0, 200);
}

#[test]
fn a_proxy_that_keeps_no_logins_leaves_the_service_while_the_directory_is_away() {
    let mut cluster = Cluster::start(&rookery_tests::Options {
        environment: vec![("ROOKERY__PROXY__LOGINS_KEPT".to_owned(), "0s".to_owned())],
        ..Default::default()
    })
    .unwrap();
    let proxy = cluster.node("proxy-1").http.clone();
    cluster.kill("directory-1");
    wait_until(&proxy, |status, _| status == 503);
    cluster.restart("directory-1").unwrap();
    wait_until(&proxy, |status, _| status == 200);
}

/// Waits until a node's readiness is told so. One that starts may not listen yet.
fn wait_until(node: &str, wanted: impl Fn(u16, &str) -> bool) {
    let begun = Instant::now();
    loop {
        let told = http::get(node, "/readyz");
        if told.as_ref().is_ok_and(|(status, said)| wanted(*status, said)) {
            return;
        }
        assert!(begun.elapsed() < WAIT_MAX, "{told:?}");
    }
}

/// Waits until a proxy trusts nothing any more that it remembers of the directory, as its metrics tell.
fn wait_until_unheard(proxy: &str) {
    let begun = Instant::now();
    loop {
        let (_, metrics) = http::get(proxy, "/metrics").unwrap();
        let age = metrics
            .lines()
            .find_map(|line| line.strip_prefix("rookery_proxy_directory_age_seconds "));
        let age: f64 = age.expect("the age is told").trim().parse().unwrap();
        // Its watch counts for five seconds.
        if age > 6.0 {
            return;
        }
        assert!(begun.elapsed() < WAIT_MAX, "{age}");
    }
}

#[test]
fn a_mailstore_that_is_down_answers_later_and_comes_back() {
    let mut cluster = Cluster::start(&rookery_tests::Options {
        mailstores: 1,
        ..Default::default()
    })
    .unwrap();
    let mut imap = ImapClient::login(&cluster.proxy(0).imap, "user1@example.test").unwrap();
    cluster.kill("mailstore-1");
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    let reply = smtp
        .deliver(&["user1@example.test".to_owned()], &messages::numbered(1, 100))
        .unwrap();
    assert!(reply.code().starts_with('4'), "{}", reply.0);
    let answer = imap.command("SELECT INBOX").unwrap();
    assert!(answer.tagged.starts_with("NO [UNAVAILABLE]"), "{}", answer.tagged);
    // The same connections work once it is back.
    cluster.restart("mailstore-1").unwrap();
    imap.command("SELECT INBOX").unwrap().ok().unwrap();
    smtp.deliver(&["user1@example.test".to_owned()], &messages::numbered(2, 100))
        .unwrap()
        .expect("250")
        .unwrap();
    let selected = imap.command("SELECT INBOX").unwrap().ok().unwrap();
    assert_eq!(selected.exists(), Some(1), "what was refused is not there");
}

#[test]
fn a_disk_that_is_nearly_full_takes_no_mail_and_still_serves() {
    const FREE_MIN: &str = "ROOKERY__MAILSTORE__DISK_FREE_MIN";
    let mut cluster = Cluster::start(&rookery_tests::Options {
        mailstores: 1,
        ..Default::default()
    })
    .unwrap();
    let user = ["user1@example.test".to_owned()];
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    let mut imap = ImapClient::login(&cluster.proxy(1).imap, &user[0]).unwrap();
    smtp.deliver(&user, &messages::numbered(1, 100))
        .unwrap()
        .expect("250")
        .unwrap();

    // More than any disk has: it is nearly full from here on.
    cluster.kill("mailstore-1");
    cluster.set_environment(&[(FREE_MIN, "1000000TiB")]);
    cluster.restart("mailstore-1").unwrap();
    let reply = smtp.deliver(&user, &messages::numbered(2, 100)).unwrap();
    assert!(reply.code().starts_with('4'), "{}", reply.0);
    imap.command("SELECT INBOX").unwrap().ok().unwrap();
    for command in ["APPEND INBOX {4+}\r\na: b", "COPY 1 Archive", "CREATE more"] {
        let answer = imap.command(command).unwrap();
        assert!(
            answer.tagged.starts_with("NO [UNAVAILABLE]"),
            "{command}: {}",
            answer.tagged
        );
    }
    // What frees room goes on.
    for command in ["FETCH 1 BODY[]", "STORE 1 +FLAGS (\\Deleted)", "EXPUNGE"] {
        imap.command(command).unwrap().ok().unwrap();
    }

    cluster.kill("mailstore-1");
    cluster.set_environment(&[]);
    cluster.restart("mailstore-1").unwrap();
    smtp.deliver(&user, &messages::numbered(3, 100))
        .unwrap()
        .expect("250")
        .unwrap();
    let selected = imap.command("SELECT INBOX").unwrap().ok().unwrap();
    assert_eq!(selected.exists(), Some(1), "what was refused is not there");
}

/// Logs in; a proxy that has not yet heard the directory again says UNAVAILABLE for a moment.
fn login_when_back(cluster: &Cluster, proxy: usize, user: &str) -> ImapClient {
    let mut imap = ImapClient::connect(&cluster.proxy(proxy).imap).unwrap();
    loop {
        let answer = imap.command(&format!("LOGIN {user} playground")).unwrap();
        if answer.tagged.starts_with("OK") {
            return imap;
        }
        assert!(answer.tagged.starts_with("NO [UNAVAILABLE]"), "{}", answer.tagged);
        imap = ImapClient::connect(&cluster.proxy(proxy).imap).unwrap();
    }
}
