//! The counters of these protocols.

use std::time::Duration;

use rookery_mail::smtp::session::{DeliveryOutcome, Kind};

/// A protocol's name in labels and log lines.
pub(super) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Smtp => "smtp",
        Kind::Submission => "submission",
        Kind::Lmtp => "lmtp",
    }
}

/// An outcome's name in labels and log lines.
pub(super) fn outcome(outcome: DeliveryOutcome) -> &'static str {
    match outcome {
        DeliveryOutcome::Stored => "stored",
        DeliveryOutcome::OverQuota => "over_quota",
        DeliveryOutcome::Suspended => "suspended",
        DeliveryOutcome::Unknown => "unknown",
        DeliveryOutcome::TemporarilyUnavailable => "unavailable",
    }
}

/// A connection as long as it lives.
pub(super) struct ConnectionGauge(Kind);

impl ConnectionGauge {
    /// Counts a connection in.
    pub(super) fn new(of: Kind) -> Self {
        metrics::counter!("rookery_proxy_smtp_connections_total", "protocol" => kind(of)).increment(1);
        metrics::gauge!("rookery_proxy_smtp_connections", "protocol" => kind(of)).increment(1.0);
        Self(of)
    }
}

impl Drop for ConnectionGauge {
    fn drop(&mut self) {
        metrics::gauge!("rookery_proxy_smtp_connections", "protocol" => kind(self.0)).decrement(1.0);
    }
}

/// Counts what became of a recipient at RCPT.
pub(super) fn recipient(result: &'static str) {
    metrics::counter!("rookery_proxy_smtp_recipients_total", "outcome" => result).increment(1);
}

/// Counts a login.
pub(super) fn login(result: &'static str) {
    metrics::counter!("rookery_proxy_smtp_logins_total", "outcome" => result).increment(1);
}

/// Counts a message that was delivered, or not.
pub(super) fn message(protocol: &'static str, result: &'static str, bytes: u64, took: Duration) {
    metrics::counter!("rookery_proxy_smtp_deliveries_total", "protocol" => protocol, "outcome" => result)
        .increment(1);
    metrics::counter!("rookery_proxy_smtp_received_bytes_total", "protocol" => protocol).increment(bytes);
    metrics::histogram!("rookery_proxy_smtp_delivery_duration_seconds", "protocol" => protocol)
        .record(took.as_secs_f64());
}

/// Counts hand-off rows by what became of them.
pub(super) fn hand_offs(result: &'static str, rows: usize) {
    metrics::counter!("rookery_proxy_smtp_hand_offs_total", "outcome" => result).increment(rows as u64);
}
