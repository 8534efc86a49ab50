//! Bad input: a clear error of the protocol, bounded memory, nobody else's connection affected.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;
use std::net::TcpStream;

use rookery_tests::imap::literals;
use rookery_tests::{Cluster, ImapClient, SmtpClient, messages};

/// Memory that a process may gain by one hostile input, in KiB.
const GROWTH_MAX_KIB: u64 = 60 * 1024;

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Runs something hostile; the process must not have grown much, and others must be served.
fn bounded(cluster: &Cluster, what: &str, hostile: impl FnOnce()) {
    let pid = cluster.manifest().nodes[0].pid;
    let before = resident_kib(pid);
    hostile();
    let after = resident_kib(pid);
    assert!(
        after < before + GROWTH_MAX_KIB,
        "{what}: {before} KiB before, {after} KiB after"
    );
    let mut other = ImapClient::login(&cluster.proxy(0).imap, "user9@example.test").unwrap();
    other.command("NOOP").unwrap().ok().unwrap();
}

fn imap(cluster: &Cluster) -> ImapClient {
    ImapClient::login(&cluster.proxy(0).imap, "user8@example.test").unwrap()
}

#[test]
fn junk_gets_bad_and_the_session_goes_on() {
    let cluster = Cluster::single();
    let mut client = imap(&cluster);
    for line in [
        "FETCH 1 BODY[HEADER.FIELDS]",
        "FETCH 1 BODY[1.MIME.2]",
        "FETCH 1 BODY[0]",
        "FETCH 0 FLAGS",
        "FETCH 1:2:3 FLAGS",
        "FETCH 4294967296 FLAGS",
        "SEARCH (",
        "SEARCH SINCE 32-Jan-2020",
        "STORE 1 FLAGS (\\Recent)",
        "NONSENSE",
        "SELECT",
        "APPEND INBOX (\\Seen {3}",
        "LIST \"\" \"unterminated",
    ] {
        client.command("SELECT INBOX").unwrap().ok().unwrap();
        let answer = client.command(line).unwrap();
        assert!(answer.tagged.starts_with("BAD"), "{line}: {}", answer.tagged);
    }
    client.command("NOOP").unwrap().ok().unwrap();
}

#[test]
fn eight_bit_junk_and_nul_are_answered() {
    let cluster = Cluster::single();
    for bytes in [
        &b"\xff\xfe\x80\x81\r\n"[..],
        b"a \0NOOP\r\n",
        b"a LOGIN \xc3\x28 x\r\n",
        b")(\r\n",
    ] {
        let mut client = ImapClient::connect(&cluster.proxy(0).imap).unwrap();
        client.send(bytes).unwrap();
        let answer = String::from_utf8_lossy(&client.response().unwrap()).into_owned();
        assert!(answer.contains("BAD"), "{bytes:?}: {answer}");
    }
}

#[test]
fn endless_lines_cost_bounded_memory() {
    let cluster = Cluster::single();
    bounded(&cluster, "an IMAP line of 100 MB", || {
        flood(&cluster.proxy(0).imap, b"a NOOP ", 100 << 20)
    });
    bounded(&cluster, "an SMTP line of 100 MB", || {
        flood(&cluster.proxy(0).smtp, b"NOOP ", 100 << 20)
    });
    bounded(&cluster, "an LMTP line of 100 MB", || {
        flood(&cluster.proxy(0).lmtp, b"LHLO ", 100 << 20)
    });
}

/// Sends a line without an end until it is all sent or the server closes.
fn flood(address: &str, start: &[u8], size: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    let chunk = vec![b'x'; 1 << 16];
    let mut sent = 0;
    if stream.write_all(start).is_err() {
        return;
    }
    // A server that has had enough closes: that is its right.
    while sent < size && stream.write_all(&chunk).is_ok() {
        sent += chunk.len();
    }
}

#[test]
fn huge_literals_are_refused_without_memory() {
    let cluster = Cluster::single();
    bounded(&cluster, "literals of 2^32 and 2^63", || {
        for size in ["4294967296", "9223372036854775808", "99999999999999999999999"] {
            let mut client = imap(&cluster);
            let tag = client.begin(&format!("APPEND INBOX {{{size}}}")).unwrap();
            let answer = String::from_utf8_lossy(&client.response().unwrap()).into_owned();
            assert!(
                answer.starts_with(&format!("{tag} NO")) || answer.contains("BAD"),
                "{size}: {answer}"
            );
            let mut client = imap(&cluster);
            client.begin(&format!("LOGIN {{{size}+}}")).unwrap();
            // BAD or BYE, or closed: whatever follows a literal that is not taken cannot be told from commands.
            if let Ok(answer) = client.response() {
                let answer = String::from_utf8_lossy(&answer).into_owned();
                assert!(
                    answer.contains("BAD") || answer.contains("BYE") || answer.contains("NO"),
                    "{answer}"
                );
            }
        }
    });
}

