//! SMTP as other servers speak it.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Client, World};
use crate::smtp::Kind;

#[tokio::test]
async fn a_message_arrives_whole_and_with_its_trace() {
    let world = World::new().await;
    let mut client = world.connect(Kind::Smtp);
    client
        .plays(
            "S: 220 mx.test ESMTP ready
             C: EHLO client.test
             S: 250-mx.test
             S: 250-PIPELINING
             S: 250-SIZE 20000000
             S: 250-8BITMIME
             S: 250-ENHANCEDSTATUSCODES
             S: 250-CHUNKING
             S: 250 SMTPUTF8
             C: MAIL FROM:<sender@far.test> SIZE=30
             S: 250 2.1.0 Sender OK
             C: RCPT TO:<bob+box@example.test>
             S: 250 2.1.5 Recipient OK
             C: DATA
             S: 354 End with CRLF.CRLF
             C: Subject: ü
             C:
             C: ..dot
             C: .
             S: 250 2.0.0 Stored as *
             C: QUIT
             S: 221 2.0.0 Bye
             S: closed",
        )
        .await;
    let [mail] = &world.mails(1)[..] else {
        panic!("one message")
    };
    assert_eq!(mail.sender, "sender@far.test");
    assert_eq!(mail.body, "Subject: ü\r\n\r\n.dot\r\n".as_bytes());
    let lines: Vec<&str> = mail.prefix.split_terminator("\r\n").collect();
    assert_eq!(lines[0], "Return-Path: <sender@far.test>");
    assert_eq!(lines[1], "Delivered-To: bob+box@example.test");
    assert_eq!(lines[2], "Received: from client.test ([192.0.2.7])");
    assert!(
        lines[3].starts_with("\tby mx.test with ESMTP id "),
        "{}",
        lines[3]
    );
    assert_eq!(lines[4], "\tfor <bob+box@example.test>;");
    assert_eq!(lines.len(), 6);
}

#[tokio::test]
async fn what_the_directory_says_of_a_recipient() {
    let world = World::new().await;
    world
        .connect(Kind::Smtp)
        .plays(
            "C: EHLO client.test
             S: 220 *
             S: 250-mx.test
             S: 250-P*
             S: 250-SI*
             S: 250-8*
             S: 250-E*
             S: 250-C*
             S: 250 *
             C: MAIL FROM: <>
             C: RCPT TO:<nobody@example.test>
             C: RCPT TO:<someone@far.test>
             C: RCPT TO:<suspended@example.test>
             C: RCPT TO:<down@example.test>
             C: RCPT TO:<loop@example.test>
             C: RCPT TO:<Postmaster>
             C: RCPT TO:<User2@Example.Test>
             C: VRFY user2
             C: DATA
             S: 250 2.1.0 Sender OK
             S: 550 5.1.1 No such recipient here
             S: 550 5.7.1 Relaying denied
             S: 450 4.2.1 Account suspended, try again later
             S: 451 4.3.0 Temporarily unavailable, try again later
             S: 550 5.4.6 Alias loop
             S: 250 2.1.5 Recipient OK
             S: 250 2.1.5 Recipient OK
             S: 252 2.0.0 *
             S: 354 *
             C: .
             S: 250 2.0.0 Stored as *",
        )
        .await;
    assert_eq!(world.mails(1)[0].sender, "");
    assert!(world.mails(2)[0].prefix.starts_with("Return-Path: <>\r\n"));
    assert_eq!(world.count(), 2);
}

#[tokio::test]
async fn an_account_gets_a_message_once_however_often_it_is_named() {
    let world = World::new().await;
    let mut dialog = String::from("S: 220 *\nC: HELO x\nS: 250 mx.test\nC: MAIL FROM:<a@far.test>\n");
    for number in 1..=50 {
        dialog += &format!("C: RCPT TO:<user{number}@example.test>\n");
    }
    dialog += "C: RCPT TO:<everybody@example.test>\nC: RCPT TO:<user1+x@example.test>\nC: DATA\n";
    dialog += "S: 250 2.1.0 *\n";
    dialog += &"S: 250 2.1.5 *\n".repeat(52);
    dialog += "S: 354 *\nC: hello\nC: .\nS: 250 2.0.0 Stored *\n";
    world.connect(Kind::Smtp).plays(&dialog).await;
    assert_eq!(world.count(), 50);
    for number in 1..=50 {
        assert_eq!(world.mails(number).len(), 1, "user{number}");
    }
    for store in &world.stores {
        assert_eq!(store.state.lock().deliver_calls, 1, "one call for each shard");
    }
}

