//! What kind of server a session plays, and its limits.

/// Recipients of a transaction; RFC 5321 §4.5.3.1.8 asks for at least 100.
pub const RECIPIENTS_MAX: usize = 1_000;
/// Bad commands on a connection before it is closed.
pub const ERRORS_MAX: u32 = 20;
/// Failed logins on a connection before it is closed.
pub const FAILED_LOGINS_MAX: u32 = 3;

/// Which protocol a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Mail from other servers, RFC 5321 (port 25).
    Smtp,
    /// Mail from our users, RFC 6409 (ports 587 and 465).
    Submission,
    /// Mail from a server beside us, RFC 2033.
    Lmtp,
}

impl Kind {
    pub(super) fn greeting_protocol(self) -> &'static str {
        match self {
            Kind::Smtp | Kind::Submission => "ESMTP",
            Kind::Lmtp => "LMTP",
        }
    }
}

/// The same for all sessions of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// Which protocol is spoken.
    pub kind: Kind,
    /// The server's own name.
    pub host: String,
    /// A certificate is there, so STARTTLS is offered.
    pub starttls: bool,
    /// Passwords are taken without TLS: on loopback, for tests and playgrounds.
    pub plaintext_auth: bool,
    /// Octets of the largest message.
    pub message_octets_max: u64,
    /// Recipients of a transaction.
    pub recipients_max: usize,
    /// Bad commands on a connection.
    pub errors_max: u32,
    /// Failed logins on a connection.
    pub failed_logins_max: u32,
}

impl SessionConfig {
    /// The usual limits; no TLS and no plain-text login.
    pub fn new(kind: Kind, host: &str, message_octets_max: u64) -> SessionConfig {
        SessionConfig {
            kind,
            host: host.to_owned(),
            starttls: false,
            plaintext_auth: false,
            message_octets_max,
            recipients_max: RECIPIENTS_MAX,
            errors_max: ERRORS_MAX,
            failed_logins_max: FAILED_LOGINS_MAX,
        }
    }

    /// Octets of refused content that are read and dropped, so that an honest client gets to see the
    /// refusal; whoever sends more is cut off.
    pub fn discarded_octets_max(&self) -> u64 {
        self.message_octets_max.saturating_mul(4)
    }
}
