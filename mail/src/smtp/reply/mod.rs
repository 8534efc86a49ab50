//! Replies, RFC 5321 §4.2, with enhanced status codes, RFC 2034 and RFC 3463.
//!
//! Owns how a reply is written, and in [`texts`] every reply that the server ever gives. No text of
//! a client gets into a reply but as printable ASCII, so that none can forge a line.

mod capabilities;
pub mod texts;

use std::borrow::Cow;

pub use capabilities::Capabilities;

/// Octets of a reply line with its CRLF, RFC 5321 §4.5.3.1.5.
pub const REPLY_LINE_OCTETS_MAX: usize = 512;

/// One reply, of one or more lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    /// Subject and detail; the class is always the code's first digit, as RFC 2034 §4 demands.
    enhanced: Option<(u8, u8)>,
    lines: Vec<Cow<'static, str>>,
}

impl Reply {
    /// A reply with an enhanced status code.
    pub(super) fn new(code: u16, subject: u8, detail: u8, text: impl Into<Cow<'static, str>>) -> Reply {
        Reply {
            code,
            enhanced: Some((subject, detail)),
            lines: vec![text.into()],
        }
    }

    /// A reply that has none: greetings, answers to EHLO, and those that ask for more (RFC 2034 §4).
    pub(super) fn bare(code: u16, lines: Vec<Cow<'static, str>>) -> Reply {
        Reply {
            code,
            enhanced: None,
            lines,
        }
    }

    /// The three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Whether the client got what it asked for, or is asked for more.
    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// Writes the reply.
    ///
    /// ```text
    /// Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
    /// ```
    pub fn encode(&self, out: &mut Vec<u8>) {
        let last = self.lines.len().saturating_sub(1);
        for (index, line) in self.lines.iter().enumerate() {
            let start = out.len();
            let separator = if index == last { ' ' } else { '-' };
            out.extend_from_slice(format!("{}{separator}", self.code).as_bytes());
            if let Some((subject, detail)) = self.enhanced {
                out.extend_from_slice(format!("{}.{subject}.{detail} ", self.code / 100).as_bytes());
            }
            let room = REPLY_LINE_OCTETS_MAX - 2 - (out.len() - start);
            out.extend(line.chars().take(room).map(printable));
            out.extend_from_slice(b"\r\n");
        }
    }

    /// The reply as it is sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// RFC 5321 §4.2: `textstring = 1*(%d09 / %d32-126)`.
fn printable(character: char) -> u8 {
    if (' '..='~').contains(&character) {
        character as u8
    } else {
        b'?'
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_and_many() {
        assert_eq!(texts::ok().to_bytes(), b"250 2.0.0 OK\r\n");
        let many = Reply::bare(250, vec!["a".into(), "b".into(), "c".into()]);
        assert_eq!(many.to_bytes(), b"250-a\r\n250-b\r\n250 c\r\n");
        assert_eq!(texts::sasl_challenge("").to_bytes(), b"334 \r\n");
    }

    #[test]
    fn nothing_can_be_injected() {
        let reply = Reply::new(250, 2, 0, "a\r\n550 b\0\tü\u{202e}".to_owned());
        assert_eq!(reply.to_bytes(), b"250 2.2.0 a??550 b????\r\n");
    }

    #[test]
    fn long_lines_are_cut() {
        let reply = Reply::new(250, 2, 0, "ü".repeat(600));
        assert_eq!(reply.to_bytes().len(), REPLY_LINE_OCTETS_MAX);
    }
}
