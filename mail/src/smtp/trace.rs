//! The lines that a server puts in front of a message: `Return-Path:` and `Received:`,
//! RFC 5321 §4.4.
//!
//! Owns their form. Nothing of a client gets into them but what the grammar allows there, so that no
//! name or address can forge a header line.

use std::fmt::Write;
use std::net::IpAddr;

use super::path::{ForwardPath, ReversePath};

mod date;

pub use date::rfc5322_date;

/// What the `with` clause says: a name of the registry that RFC 3848 and RFC 6531 §4.3 fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protocol {
    /// LMTP rather than SMTP.
    pub lmtp: bool,
    /// The client said EHLO or LHLO.
    pub extended: bool,
    /// The transaction declared SMTPUTF8.
    pub utf8: bool,
    /// Over TLS.
    pub tls: bool,
    /// After AUTH.
    pub authenticated: bool,
}

impl Protocol {
    /// `ESMTPSA` and its kin.
    pub fn name(self) -> String {
        let base = match (self.lmtp, self.utf8, self.extended) {
            (true, true, _) => "UTF8LMTP",
            (true, false, _) => "LMTP",
            (false, true, _) => "UTF8SMTP",
            (false, false, true) => "ESMTP",
            // RFC 3848 names no `SMTPS`: whoever used TLS or AUTH said EHLO before.
            (false, false, false) if self.tls || self.authenticated => "ESMTP",
            (false, false, false) => "SMTP",
        };
        let tls = if self.tls { "S" } else { "" };
        let authenticated = if self.authenticated { "A" } else { "" };
        format!("{base}{tls}{authenticated}")
    }
}

/// What a `Received:` line tells.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// What the client called itself.
    pub client_name: Option<&'a str>,
    /// Where it connects from; `None` for a socket without addresses.
    pub client_address: Option<IpAddr>,
    /// This host.
    pub host: &'a str,
    /// How it spoke to us.
    pub protocol: Protocol,
    /// The transaction's id, as in the log.
    pub id: &'a str,
    /// The recipient, only where there is one: RFC 5321 §7.6 warns of telling others.
    pub recipient: Option<&'a ForwardPath>,
    /// Seconds since 1970.
    pub unix_seconds: i64,
}

impl Received<'_> {
    /// The header field, folded, with its CRLFs.
    ///
    /// ```text
    /// Time-stamp-line = "Received:" FWS From-domain By-domain Opt-info [CFWS] ";" FWS date-time
    /// ```
    pub fn header(&self) -> String {
        let name = self
            .client_name
            .map_or_else(|| "unknown".to_owned(), |name| token(name, ".-_[]:"));
        let mut line = format!("Received: from {name}");
        if let Some(address) = self.client_address {
            let _ = write!(line, " ({})", address_literal(address));
        }
        let host = token(self.host, ".-_[]:");
        let _ = write!(
            line,
            "\r\n\tby {host} with {} id {}",
            self.protocol.name(),
            token(self.id, ".-_")
        );
        if let Some(recipient) = self.recipient {
            let _ = write!(line, "\r\n\tfor {recipient}");
        }
        let _ = write!(line, ";\r\n\t{}\r\n", rfc5322_date(self.unix_seconds));
        line
    }
}

/// `Return-Path: <sender>` with its CRLF, added once, at final delivery.
pub fn return_path(sender: &ReversePath) -> String {
    format!("Return-Path: {sender}\r\n")
}

/// RFC 5321 §4.1.3; an IPv4 address that came through an IPv6 socket is written as what it is.
fn address_literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

