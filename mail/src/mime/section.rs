//! `BODY[…]` sections: which bytes of a message a section names. Works on the part spans alone, so a
//! caller reads no more of the message than it sends.

use super::header::{Field, fields};
use super::part::{PartKind, PartSpan, Span};

/// A section of a message, as in `BODY[1.2.HEADER]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Part numbers from the outermost on; empty for the message itself.
    pub path: Vec<u32>,
    /// What of that part.
    pub item: SectionItem,
}

/// What a section names of its part.
// RFC 3501 §6.4.5
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionItem {
    /// `BODY[]`, `BODY[1]`: the whole message, or a part's body.
    Whole,
    /// `HEADER`: the header of the message or of a nested one.
    Header,
    /// `HEADER.FIELDS (names)`, or with `not` `HEADER.FIELDS.NOT (names)`.
    HeaderFields {
        /// Field names, in any case.
        names: Vec<Vec<u8>>,
        /// Whether the fields named are left out instead of given.
        not: bool,
    },
    /// `MIME`: the MIME header of a part. Needs a part number.
    Mime,
    /// `TEXT`: the body of the message or of a nested one.
    Text,
}

/// Where a section's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionBytes<'a> {
    /// These bytes of the message.
    Range(Span),
    /// What [`header_fields`] gives for these bytes of the message.
    Fields {
        /// The header to filter.
        header: Span,
        /// The names that the section lists.
        names: &'a [Vec<u8>],
        /// Whether they are left out.
        not: bool,
    },
}

/// Finds `section` in a message of these parts; none when the message has no such section, for which FETCH
/// answers NIL.
#[must_use]
pub fn locate<'a>(parts: &[PartSpan], section: &'a Section) -> Option<SectionBytes<'a>> {
    locate_served(parts, section, 0)
}

/// The same in a message that is served with `prefix_len` bytes of trace header before it: the spans count
/// from the first byte of the prefix, which belongs to the message's header.
#[must_use]
pub fn locate_served<'a>(
    parts: &[PartSpan],
    section: &'a Section,
    prefix_len: u64,
) -> Option<SectionBytes<'a>> {
    let root = parts.first()?;
    let (whole, header, text, mime) = if section.path.is_empty() {
        let header = Span::new(0, root.header.end.saturating_add(prefix_len));
        let text = root.body.shifted(prefix_len);
        (Span::new(0, text.end), Some(header), Some(text), None)
    } else {
        let index = part_at(parts, &section.path)?;
        let part = &parts[index];
        // A non-multipart message is its own part 1, and its MIME header is its header.
        let mime_start = if part.parent.is_none() {
            0
        } else {
            part.header.start.saturating_add(prefix_len)
        };
        let mime = Span::new(mime_start, part.header.end.saturating_add(prefix_len));
        let nested = (part.kind == PartKind::Message)
            .then(|| child(parts, index, 1))
            .flatten();
        let nested = nested.map(|index| &parts[index]);
        (
            part.body.shifted(prefix_len),
            nested.map(|message| message.header.shifted(prefix_len)),
            nested.map(|message| message.body.shifted(prefix_len)),
            Some(mime),
        )
    };
    match &section.item {
        SectionItem::Whole => Some(SectionBytes::Range(whole)),
        SectionItem::Header => header.map(SectionBytes::Range),
        SectionItem::Text => text.map(SectionBytes::Range),
        SectionItem::Mime => mime.map(SectionBytes::Range),
        SectionItem::HeaderFields { names, not } => header.map(|header| SectionBytes::Fields {
            header,
            names,
            not: *not,
        }),
    }
}

/// Index of the part that a path of part numbers names.
// RFC 3501 §6.4.5
#[must_use]
pub fn part_at(parts: &[PartSpan], path: &[u32]) -> Option<usize> {
    let mut numbers = path.iter();
    let mut at = part_of_message(parts, 0, *numbers.next()?)?;
    for &number in numbers {
        at = match parts[at].kind {
            PartKind::Leaf => return None,
            PartKind::Multipart => child(parts, at, number)?,
            PartKind::Message => part_of_message(parts, child(parts, at, 1)?, number)?,
        };
    }
    Some(at)
}

/// Part `number` of the message at `index`: a child of a multipart, else the message's only part, itself.
fn part_of_message(parts: &[PartSpan], index: usize, number: u32) -> Option<usize> {
    match parts.get(index)?.kind {
        PartKind::Multipart => child(parts, index, number),
        _ => (number == 1).then_some(index),
    }
}

fn child(parts: &[PartSpan], parent: usize, position: u32) -> Option<usize> {
    let is_child = |part: &PartSpan| part.parent.is_some_and(|at| at as usize == parent);
    // Children come after their parent.
    let after = parent + 1;
    let found = parts
        .get(after..)?
        .iter()
        .position(|part| is_child(part) && part.position == position)?;
    Some(after + found)
}

/// The fields of `header` with (or, with `not`, without) one of `names`, in their order and folded as they
/// are, and the blank line if the header has one.
// RFC 3501 §6.4.5
#[must_use]
pub fn header_fields<N: AsRef<[u8]>>(header: &[u8], names: &[N], not: bool) -> Vec<u8> {
    let is_named = |field: &Field<'_>| {
        !field.name.is_empty()
            && names
                .iter()
                .any(|name| field.name.eq_ignore_ascii_case(name.as_ref()))
    };
    let mut all = fields(header);
    let mut kept = Vec::new();
    for field in all.by_ref() {
        if is_named(&field) != not {
            kept.extend_from_slice(field.whole);
        }
    }
    kept.extend_from_slice(all.rest());
    kept
}
