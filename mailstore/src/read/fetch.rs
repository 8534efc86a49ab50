//! Fetch: rows of messages, ascending by UID, in replies of bounded size.

use std::collections::VecDeque;

use bytes::Bytes;
use rookery_proto::Status;
use rookery_proto::call::CHUNK_BYTES_MAX;
use rookery_proto::mailstore::v1 as proto;

use super::ahead::{self, Pace};
use super::batch::{EntryCursor, Messages, rows};
use super::message::OpenMessage;
use super::section::{SECTIONS_MAX, SectionSource, WantedSection};
use super::{Snapshot, requested_mailbox, requested_uids};
use crate::schema::{FlagEntry, MailboxId, MailboxRecord, MessageRow, ModSeq};

/// Rows of one reply.
pub const REPLY_ROWS_MAX: usize = 256;

/// A reply is sent when it holds about so many bytes.
pub const REPLY_BYTES_TARGET: usize = CHUNK_BYTES_MAX;

/// What a row without anything in it may take, encoded.
const ROW_BYTES: usize = 48;

/// The smallest piece of a section that is worth a place in a nearly full reply.
const PIECE_BYTES_MIN: usize = 8 * 1024;

/// A fetch under way. Each [`FetchCursor::next`] gives one reply and blocks on the disk.
pub struct FetchCursor {
    snapshot: Snapshot,
    mailbox: MailboxId,
    record: MailboxRecord,
    items: Items,
    sections: Vec<WantedSection>,
    entries: EntryCursor,
    batch: VecDeque<(FlagEntry, Option<MessageRow>)>,
    messages: Messages,
    /// The first messages of the batch, opened.
    opened: VecDeque<OpenMessage>,
    pace: Pace,
    current: Option<Progress>,
}

/// What is wanted beside sections.
struct Items {
    flags: bool,
    modseq: bool,
    size: bool,
    internal_date: bool,
    envelope: bool,
    body: bool,
    body_structure: bool,
    email_id: bool,
    changed_since: ModSeq,
}

impl Items {
    fn needs_message(&self) -> bool {
        self.envelope || self.body || self.body_structure
    }

    fn needs_row(&self) -> bool {
        self.size || self.internal_date || self.email_id || self.needs_message()
    }
}

/// A message whose sections did not all fit into one reply.
struct Progress {
    uid: u32,
    message: OpenMessage,
    section: usize,
    /// The section at `section`, once it was found, and how much of it was sent.
    source: Option<(SectionSource, u64)>,
}

impl FetchCursor {
    /// Begins a fetch.
    pub fn new(snapshot: Snapshot, request: &proto::Fetch) -> Result<Self, Status> {
        if request.sections.len() > SECTIONS_MAX {
            return Err(Status::new(
                rookery_proto::Reason::LimitExceeded,
                format!("a fetch may ask for {SECTIONS_MAX} sections at most"),
            ));
        }
        let sections = request
            .sections
            .iter()
            .map(WantedSection::from_proto)
            .collect::<Result<_, _>>()?;
        let mailbox = requested_mailbox(request.mailbox);
        let record = snapshot.reader().existing_mailbox(mailbox)?;
        let entries = EntryCursor::new(mailbox, &requested_uids(request.uids.as_ref())?);
        Ok(Self {
            snapshot,
            mailbox,
            record,
            items: Items {
                flags: request.flags,
                modseq: request.modseq,
                size: request.size,
                internal_date: request.internal_date,
                envelope: request.envelope,
                body: request.body,
                body_structure: request.body_structure,
                email_id: request.email_id,
                changed_since: ModSeq(request.changed_since),
            },
            sections,
            entries,
            batch: VecDeque::new(),
            messages: Messages::default(),
            opened: VecDeque::new(),
            pace: Pace::new(),
            current: None,
        })
    }

