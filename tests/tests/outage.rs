//! A directory or mailstore that is down: "try later", never "unknown user", and all comes back by itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use rookery_tests::{Cluster, ImapClient, SmtpClient, messages};

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
