//! APPEND: new messages from a session, all or none.

use bytes::Bytes;
use rookery_proto::Status;
use rookery_proto::mailstore::v1::{self as proto, reply};
use rookery_replication::{Column, View};

use super::bodies::{BodyAdder, PreparedBody};
use super::edit::AccountEdit;
use super::{APPEND_MESSAGES_MAX, Append, Plan, PlanContext, limit_exceeded};
use crate::schema::{
    AccountId, FlagBits, InternalDate, MailboxId, MessageRecord, MessageRow, SentDay, Uid, UidRanges, Value,
    keys,
};

// RFC 3501 §6.3.11; RFC 3502.
pub(super) fn append(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    command: &Append,
) -> Result<Plan, Status> {
    let mut edit = AccountEdit::begin(view, context, account)?;
    if command.messages.is_empty() {
        return Err(Status::invalid("an append brings a message"));
    }
    if command.messages.len() > APPEND_MESSAGES_MAX {
        return Err(limit_exceeded(format!(
            "an append brings at most {APPEND_MESSAGES_MAX} messages"
        )));
    }
    let id = MailboxId(command.mailbox);
    let uid_validity = edit.mailbox(id)?.record.uid_validity.0;
    edit.check_quota(
        command
            .messages
            .iter()
            .map(|message| message.body.hash.size)
            .sum(),
    )?;
    let mut bodies = BodyAdder::default();
    let mut uids = UidRanges::new();
    for message in &command.messages {
        let flags = edit
            .mailbox(id)?
            .intern(message.flags.system, &message.flags.keywords)?;
        let date = message
            .internal_date
            .unwrap_or(InternalDate::from_millis(context.now_millis));
        uids.push(add_message(
            &mut edit,
            context,
            &mut bodies,
            id,
            &message.body,
            &Bytes::new(),
            flags,
            date,
        )?);
    }
    let edited = edit.finish()?;
    let appended = proto::Appended {
        uid_validity,
        uids: Some(uids.to_proto()),
        modseq: edited.modseq.0,
    };
    Ok(Plan {
        events: edited.events,
        ..Plan::new(edited.batch, reply::Call::Appended(appended))
    })
}

/// Stores a new message and puts it at the end of a mailbox.
#[allow(clippy::too_many_arguments)] // one message's every part
pub(super) fn add_message(
    edit: &mut AccountEdit<'_>,
    context: &PlanContext,
    bodies: &mut BodyAdder,
    mailbox: MailboxId,
    body: &PreparedBody,
    prefix: &Bytes,
    flags: FlagBits,
    internal_date: InternalDate,
) -> Result<Uid, Status> {
    if body.hash.size > context.limits.message_bytes_max {
        return Err(limit_exceeded(format!(
            "a message has at most {} bytes",
            context.limits.message_bytes_max
        )));
    }
    let reader = edit.reader;
    bodies.add(&reader, &mut edit.batch, body)?;
    let number = edit.take_message_number();
    let record = MessageRecord {
        body: body.hash,
        prefix: prefix.clone(),
        header_len: body.header_len,
        analysis: body.analysis.clone(),
    };
    edit.batch.put(
        Column::Rows,
        keys::message(reader.shard, reader.account, number),
        record.encode(),
    );
    let saved_seconds = (context.now_millis / 1000) as i64;
    let row = MessageRow {
        number,
        size: record.size(),
        internal_date,
        saved_seconds,
        sent_day: SentDay::of_analysis(&body.analysis),
    };
    edit.append(mailbox, &row, flags)
}