#[tokio::test]
async fn transactions_follow_each_other_and_are_forgotten_by_rset() {
    let world = World::new().await;
    world
        .connect(Kind::Smtp)
        .plays(
            "S: 220 *
             C: HELO x
             C: MAIL FROM:<a@far.test>
             C: RCPT TO:<user1@example.test>
             C: RSET
             C: MAIL FROM:<b@far.test>
             C: RCPT TO:<user2@example.test>
             C: DATA
             S: 250 mx.test
             S: 250 2.1.0 *
             S: 250 2.1.5 *
             S: 250 2.0.0 OK
             S: 250 2.1.0 *
             S: 250 2.1.5 *
             S: 354 *
             C: one
             C: .
             C: MAIL FROM:<c@far.test>
             C: RCPT TO:<user3@example.test>
             C: DATA
             S: 250 2.0.0 *
             S: 250 2.1.0 *
             S: 250 2.1.5 *
             S: 354 *
             C: two
             C: .
             C: QUIT
             S: 250 2.0.0 *
             S: 221 *
             S: closed",
        )
        .await;
    assert_eq!(
        (world.mails(1).len(), world.mails(2).len(), world.mails(3).len()),
        (0, 1, 1)
    );
    assert_eq!(world.mails(3)[0].body, b"two\r\n");
}

#[tokio::test]
async fn chunks_are_put_together() {
    let world = World::new().await;
    let mut client = world.connect(Kind::Smtp);
    client.send(b"HELO x\r\nMAIL FROM:<a@far.test>\r\nRCPT TO:<user1@example.test>\r\nBDAT 7\r\n.\r\nab\r\nBDAT 2 LAST\r\n\r\nQUIT\r\n").await;
    client
        .plays(
            "S: 220 *
             S: 250 mx.test
             S: 250 2.1.0 *
             S: 250 2.1.5 *
             S: 250 2.0.0 7 octets received
             S: 250 2.0.0 Stored *
             S: 221 *",
        )
        .await;
    assert_eq!(world.mails(1)[0].body, b".\r\nab\r\n\r\n");
    assert_eq!(world.count(), 1);
}

#[tokio::test]
async fn nothing_is_smuggled() {
    for end in ["\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r", "\r.\r\n"] {
        let world = World::new().await;
        let mut client = world.connect(Kind::Smtp);
        client
            .plays(
                "S: 220 *
                 C: HELO x
                 C: MAIL FROM:<a@far.test>
                 C: RCPT TO:<user1@example.test>
                 C: DATA
                 S: 250 mx.test
                 S: 250 2.1.0 *
                 S: 250 2.1.5 *
                 S: 354 *",
            )
            .await;
        let inner = "MAIL FROM:<evil@far.test>\r\nRCPT TO:<user2@example.test>\r\nDATA\r\nevil\r\n.\r\n";
        client.send(format!("good{end}{inner}").as_bytes()).await;
        client
            .plays(
                "S: 550 5.6.11 Message contains a bare CR or LF
                 C: NOOP
                 S: 250 2.0.0 OK",
            )
            .await;
        assert_eq!(world.count(), 0, "{end:?}");
    }
}

