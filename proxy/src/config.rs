//! The `[proxy]` section of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use rookery_process::config::{ByteSize, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::net::Network;

/// What an operator may say of a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Its name in greetings and Received lines.
    pub hostname: String,
    /// Where each protocol listens; one that has no address is not served. Port 0: the system chooses.
    pub listen: Listeners,
    /// Certificate chain (PEM) that mail clients see; read again when it changes.
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
    /// Whether passwords may be sent without TLS: for loopback and tests.
    pub plaintext_login: bool,
    /// The largest message that is taken.
    pub message_bytes_max: ByteSize,
    /// Connections in all.
    pub connections_max: usize,
    /// Connections from one address (an IPv6 /64 counts as one; loopback is not bounded by it).
    pub connections_per_address_max: usize,
    /// Networks of load balancers: a connection from there begins with a header of the PROXY protocol, version 1 or 2, and the
    /// client is whom it names. One from elsewhere never does.
    pub proxy_protocol_from: Vec<Network>,
    /// The listeners, by their names in `listen`, that `proxy_protocol_from` holds for.
    pub proxy_protocol_on: Vec<Protocol>,
    /// How long a client's command waits for its shard.
    pub patience: Span,
    /// How long after a login its password is enough while the directory cannot be asked; `0s`: never.
    pub logins_kept: Span,
    /// How long open sessions may take to end when the proxy stops.
    pub drain: Span,
}

/// Addresses by protocol. Port 0: the system chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
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

/// A listener by its name in `listen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// IMAP with STARTTLS.
    Imap,
    /// IMAP over TLS.
    Imaps,
    /// SMTP.
    Smtp,
    /// Submission with STARTTLS.
    Submission,
    /// Submission over TLS.
    Submissions,
    /// LMTP.
    Lmtp,
}

impl Protocol {
    /// As it is written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Imap => "imap",
            Protocol::Imaps => "imaps",
            Protocol::Smtp => "smtp",
            Protocol::Submission => "submission",
            Protocol::Submissions => "submissions",
            Protocol::Lmtp => "lmtp",
        }
    }
}

impl Listeners {
    /// Each protocol by its key, with its address if it has one.
    pub fn all(&self) -> [(&'static str, Option<SocketAddr>); 6] {
        [
            ("imap", self.imap),
            ("imaps", self.imaps),
            ("smtp", self.smtp),
            ("submission", self.submission),
            ("submissions", self.submissions),
            ("lmtp", self.lmtp),
        ]
    }
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
            proxy_protocol_from: Vec::new(),
            // A site's own relays speak LMTP, and do not come by the load balancer.
            proxy_protocol_on: vec![
                Protocol::Imap,
                Protocol::Imaps,
                Protocol::Smtp,
                Protocol::Submission,
                Protocol::Submissions,
            ],
            patience: Span::seconds(30),
            logins_kept: Span::seconds(15 * 60),
            drain: Span::seconds(10),
        }
    }
}
