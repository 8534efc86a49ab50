//! The counters of this protocol.

use std::time::Duration;

use rookery_mail::imap::encode::Condition;

/// A connection as long as it lives.
pub(super) struct ConnectionGauge;

impl ConnectionGauge {
    /// Counts a connection in.
    pub(super) fn new() -> Self {
        metrics::counter!("rookery_proxy_imap_connections_total").increment(1);
        metrics::gauge!("rookery_proxy_imap_connections").increment(1.0);
        Self
    }
}

impl Drop for ConnectionGauge {
    fn drop(&mut self) {
        metrics::gauge!("rookery_proxy_imap_connections").decrement(1.0);
    }
}

/// Counts an answered command. `name` is one of a fixed set.
pub(super) fn command(name: &'static str, condition: Condition, took: Duration) {
    let outcome = match condition {
        Condition::Ok | Condition::PreAuth => "ok",
        Condition::No => "no",
        Condition::Bad => "bad",
        Condition::Bye => "bye",
    };
    metrics::counter!("rookery_proxy_imap_commands_total", "command" => name, "outcome" => outcome)
        .increment(1);
    metrics::histogram!("rookery_proxy_imap_command_duration_seconds", "command" => name)
        .record(took.as_secs_f64());
}

/// Counts a login.
pub(super) fn login(outcome: &'static str) {
    metrics::counter!("rookery_proxy_imap_logins_total", "outcome" => outcome).increment(1);
}
