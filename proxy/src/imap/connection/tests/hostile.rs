//! What must be refused, and what must end a connection, before login and after.

use std::sync::Arc;
use std::time::Duration;

use rookery_mail::imap::frame::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fake::{Server, Setup};
use crate::imap::{ImapOptions, Peer, serve_stream};

#[tokio::test]
async fn bad_lines_are_answered_and_counted() {
    let setup = Setup {
        options: ImapOptions {
            bad_commands_max: 4,
            plaintext_login: true,
            ..ImapOptions::default()
        },
        ..Setup::default()
    };
    let heard = Server::all(
        setup,
        b"\r\na1 FROB\r\na2 SELECT INBOX\r\n\xff\xfe\x00\r\na4 LOGIN\r\na5 NOOP\r\n",
    )
    .await;
    let lines: Vec<&str> = heard.lines().skip(1).collect();
    assert!(lines[0].starts_with("a1 BAD "), "{heard}");
    assert!(lines[1].starts_with("a2 BAD "), "{heard}");
    assert!(lines[2].starts_with("* BAD "), "{heard}");
    assert!(lines[3].starts_with("a4 BAD "), "{heard}");
    assert!(lines[4].starts_with("* BYE "), "{heard}");
    assert_eq!(lines.len(), 5);
}

#[tokio::test]
async fn long_lines_and_large_literals_end_nothing_but_their_command() {
    let mut input = vec![b'x'; Limits::BEFORE_LOGIN.line_bytes_max * 4];
    input.extend_from_slice(
        b"\r\na2 LOGIN {4294967296}\r\na3 LOGIN {9223372036854775808}\r\na4 NOOP\r\na5 LOGOUT\r\n",
    );
    let heard = Server::all(Setup::default(), &input).await;
    for start in ["* BAD ", "a2 BAD ", "a3 BAD ", "a4 OK ", "* BYE ", "a5 OK "] {
        assert!(
            heard.lines().any(|line| line.starts_with(start)),
            "{start}: {heard}"
        );
    }
    // Nobody skips four gigabytes.
    let heard = Server::all(Setup::default(), b"a1 LOGIN {4294967296+}\r\n").await;
    assert!(heard.contains("a1 BAD ") && heard.contains("* BYE "), "{heard}");
}

#[tokio::test]
async fn commands_before_login_are_limited() {
    let setup = Setup {
        options: ImapOptions {
            commands_before_login_max: 3,
            ..ImapOptions::default()
        },
        ..Setup::default()
    };
    let heard = Server::all(setup, b"a NOOP\r\nb NOOP\r\nc NOOP\r\nd NOOP\r\ne NOOP\r\n").await;
    assert!(
        heard.contains("c OK ") && !heard.contains("d OK ") && heard.contains("* BYE "),
        "{heard}"
    );
}

#[tokio::test]
async fn a_silent_client_must_log_in() {
    let mut server = Server::start(Setup {
        options: ImapOptions {
            login_timeout: Duration::from_millis(20),
            ..ImapOptions::default()
        },
        ..Setup::default()
    })
    .await;
    server.until("\r\n").await;
    let heard = server.until("\r\n").await;
    assert!(heard.starts_with("* BYE "), "{heard}");
}

