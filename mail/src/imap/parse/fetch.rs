//! FETCH and its data items. A malformed section is refused, never guessed.

use super::cursor::Cursor;
use super::error::{Parsed, SyntaxError};
use super::{number, strings};
use crate::imap::types::{CommandBody, FetchItem, Numbering, PartPath, Partial, Section, SectionText};

/// The most data items in one FETCH.
pub const FETCH_ITEMS_MAX: usize = 1000;
/// The most header fields in one section.
pub const HEADER_FIELDS_MAX: usize = 500;
/// The deepest part that can be named.
pub const PART_DEPTH_MAX: usize = 100;
/// The longest name of a header field, in bytes.
const HEADER_FIELD_BYTES_MAX: usize = 998;

/// ```abnf
/// fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")")
/// ```
pub(super) fn fetch(cursor: &mut Cursor<'_>, numbering: Numbering) -> Parsed<CommandBody> {
    cursor.space("missing set of messages")?;
    let set = number::sequence_set(cursor)?;
    cursor.space("missing data items")?;
    let items = if cursor.peek() == Some(b'(') {
        cursor.list("data items", FETCH_ITEMS_MAX, |cursor| {
            let name = item_name(cursor)?;
            item(cursor, &name)
        })?
    } else {
        let name = item_name(cursor)?;
        match macro_items(&name) {
            Some(items) => items,
            None => vec![item(cursor, &name)?],
        }
    };
    if items.is_empty() {
        return Err(SyntaxError::new("missing data items"));
    }
    Ok(CommandBody::Fetch {
        numbering,
        set,
        items,
    })
}

/// RFC 3501 §6.4.5: what ALL, FAST and FULL stand for.
fn macro_items(name: &str) -> Option<Vec<FetchItem>> {
    let mut items = vec![FetchItem::Flags, FetchItem::InternalDate, FetchItem::Rfc822Size];
    match name {
        "FAST" => {}
        "ALL" => items.push(FetchItem::Envelope),
        "FULL" => items.extend([FetchItem::Envelope, FetchItem::Body]),
        _ => return None,
    }
    Some(items)
}

fn item_name(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let name = cursor.word(
        |byte| byte.is_ascii_alphanumeric() || byte == b'.',
        "missing data item",
    )?;
    Ok(name.to_ascii_uppercase())
}

/// ```abnf
/// fetch-att =  "ENVELOPE" / "FLAGS" / "INTERNALDATE" / "RFC822" [".HEADER" / ".SIZE" / ".TEXT"] /
///              "BODY" ["STRUCTURE"] / "UID" / "BODY" [".PEEK"] section ["<" number "." nz-number ">"]
/// fetch-att =/ "BINARY" [".PEEK"] section-binary [partial] / "BINARY.SIZE" section-binary    ; RFC 3516 §7
/// ```
fn item(cursor: &mut Cursor<'_>, name: &str) -> Parsed<FetchItem> {
    let has_section = cursor.peek() == Some(b'[');
    Ok(match (name, has_section) {
        ("ENVELOPE", false) => FetchItem::Envelope,
        ("FLAGS", false) => FetchItem::Flags,
        ("INTERNALDATE", false) => FetchItem::InternalDate,
        ("RFC822", false) => FetchItem::Rfc822,
        ("RFC822.HEADER", false) => FetchItem::Rfc822Header,
        ("RFC822.SIZE", false) => FetchItem::Rfc822Size,
        ("RFC822.TEXT", false) => FetchItem::Rfc822Text,
        ("BODY", false) => FetchItem::Body,
        ("BODYSTRUCTURE", false) => FetchItem::BodyStructure,
        ("UID", false) => FetchItem::Uid,
        ("BODY" | "BODY.PEEK", true) => {
            let section = section(cursor)?;
            FetchItem::BodySection {
                peek: name == "BODY.PEEK",
                section,
                partial: partial(cursor)?,
            }
        }
        ("BINARY" | "BINARY.PEEK", true) => {
            let part = section_binary(cursor)?;
            FetchItem::Binary {
                peek: name == "BINARY.PEEK",
                part,
                partial: partial(cursor)?,
            }
        }
        ("BINARY.SIZE", true) => FetchItem::BinarySize(section_binary(cursor)?),
        _ => return Err(SyntaxError::new("unknown data item")),
    })
}

