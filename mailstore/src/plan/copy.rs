//! COPY and MOVE: messages of one mailbox in another, sharing what never changes.

use rookery_proto::Status;
use rookery_proto::mailstore::v1::{self as proto, reply};
use rookery_replication::View;

use super::edit::{AccountEdit, MailboxEdit};
use super::{Plan, PlanContext, uid_set};
use crate::schema::flags::KEYWORDS_MAX;
use crate::schema::{AccountId, FlagBits, MailboxId, MailboxRecord, MessageRow, Uid, UidRanges, keys};

// RFC 3501 §6.4.7; RFC 6851 §3.
pub(super) fn copy(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    command: &proto::Copy,
) -> Result<Plan, Status> {
    let mut edit = AccountEdit::begin(view, context, account)?;
    let uids = uid_set(command.uids.as_ref())?;
    let (from, to) = (MailboxId(command.from), MailboxId(command.to));
    let source = edit
        .mailbox(from)
        .map_err(|status| which(status, "source"))?
        .record
        .clone();
    let target = edit.mailbox(to).map_err(|status| which(status, "target"))?;
    let uid_validity = target.record.uid_validity.0;

    let mut flags: Vec<(Uid, FlagBits)> = Vec::new();
    edit.reader
        .flags_of(from, &uids, |entry| flags.push((entry.uid, entry.flags)))?;
    let carried = flags.iter().fold(FlagBits(0), |all, (_, flags)| all.with(*flags));
    let keywords = map_keywords(&source, carried, edit.mailbox(to)?)?;
    let rows = if command.r#move {
        edit.take(from, &uids)?
    } else {
        rows(&edit, from, &uids)?
    };
    if rows.len() != flags.len() || rows.iter().zip(&flags).any(|((row, _), (flag, _))| row != flag) {
        return Err(Status::internal(
            "rows and flags of the mailbox do not name the same messages",
        ));
    }
    if !command.r#move {
        edit.check_quota(rows.iter().map(|(_, row)| row.size).sum())?;
    }
    let (mut from_uids, mut to_uids) = (UidRanges::new(), UidRanges::new());
    for ((uid, row), (_, flags)) in rows.iter().zip(flags) {
        let row = MessageRow {
            saved_seconds: (context.now_millis / 1000) as i64,
            ..*row
        };
        if !command.r#move {
            edit.batch
                .add(keys::message(context.shard, account, row.number), 1);
        }
        to_uids.push(edit.append(to, &row, mapped(flags, &keywords))?);
        from_uids.push(*uid);
    }
    let copied = |modseq: u64| {
        reply::Call::Copied(proto::Copied {
            uid_validity,
            source: Some(from_uids.to_proto()),
            target: Some(to_uids.to_proto()),
            modseq,
        })
    };
    if rows.is_empty() {
        return Ok(Plan::unchanged(copied(edit.counters.modseq.0)));
    }
    let edited = edit.finish()?;
    Ok(Plan {
        events: edited.events,
        ..Plan::new(edited.batch, copied(edited.modseq.0))
    })
}

fn rows(edit: &AccountEdit<'_>, from: MailboxId, uids: &UidRanges) -> Result<Vec<(Uid, MessageRow)>, Status> {
    let mut rows = Vec::new();
    edit.reader.message_rows(from, uids, |uid, row| {
        rows.push((uid, row));
        true
    })?;
    Ok(rows)
}

fn which(status: Status, mailbox: &str) -> Status {
    Status {
        message: format!("{mailbox}: {}", status.message),
        ..status
    }
}

/// The target's bit for each of the source's keywords that is carried by a message. RFC 3501 §6.4.7: flags are kept where
/// that is possible, so a keyword for which the target has no room is left out.
fn map_keywords(
    source: &MailboxRecord,
    carried: FlagBits,
    target: &mut MailboxEdit,
) -> Result<Vec<FlagBits>, Status> {
    let mut bits = vec![FlagBits(0); source.keywords.len()];
    for index in carried.keywords() {
        let Some(keyword) = source.keywords.get(index) else {
            continue;
        };
        let full = target.record.keywords.len() >= KEYWORDS_MAX;
        bits[index] = match target.record.keyword_bit(keyword) {
            Some(bit) => bit,
            None if full => FlagBits(0),
            None => target.intern(0, std::slice::from_ref(keyword))?,
        };
    }
    Ok(bits)
}

fn mapped(flags: FlagBits, keywords: &[FlagBits]) -> FlagBits {
    let bits = flags.keywords().filter_map(|index| keywords.get(index).copied());
    bits.fold(FlagBits::from_system(flags.system()), FlagBits::with)
}
