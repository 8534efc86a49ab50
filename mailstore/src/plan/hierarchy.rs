//! The set of an account's mailboxes: create, delete, rename, subscribe.

use bytes::Bytes;
use rookery_proto::mailstore::v1::{self as proto, SpecialUse, reply};
use rookery_proto::{Reason, Status};
use rookery_replication::{Column, View};

use super::edit::AccountEdit;
use super::names::{INBOX, below, canonical_name, parents};
use super::{Plan, PlanContext, done};
use crate::schema::{AccountId, FlagBits, MailboxId, MailboxRecord, Uid, UidRanges, keys};

type Mailboxes = Vec<(MailboxId, MailboxRecord)>;

// RFC 3501 §6.3.3; RFC 6154 §5.2.
pub(super) fn create(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    command: &proto::CreateMailbox,
) -> Result<Plan, Status> {
    let mut edit = AccountEdit::begin(view, context, account)?;
    let name = canonical_name(&command.name)?;
    let mailboxes = edit.reader.mailboxes()?;
    refuse_taken(&mailboxes, &name)?;
    let special_use = command.special_use();
    let use_taken = mailboxes
        .iter()
        .any(|(_, mailbox)| mailbox.special_use == special_use);
    if special_use != SpecialUse::Unspecified && use_taken {
        return Err(Status::new(
            Reason::MailboxExists,
            "another mailbox has this special use",
        ));
    }
    create_parents(&mut edit, &mailboxes, &name)?;
    let id = edit.create_mailbox(name, special_use)?;
    finish(edit, id)
}

// RFC 3501 §6.3.4.
pub(super) fn delete(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    command: &proto::DeleteMailbox,
) -> Result<Plan, Status> {
    let mut edit = AccountEdit::begin(view, context, account)?;
    let id = MailboxId(command.mailbox);
    edit.mailbox(id)?;
    if id == MailboxId::INBOX {
        return Err(Status::new(Reason::MailboxRefused, "INBOX cannot be deleted"));
    }
    edit.delete_mailbox(id)?;
    finish_without_mailbox(edit)
}

// RFC 3501 §6.3.5.
pub(super) fn rename(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    command: &proto::RenameMailbox,
) -> Result<Plan, Status> {
    let mut edit = AccountEdit::begin(view, context, account)?;
    let mailboxes = edit.reader.mailboxes()?;
    let (id, old_name) = match command.mailbox {
        0 => {
            // What cannot be a name is none that exists.
            let level = canonical_name(&command.level).map_err(|_| no_level())?;
            let named = mailboxes.iter().find(|(_, mailbox)| mailbox.name == level);
            (named.map(|(id, _)| *id), level)
        }
        id => {
            let id = MailboxId(id);
            (Some(id), edit.mailbox(id)?.record.name.clone())
        }
    };
    let new_name = canonical_name(&command.new_name)?;
    refuse_taken(&mailboxes, &new_name)?;
    if id == Some(MailboxId::INBOX) {
        return rename_inbox(edit, &mailboxes, new_name);
    }
    if below(&new_name, &old_name).is_some() {
        return Err(Status::new(
            Reason::MailboxRefused,
            "a mailbox cannot be moved below itself",
        ));
    }
    let children: Vec<(MailboxId, &str)> = mailboxes
        .iter()
        .filter_map(|(child, mailbox)| Some((*child, below(&mailbox.name, &old_name)?)))
        .collect();
    if id.is_none() && children.is_empty() {
        return Err(no_level());
    }
    create_parents(&mut edit, &mailboxes, &new_name)?;
    for (child, rest) in children {
        let name = canonical_name(&format!("{new_name}/{rest}"))?;
        refuse_taken(&mailboxes, &name)?;
        edit.rename_mailbox(child, name)?;
    }
    match id {
        Some(id) => {
            edit.rename_mailbox(id, new_name)?;
            finish(edit, id)
        }
        None => finish_without_mailbox(edit),
    }
}

