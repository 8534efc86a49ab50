//! Runs a script, or asks and is answered.
//!
//! A script's `C:` lines that follow each other are sent in one piece, pipelined; the `S:` lines
//! behind them are all that is answered, in this order. The greeting is left out.

use rookery_mail::smtp::session::{Kind, SessionConfig};

use crate::smtp_server::Server;

pub(crate) fn config(kind: Kind) -> SessionConfig {
    SessionConfig {
        recipients_max: 4,
        ..SessionConfig::new(kind, "mx.test", 1_000)
    }
}

pub(crate) fn run(config: SessionConfig, script: &str) -> Server {
    let mut server = Server::new(config);
    server.output.clear();
    let mut lines = script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .peekable();
    while lines.peek().is_some() {
        let mut sent = String::new();
        while let Some(line) = lines.next_if(|line| line.starts_with('C')) {
            sent.push_str(line.strip_prefix("C: ").unwrap_or_default());
            sent.push_str("\r\n");
        }
        let mut expected = String::new();
        while let Some(line) = lines.next_if(|line| line.starts_with('S')) {
            expected.push_str(line.strip_prefix("S: ").expect("S: and a line"));
            expected.push_str("\r\n");
        }
        assert!(
            !sent.is_empty() || !expected.is_empty(),
            "a line of neither side: {:?}",
            lines.peek()
        );
        server.take(sent.as_bytes());
        let output = String::from_utf8(std::mem::take(&mut server.output)).expect("ASCII");
        assert_eq!(output, expected.replace("334\r\n", "334 \r\n"), "after:\n{sent}");
    }
    server
}

/// A session that has said EHLO; what it is answered is dropped.
pub(crate) fn greeted(kind: Kind) -> Server {
    let mut server = Server::new(SessionConfig {
        errors_max: 1_000,
        ..config(kind)
    });
    server.take(if kind == Kind::Lmtp {
        b"LHLO c\r\n"
    } else {
        b"EHLO c\r\n"
    });
    server.output.clear();
    server
}

pub(crate) fn answer(server: &mut Server, input: &[u8]) -> String {
    server.take(input);
    String::from_utf8(std::mem::take(&mut server.output)).expect("ASCII")
}