#[tokio::test]
async fn a_login_that_drips_in_is_cut_off() {
    let mut server = Server::start(Setup {
        options: ImapOptions {
            plaintext_login: true,
            login_timeout: Duration::from_millis(100),
            ..ImapOptions::default()
        },
        ..Setup::default()
    })
    .await;
    server.send("a AUTHENTICATE PLAIN\r\n").await;
    server.until("+ \r\n").await;
    let (mut from_server, mut to_server) = tokio::io::split(server.client);
    let drips = async {
        let mut drip = tokio::time::interval(Duration::from_millis(10));
        for _ in 0..500 {
            drip.tick().await;
            if to_server.write_all(b"A").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut heard = Vec::new();
    tokio::select! {
        read = from_server.read_to_end(&mut heard) => {
            read.unwrap();
        }
        () = drips => panic!("still listened to after many times the time for a login"),
    }
    assert!(
        heard.starts_with(b"* BYE "),
        "{}",
        String::from_utf8_lossy(&heard)
    );
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_login() {
    let mut server = Server::start(Setup::default()).await;
    server.send("a AUTHENTICATE PLAIN\r\n").await;
    server.until("+ \r\n").await;
    server.shutdown.cancel();
    assert!(server.rest().await.starts_with("* BYE "));
}

#[tokio::test]
async fn no_password_without_tls() {
    let setup = Setup {
        options: ImapOptions::default(),
        ..Setup::default()
    };
    let input = b"a LOGIN user secret\r\nb AUTHENTICATE PLAIN\r\nc CAPABILITY\r\nd LOGOUT\r\n";
    let heard = Server::all(setup, input).await;
    assert!(
        heard.contains("a NO [PRIVACYREQUIRED]") && heard.contains("b NO [PRIVACYREQUIRED]"),
        "{heard}"
    );
    assert!(
        heard.contains("LOGINDISABLED") && !heard.contains("AUTH=PLAIN"),
        "{heard}"
    );
}

#[tokio::test]
async fn failed_logins_are_told_apart_and_counted() {
    let input =
        b"a LOGIN user suspended\r\nb LOGIN user no\r\nc AUTHENTICATE PLAIN AHVzZXIAbm8=\r\nd LOGIN x y\r\n\
                  e LOGIN x y\r\nf LOGIN user secret\r\n";
    let heard = Server::all(Setup::default(), input).await;
    assert!(heard.contains("a NO [CONTACTADMIN]"), "{heard}");
    for tag in ["b", "c", "d"] {
        assert!(
            heard.contains(&format!("{tag} NO [AUTHENTICATIONFAILED]")),
            "{heard}"
        );
    }
    assert!(
        heard
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("* BYE ")),
        "{heard}"
    );
    assert!(!heard.contains("f OK"));
}

#[tokio::test]
async fn a_directory_that_is_away_is_no_wrong_password() {
    let setup = Setup {
        directory_is_away: true,
        ..Setup::default()
    };
    let heard = Server::all(setup, b"a LOGIN user secret\r\nb LOGOUT\r\n").await;
    assert!(
        heard.contains("a NO [UNAVAILABLE]") && heard.contains("b OK"),
        "{heard}"
    );
}

#[tokio::test]
async fn commands_behind_starttls_are_discarded() {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(issued.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let setup = Setup {
        options: ImapOptions::default(),
        tls: Some(tokio_rustls::TlsAcceptor::from(Arc::new(config))),
        ..Setup::default()
    };
    let mut server = Server::start(setup).await;
    assert!(server.until("\r\n").await.contains(" STARTTLS LOGINDISABLED"));
    server.send("a STARTTLS\r\nx NOOP\r\ny LOGIN user secr").await;
    assert!(server.until("\r\n").await.starts_with("a OK "));
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let mut tls = connector.connect(name, server.client).await.unwrap();
    tls.write_all(b"b STARTTLS\r\nc CAPABILITY\r\nd LOGIN user secret\r\ne LOGOUT\r\n")
        .await
        .unwrap();
    let mut heard = Vec::new();
    // The server may close without waiting for the client's close_notify.
    let _ = tls.read_to_end(&mut heard).await;
    let heard = String::from_utf8(heard).unwrap();
    assert!(heard.starts_with("b BAD "), "{heard}");
    assert!(!heard.contains("x OK") && !heard.contains("y "), "{heard}");
    assert!(
        heard.contains("AUTH=PLAIN") && !heard.contains("LOGINDISABLED"),
        "{heard}"
    );
    assert!(heard.contains("d OK [CAPABILITY"), "{heard}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let mut server = Server::start(Setup {
        options: ImapOptions {
            commands_before_login_max: u32::MAX,
            write_timeout: Duration::from_millis(50),
            ..ImapOptions::default()
        },
        ..Setup::default()
    })
    .await;
    let many = "a CAPABILITY\r\n".repeat(10_000);
    // It is cut off while it still writes.
    let _ = server.client.write_all(many.as_bytes()).await;
    server.task.await.unwrap();
}

#[tokio::test]
async fn shutdown_says_bye() {
    let mut server = Server::start(Setup::default()).await;
    server.until("\r\n").await;
    server.shutdown.cancel();
    assert!(server.rest().await.starts_with("* BYE "));
}

/// Bytes of a connection's task while the client is silent, the stream and its buffers apart.
const WAITING_BYTES_MAX: usize = 2048;

#[tokio::test]
async fn a_waiting_client_costs_little() {
    let server = Server::start(Setup::default()).await;
    let (_client, stream) = tokio::io::duplex(64);
    let peer = Peer {
        address: "127.0.0.1:1".parse().unwrap(),
        tls: false,
    };
    let bytes = size_of_val(&serve_stream(Box::new(stream), peer, Arc::clone(&server.context)));
    println!("{bytes} bytes");
    assert!(bytes <= WAITING_BYTES_MAX, "{bytes} bytes");
}
