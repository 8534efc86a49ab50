//! What all connections of one SMTP, submission or LMTP listener share: the cluster, the limits, the certificate, the end.

use std::sync::Arc;
use std::time::Duration;

use rookery_mail::smtp::session::{Kind, SessionConfig};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::imap::LoginSlowing;
use crate::route::Cluster;

/// Limits and waits of a listener's connections.
#[derive(Debug, Clone)]
pub struct SmtpOptions {
    /// Which protocol is spoken.
    pub kind: Kind,
    /// The name that is greeted with and written into Received lines.
    pub hostname: String,
    /// Bytes of the largest message.
    pub message_bytes_max: u64,
    /// Whether passwords are taken without TLS.
    pub plaintext_login: bool,
    /// Silence while a command is waited for; RFC 5321 §4.5.3.2.7 wants 5 minutes at least.
    pub command_timeout: Duration,
    /// Silence in the midst of content; RFC 5321 §4.5.3.2.5 lets a client take 3 minutes for a block.
    pub content_timeout: Duration,
    /// How long the content of one message, or one chunk of it, may take to arrive.
    pub content_duration_max: Duration,
    /// How long a client may take no byte of what is sent.
    pub write_timeout: Duration,
    /// Once the message is stored in one shard, how long the other shards are waited for before their recipients become
    /// hand-offs.
    pub stragglers_patience: Duration,
}

impl Default for SmtpOptions {
    fn default() -> Self {
        Self {
            kind: Kind::Smtp,
            hostname: "localhost".to_owned(),
            message_bytes_max: 50 * 1024 * 1024,
            plaintext_login: false,
            command_timeout: Duration::from_secs(5 * 60),
            content_timeout: Duration::from_secs(5 * 60),
            content_duration_max: Duration::from_secs(60 * 60),
            write_timeout: Duration::from_secs(60),
            stragglers_patience: Duration::from_secs(5),
        }
    }
}

/// What all connections of a listener share.
pub struct SmtpContext {
    /// The way to directory and mailstores.
    pub cluster: Arc<Cluster>,
    /// Limits and waits.
    pub options: SmtpOptions,
    /// For STARTTLS; absent: not offered.
    pub tls: Option<TlsAcceptor>,
    /// Failed logins by client address, to be shared by all protocols' listeners.
    pub slowing: Arc<LoginSlowing>,
    /// Cancelled when connections must say 421 and end.
    pub shutdown: CancellationToken,
}

impl SmtpContext {
    /// What a session must know of it.
    pub(super) fn session_config(&self) -> SessionConfig {
        let options = &self.options;
        SessionConfig {
            starttls: self.tls.is_some(),
            plaintext_auth: options.plaintext_login,
            ..SessionConfig::new(options.kind, &options.hostname, options.message_bytes_max)
        }
    }
}
