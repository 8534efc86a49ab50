//! The messages of a set that exist, some at a time, with their rows: what fetch and search go through.
//!
//! Where the set is dense it is scanned; where it is sparse, rows are got one by one.

use std::collections::VecDeque;

use rookery_replication::Column;

use super::Snapshot;
use crate::schema::flags::block_of;
use crate::schema::{
    DecodeError, FlagBlock, FlagEntry, MailboxId, MessageNumber, MessageRecord, MessageRow, ReadError, Uid,
    UidRanges, Value, keys,
};

/// Messages of a batch.
pub(super) const BATCH_MESSAGES: usize = 256;

/// A scan may pass so many times more rows than it takes.
const SCAN_FACTOR: u64 = 4;

/// Bytes of message records that a batch reads ahead.
const READ_AHEAD_BYTES_MAX: usize = 1024 * 1024;

/// Walks a set of UIDs upwards.
pub(super) struct EntryCursor {
    mailbox: MailboxId,
    rest: VecDeque<(Uid, Uid)>,
    block: Option<(u32, FlagBlock)>,
}

impl EntryCursor {
    pub(super) fn new(mailbox: MailboxId, uids: &UidRanges) -> Self {
        Self {
            mailbox,
            rest: uids.ranges().collect(),
            block: None,
        }
    }

    /// Whether all of the set has been walked.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next entries of messages that exist and pass, at most [`BATCH_MESSAGES`]; none at the end.
    pub(super) fn next_batch(
        &mut self,
        snapshot: &Snapshot,
        passes: impl Fn(&FlagEntry) -> bool,
    ) -> Result<Vec<FlagEntry>, ReadError> {
        let reader = snapshot.reader();
        let mut batch = Vec::with_capacity(BATCH_MESSAGES);
        while let Some((first, last)) = self.rest.pop_front() {
            let mut next = None;
            let mut take = |block: &FlagBlock| {
                let from = block.entries.partition_point(|entry| entry.uid < first);
                for entry in block.entries[from..].iter().take_while(|entry| entry.uid <= last) {
                    if batch.len() == BATCH_MESSAGES {
                        next = Some(entry.uid);
                        return false;
                    }
                    if passes(entry) {
                        batch.push(*entry);
                    }
                }
                true
            };
            let number = block_of(first);
            if number == block_of(last) {
                // Sets of many small ranges read each block once.
                let block = match self.block.take() {
                    Some((known, block)) if known == number => block,
                    _ => reader.flag_block(self.mailbox, number)?,
                };
                take(&block);
                self.block = Some((number, block));
            } else {
                reader.flag_blocks(self.mailbox, first, last, |_, block| take(&block))?;
            }
            if let Some(next) = next {
                self.rest.push_front((next, last));
                break;
            }
        }
        Ok(batch)
    }
}

/// The rows of a batch's entries, in their order.
pub(super) fn rows(
    snapshot: &Snapshot,
    mailbox: MailboxId,
    entries: &[FlagEntry],
) -> Result<Vec<MessageRow>, ReadError> {
    let reader = snapshot.reader();
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        return Ok(Vec::new());
    };
    let mut rows = Vec::with_capacity(entries.len());
    if u64::from(last.uid.0 - first.uid.0) < SCAN_FACTOR * entries.len() as u64 {
        let mut wanted = entries.iter().map(|entry| entry.uid).peekable();
        reader.message_rows(mailbox, &UidRanges::range(first.uid, last.uid), |uid, row| {
            if wanted.peek() == Some(&uid) {
                wanted.next();
                rows.push(row);
            }
            // A row that is missing shows below.
            wanted.peek().is_some_and(|next| *next > uid)
        })?;
    } else {
        for entry in entries {
            rows.extend(reader.message_row(mailbox, entry.uid)?);
        }
    }
    if rows.len() != entries.len() {
        return Err(damaged(snapshot, "message row"));
    }
    Ok(rows)
}

/// Message records by number, some of them read ahead.
#[derive(Default)]
pub(super) struct Messages {
    /// Ascending by number.
    ahead: Vec<(MessageNumber, MessageRecord)>,
}

impl Messages {
    /// Reads records ahead when they lie close together.
    pub(super) fn read_ahead(snapshot: &Snapshot, rows: &[MessageRow]) -> Result<Self, ReadError> {
        let mut numbers: Vec<MessageNumber> = rows.iter().map(|row| row.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
            return Ok(Self::default());
        };
        if numbers.len() < 2 || last.0 - first.0 >= SCAN_FACTOR * numbers.len() as u64 {
            return Ok(Self::default());
        }
        let from = keys::message(snapshot.shard, snapshot.account, *first);
        let to = keys::message(snapshot.shard, snapshot.account, MessageNumber(last.0 + 1));
        let mut ahead = Vec::with_capacity(numbers.len());
        let mut bytes = 0;
        let mut wanted = numbers.into_iter().peekable();
        let mut failed = None;
        snapshot.view.scan(Column::Rows, &from, &to, &mut |key, value| {
            let Some(number) = keys::message_of(key) else {
                return true;
            };
            while wanted.next_if(|next| *next < number).is_some() {}
            if wanted.next_if_eq(&number).is_some() {
                match MessageRecord::decode(value) {
                    Ok(record) => ahead.push((number, record)),
                    Err(source) => failed = Some(source),
                }
                bytes += value.len();
            }
            failed.is_none() && bytes < READ_AHEAD_BYTES_MAX
        })?;
        match failed {
            Some(source) => Err(ReadError::Value {
                what: "message",
                account: snapshot.account,
                shard: snapshot.shard,
                source,
            }),
            None => Ok(Self { ahead }),
        }
    }

    /// A record.
    pub(super) fn get(&self, snapshot: &Snapshot, number: MessageNumber) -> Result<MessageRecord, ReadError> {
        if let Ok(index) = self.ahead.binary_search_by_key(&number, |(known, _)| *known) {
            return Ok(self.ahead[index].1.clone());
        }
        snapshot
            .reader()
            .message(number)?
            .ok_or_else(|| damaged(snapshot, "message"))
    }
}

fn damaged(snapshot: &Snapshot, what: &'static str) -> ReadError {
    ReadError::Value {
        what,
        account: snapshot.account,
        shard: snapshot.shard,
        source: DecodeError::Damaged("a row that must exist is missing"),
    }
}
