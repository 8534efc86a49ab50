//! Changes: what happened in a mailbox after a modseq.

use rookery_proto::Status;
use rookery_proto::mailstore::v1 as proto;

use super::{Snapshot, requested_mailbox};
use crate::schema::{FlagEntry, MailboxId, MailboxRecord, ModSeq, Uid, UidRanges};

/// Everything that changed after `request.since`, or the whole mailbox when its log does not reach back so far.
pub fn changes(snapshot: &Snapshot, request: &proto::Changes) -> Result<proto::MailboxChanges, Status> {
    let reader = snapshot.reader();
    let id = requested_mailbox(request.mailbox);
    let record = reader.existing_mailbox(id)?;
    let since = ModSeq(request.since);
    let mut answer = proto::MailboxChanges {
        modseq: record.highest_modseq.0,
        uid_next: record.uid_next.0,
        uid_validity: record.uid_validity.0,
        keywords: record.keywords.clone(),
        ..proto::MailboxChanges::default()
    };
    if since >= record.highest_modseq {
        return Ok(answer);
    }
    if since < record.log_from {
        let mut uids = UidRanges::new();
        reader.flag_blocks(id, Uid(0), Uid(u32::MAX), |_, block| {
            for entry in &block.entries {
                uids.push(entry.uid);
                answer.changed.push(message_flags(&record, entry));
            }
            true
        })?;
        answer.reset = true;
        answer.uids = Some(uids.to_proto());
        return Ok(answer);
    }
    let mut changed = Vec::new();
    let mut vanished = Vec::new();
    reader.changes(id, since, |_, change| {
        changed.extend(change.changed.ranges().map(|(first, last)| (first.0, last.0)));
        vanished.extend(change.vanished.ranges().map(|(first, last)| (first.0, last.0)));
        true
    })?;
    reader.flags_of(id, &UidRanges::from_ranges(changed), |entry| {
        if entry.modseq > since {
            answer.changed.push(message_flags(&record, entry));
        }
    })?;
    let vanished = UidRanges::from_ranges(vanished);
    if !vanished.is_empty() {
        answer.vanished = Some(without_existing(snapshot, id, &vanished)?.to_proto());
    }
    Ok(answer)
}

/// A log entry's set may be coarse: what exists has not vanished.
fn without_existing(snapshot: &Snapshot, mailbox: MailboxId, set: &UidRanges) -> Result<UidRanges, Status> {
    let mut gone = UidRanges::new();
    let mut ranges = set.ranges();
    let mut open = ranges.next();
    snapshot.reader().flags_of(mailbox, set, |entry| {
        while let Some((first, last)) = open {
            if entry.uid > last {
                gone.push_range(first, last);
                open = ranges.next();
                continue;
            }
            if first < entry.uid {
                gone.push_range(first, Uid(entry.uid.0 - 1));
            }
            open = if entry.uid < last {
                Some((Uid(entry.uid.0 + 1), last))
            } else {
                ranges.next()
            };
            break;
        }
    })?;
    if let Some((first, last)) = open {
        gone.push_range(first, last);
    }
    for (first, last) in ranges {
        gone.push_range(first, last);
    }
    Ok(gone)
}

fn message_flags(record: &MailboxRecord, entry: &FlagEntry) -> proto::MessageFlags {
    proto::MessageFlags {
        uid: entry.uid.0,
        flags: Some(record.flags_to_proto(entry.flags)),
        modseq: entry.modseq.0,
    }
}
