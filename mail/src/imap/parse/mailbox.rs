//! Mailbox names as arguments: SELECT and its like, CREATE, RENAME, STATUS, COPY, MOVE.

use super::cursor::Cursor;
use super::error::{ErrorKind, Parsed, SyntaxError};
use super::{number, strings};
use crate::imap::types::{CommandBody, MailboxName, SequenceSet, SpecialUse, StatusItem};

/// The most items in a STATUS, repetitions counted.
const STATUS_ITEMS_MAX: usize = 32;

/// `mailbox = "INBOX" / astring`
pub(super) fn mailbox(cursor: &mut Cursor<'_>) -> Parsed<MailboxName> {
    let name = strings::astring(cursor, "missing mailbox name")?;
    Ok(MailboxName::from_wire(&strings::utf8(name)?))
}

/// `SP mailbox`
pub(super) fn argument(cursor: &mut Cursor<'_>) -> Parsed<MailboxName> {
    cursor.space("missing mailbox name")?;
    mailbox(cursor)
}

/// ```abnf
/// create       = "CREATE" SP mailbox [SP "(" create-param *(SP create-param) ")"]
/// create-param = "USE" SP "(" [use-attr *(SP use-attr)] ")"                         ; RFC 6154 §6
/// ```
pub(super) fn create(cursor: &mut Cursor<'_>) -> Parsed<CommandBody> {
    let mailbox = argument(cursor)?;
    let mut special_use = Vec::new();
    if !cursor.is_at_end() {
        cursor.space("unexpected text after the mailbox name")?;
        // The parameters may be missing behind the space.
        if cursor.peek() == Some(b'(') {
            for uses in cursor.list("parameters", 1, use_param)? {
                special_use = uses;
            }
        }
    }
    Ok(CommandBody::Create { mailbox, special_use })
}

fn use_param(cursor: &mut Cursor<'_>) -> Parsed<Vec<SpecialUse>> {
    if !cursor.accept_text("USE") {
        return Err(SyntaxError::new("unknown parameter of CREATE"));
    }
    cursor.space("missing list of uses")?;
    cursor.list("uses", SpecialUse::EVERY.len(), |cursor| {
        let attribute = cursor.word(|byte| byte == b'\\' || super::is_atom_char(byte), "missing use")?;
        SpecialUse::from_text(attribute).ok_or(SyntaxError::of_kind(
            ErrorKind::BadUse,
            "unknown use of a mailbox",
        ))
    })
}

/// `rename = "RENAME" SP mailbox SP mailbox`
pub(super) fn rename(cursor: &mut Cursor<'_>) -> Parsed<CommandBody> {
    Ok(CommandBody::Rename {
        from: argument(cursor)?,
        to: argument(cursor)?,
    })
}

/// `status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"`
pub(super) fn status(cursor: &mut Cursor<'_>) -> Parsed<CommandBody> {
    let mailbox = argument(cursor)?;
    cursor.space("missing status items")?;
    Ok(CommandBody::Status {
        mailbox,
        items: status_items(cursor)?,
    })
}

/// `"(" status-att *(SP status-att) ")"`; a repeated item is taken once.
pub(super) fn status_items(cursor: &mut Cursor<'_>) -> Parsed<Vec<StatusItem>> {
    let mut items = Vec::new();
    cursor.list("status items", STATUS_ITEMS_MAX, |cursor| {
        let name = cursor.atom("missing status item")?;
        let item = StatusItem::from_text(name).ok_or(SyntaxError::new("unknown status item"))?;
        if !items.contains(&item) {
            items.push(item);
        }
        Ok(())
    })?;
    if items.is_empty() {
        return Err(SyntaxError::new("missing status item"));
    }
    Ok(items)
}

/// `copy = "COPY" SP sequence-set SP mailbox`; MOVE alike (RFC 6851 §3.1)
pub(super) fn set_and_mailbox(cursor: &mut Cursor<'_>) -> Parsed<(SequenceSet, MailboxName)> {
    cursor.space("missing set of messages")?;
    Ok((number::sequence_set(cursor)?, argument(cursor)?))
}
