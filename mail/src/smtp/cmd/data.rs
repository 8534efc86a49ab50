//! DATA (RFC 5321 §4.1.1.4), and the end of a transaction however its content came.

use crate::smtp::reply::{Reply, texts};
use crate::smtp::session::{Action, Content, DeliveryOutcome, Kind, Phase, Session, Transaction};

impl<R> Session<R> {
    pub(in crate::smtp) fn data(&mut self) -> Action {
        match self.content_refused() {
            Some(reply) => Action::Reply(reply),
            // RFC 3030 §2: DATA and BDAT do not mix.
            None if self
                .transaction
                .as_ref()
                .is_some_and(|open| open.chunked_octets.is_some()) =>
            {
                Action::Reply(texts::bad_sequence("DATA after BDAT"))
            }
            None => {
                self.phase = Phase::Data;
                Action::ReceiveData(texts::start_content())
            }
        }
    }

    /// Takes the outcome of [`Action::ReceiveData`] and [`Action::ReceiveChunk`].
    pub fn content_received(&mut self, content: Content) -> Action {
        match std::mem::replace(&mut self.phase, Phase::Command) {
            Phase::Data => self.content_complete(&content),
            Phase::Chunk(chunk, None) => self.chunk_received(chunk, &content),
            Phase::Chunk(_, Some(replies)) => {
                self.transaction = None;
                Action::Abandon(replies)
            }
            phase => {
                self.phase = phase;
                self.out_of_turn("content_received")
            }
        }
    }

    /// Takes the outcome of [`Action::Commit`]; gives what to write, in order.
    ///
    /// SMTP and submission have one outcome; LMTP has one for each of the transaction's recipients, in
    /// their order (RFC 2033 §4.2). An outcome that is missing is answered with 451. `id` names the
    /// message in the log.
    pub fn delivered(&mut self, outcomes: &[DeliveryOutcome], id: &str) -> Vec<Reply> {
        let Phase::Committing = self.phase else {
            self.out_of_turn("delivered")
        };
        self.phase = Phase::Command;
        let Some(transaction) = self.transaction.take() else {
            return Vec::new();
        };
        let outcome_of = |index: usize| {
            outcomes
                .get(index)
                .copied()
                .unwrap_or(DeliveryOutcome::TemporarilyUnavailable)
        };
        if self.config.kind != Kind::Lmtp {
            return vec![answer(outcome_of(0), || texts::stored(id))];
        }
        let recipients = transaction.recipients.iter().enumerate();
        recipients
            .map(|(index, one)| answer(outcome_of(index), || texts::stored_for(&one.path, id)))
            .collect()
    }

    /// All content is there: it is refused, or stored.
    pub(super) fn content_complete(&mut self, content: &Content) -> Action {
        match content.refusal(&self.config) {
            Some(reply) => {
                let replies = self.for_each_recipient(reply);
                self.transaction = None;
                Action::Abandon(replies)
            }
            None => {
                self.phase = Phase::Committing;
                Action::Commit
            }
        }
    }

    /// Why there can be no content now.
    pub(super) fn content_refused(&self) -> Option<Reply> {
        match &self.transaction {
            None => Some(texts::bad_sequence("Send MAIL first")),
            Some(Transaction { recipients, .. }) if recipients.is_empty() => {
                // RFC 2033 §4.2 wants 503; RFC 5321 §3.3 leaves 503 or 554 to the server.
                Some(match self.config.kind {
                    Kind::Lmtp => texts::bad_sequence("No valid recipients"),
                    Kind::Smtp | Kind::Submission => texts::no_valid_recipients(),
                })
            }
            Some(_) => None,
        }
    }

    /// One verdict on content: said once by SMTP, once for each recipient by LMTP.
    pub(super) fn for_each_recipient(&self, reply: Reply) -> Vec<Reply> {
        let count = match (&self.transaction, self.config.kind) {
            (Some(transaction), Kind::Lmtp) => transaction.recipients.len(),
            _ => 1,
        };
        vec![reply; count]
    }
}

fn answer(outcome: DeliveryOutcome, stored: impl FnOnce() -> Reply) -> Reply {
    match outcome {
        DeliveryOutcome::Stored => stored(),
        DeliveryOutcome::OverQuota => texts::over_quota(),
        DeliveryOutcome::Suspended => texts::suspended(),
        DeliveryOutcome::Unknown => texts::unknown_recipient(),
        DeliveryOutcome::TemporarilyUnavailable => texts::temporarily_unavailable(),
    }
}
