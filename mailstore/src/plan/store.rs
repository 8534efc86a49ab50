//! STORE: flags of many messages, block by block.

use rookery_proto::Status;
use rookery_proto::mailstore::v1::{self as proto, reply, store::Mode};
use rookery_replication::View;

use super::edit::AccountEdit;
use super::{Plan, PlanContext, uid_set};
use crate::schema::flags::FlagBlock;
use crate::schema::{AccountId, FlagBits, FlagEntry, MailboxId, MailboxRecord, UidRanges};

// RFC 3501 §6.4.6; RFC 7162 §3.1.3.
pub(super) fn store(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    command: &proto::Store,
) -> Result<Plan, Status> {
    let mut edit = AccountEdit::begin(view, context, account)?;
    let uids = uid_set(command.uids.as_ref())?;
    let id = MailboxId(command.mailbox);
    let (reader, modseq) = (edit.reader, edit.modseq());
    let mode = command.mode();
    let flags = command.flags.clone().unwrap_or_default();
    let mailbox = edit.mailbox(id)?;
    let before = mailbox.record.clone();
    let bits = match mode {
        Mode::Unspecified => return Err(Status::invalid("the mode of a store is missing")),
        // What the mailbox does not know no message has.
        Mode::Remove => known_bits(&mailbox.record, &flags),
        Mode::Add | Mode::Replace => mailbox.intern(flags.system, &flags.keywords)?,
    };
    let mut blocks: Vec<(u32, FlagBlock)> = Vec::new();
    visit_blocks(&reader, id, &uids, |number, block| blocks.push((number, block)))?;

    let mut messages = Vec::new();
    let mut modified = UidRanges::new();
    let mut changed = Vec::new();
    for (number, mut block) in blocks {
        changed.clear();
        for entry in block.entries.iter_mut().filter(|entry| uids.contains(entry.uid)) {
            if command.unchanged_since != 0 && entry.modseq.0 > command.unchanged_since {
                modified.push(entry.uid);
            } else {
                let after = match mode {
                    Mode::Add => entry.flags.with(bits),
                    Mode::Remove => entry.flags.without(bits),
                    Mode::Replace | Mode::Unspecified => bits,
                };
                if after != entry.flags {
                    mailbox.count_flags(entry.flags, after);
                    entry.flags = after;
                    entry.modseq = modseq;
                    changed.push(entry.uid);
                }
            }
            messages.push(*entry);
        }
        if !changed.is_empty() {
            mailbox.replace_block(number, block, changed.iter().copied());
        }
    }
    let changed_any = messages.iter().any(|entry| entry.modseq == modseq);
    let record = if changed_any {
        mailbox.record.clone()
    } else {
        before
    };
    let stored = |modseq: u64| {
        reply::Call::Stored(proto::Stored {
            messages: messages
                .iter()
                .map(|entry| message_flags(&record, entry))
                .collect(),
            modified: Some(modified.to_proto()),
            modseq,
        })
    };
    if !changed_any {
        // New keywords alone are not kept.
        // No change has this number: a session that took it for its own would pass over another's.
        return Ok(Plan::unchanged(stored(0)));
    }
    let reply = stored(modseq.0);
    let edited = edit.finish()?;
    Ok(Plan {
        events: edited.events,
        ..Plan::new(edited.batch, reply)
    })
}

fn known_bits(record: &MailboxRecord, flags: &proto::Flags) -> FlagBits {
    let known = flags
        .keywords
        .iter()
        .filter_map(|keyword| record.keyword_bit(keyword));
    known.fold(FlagBits::from_system(flags.system), FlagBits::with)
}

fn message_flags(record: &MailboxRecord, entry: &FlagEntry) -> proto::MessageFlags {
    let flags = Some(record.flags_to_proto(entry.flags));
    proto::MessageFlags {
        uid: entry.uid.0,
        flags,
        modseq: entry.modseq.0,
    }
}

/// Every block that may hold some of the UIDs, once, ascending.
fn visit_blocks(
    reader: &crate::schema::Reader<'_>,
    id: MailboxId,
    uids: &UidRanges,
    mut visit: impl FnMut(u32, FlagBlock),
) -> Result<(), Status> {
    let mut next = 0;
    for (first, last) in uids.ranges() {
        let first = first.max(crate::schema::flags::first_of(next));
        if first > last {
            continue;
        }
        reader.flag_blocks(id, first, last, |number, block| {
            visit(number, block);
            true
        })?;
        next = crate::schema::flags::block_of(last) + 1;
    }
    Ok(())
}