/// ```abnf
/// section      = "[" [section-spec] "]"
/// section-spec = section-msgtext / (section-part ["." section-text])
/// section-text = section-msgtext / "MIME"
/// ```
fn section(cursor: &mut Cursor<'_>) -> Parsed<Section> {
    cursor.expect(b'[', "missing section")?;
    let (part, open) = section_part(cursor)?;
    let text = if open || (part.is_empty() && cursor.peek() != Some(b']')) {
        Some(section_text(cursor, !part.is_empty())?)
    } else {
        None
    };
    cursor.expect(b']', "malformed section")?;
    Ok(Section { part, text })
}

/// `section-part = nz-number *("." nz-number)`, or nothing; and whether a dot follows that no number follows.
fn section_part(cursor: &mut Cursor<'_>) -> Parsed<(PartPath, bool)> {
    let mut part = PartPath::new();
    let is_digit = |cursor: &Cursor<'_>| cursor.peek().is_some_and(|byte| byte.is_ascii_digit());
    if !is_digit(cursor) {
        return Ok((part, false));
    }
    loop {
        if part.len() == PART_DEPTH_MAX {
            return Err(SyntaxError::too_many("levels in a part", PART_DEPTH_MAX));
        }
        part.push(number::nz_number(cursor)?.get());
        if !cursor.accept(b'.') {
            return Ok((part, false));
        }
        if !is_digit(cursor) {
            return Ok((part, true));
        }
    }
}

/// `section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"`
fn section_text(cursor: &mut Cursor<'_>, of_part: bool) -> Parsed<SectionText> {
    let name = cursor.word(
        |byte| byte.is_ascii_alphabetic() || byte == b'.',
        "malformed section",
    )?;
    Ok(match name.to_ascii_uppercase().as_str() {
        "HEADER" => SectionText::Header,
        "HEADER.FIELDS" => SectionText::HeaderFields(header_list(cursor)?),
        "HEADER.FIELDS.NOT" => SectionText::HeaderFieldsNot(header_list(cursor)?),
        "TEXT" => SectionText::Text,
        "MIME" if of_part => SectionText::Mime,
        _ => return Err(SyntaxError::new("malformed section")),
    })
}

/// `header-list = "(" header-fld-name *(SP header-fld-name) ")"`, `header-fld-name = astring`
fn header_list(cursor: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    cursor.space("missing header fields")?;
    let fields = cursor.list("header fields", HEADER_FIELDS_MAX, header_field)?;
    if fields.is_empty() {
        return Err(SyntaxError::new("missing header fields"));
    }
    Ok(fields)
}

/// A field's name is echoed in the answer, so only what can be one is let in. RFC 5322 §3.6.8, ftext.
fn header_field(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let name = strings::astring(cursor, "malformed header field")?;
    let legal = |byte: &u8| byte.is_ascii_graphic() && *byte != b':';
    if name.is_empty() || name.len() > HEADER_FIELD_BYTES_MAX || !name.iter().all(legal) {
        return Err(SyntaxError::new("malformed header field"));
    }
    strings::utf8(name)
}

/// `section-binary = "[" [section-part] "]"`
fn section_binary(cursor: &mut Cursor<'_>) -> Parsed<PartPath> {
    cursor.expect(b'[', "missing section")?;
    let (part, open) = section_part(cursor)?;
    if open {
        return Err(SyntaxError::new("malformed section"));
    }
    cursor.expect(b']', "malformed section")?;
    Ok(part)
}

/// `partial = "<" number "." nz-number ">"`
fn partial(cursor: &mut Cursor<'_>) -> Parsed<Option<Partial>> {
    if !cursor.accept(b'<') {
        return Ok(None);
    }
    let offset = number::number(cursor)?;
    cursor.expect(b'.', "malformed partial range")?;
    let length = number::nz_number(cursor)?.get();
    cursor.expect(b'>', "malformed partial range")?;
    Ok(Some(Partial { offset, length }))
}
