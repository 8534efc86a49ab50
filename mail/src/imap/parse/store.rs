//! STORE, and flags where a client sets them.

use super::cursor::{Cursor, is_atom_char};
use super::error::{Parsed, SyntaxError};
use super::number;
use crate::imap::types::{CommandBody, Flag, KEYWORD_BYTES_MAX, Numbering, StoreAction};

/// The most flags in one list.
pub const FLAGS_MAX: usize = 200;

/// ```abnf
/// store           = "STORE" SP sequence-set SP store-att-flags
/// store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
/// ```
pub(super) fn store(cursor: &mut Cursor<'_>, numbering: Numbering) -> Parsed<CommandBody> {
    cursor.space("missing set of messages")?;
    let set = number::sequence_set(cursor)?;
    cursor.space("missing data item")?;
    let action = if cursor.accept(b'+') {
        StoreAction::Add
    } else if cursor.accept(b'-') {
        StoreAction::Remove
    } else {
        StoreAction::Replace
    };
    let item = cursor.atom("missing data item")?;
    let silent = item.eq_ignore_ascii_case("FLAGS.SILENT");
    if !silent && !item.eq_ignore_ascii_case("FLAGS") {
        return Err(SyntaxError::new("unknown data item of STORE"));
    }
    cursor.space("missing flags")?;
    let flags = if cursor.peek() == Some(b'(') {
        flag_list(cursor)?
    } else {
        bare_flags(cursor)?
    };
    Ok(CommandBody::Store {
        numbering,
        set,
        action,
        silent,
        flags,
    })
}

/// `flag-list = "(" [flag *(SP flag)] ")"`; a flag that comes twice is taken once.
pub(super) fn flag_list(cursor: &mut Cursor<'_>) -> Parsed<Vec<Flag>> {
    cursor.list("flags", FLAGS_MAX, flag).map(once)
}

fn bare_flags(cursor: &mut Cursor<'_>) -> Parsed<Vec<Flag>> {
    let mut flags = vec![flag(cursor)?];
    while cursor.accept(b' ') && !cursor.is_at_end() {
        if flags.len() == FLAGS_MAX {
            return Err(SyntaxError::too_many("flags", FLAGS_MAX));
        }
        flags.push(flag(cursor)?);
    }
    Ok(once(flags))
}

/// ```abnf
/// flag = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword / flag-extension
/// ```
/// `\Recent` is the server's alone, and no system flag of an extension is known here.
fn flag(cursor: &mut Cursor<'_>) -> Parsed<Flag> {
    let system = cursor.accept(b'\\');
    let name = keyword(cursor)?;
    let flag = if system {
        Flag::system(name)
    } else {
        Flag::Keyword(name.into())
    };
    if flag.is_storable() {
        Ok(flag)
    } else {
        Err(SyntaxError::new("flag that cannot be stored"))
    }
}

/// `flag-keyword = atom`
pub(super) fn keyword<'a>(cursor: &mut Cursor<'a>) -> Parsed<&'a str> {
    let name = cursor.word(is_atom_char, "malformed flag")?;
    if name.len() > KEYWORD_BYTES_MAX {
        return Err(SyntaxError::new("keyword too long"));
    }
    Ok(name)
}

/// Keywords compare without case, as RFC 3501 §2.3.2 leaves open and as clients expect.
fn once(flags: Vec<Flag>) -> Vec<Flag> {
    let mut kept: Vec<Flag> = Vec::with_capacity(flags.len());
    for flag in flags {
        if !kept
            .iter()
            .any(|known| known.name().eq_ignore_ascii_case(flag.name()))
        {
            kept.push(flag);
        }
    }
    kept
}
