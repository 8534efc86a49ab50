//! EXPUNGE: messages with \Deleted go.

use rookery_proto::Status;
use rookery_proto::mailstore::v1::{self as proto, reply};
use rookery_replication::View;

use super::edit::AccountEdit;
use super::{Plan, PlanContext, uid_set};
use crate::schema::{AccountId, FlagBits, MailboxId, Uid, UidRanges};

// RFC 3501 §6.4.3; RFC 4315 §2.1.
pub(super) fn expunge(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    command: &proto::Expunge,
) -> Result<Plan, Status> {
    let mut edit = AccountEdit::begin(view, context, account)?;
    let id = MailboxId(command.mailbox);
    let any = edit.mailbox(id)?.record.deleted > 0;
    let among = if command.only {
        uid_set(command.uids.as_ref())?
    } else {
        UidRanges::range(Uid(1), Uid(u32::MAX - 1))
    };
    let mut doomed = UidRanges::new();
    if any {
        edit.reader.flags_of(id, &among, |entry| {
            if entry.flags.contains(FlagBits::DELETED) {
                doomed.push(entry.uid);
            }
        })?;
    }
    let expunged = |modseq: u64| {
        reply::Call::Expunged(proto::Expunged {
            uids: Some(doomed.to_proto()),
            modseq,
        })
    };
    if doomed.is_empty() {
        // No change has this number: a session that took it for its own would pass over another's.
        return Ok(Plan::unchanged(expunged(0)));
    }
    let rows = edit.take(id, &doomed)?;
    edit.drop_references(rows.into_iter().map(|(_, row)| row.number));
    let edited = edit.finish()?;
    let plan = Plan::new(edited.batch, expunged(edited.modseq.0));
    Ok(Plan {
        events: edited.events,
        garbage: edited.garbage,
        ..plan
    })
}
