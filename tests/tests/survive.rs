//! A mailstore that dies, or stands still, in the midst of what its clients do: no connection ends, nothing is lost, nothing
//! is there twice.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::atomic::{AtomicUsize, Ordering};

use rookery_tests::imap::literals;
use rookery_tests::smtp::stuffed;
use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, messages};

const NODE: &str = "mailstore-1";
const USER: &str = "user1@example.test";

/// Bytes of a large message.
const LARGE: usize = 50_000_000;

/// Bytes of it that the client has sent or read when the mailstore dies: much more than lies in all buffers together.
const HALF: usize = 25_000_000;

/// One mailstore, so that all hangs on it.
fn cluster() -> Cluster {
    let options = Options {
        mailstores: 1,
        ..Options::default()
    };
    Cluster::start(&options).unwrap()
}

fn login(cluster: &Cluster, proxy: usize) -> ImapClient {
    let mut imap = ImapClient::login(&cluster.proxy(proxy).imap, USER).unwrap();
    imap.command("SELECT INBOX").unwrap().ok().unwrap();
    imap
}

/// The messages of a mailbox, as they were stored.
fn contents(imap: &mut ImapClient, mailbox: &str) -> Vec<Vec<u8>> {
    let selected = imap.command(&format!("EXAMINE {mailbox}")).unwrap().ok().unwrap();
    if selected.exists() == Some(0) {
        return Vec::new();
    }
    let fetched = imap.command("FETCH 1:* BODY.PEEK[]").unwrap().ok().unwrap();
    let responses = fetched.untagged.iter();
    responses.flat_map(|response| literals(response)).collect()
}

/// Fails with a short message: nobody wants to read 50 MB.
fn assert_same(found: &[u8], sent: &[u8]) {
    assert_eq!(found.len(), sent.len());
    assert!(found == sent, "the bytes are others");
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

fn data(smtp: &mut SmtpClient, recipients: &[String]) {
    smtp.command("MAIL FROM:<sender@remote.test>")
        .unwrap()
        .expect("250")
        .unwrap();
    for recipient in recipients {
        smtp.command(&format!("RCPT TO:<{recipient}>"))
            .unwrap()
            .expect("250")
            .unwrap();
    }
    smtp.command("DATA").unwrap().expect("354").unwrap();
}

/// Sends bytes, and does something else when half of them have gone out.
fn send_and_meanwhile(mut send: impl FnMut(&[u8]) + Send, bytes: &[u8], meanwhile: impl FnOnce()) {
    let sent = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for piece in bytes.chunks(100_000) {
                send(piece);
                sent.fetch_add(piece.len(), Ordering::SeqCst);
            }
        });
        while sent.load(Ordering::SeqCst) < HALF {
            std::thread::yield_now();
        }
        meanwhile();
    });
}

#[test]
fn commands_wait_for_a_mailstore_that_was_killed() {
    let mut cluster = cluster();
    let mut first = login(&cluster, 0);
    let mut second = login(&cluster, 1);
    first
        .append("INBOX", "()", &messages::numbered(1, 3_000))
        .unwrap()
        .ok()
        .unwrap();
    second.command("NOOP").unwrap().ok().unwrap();

    // The calls are with a process that stands still when it is killed: nobody knows what became of them.
    cluster.pause(NODE);
    let store = first.begin("STORE 1 +FLAGS ($Once)").unwrap();
    let search = second.begin("SEARCH FROM sender").unwrap();
    cluster.kill(NODE);
    // This one finds nobody at all.
    let mut third = ImapClient::connect(&cluster.proxy(1).imap).unwrap();
    third
        .command(&format!("LOGIN {USER} playground"))
        .unwrap()
        .ok()
        .unwrap();
    let list = third.begin("LIST \"\" *").unwrap();
    cluster.restart(NODE).unwrap();

    first.finish(&store).unwrap().ok().unwrap();
    assert_eq!(second.finish(&search).unwrap().ok().unwrap().search(), [1]);
    assert!(!third.finish(&list).unwrap().ok().unwrap().untagged.is_empty());
    // The sessions know what they knew.
    let fetched = second.command("FETCH 1 FLAGS").unwrap().ok().unwrap();
    assert!(
        fetched.lines().iter().any(|line| line.contains("$Once")),
        "{:?}",
        fetched.lines()
    );
    assert_eq!(contents(&mut third, "INBOX").len(), 1);
}

