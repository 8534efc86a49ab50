//! The answer to EHLO and LHLO.

use super::Reply;
use crate::sasl::Mechanism;

/// What is offered at this moment of this session. A session asks this one type both for what it
/// advertises and, by the same values, for what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Octets of the largest message, RFC 1870 §3.
    pub message_octets_max: u64,
    /// RFC 3207 §4.2: not under TLS.
    pub starttls: bool,
    /// RFC 4954 §3.
    pub auth: bool,
}

impl Capabilities {
    /// `250` with the host's name and one capability a line.
    pub fn reply(&self, host: &str) -> Reply {
        let mut lines = vec![
            host.to_owned().into(),
            "PIPELINING".into(),
            format!("SIZE {}", self.message_octets_max).into(),
            "8BITMIME".into(),
            "ENHANCEDSTATUSCODES".into(),
            "CHUNKING".into(),
            "SMTPUTF8".into(),
        ];
        if self.starttls {
            lines.push("STARTTLS".into());
        }
        if self.auth {
            let names: Vec<&str> = Mechanism::ALL.iter().map(|mechanism| mechanism.name()).collect();
            lines.push(format!("AUTH {}", names.join(" ")).into());
        }
        Reply::bare(250, lines)
    }
}