#[test]
fn deep_nesting_is_refused() {
    let cluster = Cluster::single();
    bounded(&cluster, "10,000 parentheses", || {
        let mut client = imap(&cluster);
        client.command("SELECT INBOX").unwrap().ok().unwrap();
        let line = format!("SEARCH {}ALL{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(client.command(&line).unwrap().tagged.starts_with("BAD"));
        let nots = format!("SEARCH {}ALL", "NOT ".repeat(10_000));
        assert!(client.command(&nots).unwrap().tagged.starts_with("BAD"));
    });
}

#[test]
fn hostile_mime_is_stored_and_served_as_it_came() {
    let cluster = Cluster::single();
    let nested: String = (0..10_000)
        .map(|level| format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"))
        .collect();
    let many = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n",
        "--b\r\n\r\nx\r\n".repeat(100_000)
    );
    for (name, message) in [("nested", nested), ("many", many)] {
        bounded(&cluster, name, || {
            let user = "user7@example.test";
            let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
            smtp.deliver(&[user.to_owned()], &message)
                .unwrap()
                .expect("250")
                .unwrap();
            let mut client = ImapClient::login(&cluster.proxy(0).imap, user).unwrap();
            client.command("SELECT INBOX").unwrap().ok().unwrap();
            let fetched = client
                .command("FETCH * (BODYSTRUCTURE BODY.PEEK[])")
                .unwrap()
                .ok()
                .unwrap();
            let body = literals(&fetched.untagged[0]).pop().unwrap();
            assert!(body.ends_with(message.as_bytes()), "{name} comes back as it came");
        });
    }
}

#[test]
fn nothing_is_smuggled_behind_a_false_end_of_data() {
    let cluster = Cluster::single();
    let user = "user6@example.test";
    let ends = [
        "\n.\n",
        "\n.\r\n",
        "\r.\r",
        "\r\n.\n",
        "\r\n.\r",
        "\r.\r\n",
        "\n.\r",
        "\r\n\0.\r\n",
        "\r\n.\r\r\n",
    ];
    for end in ends {
        let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
        smtp.command("MAIL FROM:<a@remote.test>")
            .unwrap()
            .expect("250")
            .unwrap();
        smtp.command(&format!("RCPT TO:<{user}>"))
            .unwrap()
            .expect("250")
            .unwrap();
        smtp.command("DATA").unwrap().expect("354").unwrap();
        let smuggled = format!(
            "Subject: outer\r\n\r\nouter{end}MAIL FROM:<evil@remote.test>\r\nRCPT TO:<{user}>\r\nDATA\r\n\
             Subject: smuggled\r\n\r\nsmuggled\r\n.\r\n"
        );
        smtp.send(smuggled.as_bytes()).unwrap();
        // One answer for one message, whatever it is; the next command is the next answer.
        smtp.reply().unwrap();
        smtp.command("NOOP").unwrap().expect("250").unwrap();
    }
    let mut client = ImapClient::login(&cluster.proxy(0).imap, user).unwrap();
    client.command("SELECT INBOX").unwrap().ok().unwrap();
    let found = client
        .command("SEARCH HEADER Subject smuggled")
        .unwrap()
        .ok()
        .unwrap();
    assert_eq!(found.search(), Vec::<u32>::new());
    let found = client
        .command("SEARCH HEADER Return-Path evil")
        .unwrap()
        .ok()
        .unwrap();
    assert_eq!(found.search(), Vec::<u32>::new());
}

#[test]
fn what_is_pipelined_behind_starttls_is_dropped() {
    let cluster = Cluster::single();
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    smtp.send(b"STARTTLS\r\nNOOP\r\nMAIL FROM:<evil@remote.test>\r\n")
        .unwrap();
    smtp.reply().unwrap().expect("220").unwrap();
    // The server waits for the handshake and answers nothing of what came in clear: the next it says is a TLS alert.
    smtp.send(b"NOOP\r\n").unwrap();
    assert!(
        smtp.reply().is_err(),
        "commands behind STARTTLS must not be answered in clear"
    );
    let mut client = ImapClient::connect(&cluster.proxy(0).imap).unwrap();
    client.send(b"a STARTTLS\r\nb NOOP\r\n").unwrap();
    assert!(client.response().unwrap().starts_with(b"a OK"));
    client.send(b"c NOOP\r\n").unwrap();
    assert!(
        client.response().is_err(),
        "commands behind STARTTLS must not be answered in clear"
    );
}

#[test]
fn a_large_message_is_taken_and_too_large_a_one_refused() {
    let cluster = Cluster::single();
    bounded(&cluster, "a message of 20 MB", || {
        let user = "user5@example.test";
        let message = messages::numbered(5, 20 << 20);
        let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
        smtp.deliver(&[user.to_owned()], &message)
            .unwrap()
            .expect("250")
            .unwrap();
        let mut client = ImapClient::login(&cluster.proxy(0).imap, user).unwrap();
        client.command("SELECT INBOX").unwrap().ok().unwrap();
        let fetched = client.command("FETCH * BODY.PEEK[]").unwrap().ok().unwrap();
        assert!(literals(&fetched.untagged[0])[0].ends_with(message.as_bytes()));
    });
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    smtp.command("MAIL FROM:<a@remote.test> SIZE=999999999999")
        .unwrap()
        .expect("552")
        .unwrap();
}
