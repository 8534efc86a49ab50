//! One mail transaction, from MAIL to the answer to its content (RFC 5321 §3.3).

use super::super::path::{ForwardPath, ReversePath};

/// What BODY declared, RFC 6152 §3. Nothing depends on it: 8-bit content is taken without it, as
/// Apple's mail clients send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Body {
    /// `7BIT`, or nothing.
    #[default]
    SevenBit,
    /// `8BITMIME`
    EightBitMime,
}

/// A recipient that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient<R> {
    /// As the client named it.
    pub path: ForwardPath,
    /// What the connection keeps with it.
    pub target: R,
}

/// A transaction in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction<R> {
    pub(in crate::smtp) sender: ReversePath,
    pub(in crate::smtp) body: Body,
    pub(in crate::smtp) smtputf8: bool,
    pub(in crate::smtp) declared_octets: Option<u64>,
    pub(in crate::smtp) recipients: Vec<Recipient<R>>,
    /// Octets of the chunks of BDAT so far; `None` before the first.
    pub(in crate::smtp) chunked_octets: Option<u64>,
}

impl<R> Transaction<R> {
    /// Whom the message comes from.
    pub fn sender(&self) -> &ReversePath {
        &self.sender
    }

    /// What BODY declared.
    pub fn body(&self) -> Body {
        self.body
    }

    /// Whether SMTPUTF8 was declared, RFC 6531 §3.4.
    pub fn smtputf8(&self) -> bool {
        self.smtputf8
    }

    /// What SIZE declared; a hint, never a promise (RFC 1870 §6.3).
    pub fn declared_octets(&self) -> Option<u64> {
        self.declared_octets
    }

    /// The recipients taken, in the order of their commands. One named twice is there twice: LMTP
    /// answers it twice (RFC 2033 §4.2), and who stores the message stores it once.
    pub fn recipients(&self) -> &[Recipient<R>] {
        &self.recipients
    }
}
