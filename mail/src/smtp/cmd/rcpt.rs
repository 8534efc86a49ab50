//! RCPT, RFC 5321 §4.1.1.3.

use crate::smtp::command::Parameter;
use crate::smtp::path::ForwardPath;
use crate::smtp::reply::{Reply, texts};
use crate::smtp::session::{Action, Phase, Recipient, RecipientOutcome, Session};

impl<R> Session<R> {
    pub(in crate::smtp) fn rcpt(&mut self, recipient: ForwardPath, parameters: &[Parameter]) -> Action {
        let Some(transaction) = &self.transaction else {
            return Action::Reply(texts::bad_sequence("Send MAIL first"));
        };
        // RFC 3030 §2: once content has begun, its recipients are fixed.
        if transaction.chunked_octets.is_some() {
            return Action::Reply(texts::bad_sequence("Finish the chunks first"));
        }
        // RFC 5321 §4.1.1.11. NOTIFY and ORCPT are DSN's (RFC 3461), which is not offered.
        if !parameters.is_empty() {
            return Action::Reply(texts::unknown_parameter());
        }
        // RFC 6531 §3.5
        if !transaction.smtputf8 && !recipient.is_ascii() {
            return Action::Reply(texts::needs_smtputf8());
        }
        if transaction.recipients.len() >= self.config.recipients_max {
            return Action::Reply(texts::too_many_recipients());
        }
        self.phase = Phase::Resolving(recipient.clone());
        Action::ResolveRecipient(recipient)
    }

    /// Takes the outcome of [`Action::ResolveRecipient`]; gives what to write.
    pub fn recipient_resolved(&mut self, outcome: RecipientOutcome<R>) -> Reply {
        let path = match std::mem::replace(&mut self.phase, Phase::Command) {
            Phase::Resolving(path) => path,
            phase => {
                self.phase = phase;
                self.out_of_turn("recipient_resolved")
            }
        };
        match outcome {
            RecipientOutcome::Accepted(target) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.recipients.push(Recipient { path, target });
                }
                texts::recipient_ok()
            }
            RecipientOutcome::Unknown => texts::unknown_recipient(),
            RecipientOutcome::NotLocal => texts::not_local(),
            RecipientOutcome::Suspended => texts::suspended(),
            RecipientOutcome::TemporarilyUnavailable => texts::temporarily_unavailable(),
            RecipientOutcome::AliasLoop => texts::alias_loop(),
            RecipientOutcome::OverQuota => texts::over_quota(),
            RecipientOutcome::TooMany => texts::too_many_recipients(),
        }
    }
}
