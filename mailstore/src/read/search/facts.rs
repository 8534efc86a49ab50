//! What is known of a message while it is judged, from cheap to dear.

use bytes::Bytes;
use rookery_mail::mime::{self, Analysis, Needle, PartSpan, SearchField, SearchText, Span, Stored};
use rookery_proto::Status;

use super::super::Snapshot;
use super::super::message::{OpenMessage, damaged_analysis, guarded};
use crate::schema::{FlagEntry, MessageRow, SentDay};

/// How much must be read of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Its entry in a block of flags.
    Flags,
    /// Its row in the mailbox.
    Row,
    /// What was found out at delivery.
    Analysis,
    /// Its header.
    Header,
    /// Its header and body.
    Text,
}

/// What is known so far.
pub(super) struct Facts {
    pub(super) entry: FlagEntry,
    pub(super) row: Option<MessageRow>,
    /// The day of the Date header, when that is known to be there or not.
    pub(super) sent_day: Option<Option<i32>>,
    /// What was found out at delivery, and the prefix that comes before what it was found out of.
    found: Option<(Stored, Bytes)>,
    header: Option<SearchText>,
    pub(super) text: Option<SearchText>,
}

impl Facts {
    pub(super) fn of_flags(entry: &FlagEntry) -> Self {
        Self {
            entry: *entry,
            row: None,
            sent_day: None,
            found: None,
            header: None,
            text: None,
        }
    }

    pub(super) fn of_row(entry: &FlagEntry, row: MessageRow) -> Self {
        Self {
            row: Some(row),
            sent_day: match row.sent_day {
                SentDay::Unknown => None,
                SentDay::Absent => Some(None),
                SentDay::Day(day) => Some(Some(day)),
            },
            ..Self::of_flags(entry)
        }
    }

    /// Header fields, when they are known.
    pub(super) fn header(&self) -> Option<&SearchText> {
        self.text.as_ref().or(self.header.as_ref())
    }

    /// Whether the field contains the text; `None` when more must be known.
    pub(super) fn has_field(&self, field: SearchField, needle: &Needle) -> Option<bool> {
        if let Some(header) = self.header() {
            return Some(header.has_header(field.name(), needle));
        }
        let (stored, prefix) = self.found.as_ref()?;
        if stored.has_field(field, needle)? {
            return Some(true);
        }
        guarded(|| mime::has_field(prefix, field, needle))
    }

    /// Reads what the level needs; of the text, the header only `with_header`.
    pub(super) fn add(
        &mut self,
        level: Level,
        with_header: bool,
        snapshot: &Snapshot,
        message: &mut OpenMessage,
    ) -> Result<(), Status> {
        match level {
            Level::Flags | Level::Row => {}
            Level::Analysis => {
                let stored = message.stored(snapshot)?.clone();
                let sent_day = stored.sent_day();
                self.sent_day = Some(sent_day.map_err(|error| damaged_analysis(&error))?);
                self.found = Some((stored, message.prefix().clone()));
            }
            Level::Header => self.header = Some(text(snapshot, message, message.header_len(), true)?),
            Level::Text => self.text = Some(text(snapshot, message, message.len(), with_header)?),
        }
        Ok(())
    }
}

/// The text of the message's first bytes, `end` counted as the message is served.
fn text(
    snapshot: &Snapshot,
    message: &mut OpenMessage,
    end: u64,
    with_header: bool,
) -> Result<SearchText, Status> {
    let is_whole = end == message.len();
    let body = message.read_span(snapshot, Span::new(message.prefix_len(), end))?;
    let prefix = message.prefix().clone();
    let parts = message.parts(snapshot)?;
    // Without the body, the parts below the message's own level are not there.
    let parts = if is_whole {
        parts
    } else {
        &parts[..parts.len().min(1)]
    };
    let look = |parts: &[PartSpan]| match with_header {
        true => SearchText::new(&prefix, &body, parts),
        false => SearchText::of_body(&body, parts),
    };
    let text = guarded(|| look(parts)).or_else(|| guarded(|| look(&Analysis::opaque(&body).parts)));
    Ok(text.unwrap_or_default())
}
