//! Opening a mailbox: what a session needs to show it, and the recent messages taken by it, then and when it leaves.

use rookery_proto::Status;
use rookery_proto::mailstore::v1::{self as proto, reply};
use rookery_replication::{Batch, Column, View};

use super::{Plan, PlanContext, done};
use crate::schema::{AccountId, FlagBits, MailboxId, MailboxRecord, Reader, Uid, UidRanges, Value, keys};

pub(super) fn open(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    command: &proto::OpenMailbox,
) -> Result<Plan, Status> {
    let reader = Reader::new(view, context.shard, account);
    if command.claim_recent {
        reader.writable_account()?;
    } else {
        reader.readable_account()?;
    }
    let id = MailboxId(command.mailbox);
    let record = reader.existing_mailbox(id)?;
    let opened = opened(&reader, id, &record)?;
    let mut batch = Batch::new();
    if command.claim_recent && record.recent_from < record.uid_next {
        // RFC 3501 §2.3.2: recent to one session alone. Not a change that others must hear of, so no modseq.
        let claimed = MailboxRecord {
            recent_from: record.uid_next,
            ..record
        };
        batch.put(
            Column::Rows,
            keys::mailbox(context.shard, account, id),
            claimed.encode(),
        );
    }
    Ok(Plan::new(batch, reply::Call::OpenedMailbox(opened)))
}

/// RFC 3501 §2.3.2: what a session was told of while it lasted is recent to no later one.
pub(super) fn claim_recent(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    command: &proto::ClaimRecent,
) -> Result<Plan, Status> {
    let reader = Reader::new(view, context.shard, account);
    reader.writable_account()?;
    let id = MailboxId(command.mailbox);
    let record = reader.existing_mailbox(id)?;
    let reply = done(reader.counters()?.modseq);
    // Never above what exists: the next message is recent to somebody.
    let below = Uid(command.below).min(record.uid_next);
    if below <= record.recent_from {
        return Ok(Plan::unchanged(reply));
    }
    let claimed = MailboxRecord {
        recent_from: below,
        ..record
    };
    let mut batch = Batch::new();
    batch.put(
        Column::Rows,
        keys::mailbox(context.shard, account, id),
        claimed.encode(),
    );
    Ok(Plan::new(batch, reply))
}

/// The session's view of a mailbox.
pub(crate) fn opened(
    reader: &Reader<'_>,
    id: MailboxId,
    record: &MailboxRecord,
) -> Result<proto::OpenedMailbox, Status> {
    let mut uids = UidRanges::new();
    let mut first_unseen = None;
    let mut recent = 0;
    reader.flag_blocks(id, Uid(0), Uid(u32::MAX), |_, block| {
        for entry in &block.entries {
            uids.push(entry.uid);
            recent += u32::from(entry.uid >= record.recent_from);
            if first_unseen.is_none() && !entry.flags.contains(FlagBits::SEEN) {
                first_unseen = Some(entry.uid.0);
            }
        }
        true
    })?;
    Ok(proto::OpenedMailbox {
        mailbox: Some(record.to_proto(id, recent)),
        uids: Some(uids.to_proto()),
        keywords: record.keywords.clone(),
        first_unseen: first_unseen.unwrap_or(0),
        recent_from: record.recent_from.0,
        keywords_free: record.keywords_free(),
    })
}
