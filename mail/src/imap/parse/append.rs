//! APPEND: as a whole, and as far as a message's octets, so that these can be streamed.

use super::cursor::Cursor;
use super::error::{CommandError, Parsed, SyntaxError};
use super::{check_text, command_name, date, mailbox, store, tag};
use crate::imap::frame::Segment;
use crate::imap::types::{AppendMessage, CommandBody, DateTime, Flag, MailboxName, MessageData, Tag};

/// The most messages in one APPEND.
pub const APPEND_MESSAGES_MAX: usize = 1000;

/// What is known of an appended message before its octets come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppendHead {
    /// The command's tag.
    pub tag: Tag,
    /// Into which mailbox.
    pub mailbox: MailboxName,
    /// Which message of the command, counted from 0.
    pub index: usize,
    /// The flags it gets; all of them storable.
    pub flags: Vec<Flag>,
    /// Its INTERNALDATE; `None` for now.
    pub date: Option<DateTime>,
    /// How many octets; 0 cancels the APPEND (RFC 3502 §6.3.11).
    pub size: u64,
    /// Whether the client waits for a continuation request.
    pub synchronising: bool,
    /// Whether it came as `~{…}` and may hold NULs.
    pub binary: bool,
}

/// What a literal at the end of an unfinished command is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AppendPrefix {
    /// The octets of a message; the fields of the literal itself are left at 0.
    Message(Box<AppendHead>),
    /// Something else: another command, or the mailbox's name.
    NoMessageYet,
}

/// Looks at a command whose next piece is a literal that was announced.
///
/// # Errors
/// It is an APPEND, and what came of it is wrong.
pub fn append_prefix(segments: &[Segment]) -> Result<AppendPrefix, CommandError> {
    let mut cursor = Cursor::new(segments);
    // Other commands are judged when they are complete.
    let Ok(tag) = tag(&mut cursor) else {
        return Ok(AppendPrefix::NoMessageYet);
    };
    if !cursor.accept(b' ') || !matches!(command_name(&mut cursor).as_deref(), Ok("APPEND")) {
        return Ok(AppendPrefix::NoMessageYet);
    }
    let prefix = check_text(segments).and_then(|()| message_prefix(&mut cursor, &tag));
    prefix.map_err(|error| CommandError::new(Some(tag), error))
}

fn message_prefix(cursor: &mut Cursor<'_>, tag: &Tag) -> Parsed<AppendPrefix> {
    cursor.space("missing mailbox name")?;
    if cursor.is_at_end() {
        return Ok(AppendPrefix::NoMessageYet);
    }
    let mailbox = mailbox::mailbox(cursor)?;
    let mut index = 0;
    loop {
        let (flags, date) = options(cursor, index)?;
        if cursor.is_at_end() {
            let (size, synchronising, binary) = (0, false, false);
            let tag = tag.clone();
            let head = AppendHead {
                tag,
                mailbox,
                index,
                flags,
                date,
                size,
                synchronising,
                binary,
            };
            return Ok(AppendPrefix::Message(Box::new(head)));
        }
        octets(cursor)?;
        index += 1;
    }
}

/// ```abnf
/// append         = "APPEND" SP mailbox 1*append-message           ; RFC 3502 §6.3.11
/// append-message = SP [flag-list SP] [date-time SP] literal
/// ```
pub(super) fn append(cursor: &mut Cursor<'_>) -> Parsed<CommandBody> {
    let mailbox = mailbox::argument(cursor)?;
    let mut messages = Vec::new();
    loop {
        let (flags, date) = options(cursor, messages.len())?;
        messages.push(AppendMessage {
            flags,
            date,
            data: octets(cursor)?,
        });
        if cursor.is_at_end() {
            return Ok(CommandBody::Append { mailbox, messages });
        }
    }
}

/// `SP [flag-list SP] [date-time SP]`
fn options(cursor: &mut Cursor<'_>, index: usize) -> Parsed<(Vec<Flag>, Option<DateTime>)> {
    if index == APPEND_MESSAGES_MAX {
        return Err(SyntaxError::too_many(
            "messages in one APPEND",
            APPEND_MESSAGES_MAX,
        ));
    }
    cursor.space("missing message")?;
    let mut flags = Vec::new();
    if cursor.peek() == Some(b'(') {
        flags = store::flag_list(cursor)?;
        cursor.space("missing message")?;
    }
    let mut date = None;
    if cursor.peek() == Some(b'"') {
        date = Some(date::date_time(cursor)?);
        cursor.space("missing message")?;
    }
    Ok((flags, date))
}

fn octets(cursor: &mut Cursor<'_>) -> Parsed<MessageData> {
    match cursor.literal() {
        Some(Segment::Streamed { size }) => Ok(MessageData::Streamed { size: *size }),
        Some(Segment::Literal { data, .. }) => Ok(MessageData::Collected(data.clone())),
        _ => Err(SyntaxError::new("missing message")),
    }
}
