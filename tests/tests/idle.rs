//! IDLE sees what others do, through another proxy, as soon as it commits; commands are answered in order.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use rookery_tests::{Cluster, ImapClient, SmtpClient, messages};

fn idle(client: &mut ImapClient) -> String {
    let tag = client.begin("IDLE").unwrap();
    let go_on = client.response().unwrap();
    assert!(go_on.starts_with(b"+"), "{:?}", String::from_utf8_lossy(&go_on));
    tag
}

/// Reads responses until one holds the text.
fn until(client: &mut ImapClient, text: &str) -> String {
    loop {
        let response = String::from_utf8(client.response().unwrap()).unwrap();
        if response.contains(text) {
            return response;
        }
    }
}

#[test]
fn idle_sees_delivery_flags_and_expunge_of_others() {
    let cluster = Cluster::three();
    let user = "user3@example.test";
    let mut watcher = ImapClient::login(&cluster.proxy(0).imap, user).unwrap();
    watcher.command("SELECT INBOX").unwrap().ok().unwrap();
    let tag = idle(&mut watcher);

    let mut smtp = SmtpClient::hello(&cluster.proxy(1).smtp).unwrap();
    smtp.deliver(&[user.to_owned()], &messages::numbered(1, 100))
        .unwrap()
        .expect("250")
        .unwrap();
    until(&mut watcher, "* 1 EXISTS");

    let mut other = ImapClient::login(&cluster.proxy(1).imap, user).unwrap();
    other.command("SELECT INBOX").unwrap().ok().unwrap();
    other.command("STORE 1 +FLAGS (\\Flagged)").unwrap().ok().unwrap();
    assert!(until(&mut watcher, "* 1 FETCH").contains("\\Flagged"));
    other.command("STORE 1 +FLAGS (\\Deleted)").unwrap().ok().unwrap();
    other.command("EXPUNGE").unwrap().ok().unwrap();
    until(&mut watcher, "* 1 EXPUNGE");

    // Lower case is what some clients send.
    watcher.send(b"done\r\n").unwrap();
    watcher.finish(&tag).unwrap().ok().unwrap();
    assert_eq!(
        watcher
            .command("STATUS INBOX (MESSAGES)")
            .unwrap()
            .ok()
            .unwrap()
            .lines(),
        ["* STATUS INBOX (MESSAGES 0)"]
    );
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let cluster = Cluster::single();
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    for number in 0..50 {
        let message = messages::numbered(number, 20_000);
        smtp.deliver(&["user1@example.test".to_owned()], &message)
            .unwrap()
            .expect("250")
            .unwrap();
    }
    let mut imap = ImapClient::connect(&cluster.proxy(0).imap).unwrap();
    imap.send(
        b"a LOGIN user1@example.test playground\r\n\r\nb SELECT INBOX\r\nc FETCH 1:* BODY.PEEK[]\r\n\
          d STORE 1 +FLAGS (\\Seen)\r\ne SEARCH SEEN\r\nf NOOP\r\ng LOGOUT\r\n",
    )
    .unwrap();
    let mut tags = Vec::new();
    let mut fetched = 0;
    while tags.last().map(String::as_str) != Some("g") {
        let response = imap.response().unwrap();
        let head = String::from_utf8_lossy(&response[..response.len().min(60)]).into_owned();
        if head.starts_with("* ") {
            if head.contains("FETCH (BODY[]") {
                assert_eq!(
                    tags,
                    ["a", "b"],
                    "FETCH data comes between the answers of SELECT and FETCH"
                );
                fetched += 1;
            }
            if head.starts_with("* SEARCH") {
                assert_eq!(head, "* SEARCH 1");
            }
            continue;
        }
        tags.push(head.split(' ').next().unwrap().to_owned());
    }
    assert_eq!(tags, ["a", "b", "c", "d", "e", "f", "g"]);
    assert_eq!(fetched, 50);
    assert!(imap.response().is_err(), "LOGOUT closes the connection");
}

#[test]
fn a_suspended_account_ends_its_sessions() {
    let cluster = Cluster::three();
    let user = "user4@example.test";
    let mut watcher = ImapClient::login(&cluster.proxy(0).imap, user).unwrap();
    watcher.command("SELECT INBOX").unwrap().ok().unwrap();
    idle(&mut watcher);
    cluster.operate(&["account", "suspend", user], "").unwrap();
    until(&mut watcher, "* BYE");
    let refused = ImapClient::login(&cluster.proxy(1).imap, user)
        .err()
        .unwrap()
        .to_string();
    assert!(refused.contains("NO"), "{refused}");
    let mut smtp = SmtpClient::hello(&cluster.proxy(1).smtp).unwrap();
    smtp.command("MAIL FROM:<sender@remote.test>")
        .unwrap()
        .expect("250")
        .unwrap();
    smtp.command(&format!("RCPT TO:<{user}>"))
        .unwrap()
        .expect("450")
        .unwrap();
    cluster
        .operate(&["account", "suspend", "--resume", user], "")
        .unwrap();
    ImapClient::login(&cluster.proxy(1).imap, user).unwrap();
}