    /// The next reply; none at the end.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<proto::FetchedRows>, Status> {
        let mut reply = proto::FetchedRows::default();
        let mut bytes = 0;
        while reply.rows.len() < REPLY_ROWS_MAX && bytes < REPLY_BYTES_TARGET - PIECE_BYTES_MIN {
            let row = match self.current.take() {
                Some(progress) => {
                    let row = proto::FetchedRow {
                        uid: progress.uid,
                        ..proto::FetchedRow::default()
                    };
                    self.fill(row, progress, &mut bytes)?
                }
                None => match self.begin_row(&mut bytes)? {
                    Some(row) => row,
                    None => break,
                },
            };
            reply.rows.push(row);
        }
        Ok((!reply.rows.is_empty()).then_some(reply))
    }

    /// Whether it is known that [`FetchCursor::next`] has nothing more to give.
    pub fn is_at_end(&self) -> bool {
        self.current.is_none() && self.batch.is_empty() && self.entries.is_at_end()
    }

    fn begin_row(&mut self, bytes: &mut usize) -> Result<Option<proto::FetchedRow>, Status> {
        if self.batch.is_empty() && !self.load_batch()? {
            return Ok(None);
        }
        let Some((entry, row)) = self.batch.pop_front() else {
            return Ok(None);
        };
        let items = &self.items;
        let mut fetched = proto::FetchedRow {
            uid: entry.uid.0,
            ..proto::FetchedRow::default()
        };
        if items.flags {
            fetched.flags = Some(self.record.flags_to_proto(entry.flags));
        }
        if items.modseq {
            fetched.modseq = entry.modseq.0;
        }
        *bytes += ROW_BYTES;
        let Some(row) = row else { return Ok(Some(fetched)) };
        if items.size {
            fetched.size = row.size;
        }
        if items.internal_date {
            fetched.internal_date = Some(row.internal_date.to_proto());
        }
        if items.email_id {
            fetched.email_id = row.number.0;
        }
        if !items.needs_message() && self.sections.is_empty() {
            return Ok(Some(fetched));
        }
        let mut message = self.open(row)?;
        let items = &self.items;
        if items.needs_message() {
            let stored = message.stored(&self.snapshot)?;
            if items.envelope {
                fetched.envelope = stored.envelope();
            }
            if items.body {
                fetched.body = stored.body();
            }
            if items.body_structure {
                fetched.body_structure = stored.bodystructure();
            }
            *bytes += fetched.envelope.len() + fetched.body.len() + fetched.body_structure.len();
        }
        let progress = Progress {
            uid: entry.uid.0,
            message,
            section: 0,
            source: None,
        };
        self.fill(fetched, progress, bytes).map(Some)
    }

    /// Opens the message of the row that was taken from the batch.
    fn open(&mut self, row: MessageRow) -> Result<OpenMessage, Status> {
        if self.sections.is_empty() {
            return Ok(OpenMessage::new(self.messages.get(&self.snapshot, row.number)?));
        }
        if self.opened.is_empty() {
            let further = self.batch.iter().map_while(|(_, row)| Some(row.as_ref()?.number));
            let numbers = std::iter::once(row.number).chain(further);
            self.opened = ahead::open(&self.snapshot, &self.messages, numbers, &mut self.pace)?;
        }
        let opened = self.opened.pop_front();
        opened.ok_or_else(|| Status::internal("a message was lost"))
    }

    fn load_batch(&mut self) -> Result<bool, Status> {
        let since = self.items.changed_since;
        let entries = self
            .entries
            .next_batch(&self.snapshot, |entry| entry.modseq > since)?;
        if entries.is_empty() {
            return Ok(false);
        }
        let needs_message = self.items.needs_message() || !self.sections.is_empty();
        if needs_message || self.items.needs_row() {
            let rows = rows(&self.snapshot, self.mailbox, &entries)?;
            if needs_message {
                self.messages = Messages::read_ahead(&self.snapshot, &rows)?;
            }
            self.batch
                .extend(entries.into_iter().zip(rows.into_iter().map(Some)));
        } else {
            self.batch.extend(entries.into_iter().map(|entry| (entry, None)));
        }
        Ok(true)
    }

    /// Puts as much of the message's sections into the row as the reply has room for.
    fn fill(
        &mut self,
        mut row: proto::FetchedRow,
        mut progress: Progress,
        bytes: &mut usize,
    ) -> Result<proto::FetchedRow, Status> {
        while let Some(wanted) = self.sections.get(progress.section) {
            // Never so in a reply's first row that goes on with a message: each reply gets further.
            if *bytes + PIECE_BYTES_MIN > REPLY_BYTES_TARGET {
                row.more = true;
                self.current = Some(progress);
                return Ok(row);
            }
            let (source, sent) = match progress.source.take() {
                Some(found) => found,
                None => (wanted.source(&self.snapshot, &mut progress.message)?, 0),
            };
            let room = REPLY_BYTES_TARGET.saturating_sub(*bytes).max(PIECE_BYTES_MIN);
            let left = source.data_len() - sent;
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(room);
            let data = match &source {
                SectionSource::Span(span) if length > 0 => {
                    progress.message.read(&self.snapshot, span.start + sent, length)?
                }
                SectionSource::Made(made) => made.slice(sent as usize..sent as usize + length),
                _ => Bytes::new(),
            };
            if data.is_empty() && length > 0 {
                return Err(Status::internal("a message is shorter than its record says"));
            }
            *bytes += data.len() + ROW_BYTES;
            let sent = sent + data.len() as u64;
            row.sections.push(proto::SectionData {
                index: progress.section as u32,
                absent: matches!(source, SectionSource::Absent),
                total: source.total(),
                data,
                unknown_encoding: matches!(source, SectionSource::UnknownEncoding),
            });
            if sent < source.data_len() {
                progress.source = Some((source, sent));
            } else {
                progress.section += 1;
            }
        }
        Ok(row)
    }
}
