//! STARTTLS, RFC 3207 §4.

use crate::smtp::reply::texts;
use crate::smtp::session::{Action, Phase, Session};

impl<R> Session<R> {
    pub(in crate::smtp) fn starttls(&mut self) -> Action {
        if self.tls {
            return Action::Reply(texts::bad_sequence("TLS already active"));
        }
        if !self.config.starttls {
            return Action::Reply(texts::not_implemented());
        }
        if self.transaction.is_some() {
            return Action::Reply(texts::bad_sequence("Mail transaction in progress"));
        }
        self.phase = Phase::Handshake;
        Action::StartTls(texts::ready_for_tls())
    }
}