/// Letters, digits and `extra` stay, anything else becomes `?`; at most 255 characters, so that no
/// header line is longer than RFC 5322 §2.1.1 allows.
fn token(text: &str, extra: &str) -> String {
    let character = |one: char| {
        if one.is_ascii_alphanumeric() || extra.contains(one) {
            one
        } else {
            '?'
        }
    };
    let token: String = text
        .chars()
        .take(crate::address::DOMAIN_OCTETS_MAX)
        .map(character)
        .collect();
    if token.is_empty() {
        "unknown".to_owned()
    } else {
        token
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forward(path: &str) -> ForwardPath {
        ForwardPath::take(path).expect(path).0
    }

    fn received<'a>() -> Received<'a> {
        Received {
            client_name: Some("client.test"),
            client_address: Some(IpAddr::from([192, 0, 2, 1])),
            host: "mx.example.test",
            protocol: Protocol {
                extended: true,
                ..Protocol::default()
            },
            id: "0197-ab",
            recipient: None,
            unix_seconds: 1_700_000_000,
        }
    }

    #[test]
    fn a_whole_line() {
        let recipient = forward("<User@example.test>");
        let line = Received {
            recipient: Some(&recipient),
            ..received()
        }
        .header();
        assert_eq!(
            line,
            "Received: from client.test ([192.0.2.1])\r\n\tby mx.example.test with ESMTP id 0197-ab\r\n\
             \tfor <User@example.test>;\r\n\tTue, 14 Nov 2023 22:13:20 +0000\r\n"
        );
    }

    #[test]
    fn addresses_of_clients() {
        for (address, text) in [("::1", "([IPv6:::1])"), ("::ffff:10.0.0.1", "([10.0.0.1])")] {
            let address = address.parse().expect("address");
            let line = Received {
                client_address: Some(address),
                ..received()
            }
            .header();
            assert!(line.contains(text), "{line}");
        }
        let line = Received {
            client_address: None,
            client_name: None,
            ..received()
        }
        .header();
        assert!(line.starts_with("Received: from unknown\r\n"), "{line}");
    }

    #[test]
    fn names_of_protocols() {
        let esmtp = Protocol {
            extended: true,
            ..Protocol::default()
        };
        for (protocol, name) in [
            (Protocol::default(), "SMTP"),
            (esmtp, "ESMTP"),
            (Protocol { tls: true, ..esmtp }, "ESMTPS"),
            (
                Protocol {
                    authenticated: true,
                    ..esmtp
                },
                "ESMTPA",
            ),
            (
                Protocol {
                    tls: true,
                    authenticated: true,
                    ..esmtp
                },
                "ESMTPSA",
            ),
            (
                Protocol {
                    tls: true,
                    ..Protocol::default()
                },
                "ESMTPS",
            ),
            (
                Protocol {
                    utf8: true,
                    tls: true,
                    ..esmtp
                },
                "UTF8SMTPS",
            ),
            (Protocol { lmtp: true, ..esmtp }, "LMTP"),
            (
                Protocol {
                    lmtp: true,
                    utf8: true,
                    tls: true,
                    ..esmtp
                },
                "UTF8LMTPS",
            ),
        ] {
            assert_eq!(protocol.name(), name);
        }
    }

    #[test]
    fn return_paths() {
        assert_eq!(return_path(&ReversePath::Null), "Return-Path: <>\r\n");
        let (sender, _) = ReversePath::take("<\"a b\"@x>").expect("path");
        assert_eq!(return_path(&sender), "Return-Path: <\"a b\"@x>\r\n");
    }

    proptest! {
        #[test]
        fn nothing_is_injected(name in any::<String>(), id in any::<String>(), path in "<[ -~]{1,12}@[a-z]{1,4}>") {
            let recipient = ForwardPath::take(&path).ok().map(|(path, _)| path);
            let line = Received {
                client_name: Some(&name), id: &id, recipient: recipient.as_ref(), ..received()
            }.header();
            prop_assert_eq!(line.matches("\r\n").count(), if recipient.is_some() { 4 } else { 3 });
            prop_assert_eq!(line.matches(['\r', '\n']).count(), line.matches("\r\n").count() * 2);
            prop_assert!(line.trim_end().split("\r\n").skip(1).all(|folded| folded.starts_with('\t')));
            prop_assert!(line.split("\r\n").all(|folded| folded.len() <= 998));
        }
    }
}
