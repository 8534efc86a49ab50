//! LIST and LSUB.

use super::cursor::Cursor;
use super::error::{Parsed, SyntaxError};
use super::{mailbox, strings};
use crate::imap::types::{CommandBody, ListCommand, ListReturn, ListSelection, utf7};

/// The most patterns in one LIST.
pub const LIST_PATTERNS_MAX: usize = 100;
/// The most options in front or behind, repetitions counted.
const LIST_OPTIONS_MAX: usize = 32;

/// ```abnf
/// list             = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]   ; RFC 5258 §6
/// mbox-or-pat      = list-mailbox / "(" list-mailbox *(SP list-mailbox) ")"
/// list-return-opts = "RETURN" SP "(" [return-option *(SP return-option)] ")"
/// ```
pub(super) fn list(cursor: &mut Cursor<'_>) -> Parsed<CommandBody> {
    let mut list = ListCommand::default();
    cursor.space("missing reference")?;
    if cursor.peek() == Some(b'(') {
        list.extended = true;
        list.selection = selection(cursor)?;
        cursor.space("missing reference")?;
    }
    list.reference = reference(cursor)?;
    cursor.space("missing mailbox pattern")?;
    if cursor.peek() == Some(b'(') {
        list.extended = true;
        list.patterns = cursor.list("patterns", LIST_PATTERNS_MAX, pattern)?;
        if list.patterns.is_empty() {
            return Err(SyntaxError::new("missing mailbox pattern"));
        }
    } else {
        list.patterns.push(pattern(cursor)?);
    }
    if cursor.accept_text(" RETURN ") {
        list.extended = true;
        returns(cursor, &mut list.returns)?;
    }
    Ok(CommandBody::List(list))
}

/// `lsub = "LSUB" SP mailbox SP list-mailbox`
pub(super) fn lsub(cursor: &mut Cursor<'_>) -> Parsed<CommandBody> {
    cursor.space("missing reference")?;
    let reference = reference(cursor)?;
    cursor.space("missing mailbox pattern")?;
    Ok(CommandBody::Lsub {
        reference,
        pattern: pattern(cursor)?,
    })
}

fn reference(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let name = strings::utf8(strings::astring(cursor, "missing reference")?)?;
    Ok(utf7::decode(&name))
}

fn pattern(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let pattern = strings::utf8(strings::list_mailbox(cursor)?)?;
    Ok(utf7::decode(&pattern))
}

/// `list-select-opts = "(" [list-select-option *(SP list-select-option)] ")"`
fn selection(cursor: &mut Cursor<'_>) -> Parsed<ListSelection> {
    let mut selection = ListSelection::default();
    cursor.list("options", LIST_OPTIONS_MAX, |cursor| {
        match cursor.atom("missing option")?.to_ascii_uppercase().as_str() {
            "SUBSCRIBED" => selection.subscribed = true,
            "REMOTE" => selection.remote = true,
            "RECURSIVEMATCH" => selection.recursive_match = true,
            "SPECIAL-USE" => selection.special_use = true,
            _ => return Err(SyntaxError::new("unknown selection option")),
        }
        Ok(())
    })?;
    // RFC 5258 §3.1: RECURSIVEMATCH needs an option that it can apply to; REMOTE is none.
    if selection.recursive_match && !selection.subscribed && !selection.special_use {
        return Err(SyntaxError::new("RECURSIVEMATCH alone"));
    }
    Ok(selection)
}

/// `return-option = "SUBSCRIBED" / "CHILDREN" / "SPECIAL-USE" / "STATUS" SP "(" … ")"`; RFC 5819 §5, RFC 6154 §6
fn returns(cursor: &mut Cursor<'_>, returns: &mut ListReturn) -> Parsed<()> {
    cursor.list("options", LIST_OPTIONS_MAX, |cursor| {
        match cursor.atom("missing option")?.to_ascii_uppercase().as_str() {
            "SUBSCRIBED" => returns.subscribed = true,
            "CHILDREN" => returns.children = true,
            "SPECIAL-USE" => returns.special_use = true,
            "STATUS" => {
                cursor.space("missing status items")?;
                returns.status = mailbox::status_items(cursor)?;
            }
            _ => return Err(SyntaxError::new("unknown return option")),
        }
        Ok(())
    })?;
    Ok(())
}