#[test]
fn idle_hears_of_what_came_while_its_mailstore_was_away_and_afterwards() {
    let mut cluster = cluster();
    let mut watcher = login(&cluster, 0);
    let idle = watcher.begin("IDLE").unwrap();
    until(&mut watcher, "+ ");
    let deliver = |cluster: &Cluster, number: u64| {
        let mut smtp = SmtpClient::hello(&cluster.proxy(1).smtp).unwrap();
        let recipients = [USER.to_owned()];
        let reply = smtp
            .deliver(&recipients, &messages::numbered(number, 100))
            .unwrap();
        reply.expect("250").unwrap();
    };
    // Sent while nobody is there, and stored by whoever comes back.
    cluster.kill(NODE);
    std::thread::scope(|scope| {
        let cluster = &mut cluster;
        let address = cluster.proxy(1).smtp.clone();
        let sender = scope.spawn(move || {
            let mut smtp = SmtpClient::hello(&address).unwrap();
            data(&mut smtp, &[USER.to_owned()]);
            smtp.send(stuffed(&messages::numbered(1, 100)).as_bytes())
                .unwrap();
            smtp.reply().unwrap().expect("250").unwrap();
        });
        cluster.restart(NODE).unwrap();
        sender.join().unwrap();
    });
    until(&mut watcher, "* 1 EXISTS");
    deliver(&cluster, 2);
    until(&mut watcher, "* 2 EXISTS");
    // One that stands still is the same to who waits.
    cluster.pause(NODE);
    cluster.resume(NODE);
    deliver(&cluster, 3);
    until(&mut watcher, "* 3 EXISTS");
    watcher.send(b"DONE\r\n").unwrap();
    watcher.finish(&idle).unwrap().ok().unwrap();
}

#[test]
fn an_append_that_is_half_sent_goes_on() {
    let mut cluster = cluster();
    let mut imap = login(&cluster, 0);
    let small = messages::numbered(1, 20_000);
    let tag = imap.begin(&format!("APPEND INBOX {{{}}}", small.len())).unwrap();
    until(&mut imap, "+ ");
    imap.send(&small.as_bytes()[..10_000]).unwrap();
    cluster.kill(NODE);
    imap.send(&small.as_bytes()[10_000..]).unwrap();
    imap.send(b"\r\n").unwrap();
    cluster.restart(NODE).unwrap();
    assert!(
        imap.finish(&tag)
            .unwrap()
            .ok()
            .unwrap()
            .code("APPENDUID")
            .is_some()
    );

    let large = messages::numbered(2, LARGE);
    let tag = imap
        .begin(&format!("APPEND Archive {{{}}}", large.len()))
        .unwrap();
    until(&mut imap, "+ ");
    let mut imap = std::sync::Mutex::new(imap);
    send_and_meanwhile(
        |piece| imap.lock().unwrap().send(piece).unwrap(),
        large.as_bytes(),
        || {
            cluster.kill(NODE);
            cluster.restart(NODE).unwrap();
        },
    );
    let imap = imap.get_mut().unwrap();
    imap.send(b"\r\n").unwrap();
    assert!(
        imap.finish(&tag)
            .unwrap()
            .ok()
            .unwrap()
            .code("APPENDUID")
            .is_some()
    );

    let inbox = contents(imap, "INBOX");
    assert_eq!(inbox.len(), 1);
    assert_same(&inbox[0], small.as_bytes());
    let archive = contents(imap, "Archive");
    assert_eq!(archive.len(), 1);
    assert_same(&archive[0], large.as_bytes());
}

