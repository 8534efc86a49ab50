//! Strings in their several forms.

use super::cursor::{Cursor, is_astring_char, is_atom_char, string_literal};
use super::error::{Parsed, SyntaxError};

/// `string = quoted / literal`
pub(super) fn string(cursor: &mut Cursor<'_>, reason: &'static str) -> Parsed<Vec<u8>> {
    match cursor.peek() {
        Some(b'"') => cursor.quoted(),
        None => match cursor.literal() {
            Some(segment) => string_literal(segment).map(|data| data.to_vec()),
            None => Err(SyntaxError::new(reason)),
        },
        Some(_) => Err(SyntaxError::new(reason)),
    }
}

/// `astring = 1*ASTRING-CHAR / string`
pub(super) fn astring(cursor: &mut Cursor<'_>, reason: &'static str) -> Parsed<Vec<u8>> {
    word_or_string(cursor, is_astring_char, reason)
}

/// `list-mailbox = 1*list-char / string`, `list-char = ATOM-CHAR / list-wildcards / resp-specials`
pub(super) fn list_mailbox(cursor: &mut Cursor<'_>) -> Parsed<Vec<u8>> {
    let legal = |byte| is_astring_char(byte) || matches!(byte, b'%' | b'*');
    word_or_string(cursor, legal, "missing mailbox pattern")
}

/// `nstring = string / nil`. Atoms are let through as strings, for the values of ID.
pub(super) fn lenient_nstring(cursor: &mut Cursor<'_>, reason: &'static str) -> Parsed<Option<Vec<u8>>> {
    match cursor.peek() {
        Some(byte) if is_atom_char(byte) => {
            let word = cursor.atom(reason)?;
            Ok((!word.eq_ignore_ascii_case("NIL")).then(|| word.as_bytes().to_vec()))
        }
        _ => string(cursor, reason).map(Some),
    }
}

/// The text of a string that must be UTF-8.
pub(super) fn utf8(bytes: Vec<u8>) -> Parsed<String> {
    String::from_utf8(bytes).map_err(|_| SyntaxError::new("text is not UTF-8"))
}

fn word_or_string(
    cursor: &mut Cursor<'_>,
    legal: impl Fn(u8) -> bool,
    reason: &'static str,
) -> Parsed<Vec<u8>> {
    match cursor.peek() {
        None | Some(b'"') => string(cursor, reason),
        Some(_) => cursor.word(legal, reason).map(|word| word.as_bytes().to_vec()),
    }
}
