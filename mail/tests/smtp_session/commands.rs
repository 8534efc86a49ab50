//! Commands: their order, their parameters, their outcomes, and lines that are none.

use rookery_mail::smtp::session::{Kind, SessionConfig};

use crate::script::{answer, config, greeted, run};
use crate::smtp_server::{Server, Stored};

#[test]
fn a_message_pipelined() {
    let server = run(
        config(Kind::Smtp),
        "C: EHLO client.test
         S: 250-mx.test
         S: 250-PIPELINING
         S: 250-SIZE 1000
         S: 250-8BITMIME
         S: 250-ENHANCEDSTATUSCODES
         S: 250-CHUNKING
         S: 250 SMTPUTF8
         C: MAIL FROM:<a@b.test> SIZE=100 BODY=8BITMIME
         C: RCPT TO:<user1@example.test>
         C: RCPT TO:<nobody@example.test>
         C: RCPT TO:<Postmaster>
         C: DATA
         S: 250 2.1.0 Sender OK
         S: 250 2.1.5 Recipient OK
         S: 550 5.1.1 No such recipient here
         S: 250 2.1.5 Recipient OK
         S: 354 End with CRLF.CRLF
         C: Subject: x
         C:
         C: ..dot
         C: .
         C: QUIT
         S: 250 2.0.0 Stored as 1
         S: 221 2.0.0 Bye",
    );
    assert!(server.closed);
    assert_eq!(
        server.stored,
        [Stored {
            sender: "<a@b.test>".to_owned(),
            recipients: vec!["<user1@example.test>".to_owned(), "<postmaster>".to_owned()],
            content: b"Subject: x\r\n\r\n.dot\r\n".to_vec(),
        }]
    );
}

#[test]
fn outcomes_of_recipients() {
    let mut server = greeted(Kind::Smtp);
    answer(&mut server, b"MAIL FROM:<>\r\n");
    for (recipient, expected) in [
        ("nobody@example.test", "550 5.1.1 No such recipient here\r\n"),
        ("user@elsewhere.test", "550 5.7.1 Relaying denied\r\n"),
        (
            "suspended@example.test",
            "450 4.2.1 Account suspended, try again later\r\n",
        ),
        (
            "down@example.test",
            "451 4.3.0 Temporarily unavailable, try again later\r\n",
        ),
        ("loop@example.test", "550 5.4.6 Alias loop\r\n"),
        ("full@example.test", "452 4.2.2 Mailbox full, try again later\r\n"),
        (
            "everybody@example.test",
            "452 4.5.3 Too many recipients, send the rest again\r\n",
        ),
        ("ü@example.test", "553 5.6.7 Address needs SMTPUTF8\r\n"),
        ("USER1@Example.Test", "250 2.1.5 Recipient OK\r\n"),
    ] {
        assert_eq!(
            answer(&mut server, format!("RCPT TO:<{recipient}>\r\n").as_bytes()),
            expected
        );
    }
    let five = b"RCPT TO:<u@example.test>\r\n".repeat(4);
    assert!(
        answer(&mut server, &five)
            .ends_with("250 2.1.5 Recipient OK\r\n452 4.5.3 Too many recipients, send the rest again\r\n")
    );
    assert_eq!(server.session.transaction().expect("open").recipients().len(), 4);
}

#[test]
fn commands_out_of_order() {
    run(
        config(Kind::Smtp),
        "C: MAIL FROM:<a@b>
         S: 503 5.5.1 Send EHLO first
         C: RCPT TO:<user1@example.test>
         S: 503 5.5.1 Send MAIL first
         C: DATA
         S: 503 5.5.1 Send MAIL first
         C: HELO c
         S: 250 mx.test
         C: MAIL FROM: <a@b>
         C: MAIL FROM:<a@b>
         C: DATA
         S: 250 2.1.0 Sender OK
         S: 503 5.5.1 Nested MAIL command
         S: 554 5.5.1 No valid recipients
         C: RSET
         C: RCPT TO:<user1@example.test>
         S: 250 2.0.0 OK
         S: 503 5.5.1 Send MAIL first
         C: MAIL FROM:<a@b>
         C: EHLO c
         C: DATA
         S: 250 2.1.0 Sender OK
         S: 250-mx.test
         S: 250-PIPELINING
         S: 250-SIZE 1000
         S: 250-8BITMIME
         S: 250-ENHANCEDSTATUSCODES
         S: 250-CHUNKING
         S: 250 SMTPUTF8
         S: 503 5.5.1 Send MAIL first
         C: LHLO c
         C: AUTH PLAIN =
         C: STARTTLS
         C: EXPN list
         C: VRFY user
         C: HELP
         C: noop
         S: 500 5.5.1 Use EHLO
         S: 502 5.5.1 Command not implemented
         S: 502 5.5.1 Command not implemented
         S: 502 5.5.1 Command not implemented
         S: 252 2.0.0 Cannot verify, but will take mail and try
         S: 214 2.0.0 See RFC 5321
         S: 250 2.0.0 OK",
    );
}