#[test]
fn a_body_that_is_half_read_goes_on_at_the_next_byte() {
    let mut cluster = cluster();
    let mut imap = login(&cluster, 0);
    let large = messages::numbered(1, LARGE);
    imap.append("INBOX", "()", &large).unwrap().ok().unwrap();
    imap.append("INBOX", "()", &messages::numbered(2, 100))
        .unwrap()
        .ok()
        .unwrap();

    let tag = imap.begin("FETCH 1:* (UID BODY.PEEK[])").unwrap();
    let announced = format!("* 1 FETCH (UID 1 BODY[] {{{}}}", large.len());
    assert_eq!(imap.line().unwrap(), announced);
    let mut body = imap.bytes(HALF).unwrap();
    cluster.kill(NODE);
    cluster.restart(NODE).unwrap();
    body.extend(imap.bytes(10_000_000).unwrap());
    cluster.pause(NODE);
    cluster.resume(NODE);
    body.extend(imap.bytes(large.len() - body.len()).unwrap());
    assert_same(&body, large.as_bytes());
    assert_eq!(imap.line().unwrap(), ")");
    let rest = imap.finish(&tag).unwrap().ok().unwrap();
    assert_eq!(rest.untagged.len(), 1, "the second message, once");
    assert!(rest.untagged[0].ends_with(b")"));
}

#[test]
fn a_mailstore_that_is_restarted_in_order_ends_nothing() {
    let mut cluster = cluster();
    let (mut watcher, mut reader, mut writer) = (login(&cluster, 0), login(&cluster, 0), login(&cluster, 1));
    let large = messages::numbered(1, LARGE);
    writer.append("INBOX", "()", &large).unwrap().ok().unwrap();
    let idle = watcher.begin("IDLE").unwrap();
    until(&mut watcher, "* 1 EXISTS");
    reader.command("NOOP").unwrap().ok().unwrap();
    let fetch = reader.begin("FETCH 1 BODY.PEEK[]").unwrap();
    assert_eq!(
        reader.line().unwrap(),
        format!("* 1 FETCH (BODY[] {{{}}}", large.len())
    );
    let mut body = reader.bytes(HALF).unwrap();
    let new = messages::numbered(2, HALF);
    let append = writer.begin(&format!("APPEND INBOX {{{}}}", new.len())).unwrap();
    until(&mut writer, "+ ");
    writer.send(&new.as_bytes()[..HALF / 2]).unwrap();

    cluster.stop(NODE);
    cluster.restart(NODE).unwrap();

    writer.send(&new.as_bytes()[HALF / 2..]).unwrap();
    writer.send(b"\r\n").unwrap();
    writer.finish(&append).unwrap().ok().unwrap();
    body.extend(reader.bytes(large.len() - body.len()).unwrap());
    assert_same(&body, large.as_bytes());
    assert_eq!(reader.line().unwrap(), ")");
    reader.finish(&fetch).unwrap().ok().unwrap();
    until(&mut watcher, "* 2 EXISTS");
    watcher.send(b"DONE\r\n").unwrap();
    watcher.finish(&idle).unwrap().ok().unwrap();
    let inbox = contents(&mut reader, "INBOX");
    assert_eq!(inbox.len(), 2);
    assert_same(&inbox[1], new.as_bytes());
}

#[test]
fn a_message_that_is_half_sent_over_smtp_is_stored_once() {
    let mut cluster = cluster();
    let recipients = [USER.to_owned(), "user2@example.test".to_owned()];
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    let small = messages::numbered(1, 20_000);
    let content = stuffed(&small);
    data(&mut smtp, &recipients);
    smtp.send(&content.as_bytes()[..10_000]).unwrap();
    cluster.kill(NODE);
    smtp.send(&content.as_bytes()[10_000..]).unwrap();
    cluster.restart(NODE).unwrap();
    smtp.reply().unwrap().expect("250").unwrap();

    let large = messages::numbered(2, LARGE);
    data(&mut smtp, &recipients);
    let mut smtp = std::sync::Mutex::new(smtp);
    send_and_meanwhile(
        |piece| smtp.lock().unwrap().send(piece).unwrap(),
        stuffed(&large).as_bytes(),
        || {
            cluster.kill(NODE);
            cluster.restart(NODE).unwrap();
            cluster.pause(NODE);
            cluster.resume(NODE);
        },
    );
    let smtp = smtp.get_mut().unwrap();
    smtp.reply().unwrap().expect("250").unwrap();
    smtp.command("NOOP").unwrap().expect("250").unwrap();

    for user in recipients {
        let mut imap = ImapClient::login(&cluster.proxy(1).imap, &user).unwrap();
        let inbox = contents(&mut imap, "INBOX");
        assert_eq!(inbox.len(), 2, "{user}");
        for (found, sent) in inbox.iter().zip([&small, &large]) {
            // Behind the header lines of the delivery.
            assert_same(&found[found.len() - sent.len()..], sent.as_bytes());
        }
    }
}