#[tokio::test]
async fn a_message_that_loops_or_is_too_large_is_refused() {
    let mut world = World::new().await;
    world.options.message_bytes_max = 5_000;
    let mut client = world.connect(Kind::Smtp);
    let hops = "C: Received: from a by b\n".repeat(101);
    let begin =
        "C: MAIL FROM:<a@far.test>\nC: RCPT TO:<user1@example.test>\nC: DATA\nS: 250 *\nS: 250 *\nS: 354 *\n";
    client.plays("S: 220 *\nC: HELO x\nS: 250 mx.test").await;
    client
        .plays(&format!("{begin}{hops}C:\nC: .\nS: 554 5.4.6 Too many hops"))
        .await;
    let long = "C: 0123456789012345678901234567890123456789\n".repeat(200);
    client.plays(&format!("{begin}{long}C: .\nS: 552 5.3.4 *")).await;
    client
        .plays("C: MAIL FROM:<a@far.test> SIZE=5001\nS: 552 5.3.4 *")
        .await;
    let endless = "C: 0123456789012345678901234567890123456789\n".repeat(600);
    client
        .plays(&format!(
            "{begin}{endless}S: 421 4.3.4 Message far too large, closing\nS: closed"
        ))
        .await;
    assert_eq!(world.count(), 0);
}

#[tokio::test]
async fn junk_is_answered_and_then_sent_away() {
    let world = World::new().await;
    let mut client = world.connect(Kind::Smtp);
    client.send(b"\xff\xfe\0\r\nMAIL\nRCPT\r\n").await;
    client.send(&b"x".repeat(100_000)).await;
    client.send(b"\r\nGET / HTTP/1.1\r\n").await;
    client
        .plays(
            "S: 220 *
             S: 500 5.5.2 Syntax error
             S: 500 5.5.2 Lines end with CRLF
             S: 500 5.5.2 Lines end with CRLF
             S: 500 5.5.2 Line too long
             S: 554 5.5.1 This is a mail server, closing
             S: closed",
        )
        .await;
}

#[tokio::test]
async fn who_is_silent_or_there_at_the_end_is_sent_away() {
    let mut world = World::new().await;
    world.options.command_timeout = Duration::from_millis(30);
    world
        .connect(Kind::Smtp)
        .plays("S: 220 *\nS: 421 4.4.2 Timeout, closing\nS: closed")
        .await;
    world.options.command_timeout = Duration::from_secs(60);
    let mut client = world.connect(Kind::Smtp);
    client.plays("S: 220 *\nC: HELO x\nS: 250 mx.test").await;
    world.shutdown.cancel();
    client.plays("S: 421 4.3.2 *\nS: closed").await;
    world.connections.close();
    world.connections.wait().await;
}

#[tokio::test]
async fn what_was_sent_behind_starttls_is_forgotten() {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let made = rcgen::generate_simple_self_signed(vec!["mx.test".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut world = World::new().await;
    world.tls = Some(TlsAcceptor::from(Arc::new(server)));

    let mut client = world.connect(Kind::Smtp);
    client
        .plays(
            "S: 220 *
             C: EHLO x
             S: 250-mx.test
             S: 250-P*
             S: 250-SI*
             S: 250-8*
             S: 250-E*
             S: 250-C*
             S: 250-SM*
             S: 250 STARTTLS
             C: STARTTLS
             C: MAIL FROM:<evil@far.test>
             C: RCPT TO:<user1@example.test>
             S: 220 2.0.0 Ready to start TLS",
        )
        .await;
    let name = ServerName::try_from("mx.test").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, client.into_stream())
        .await
        .unwrap();
    Client::new(Box::new(stream))
        .plays(
            "C: RCPT TO:<user1@example.test>
             S: 503 5.5.1 Send MAIL first
             C: MAIL FROM:<a@far.test>
             S: 503 5.5.1 Send EHLO first
             C: EHLO x
             S: 250-mx.test
             S: 250-P*
             S: 250-SI*
             S: 250-8*
             S: 250-E*
             S: 250-C*
             S: 250 SMTPUTF8
             C: MAIL FROM:<a@far.test>
             C: RCPT TO:<user1@example.test>
             C: DATA
             S: 250 *
             S: 250 *
             S: 354 *
             C: safe
             C: .
             S: 250 2.0.0 *
             C: STARTTLS
             S: 503 5.5.1 TLS already active",
        )
        .await;
    assert!(world.mails(1)[0].prefix.contains(" with ESMTPS id "));
}
