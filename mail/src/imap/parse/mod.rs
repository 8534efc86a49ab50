//! The grammar: a [`RawCommand`] in, a [`Command`] or a reason out. RFC 3501 §9.
//!
//! Every function takes what its ABNF says and nothing by guess; where a client in the field needs leniency, a
//! comment says so. Depths and counts are bounded by the constants beside the functions.

mod append;
mod auth;
mod cursor;
mod date;
mod error;
mod fetch;
mod list;
mod mailbox;
mod number;
mod search;
mod store;
mod strings;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_refused;

pub(crate) use date::MONTHS;

pub use append::{APPEND_MESSAGES_MAX, AppendHead, AppendPrefix, append_prefix};
pub use cursor::{is_astring_char, is_atom_char};
pub use error::{CommandError, ErrorKind};
pub use fetch::{FETCH_ITEMS_MAX, HEADER_FIELDS_MAX, PART_DEPTH_MAX};
pub use list::LIST_PATTERNS_MAX;
pub use number::{SET_RANGES_MAX, parse_sequence_set};
pub use search::{SEARCH_DEPTH_MAX, SEARCH_KEYS_MAX, SEARCH_PARENTHESES_MAX};
pub use store::FLAGS_MAX;

use super::frame::{RawCommand, Segment};
use super::types::{Command, CommandBody, Numbering, Tag};
use cursor::Cursor;
use error::{Parsed, SyntaxError};

/// Parses a whole command.
///
/// ```abnf
/// command = tag SP (command-any / command-auth / command-nonauth / command-select) CRLF
/// ```
pub fn parse_command(raw: &RawCommand) -> Result<Command, CommandError> {
    let mut cursor = Cursor::new(raw.segments());
    let tag = tag(&mut cursor).map_err(|error| CommandError::new(None, error))?;
    match checked_body(&mut cursor, raw.segments()) {
        Ok(body) => Ok(Command { tag, body }),
        Err(error) => Err(CommandError::new(Some(tag), error)),
    }
}

/// The tag at the front of an unfinished command, for the answer to what cannot be parsed.
pub fn tag_of(segments: &[Segment]) -> Option<Tag> {
    tag(&mut Cursor::new(segments)).ok()
}

/// `tag = 1*<any ASTRING-CHAR except "+">`
fn tag(cursor: &mut Cursor<'_>) -> Parsed<Tag> {
    let bytes = cursor.take_while(|byte| byte != b'+' && is_astring_char(byte));
    if !matches!(cursor.peek(), None | Some(b' ')) {
        return Err(SyntaxError::new("malformed tag"));
    }
    Tag::new(bytes).ok_or(SyntaxError::new(if bytes.is_empty() {
        "missing tag"
    } else {
        "tag too long"
    }))
}

fn checked_body(cursor: &mut Cursor<'_>, segments: &[Segment]) -> Parsed<CommandBody> {
    check_text(segments)?;
    cursor.space("missing command")?;
    body(cursor)
}

/// NUL, CR and LF belong into no line, quoted or not.
fn check_text(segments: &[Segment]) -> Parsed<()> {
    let forbidden = |segment: &Segment| match segment {
        Segment::Text(text) => memchr::memchr3(0, b'\r', b'\n', text).is_some(),
        _ => false,
    };
    if segments.iter().any(forbidden) {
        return Err(SyntaxError::new("NUL or bare CR in a line"));
    }
    Ok(())
}

fn body(cursor: &mut Cursor<'_>) -> Parsed<CommandBody> {
    let name = command_name(cursor)?;
    let body = match name.as_str() {
        "CAPABILITY" => CommandBody::Capability,
        "NOOP" => CommandBody::Noop,
        "LOGOUT" => CommandBody::Logout,
        "STARTTLS" => CommandBody::StartTls,
        "AUTHENTICATE" => auth::authenticate(cursor)?,
        "LOGIN" => auth::login(cursor)?,
        "ENABLE" => auth::enable(cursor)?,
        "ID" => auth::id(cursor)?,
        "NAMESPACE" => CommandBody::Namespace,
        "SELECT" => CommandBody::Select(mailbox::argument(cursor)?),
        "EXAMINE" => CommandBody::Examine(mailbox::argument(cursor)?),
        "CREATE" => mailbox::create(cursor)?,
        "DELETE" => CommandBody::Delete(mailbox::argument(cursor)?),
        "RENAME" => mailbox::rename(cursor)?,
        "SUBSCRIBE" => CommandBody::Subscribe(mailbox::argument(cursor)?),
        "UNSUBSCRIBE" => CommandBody::Unsubscribe(mailbox::argument(cursor)?),
        "LIST" => list::list(cursor)?,
        "LSUB" => list::lsub(cursor)?,
        "STATUS" => mailbox::status(cursor)?,
        "APPEND" => append::append(cursor)?,
        "IDLE" => CommandBody::Idle,
        "CHECK" => CommandBody::Check,
        "CLOSE" => CommandBody::Close,
        "UNSELECT" => CommandBody::Unselect,
        "EXPUNGE" => CommandBody::Expunge { uids: None },
        "UID" => return uid(cursor),
        _ => match numbered(cursor, Numbering::Sequence, &name)? {
            Some(body) => body,
            None => return Ok(CommandBody::Unknown { name }),
        },
    };
    cursor.finish()?;
    Ok(body)
}

/// `uid = "UID" SP (copy / fetch / search / store)`, and MOVE (RFC 6851), and `"EXPUNGE" SP sequence-set` (RFC 4315).
fn uid(cursor: &mut Cursor<'_>) -> Parsed<CommandBody> {
    cursor.space("missing command after UID")?;
    let name = command_name(cursor)?;
    let body = if name == "EXPUNGE" {
        cursor.space("missing set of UIDs")?;
        CommandBody::Expunge {
            uids: Some(number::sequence_set(cursor)?),
        }
    } else {
        match numbered(cursor, Numbering::Uid, &name)? {
            Some(body) => body,
            None => {
                return Ok(CommandBody::Unknown {
                    name: format!("UID {name}"),
                });
            }
        }
    };
    cursor.finish()?;
    Ok(body)
}

/// The commands that come with and without UID.
fn numbered(cursor: &mut Cursor<'_>, numbering: Numbering, name: &str) -> Parsed<Option<CommandBody>> {
    Ok(Some(match name {
        "SEARCH" => CommandBody::Search {
            numbering,
            search: search::search(cursor)?,
        },
        "FETCH" => fetch::fetch(cursor, numbering)?,
        "STORE" => store::store(cursor, numbering)?,
        "COPY" => {
            let (set, mailbox) = mailbox::set_and_mailbox(cursor)?;
            CommandBody::Copy {
                numbering,
                set,
                mailbox,
            }
        }
        "MOVE" => {
            let (set, mailbox) = mailbox::set_and_mailbox(cursor)?;
            CommandBody::Move {
                numbering,
                set,
                mailbox,
            }
        }
        _ => return Ok(None),
    }))
}

/// The longest name of a command that is looked at.
const COMMAND_NAME_BYTES_MAX: usize = 64;

fn command_name(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let name = cursor.atom("missing command")?;
    if name.len() > COMMAND_NAME_BYTES_MAX {
        return Err(SyntaxError::new("command name too long"));
    }
    Ok(name.to_ascii_uppercase())
}
