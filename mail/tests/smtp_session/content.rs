//! DATA, BDAT and the answers to content, of LMTP too.

use rookery_mail::smtp::session::{Kind, SessionConfig};

use crate::script::{answer, config, greeted, run};
use crate::smtp_server::Server;

#[test]
fn no_false_end_of_data_smuggles() {
    for end in [
        "\n.\n",
        "\n.\r\n",
        "\r.\r",
        "\r.\r\n",
        "\r\n.\n",
        "\r\n.\r",
        "\n.\r",
        "\r\n\0.\n",
    ] {
        let mut server = greeted(Kind::Smtp);
        answer(
            &mut server,
            b"MAIL FROM:<a@b>\r\nRCPT TO:<user1@example.test>\r\nDATA\r\n",
        );
        let smuggled =
            format!("a{end}MAIL FROM:<evil@b>\r\nRCPT TO:<user1@example.test>\r\nDATA\r\nb\r\n.\r\nNOOP\r\n");
        assert_eq!(
            answer(&mut server, smuggled.as_bytes()),
            "550 5.6.11 Message contains a bare CR or LF\r\n250 2.0.0 OK\r\n",
            "{end:?}"
        );
        assert!(server.stored.is_empty() && server.session.transaction().is_none());
    }
}

#[test]
fn large_and_looping_messages_are_refused() {
    let start = b"MAIL FROM:<a@b>\r\nRCPT TO:<user1@example.test>\r\nDATA\r\n";
    let mut server = greeted(Kind::Smtp);
    for (content, expected) in [
        ("x".repeat(998) + "\r\n.\r\n", "250 2.0.0 Stored as 1\r\n"),
        (
            "x".repeat(999) + "\r\n.\r\n",
            "552 5.3.4 Message size exceeds the limit\r\n",
        ),
    ] {
        answer(&mut server, start);
        assert_eq!(answer(&mut server, content.as_bytes()), expected);
    }
    let config = SessionConfig::new(Kind::Smtp, "mx.test", 100_000);
    let mut server = Server::new(config);
    answer(&mut server, b"EHLO c\r\n");
    for (hops, expected) in [
        (100, "250 2.0.0 Stored as 1\r\n"),
        (101, "554 5.4.6 Too many hops\r\n"),
    ] {
        answer(&mut server, start);
        let content = "Received: from x\r\n".repeat(hops) + "\r\nReceived: body\r\n.\r\n";
        assert_eq!(answer(&mut server, content.as_bytes()), expected);
    }
}

