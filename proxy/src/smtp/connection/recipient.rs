//! RCPT: the directory says whose mail it is, and whether whoever logged in may still send.

use std::time::Duration;

use rookery_mail::smtp::path::ForwardPath;
use rookery_mail::smtp::session::RecipientOutcome;
use rookery_proto::directory::v1::ResolvedRecipient;
use rookery_proto::{Reason, Status};
use tokio::time::timeout;

use super::{Connection, End};
use crate::smtp::delivery::{Open, asked};
use crate::smtp::measure;

/// How long the directory may take before the answers that have gathered are sent, so that neither many quick lookups
/// cost a packet each nor a slow one hides what is already known.
const GATHER_MAX: Duration = Duration::from_millis(50);

impl Connection {
    /// Asks the directory and answers.
    pub(super) async fn resolve(&mut self, path: ForwardPath) -> Result<(), End> {
        if !self.may_send().await? {
            let reply = self
                .session
                .recipient_resolved(RecipientOutcome::TemporarilyUnavailable);
            self.wire.reply(&reply);
            return Ok(());
        }
        let asked = asked(&path);
        let resolved = {
            let mut looking_up = Box::pin(self.context.cluster.resolve(&asked));
            match timeout(GATHER_MAX, &mut looking_up).await {
                Ok(resolved) => resolved,
                Err(_) => {
                    self.wire.flush().await?;
                    looking_up.await
                }
            }
        };
        let outcome = self.outcome(path, &asked, resolved);
        let reply = self.session.recipient_resolved(outcome);
        self.wire.reply(&reply);
        Ok(())
    }

    fn outcome(
        &mut self,
        path: ForwardPath,
        asked: &str,
        resolved: Result<ResolvedRecipient, Status>,
    ) -> RecipientOutcome<Vec<u32>> {
        let resolved = match resolved {
            Ok(resolved) => resolved,
            Err(status) => return refused(asked, &status),
        };
        let open = self.open.get_or_insert_with(Box::<Open>::default);
        match open.add(path, resolved.destinations) {
            Some(places) => {
                measure::recipient("accepted");
                RecipientOutcome::Accepted(places)
            }
            None => {
                measure::recipient("too_many");
                RecipientOutcome::TooMany
            }
        }
    }
}

/// Only what the directory has confirmed is a refusal for good; whatever else went wrong is for now.
fn refused(asked: &str, status: &Status) -> RecipientOutcome<Vec<u32>> {
    let (label, outcome) = match status.reason {
        Reason::NotLocal => ("not_local", RecipientOutcome::NotLocal),
        // The grammar took it, the directory's did not: no account has such an address.
        Reason::NotFound | Reason::InvalidArgument => ("unknown", RecipientOutcome::Unknown),
        Reason::Suspended => ("suspended", RecipientOutcome::Suspended),
        Reason::AliasLoop => ("alias_loop", RecipientOutcome::AliasLoop),
        Reason::LimitExceeded => ("too_many", RecipientOutcome::TooMany),
        _ => {
            tracing::info!(recipient = asked, %status, "a recipient could not be looked up");
            ("unavailable", RecipientOutcome::TemporarilyUnavailable)
        }
    };
    measure::recipient(label);
    outcome
}
