//! Search: which messages of a mailbox match, exactly (RFC 3501 §6.4.4, RFC 9051 §6.4.4).
//!
//! What can be told from flags and rows is told first, then what the record of a message tells: its sent date and the text
//! of From, To, Cc, Bcc and Subject. Header text is read only for messages that are still open, and bodies only when the
//! header did not decide. A search is a cursor whose steps are bounded in time, so that it never
//! keeps a thread for long and stops soon after its caller has gone. What must be read of messages is judged by as many threads as there
//! are processors.

mod facts;
mod key;

use std::time::{Duration, Instant};

use rookery_proto::Status;
use rookery_proto::mailstore::v1 as proto;

use super::batch::{EntryCursor, Messages, rows};
use super::message::OpenMessage;
use super::threads::Bound;
use super::{Snapshot, requested_mailbox};
use crate::schema::{FlagEntry, MailboxId, MessageRow, ModSeq, Uid, UidRanges};
use facts::{Facts, Level};
use key::Key;
pub use key::{SEARCH_DEPTH_MAX, SEARCH_KEYS_MAX};

/// How long one step may go on; one message more when that is large.
const STEP_TIME_MAX: Duration = Duration::from_millis(20);

/// A message that is to be judged, by its entry and its row.
type Open = (FlagEntry, MessageRow);

/// A search under way.
pub struct SearchCursor {
    snapshot: Snapshot,
    mailbox: MailboxId,
    key: Key,
    entries: EntryCursor,
    batch: Vec<FlagEntry>,
    found: UidRanges,
    modseq: ModSeq,
}

impl SearchCursor {
    /// Begins a search.
    pub fn new(snapshot: Snapshot, request: &proto::Search) -> Result<Self, Status> {
        let mailbox = requested_mailbox(request.mailbox);
        let record = snapshot.reader().existing_mailbox(mailbox)?;
        let key = match &request.key {
            Some(key) => Key::compile(key, &record, Uid(request.recent_from))?,
            None => Key::All,
        };
        let candidates = key
            .candidates()
            .cloned()
            .unwrap_or_else(|| UidRanges::range(Uid(1), Uid(u32::MAX)));
        let entries = EntryCursor::new(mailbox, &candidates);
        Ok(Self {
            snapshot,
            mailbox,
            key,
            entries,
            batch: Vec::new(),
            found: UidRanges::new(),
            modseq: record.highest_modseq,
        })
    }

    /// Goes on for a while, blocking on the disk; gives the result when it is complete.
    pub fn step(&mut self) -> Result<Option<proto::SearchResult>, Status> {
        let started = Instant::now();
        while started.elapsed() < STEP_TIME_MAX {
            if self.batch.is_empty() {
                self.batch = self.entries.next_batch(&self.snapshot, |_| true)?;
                if self.batch.is_empty() {
                    return Ok(Some(proto::SearchResult {
                        uids: Some(self.found.to_proto()),
                        modseq: self.modseq.0,
                    }));
                }
            }
            let done = self.judge_batch(started)?;
            self.batch.drain(..done);
        }
        Ok(None)
    }

    /// Judges messages of the batch until the time is over; says how many.
    fn judge_batch(&mut self, started: Instant) -> Result<usize, Status> {
        let (judged, open) = self.judge_by_rows()?;
        let rows: Vec<MessageRow> = open.iter().map(|(_, row)| *row).collect();
        let messages = Messages::read_ahead(&self.snapshot, &rows)?;
        let mut by_records = Vec::with_capacity(open.len());
        let mut unread = Vec::new();
        for (entry, row) in &open {
            // The first one always: each step gets further.
            if !by_records.is_empty() && started.elapsed() >= STEP_TIME_MAX {
                break;
            }
            let matches = self.judge_by_record(entry, *row, &messages)?;
            by_records.push(matches);
            if matches.is_none() {
                unread.push((*entry, *row));
            }
        }
        let judge = |position, (entry, row): &Open| {
            let goes_on = position == 0 || started.elapsed() < STEP_TIME_MAX;
            goes_on.then(|| self.judge_by_text(entry, *row, &messages))
        };
        let mut by_text = self
            .snapshot
            .threads
            .map_while(Bound::Processors, &unread, judge)
            .into_iter();
        let mut by_records = by_records.into_iter();
        for (index, (entry, judged)) in std::iter::zip(&self.batch, judged).enumerate() {
            let known = judged.map(Some).or_else(|| by_records.next());
            let matches = match known {
                Some(Some(matches)) => Some(matches),
                Some(None) => by_text.next().transpose()?,
                None => None,
            };
            // The time was over before.
            let Some(matches) = matches else { return Ok(index) };
            if matches {
                self.found.push(entry.uid);
            }
        }
        Ok(self.batch.len())
    }

    /// Judges the messages of the batch by their flags and rows. Those that this leaves open come in their order.
    fn judge_by_rows(&self) -> Result<(Vec<Option<bool>>, Vec<Open>), Status> {
        let by_flags = self
            .batch
            .iter()
            .map(|entry| self.key.judge(&Facts::of_flags(entry)));
        let mut judged: Vec<Option<bool>> = by_flags.collect();
        let undecided = std::iter::zip(&self.batch, &judged).filter(|(_, judged)| judged.is_none());
        let entries: Vec<FlagEntry> = undecided.map(|(entry, _)| *entry).collect();
        let rows = rows(&self.snapshot, self.mailbox, &entries)?;
        let mut open: Vec<Open> = std::iter::zip(entries, rows).collect();
        let mut undecided = judged.iter_mut().filter(|judged| judged.is_none());
        open.retain(|(entry, row)| {
            let matches = self.key.judge(&Facts::of_row(entry, *row));
            if let Some(judged) = undecided.next() {
                *judged = matches;
            }
            matches.is_none()
        });
        Ok((judged, open))
    }

    /// Judges a message that its row leaves open by what was found out at delivery.
    fn judge_by_record(
        &self,
        entry: &FlagEntry,
        row: MessageRow,
        messages: &Messages,
    ) -> Result<Option<bool>, Status> {
        let mut facts = Facts::of_row(entry, row);
        let mut message = OpenMessage::new(messages.get(&self.snapshot, row.number)?);
        facts.add(Level::Analysis, false, &self.snapshot, &mut message)?;
        Ok(self.key.judge(&facts))
    }

    /// Judges a message by its header and its body.
    fn judge_by_text(&self, entry: &FlagEntry, row: MessageRow, messages: &Messages) -> Result<bool, Status> {
        let mut facts = Facts::of_row(entry, row);
        let mut message = OpenMessage::new(messages.get(&self.snapshot, row.number)?);
        facts.add(Level::Analysis, false, &self.snapshot, &mut message)?;
        let looks_at_header = self.key.looks_at_header();
        for level in [Level::Header, Level::Text] {
            if level > self.key.level() {
                break;
            }
            if level == Level::Header && !looks_at_header {
                continue;
            }
            facts.add(level, looks_at_header, &self.snapshot, &mut message)?;
            if let Some(matches) = self.key.judge(&facts) {
                return Ok(matches);
            }
        }
        Err(Status::internal("a search key could not be decided"))
    }
}