#[test]
fn chunks() {
    let mut server = greeted(Kind::Smtp);
    let start = b"MAIL FROM:<a@b>\r\nRCPT TO:<user1@example.test>\r\n";
    answer(&mut server, start);
    assert_eq!(
        answer(&mut server, b"BDAT 5\r\nab\r\n.BDAT 3\r\n\r\nQRCPT TO:<u@example.test>\r\nDATA\r\nMAIL FROM:<x@y>\r\nBDAT 0 LAST\r\nNOOP\r\n"),
        "250 2.0.0 5 octets received\r\n250 2.0.0 3 octets received\r\n503 5.5.1 Finish the chunks first\r\n\
         503 5.5.1 DATA after BDAT\r\n503 5.5.1 Nested MAIL command\r\n250 2.0.0 Stored as 1\r\n250 2.0.0 OK\r\n"
    );
    assert_eq!(server.stored[0].content, b"ab\r\n.\r\nQ");
    // Chunks that nobody wants are read and dropped, never run.
    assert_eq!(
        answer(&mut server, b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"),
        "503 5.5.1 Send MAIL first\r\n250 2.0.0 OK\r\n"
    );
    // RSET between chunks drops what came.
    answer(&mut server, start);
    assert_eq!(
        answer(&mut server, b"BDAT 3\r\nabcRSET\r\nBDAT 3 LAST\r\nabc"),
        "250 2.0.0 3 octets received\r\n250 2.0.0 OK\r\n503 5.5.1 Send MAIL first\r\n"
    );
    // Too large in all: the transaction is over, the rest of the pipeline is refused in step.
    answer(&mut server, start);
    let input = [
        b"BDAT 600\r\n".as_slice(),
        &[b'x'; 600],
        b"BDAT 600\r\n",
        &[b'y'; 600],
        b"BDAT 1 LAST\r\nzNOOP\r\n",
    ]
    .concat();
    assert_eq!(
        answer(&mut server, &input),
        "250 2.0.0 600 octets received\r\n552 5.3.4 Message size exceeds the limit\r\n503 5.5.1 Send MAIL first\r\n250 2.0.0 OK\r\n"
    );
    assert_eq!(server.stored.len(), 1);
}

#[test]
fn chunks_that_cannot_be_followed_close() {
    let long = format!("BDAT 6 {}\r\nRSET\r\n", "0".repeat(5_000));
    let arguments = "501 5.5.4 Syntax error in arguments\r\n";
    for (input, expected) in [
        (&b"BDAT x\r\nQUIT\r\n"[..], arguments),
        (b"BDAT 6 \xff\r\nRSET\r\n", arguments),
        (b"BDAT 6\t\r\nRSET\r\n", arguments),
        (b"BDAT 6\nRSET\r\n", arguments),
        (long.as_bytes(), arguments),
        (
            b"BDAT 18446744073709551615 LAST\r\nQUIT\r\n",
            "552 5.3.4 Message size exceeds the limit\r\n",
        ),
    ] {
        let mut server = greeted(Kind::Smtp);
        assert_eq!(answer(&mut server, input), expected);
        assert!(server.closed);
    }
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let server = run(
        config(Kind::Lmtp),
        "C: EHLO c
         C: HELO c
         C: MAIL FROM:<a@b>
         S: 500 5.5.1 Use LHLO
         S: 500 5.5.1 Use LHLO
         S: 503 5.5.1 Send LHLO first
         C: LHLO c
         S: 250-mx.test
         S: 250-PIPELINING
         S: 250-SIZE 1000
         S: 250-8BITMIME
         S: 250-ENHANCEDSTATUSCODES
         S: 250-CHUNKING
         S: 250 SMTPUTF8
         C: MAIL FROM:<a@b>
         C: RCPT TO:<nobody@example.test>
         C: DATA
         S: 250 2.1.0 Sender OK
         S: 550 5.1.1 No such recipient here
         S: 503 5.5.1 No valid recipients
         C: RCPT TO:<user1@example.test>
         C: RCPT TO:<late@example.test>
         C: RCPT TO:<fat@example.test>
         C: RCPT TO:<user1@example.test>
         C: DATA
         S: 250 2.1.5 Recipient OK
         S: 250 2.1.5 Recipient OK
         S: 250 2.1.5 Recipient OK
         S: 250 2.1.5 Recipient OK
         S: 354 End with CRLF.CRLF
         C: x
         C: .
         C: NOOP
         S: 250 2.1.5 <user1@example.test> Stored as 1
         S: 451 4.3.0 Temporarily unavailable, try again later
         S: 452 4.2.2 Mailbox full, try again later
         S: 250 2.1.5 <user1@example.test> Stored as 1
         S: 250 2.0.0 OK",
    );
    assert_eq!(server.session.protocol().name(), "LMTP");
    let mut server = greeted(Kind::Lmtp);
    let start = b"MAIL FROM:<a@b>\r\nRCPT TO:<user1@example.test>\r\nRCPT TO:<user2@example.test>\r\n";
    answer(&mut server, start);
    assert_eq!(
        answer(&mut server, b"DATA\r\n\n\r\n.\r\n")
            .matches("550 5.6.11")
            .count(),
        2
    );
    answer(&mut server, start);
    assert_eq!(
        answer(&mut server, b"BDAT 1\r\nxBDAT 1 LAST\r\ny")
            .matches("Stored as")
            .count(),
        2
    );
    answer(&mut server, start);
    let large = [b"BDAT 1001 LAST\r\n".as_slice(), &[b'x'; 1001]].concat();
    assert_eq!(answer(&mut server, &large).matches("552 5.3.4").count(), 2);
}

#[test]
fn a_failed_delivery_is_told_once_over_smtp() {
    let mut server = greeted(Kind::Smtp);
    answer(
        &mut server,
        b"MAIL FROM:<>\r\nRCPT TO:<user1@example.test>\r\nRCPT TO:<late@example.test>\r\nDATA\r\n",
    );
    assert_eq!(
        answer(&mut server, b".\r\n"),
        "451 4.3.0 Temporarily unavailable, try again later\r\n"
    );
    assert_eq!(server.stored[0].sender, "<>");
    assert!(server.session.transaction().is_none());
}
