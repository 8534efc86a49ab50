//! What is counted of these protocols, and what traces say of the outcomes.

use std::time::Duration;

use rookery_mail::smtp::session::{DeliveryOutcome, Kind};
use rookery_process::telemetry::Held;
use rookery_process::traces;

use crate::catalogue::{
    SMTP_COMMAND_SECONDS, SMTP_COMMANDS_TOTAL, SMTP_CONNECTIONS, SMTP_CONNECTIONS_TOTAL, SMTP_DELIVERIES,
    SMTP_DELIVERY_SECONDS, SMTP_HAND_OFFS, SMTP_LOGINS, SMTP_RECEIVED_BYTES, SMTP_RECIPIENTS,
};

/// The reply of a command that is not answered yet: it asks for the next line of a dialogue (RFC 4954 §4).
const GO_ON: u16 = 334;

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
pub(super) struct ConnectionGauge {
    _open: Held,
}

impl ConnectionGauge {
    /// Counts a connection in.
    pub(super) fn new(of: Kind) -> Self {
        SMTP_CONNECTIONS_TOTAL.with(&[kind(of)]).increment(1);
        Self {
            _open: SMTP_CONNECTIONS.hold(&[kind(of)]),
        }
    }
}

/// Counts a command that was answered; `code` is the worst of its replies.
pub(super) fn command(of: Kind, verb: &'static str, code: u16, took: Duration) {
    let outcome = match code {
        GO_ON => return,
        200..400 => "ok",
        400..500 => "later",
        500.. => "refused",
        // Nothing was answered.
        _ => return,
    };
    SMTP_COMMANDS_TOTAL.with(&[kind(of), verb, outcome]).increment(1);
    SMTP_COMMAND_SECONDS
        .with(&[kind(of), verb])
        .record(took.as_secs_f64());
}

/// Counts what became of a recipient at RCPT.
pub(super) fn recipient(result: &'static str) {
    traces::current().outcome(result);
    SMTP_RECIPIENTS.with(&[result]).increment(1);
}

/// Counts a login.
pub(super) fn login(result: &'static str) {
    traces::current().outcome(result);
    SMTP_LOGINS.with(&[result]).increment(1);
}

/// Counts a message that was delivered, or not.
pub(super) fn message(protocol: &'static str, result: &'static str, bytes: u64, took: Duration) {
    SMTP_DELIVERIES.with(&[protocol, result]).increment(1);
    SMTP_RECEIVED_BYTES.with(&[protocol]).increment(bytes);
    SMTP_DELIVERY_SECONDS.with(&[protocol]).record(took.as_secs_f64());
}

/// Counts hand-off rows by what became of them.
pub(super) fn hand_offs(result: &'static str, rows: usize) {
    SMTP_HAND_OFFS.with(&[result]).increment(rows as u64);
}
