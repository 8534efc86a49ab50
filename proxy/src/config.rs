//! The `[proxy]` section of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use rookery_process::config::{ByteSize, Span};
use serde::{Deserialize, Serialize};

/// What an operator may say of a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The name that it greets with and writes into Received lines.
    pub hostname: String,
    /// Where each protocol listens; one that is absent is not served.
    pub listen: Listeners,
    /// Certificate chain (PEM) that clients see.
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
    /// Whether passwords may be sent without TLS: for loopback and tests.
    pub plaintext_login: bool,
    /// Largest message, in bytes.
    pub message_bytes_max: ByteSize,
    /// Connections in all.
    pub connections_max: usize,
    /// Connections from one address (an IPv6 /64 counts as one; loopback is not bounded by it).
    pub connections_per_address_max: usize,
    /// How long a client's command waits for its shard.
    pub patience: Span,
    /// How long after a login its password is enough while the directory cannot be asked. Zero: never.
    pub logins_kept: Span,
    /// How long open sessions may take to end when the proxy stops.
    pub drain: Span,
}

/// Addresses by protocol. Port 0: the system chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listeners {
    /// IMAP with STARTTLS, usually port 143.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imap: Option<SocketAddr>,
    /// IMAP over TLS, usually port 993.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imaps: Option<SocketAddr>,
    /// SMTP, usually port 25.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SocketAddr>,
    /// Submission with STARTTLS, usually port 587.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submission: Option<SocketAddr>,
    /// Submission over TLS, usually port 465.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submissions: Option<SocketAddr>,
    /// LMTP, usually port 24. It asks for no password: only for the network of the site's own relays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lmtp: Option<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hostname: "localhost".to_owned(),
            listen: Listeners::default(),
            certificate: PathBuf::from("tls.pem"),
            key: PathBuf::from("tls.key"),
            plaintext_login: false,
            message_bytes_max: ByteSize(50 << 20),
            connections_max: 20_000,
            connections_per_address_max: 100,
            patience: Span::seconds(30),
            logins_kept: Span::seconds(15 * 60),
            drain: Span::seconds(10),
        }
    }
}
