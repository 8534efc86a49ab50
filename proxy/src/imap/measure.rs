//! What is counted of this protocol.

use std::time::Duration;

use rookery_mail::imap::encode::Condition;
use rookery_process::telemetry::Held;

use super::session::State;
use crate::catalogue::{
    IMAP_COMMAND_SECONDS, IMAP_COMMANDS_TOTAL, IMAP_CONNECTIONS, IMAP_CONNECTIONS_TOTAL, IMAP_LOGINS,
    IMAP_SESSIONS,
};

/// The state of a session while IDLE is under way.
const IDLE: &str = "idle";

/// A connection as long as it lives.
pub(super) struct ConnectionGauge {
    _open: Held,
}

impl ConnectionGauge {
    /// Counts a connection in.
    pub(super) fn new() -> Self {
        IMAP_CONNECTIONS_TOTAL.increment(1);
        Self {
            _open: IMAP_CONNECTIONS.hold(&[]),
        }
    }
}

/// A session among those of the same state, as long as it lives.
pub(super) struct SessionGauge {
    state: &'static str,
    _held: Held,
}

impl SessionGauge {
    /// A session at its beginning.
    pub(super) fn new() -> Self {
        Self::of(name(State::NotAuthenticated))
    }

    fn of(state: &'static str) -> Self {
        Self {
            state,
            _held: IMAP_SESSIONS.hold(&[state]),
        }
    }

    /// Where it stands from now on.
    pub(super) fn is(&mut self, state: State) {
        self.set(name(state));
    }

    /// It waits for news.
    pub(super) fn idles(&mut self) {
        self.set(IDLE);
    }

    fn set(&mut self, state: &'static str) {
        if self.state != state {
            *self = Self::of(state);
        }
    }
}

fn name(state: State) -> &'static str {
    match state {
        // One that has logged out is about to go.
        State::NotAuthenticated | State::Logout => "not_authenticated",
        State::Authenticated => "authenticated",
        State::Selected => "selected",
    }
}

/// An outcome's name in labels and traces.
pub(super) fn outcome(condition: Condition) -> &'static str {
    match condition {
        Condition::Ok | Condition::PreAuth => "ok",
        Condition::No => "no",
        Condition::Bad => "bad",
        Condition::Bye => "bye",
    }
}

/// Counts an answered command. `name` is one of a fixed set.
pub(super) fn command(name: &'static str, condition: Condition, took: Duration) {
    IMAP_COMMANDS_TOTAL.with(&[name, outcome(condition)]).increment(1);
    IMAP_COMMAND_SECONDS.with(&[name]).record(took.as_secs_f64());
}

/// Counts a login.
pub(super) fn login(outcome: &'static str) {
    IMAP_LOGINS.with(&[outcome]).increment(1);
}