#[test]
fn parameters_of_mail() {
    let mut server = greeted(Kind::Smtp);
    for (parameters, expected) in [
        ("SIZE=1000", "250 2.1.0 Sender OK\r\n"),
        ("SIZE=1001", "552 5.3.4 Message size exceeds the limit\r\n"),
        (
            "SIZE=99999999999999999999",
            "552 5.3.4 Message size exceeds the limit\r\n",
        ),
        (
            "SIZE=999999999999999999999",
            "501 5.5.4 Syntax error in arguments\r\n",
        ),
        ("SIZE=-1", "501 5.5.4 Syntax error in arguments\r\n"),
        ("SIZE", "501 5.5.4 Syntax error in arguments\r\n"),
        ("BODY=7bit", "250 2.1.0 Sender OK\r\n"),
        ("BODY=BINARYMIME", "501 5.5.4 Syntax error in arguments\r\n"),
        ("SMTPUTF8", "250 2.1.0 Sender OK\r\n"),
        ("SMTPUTF8=1", "501 5.5.4 Syntax error in arguments\r\n"),
        ("AUTH=<>", "250 2.1.0 Sender OK\r\n"),
        (
            "RET=HDRS",
            "555 5.5.4 Parameter not recognised or not implemented\r\n",
        ),
        (
            "XTRA",
            "555 5.5.4 Parameter not recognised or not implemented\r\n",
        ),
    ] {
        let mail = format!("MAIL FROM:<a@b> {parameters}\r\n");
        assert_eq!(answer(&mut server, mail.as_bytes()), expected, "{parameters}");
        answer(&mut server, b"RSET\r\n");
    }
    assert_eq!(
        answer(&mut server, "MAIL FROM:<ü@b>\r\n".as_bytes()),
        "553 5.6.7 Address needs SMTPUTF8\r\n"
    );
    let utf8 =
        "MAIL FROM:<ü@b> SMTPUTF8\r\nRCPT TO:<ü@example.test>\r\nRCPT TO:<u@example.test> NOTIFY=NEVER\r\n";
    assert_eq!(
        answer(&mut server, utf8.as_bytes()),
        "250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n555 5.5.4 Parameter not recognised or not implemented\r\n"
    );
    assert_eq!(server.session.protocol().name(), "UTF8SMTP");
}

#[test]
fn malformed_lines_are_answered_and_not_run() {
    let mut server = greeted(Kind::Smtp);
    let long = [b"NOOP ".as_slice(), &[b'x'; 100_000], b"\r\n"].concat();
    for (input, expected) in [
        (&b"\xff\xfe\x80\r\n"[..], "500 5.5.2 Syntax error\r\n"),
        (b"NO\0OP\r\n", "500 5.5.2 Syntax error\r\n"),
        (b"\r\n", "500 5.5.2 Syntax error\r\n"),
        (b"NOOP\rQUIT\r\n", "500 5.5.2 Syntax error\r\n"),
        (
            b"NOOP\nQUIT\r\n",
            "500 5.5.2 Lines end with CRLF\r\n500 5.5.2 Lines end with CRLF\r\n",
        ),
        (&long, "500 5.5.2 Line too long\r\n"),
        (b"WRONG\r\n", "500 5.5.1 Command not recognised\r\n"),
        (b"MAIL FROM:a@b\r\n", "501 5.1.7 Bad sender address syntax\r\n"),
        (b"RCPT TO:<>\r\n", "501 5.1.3 Bad recipient address syntax\r\n"),
        (b"DATA x\r\n", "501 5.5.4 Syntax error in arguments\r\n"),
        (b"noop\r\n", "250 2.0.0 OK\r\n"),
    ] {
        assert_eq!(
            answer(&mut server, input),
            expected,
            "{:?}",
            String::from_utf8_lossy(&input[..input.len().min(40)])
        );
    }
    assert!(!server.closed);
}

#[test]
fn too_many_errors_close() {
    let mut server = Server::new(SessionConfig {
        errors_max: 3,
        ..config(Kind::Smtp)
    });
    server.output.clear();
    let expected = "500 5.5.1 Command not recognised\r\n250 2.0.0 OK\r\n500 5.5.1 Command not recognised\r\n\
                    421 4.7.0 Too many errors, closing\r\n";
    assert_eq!(answer(&mut server, b"X\r\nNOOP\r\nX\r\nX\r\nNOOP\r\n"), expected);
    assert!(server.closed);
}

#[test]
fn other_protocols_are_cut_off() {
    let mut server = Server::new(config(Kind::Smtp));
    server.output.clear();
    assert_eq!(
        answer(&mut server, b"POST / HTTP/1.1\r\nMAIL FROM:<a@b>\r\n"),
        "554 5.5.1 This is a mail server, closing\r\n"
    );
}
