//! What all IMAP connections of a proxy share: the cluster, the limits, the certificate, the end.

use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::slowing::LoginSlowing;
use crate::route::Cluster;

/// Limits and waits of IMAP connections.
#[derive(Debug, Clone)]
pub struct ImapOptions {
    /// Whether passwords are taken without TLS.
    pub plaintext_login: bool,
    /// Bytes of the largest message that APPEND takes.
    pub message_bytes_max: u64,
    /// Silence after which a logged-in client is sent away; RFC 3501 §5.4 wants 30 minutes at least.
    pub idle_timeout: Duration,
    /// Time within which a client must have logged in.
    pub login_timeout: Duration,
    /// How long a client may take no byte of what is sent.
    pub write_timeout: Duration,
    /// Time between two signs of life while a client idles.
    pub keepalive_interval: Duration,
    /// Commands before login.
    pub commands_before_login_max: u32,
    /// Commands in a row that were not understood.
    pub bad_commands_max: u32,
    /// Failed logins on one connection.
    pub failed_logins_max: u32,
}

impl Default for ImapOptions {
    fn default() -> Self {
        Self {
            plaintext_login: false,
            message_bytes_max: 50 * 1024 * 1024,
            // One minute more, so that a client which waits exactly as long as it may is not cut off.
            idle_timeout: Duration::from_secs(31 * 60),
            login_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            // Outlook takes a silent IDLE for dead.
            keepalive_interval: Duration::from_secs(120),
            commands_before_login_max: 100,
            bad_commands_max: 20,
            failed_logins_max: 4,
        }
    }
}

/// What all IMAP connections of a proxy share.
pub struct ImapContext {
    /// The way to directory and mailstores.
    pub cluster: Arc<Cluster>,
    /// Limits and waits.
    pub options: ImapOptions,
    /// For STARTTLS; absent: not offered.
    pub tls: Option<TlsAcceptor>,
    /// Failed logins by client address, to be shared by all protocols' listeners.
    pub slowing: Arc<LoginSlowing>,
    /// Cancelled when connections must say BYE and end.
    pub shutdown: CancellationToken,
}
