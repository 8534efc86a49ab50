//! Writing down which messages sessions have taken as recent.

use rookery_proto::Status;
use rookery_replication::{Batch, Column, View};

use super::collect::tell_damage;
use super::{Plan, PlanContext, done};
use crate::schema::{AccountId, MailboxId, MailboxRecord, ModSeq, ReadError, Reader, Uid, Value, keys};

/// Messages of a mailbox that a session has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentClaim {
    /// Whose.
    pub account: AccountId,
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Messages below this UID are recent to no later session.
    pub below: Uid,
}

/// RFC 3501 §2.3.2: recent to one session alone. Not a change that others must hear of, so no modseq. What has gone meanwhile, the
/// mailbox or the account, or is damaged, needs nothing.
pub(super) fn claim(view: &dyn View, context: &PlanContext, claims: &[RecentClaim]) -> Result<Plan, Status> {
    let mut batch = Batch::new();
    for claim in claims {
        let reader = Reader::new(view, context.shard, claim.account);
        match claimed(&reader, claim) {
            Ok(Some(record)) => batch.put(
                Column::Rows,
                keys::mailbox(context.shard, claim.account, claim.mailbox),
                record.encode(),
            ),
            Ok(None) => {}
            Err(error @ ReadError::Value { .. }) => {
                tell_damage("recent messages that were taken", claim.account, &error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Plan::new(batch, done(ModSeq(0))))
}

/// The mailbox's record with the claim, if it changes it.
fn claimed(reader: &Reader<'_>, claim: &RecentClaim) -> Result<Option<MailboxRecord>, ReadError> {
    let account = reader.account_record()?;
    if !account.is_some_and(|account| account.is_writable()) {
        return Ok(None);
    }
    let Some(record) = reader.mailbox(claim.mailbox)? else {
        return Ok(None);
    };
    // Never above what exists: the next message is recent to somebody.
    let below = claim.below.min(record.uid_next);
    if below <= record.recent_from {
        return Ok(None);
    }
    Ok(Some(MailboxRecord {
        recent_from: below,
        recent: Some(reader.recent(claim.mailbox, &record, below)?),
        ..record
    }))
}
