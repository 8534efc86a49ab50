//! Writing down which messages sessions have taken as recent.

use rookery_proto::Status;
use rookery_replication::{Batch, Column, View};

use super::{Plan, PlanContext, done};
use crate::schema::{AccountId, MailboxId, MailboxRecord, ModSeq, Reader, Uid, Value, keys};

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
/// mailbox or the account, needs nothing.
pub(super) fn claim(view: &dyn View, context: &PlanContext, claims: &[RecentClaim]) -> Result<Plan, Status> {
    let mut batch = Batch::new();
    for claim in claims {
        let reader = Reader::new(view, context.shard, claim.account);
        let is_here = reader
            .account_record()?
            .is_some_and(|account| account.is_writable());
        let Some(record) = reader.mailbox(claim.mailbox)?.filter(|_| is_here) else {
            continue;
        };
        // Never above what exists: the next message is recent to somebody.
        let below = claim.below.min(record.uid_next);
        if below <= record.recent_from {
            continue;
        }
        let claimed = MailboxRecord {
            recent_from: below,
            recent: Some(reader.recent(claim.mailbox, &record, below)?),
            ..record
        };
        batch.put(
            Column::Rows,
            keys::mailbox(context.shard, claim.account, claim.mailbox),
            claimed.encode(),
        );
    }
    Ok(Plan::new(batch, done(ModSeq(0))))
}