#[test]
fn a_large_message_for_several_nodes_loses_none_of_them() {
    let mut cluster = Cluster::three();
    let recipients: Vec<String> = (1..=10).map(|user| format!("user{user}@example.test")).collect();
    let large = messages::numbered(1, LARGE);
    for address in [cluster.proxy(0).smtp.clone(), cluster.proxy(0).lmtp.clone()] {
        let is_lmtp = address == cluster.proxy(0).lmtp;
        let mut client = SmtpClient::connect(&address).unwrap();
        let hello = if is_lmtp {
            "LHLO client.test"
        } else {
            "EHLO client.test"
        };
        client.command(hello).unwrap().expect("250").unwrap();
        data(&mut client, &recipients);
        let mut client = std::sync::Mutex::new(client);
        send_and_meanwhile(
            |piece| client.lock().unwrap().send(piece).unwrap(),
            stuffed(&large).as_bytes(),
            || {
                cluster.kill("mailstore-2");
                cluster.restart("mailstore-2").unwrap();
            },
        );
        let client = client.get_mut().unwrap();
        for _ in 0..if is_lmtp { recipients.len() } else { 1 } {
            client.reply().unwrap().expect("250").unwrap();
        }
    }
    for user in &recipients {
        let mut imap = ImapClient::login(&cluster.proxy(1).imap, user).unwrap();
        let inbox = contents(&mut imap, "INBOX");
        assert_eq!(inbox.len(), 2, "{user}");
        for found in inbox {
            assert_same(&found[found.len() - large.len()..], large.as_bytes());
        }
    }
}

#[test]
fn who_has_logged_in_lately_needs_no_directory_for_a_while() {
    let mut cluster = Cluster::three();
    let _before = login(&cluster, 0);
    cluster.kill("directory-1");
    let mut again = login(&cluster, 0);
    again
        .append("INBOX", "()", &messages::numbered(1, 100))
        .unwrap()
        .ok()
        .unwrap();
    // What only the directory knows.
    let mut imap = ImapClient::connect(&cluster.proxy(0).imap).unwrap();
    for login in [
        "LOGIN user1@example.test wrong",
        "LOGIN user2@example.test playground",
        "LOGIN nobody@example.test playground",
    ] {
        let answer = imap.command(login).unwrap();
        assert!(
            answer.tagged.starts_with("NO [UNAVAILABLE]"),
            "{login}: {}",
            answer.tagged
        );
    }
    // The other proxy has not seen the user.
    let mut imap = ImapClient::connect(&cluster.proxy(1).imap).unwrap();
    let answer = imap.command(&format!("LOGIN {USER} playground")).unwrap();
    assert!(answer.tagged.starts_with("NO [UNAVAILABLE]"), "{}", answer.tagged);

    let mut smtp = SmtpClient::hello(&cluster.proxy(0).submission).unwrap();
    // user2 and user1, each with the playground's password.
    smtp.command("AUTH PLAIN AHVzZXIyQGV4YW1wbGUudGVzdABwbGF5Z3JvdW5k")
        .unwrap()
        .expect("454 4.7.0")
        .unwrap();
    smtp.command("AUTH PLAIN AHVzZXIxQGV4YW1wbGUudGVzdABwbGF5Z3JvdW5k")
        .unwrap()
        .expect("235")
        .unwrap();

    cluster.restart("directory-1").unwrap();
    again.command("NOOP").unwrap().ok().unwrap();
}
