//! STARTTLS and AUTH.

use rookery_mail::smtp::session::{Kind, SessionConfig};

use crate::script::{answer, config, run};
use crate::smtp_server::Server;

#[test]
fn starttls_forgets_all_that_came_before() {
    let config = SessionConfig {
        starttls: true,
        ..config(Kind::Submission)
    };
    let server = run(
        config,
        "C: EHLO c
         S: 250-mx.test
         S: 250-PIPELINING
         S: 250-SIZE 1000
         S: 250-8BITMIME
         S: 250-ENHANCEDSTATUSCODES
         S: 250-CHUNKING
         S: 250-SMTPUTF8
         S: 250 STARTTLS
         C: AUTH PLAIN AHVzZXIxQGV4YW1wbGUudGVzdABzZWNyZXQ=
         C: MAIL FROM:<user1@example.test>
         S: 538 5.7.11 Encryption required for the requested authentication mechanism
         S: 530 5.7.0 Must issue a STARTTLS command first
         C: STARTTLS
         C: EHLO evil
         C: AUTH PLAIN AHVzZXIxQGV4YW1wbGUudGVzdABzZWNyZXQ=
         S: 220 2.0.0 Ready to start TLS
         C: MAIL FROM:<a@b>
         C: AUTH PLAIN AHVzZXIxQGV4YW1wbGUudGVzdABzZWNyZXQ=
         S: 503 5.5.1 Send EHLO first
         S: 503 5.5.1 Send EHLO first
         C: EHLO c
         S: 250-mx.test
         S: 250-PIPELINING
         S: 250-SIZE 1000
         S: 250-8BITMIME
         S: 250-ENHANCEDSTATUSCODES
         S: 250-CHUNKING
         S: 250-SMTPUTF8
         S: 250 AUTH PLAIN LOGIN
         C: STARTTLS
         C: MAIL FROM:<user1@example.test>
         C: AUTH CRAM-MD5
         C: AUTH PLAIN AHVzZXIxQGV4YW1wbGUudGVzdABzZWNyZXQ=
         C: AUTH PLAIN
         C: MAIL FROM:<user1@example.test>
         S: 503 5.5.1 TLS already active
         S: 530 5.7.0 Authentication required
         S: 504 5.5.4 Authentication mechanism not supported
         S: 235 2.7.0 Authentication succeeded
         S: 503 5.5.1 Already authenticated
         S: 250 2.1.0 Sender OK",
    );
    assert_eq!(server.session.user(), Some("user1@example.test"));
    assert_eq!(server.session.protocol().name(), "ESMTPSA");
}

#[test]
fn authentication_dialogues() {
    let config = SessionConfig {
        plaintext_auth: true,
        failed_logins_max: 3,
        ..config(Kind::Submission)
    };
    let server = run(
        config,
        "C: HELO c
         C: AUTH LOGIN
         S: 250 mx.test
         S: 503 5.5.1 Send EHLO first
         C: EHLO c
         S: 250-mx.test
         S: 250-PIPELINING
         S: 250-SIZE 1000
         S: 250-8BITMIME
         S: 250-ENHANCEDSTATUSCODES
         S: 250-CHUNKING
         S: 250-SMTPUTF8
         S: 250 AUTH PLAIN LOGIN
         C: auth login
         S: 334 VXNlcm5hbWU6
         C: dXNlcjFAZXhhbXBsZS50ZXN0
         S: 334 UGFzc3dvcmQ6
         C: *
         S: 501 5.7.0 Authentication cancelled
         C: AUTH PLAIN
         S: 334
         C: QUIT!
         S: 501 5.5.2 Cannot decode the authentication response
         C: AUTH PLAIN =
         S: 501 5.5.2 Cannot decode the authentication response
         C: AUTH PLAIN AGRvd25AZXhhbXBsZS50ZXN0AHg=
         S: 454 4.7.0 Temporary authentication failure, try again later
         C: AUTH PLAIN Ym9zcwB1c2VyMUBleGFtcGxlLnRlc3QAc2VjcmV0
         S: 535 5.7.8 Authentication credentials invalid
         C: AUTH LOGIN dXNlcjFAZXhhbXBsZS50ZXN0
         S: 334 UGFzc3dvcmQ6
         C: d3Jvbmc=
         S: 535 5.7.8 Authentication credentials invalid
         C: AUTH PLAIN AHVzZXIxQGV4YW1wbGUudGVzdAB3cm9uZw==
         S: 421 4.7.0 Too many errors, closing",
    );
    assert!(server.closed);
}

#[test]
fn lines_of_a_dialogue_are_bounded() {
    let mut server = Server::new(SessionConfig {
        plaintext_auth: true,
        ..config(Kind::Submission)
    });
    answer(&mut server, b"EHLO c\r\nAUTH LOGIN\r\n");
    let long = [vec![b'A'; 100_000], b"\r\nNOOP\r\n".to_vec()].concat();
    assert_eq!(
        answer(&mut server, &long),
        "500 5.5.6 Authentication exchange line is too long\r\n250 2.0.0 OK\r\n"
    );
    answer(&mut server, b"AUTH LOGIN\r\n");
    assert_eq!(
        answer(&mut server, b"dXNlcg==\nNOOP\r\n"),
        "500 5.5.2 Lines end with CRLF\r\n".repeat(2)
    );
}