fn no_level() -> Status {
    Status::new(Reason::NoMailbox, "no mailbox and no level of this name")
}

/// INBOX stays, and so does what is below it; its messages go to the new mailbox.
fn rename_inbox(mut edit: AccountEdit<'_>, mailboxes: &Mailboxes, new_name: String) -> Result<Plan, Status> {
    create_parents(&mut edit, mailboxes, &new_name)?;
    let target = edit.create_mailbox(new_name, SpecialUse::Unspecified)?;
    let keywords = edit.mailbox(MailboxId::INBOX)?.record.keywords.clone();
    edit.mailbox(target)?.record.keywords = keywords;
    let all = UidRanges::range(Uid(1), Uid(u32::MAX - 1));
    let mut flags: Vec<FlagBits> = Vec::new();
    edit.reader
        .flags_of(MailboxId::INBOX, &all, |entry| flags.push(entry.flags))?;
    let rows = edit.take(MailboxId::INBOX, &all)?;
    for ((_, row), flags) in rows.iter().zip(flags) {
        edit.append(target, row, flags)?;
    }
    finish(edit, target)
}

// RFC 3501 §6.3.6: a subscription needs no mailbox of its name.
pub(super) fn subscribe(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    command: &proto::SetSubscription,
) -> Result<Plan, Status> {
    let mut edit = AccountEdit::begin(view, context, account)?;
    let name = canonical_name(&command.name)?;
    let key = keys::subscription(context.shard, account, &name);
    let subscribed = view.contains(Column::Rows, &key).map_err(crate::schema::unread)?;
    match (subscribed, command.subscribed) {
        (false, true) => edit.batch.put(Column::Rows, key, Bytes::new()),
        (true, false) => edit.batch.delete(Column::Rows, key),
        _ => return Ok(Plan::unchanged(done(edit.counters.modseq))),
    }
    if command.subscribed && edit.reader.subscriptions()?.len() >= SUBSCRIPTIONS_MAX {
        return Err(super::limit_exceeded(format!(
            "an account has at most {SUBSCRIPTIONS_MAX} subscriptions"
        )));
    }
    edit.change_hierarchy();
    let edited = edit.finish()?;
    Ok(Plan {
        events: edited.events,
        ..Plan::new(edited.batch, done(edited.modseq))
    })
}

/// Names that an account may be subscribed to.
const SUBSCRIPTIONS_MAX: usize = 10_000;

fn refuse_taken(mailboxes: &Mailboxes, name: &str) -> Result<(), Status> {
    if name == INBOX || mailboxes.iter().any(|(_, mailbox)| mailbox.name == name) {
        return Err(Status::new(
            Reason::MailboxExists,
            "a mailbox of this name exists",
        ));
    }
    Ok(())
}

fn create_parents(edit: &mut AccountEdit<'_>, mailboxes: &Mailboxes, name: &str) -> Result<(), Status> {
    for parent in parents(name) {
        if !mailboxes.iter().any(|(_, mailbox)| mailbox.name == parent) {
            edit.create_mailbox(parent.to_owned(), SpecialUse::Unspecified)?;
        }
    }
    Ok(())
}

fn finish_without_mailbox(edit: AccountEdit<'_>) -> Result<Plan, Status> {
    let edited = edit.finish()?;
    Ok(Plan {
        events: edited.events,
        garbage: edited.garbage,
        ..Plan::new(edited.batch, done(edited.modseq))
    })
}

fn finish(mut edit: AccountEdit<'_>, id: MailboxId) -> Result<Plan, Status> {
    let record = edit.mailbox(id)?.record.clone();
    let modseq = edit.modseq();
    let edited = edit.finish()?;
    let mut mailbox = record.to_proto(id, record.recent_from, record.recent.unwrap_or_default());
    if record.messages > 0 {
        mailbox.highest_modseq = modseq.0;
    }
    Ok(Plan {
        events: edited.events,
        garbage: edited.garbage,
        ..Plan::new(edited.batch, reply::Call::Mailbox(mailbox))
    })
}
