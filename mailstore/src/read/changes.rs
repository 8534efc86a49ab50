//! Changes: what happened in a mailbox after a modseq.

use rookery_proto::Status;
use rookery_proto::mailstore::v1 as proto;

use super::{Snapshot, requested_mailbox};
use crate::schema::{FlagEntry, MailboxId, MailboxRecord, ModSeq, Uid, UidRanges};

/// Ranges of log entries that are held before they are merged: entries that name the same UIDs again and again must not
/// be in memory all at once.
const RANGES_HELD_MAX: usize = 64 * 1024;

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
    let (changed, vanished) = logged_since(snapshot, id, since)?;
    reader.flags_of(id, &changed, |entry| {
        if entry.modseq > since {
            answer.changed.push(message_flags(&record, entry));
        }
    })?;
    if !vanished.is_empty() {
        answer.vanished = Some(vanished.to_proto());
    }
    Ok(answer)
}

/// The UIDs that changed or came after a modseq that the log reaches back to, some of which may have gone again; and those that have gone.
pub(super) fn logged_since(
    snapshot: &Snapshot,
    mailbox: MailboxId,
    since: ModSeq,
) -> Result<(UidRanges, UidRanges), Status> {
    let (mut changed, mut vanished) = (Merging::default(), Merging::default());
    snapshot.reader().changes(mailbox, since, |_, change| {
        changed.add(&change.changed);
        vanished.add(&change.vanished);
        true
    })?;
    let mut vanished = vanished.merged();
    if !vanished.is_empty() {
        vanished = without_existing(snapshot, mailbox, &vanished)?;
    }
    Ok((changed.merged(), vanished))
}

/// A union of many sets, in memory for little more than what it comes to.
#[derive(Default)]
struct Merging {
    held: Vec<(u32, u32)>,
    /// Merged when so many are held: twice what the last merging left, so that merging is rare.
    merge_at: usize,
}

impl Merging {
    fn add(&mut self, uids: &UidRanges) {
        self.held
            .extend(uids.ranges().map(|(first, last)| (first.0, last.0)));
        if self.held.len() > self.merge_at.max(RANGES_HELD_MAX) {
            let merged = UidRanges::from_ranges(self.held.drain(..));
            self.merge_at = merged.range_count() * 2;
            self.held
                .extend(merged.ranges().map(|(first, last)| (first.0, last.0)));
        }
    }

    fn merged(self) -> UidRanges {
        UidRanges::from_ranges(self.held)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_the_union_is_whole() {
        let mut merging = Merging::default();
        // Odd UIDs do not touch, so each is a range of its own.
        let every_second =
            |first: u32| UidRanges::from_ranges((0..4096).map(|n| (first + 2 * n, first + 2 * n)));
        for _ in 0..100 {
            merging.add(&every_second(1));
            merging.add(&every_second(20_001));
            assert!(merging.held.len() <= RANGES_HELD_MAX);
        }
        let expected = every_second(1)
            .ranges()
            .chain(every_second(20_001).ranges())
            .collect::<Vec<_>>();
        assert_eq!(merging.merged().ranges().collect::<Vec<_>>(), expected);
        // A union that is large by itself is not merged at every step.
        let mut merging = Merging::default();
        for part in 0..40 {
            merging.add(&every_second(1 + part * 10_000));
        }
        assert_eq!(merging.merged().range_count(), 40 * 4096);
    }
}
