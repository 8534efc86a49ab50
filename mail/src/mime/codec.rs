//! The stored form of an analysis, version 2. A reader that wants ENVELOPE, BODY, BODYSTRUCTURE or what SEARCH compares
//! takes a slice of it ([`Stored`]) and never decodes the parts. Bytes from a disk may be anything: a decoder here
//! errs, never panics, and allocates no more than the bytes it was given account for.
//!
//! ```text
//! analysis = version header_len len(envelope) len(body) len(bodystructure) len(fields)
//!            envelope body bodystructure fields
//!            option(sent_date sent_day) option(string) strings strings count *part
//! fields   = from to cc bcc subject
//! field    = 0                  ; unknown: only the header tells
//!          / 1                  ; absent
//!          / 2                  ; subject alone: as ENVELOPE has it, in lower case
//!          / 3+len(text) text
//! part     = parent+1 position kind encoding header.start len(header)
//!            body.start-header.end len(body) lines string option(string)
//! ```
//! Numbers are unsigned LEB128 (signed ones zigzag), strings a length and UTF-8, an option one byte 0 or 1.
//! Version 1 has neither `len(fields)` nor `fields`: all five are unknown.

use bytes::Bytes;

use super::analysis::Analysis;
use super::envelope::plain_subject;
use super::part::{Encoding, PartKind, PartSpan, Span};
use super::search_field::{FieldText, SearchField, SearchFields};
use super::text::Needle;

/// The version that [`Analysis::encode`] writes.
pub const VERSION: u8 = 2;

/// The version without what SEARCH compares.
const VERSION_WITHOUT_FIELDS: u8 = 1;

/// A field of which nothing is known.
const FIELD_UNKNOWN: u64 = 0;
/// A field that the header does not have.
const FIELD_ABSENT: u64 = 1;
/// A field whose text is that of ENVELOPE in lower case.
const FIELD_AS_ENVELOPE: u64 = 2;
/// A field of an empty text; a longer one adds its length.
const FIELD_TEXT: u64 = 3;

/// Why bytes are no stored analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Written by another version.
    #[error("stored analysis of unknown version {0}")]
    Version(u8),
    /// The bytes end too early.
    #[error("stored analysis is cut short")]
    Short,
    /// A value that no analysis has.
    #[error("stored analysis is corrupt: {0}")]
    Corrupt(&'static str),
}

/// An analysis in its stored form, of which the three ready values can be taken without decoding the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    bytes: Bytes,
    header_len: u64,
    envelope: (usize, usize),
    body: (usize, usize),
    bodystructure: (usize, usize),
    /// Empty in a version that has none.
    fields: (usize, usize),
}

impl Stored {
    /// Reads the lengths at the front of `bytes`.
    pub fn new(bytes: Bytes) -> Result<Stored, CodecError> {
        let mut reader = Reader { rest: &bytes };
        let has_fields = match reader.byte()? {
            VERSION => true,
            VERSION_WITHOUT_FIELDS => false,
            other => return Err(CodecError::Version(other)),
        };
        let header_len = reader.number()?;
        let lengths = [reader.length()?, reader.length()?, reader.length()?];
        let fields_len = if has_fields { reader.length()? } else { 0 };
        let mut at = bytes.len() - reader.rest.len();
        let mut next = |length: usize| {
            let end = at
                .checked_add(length)
                .filter(|end| *end <= bytes.len())
                .ok_or(CodecError::Short)?;
            let range = (at, end);
            at = end;
            Ok::<_, CodecError>(range)
        };
        let (envelope, body, bodystructure) = (next(lengths[0])?, next(lengths[1])?, next(lengths[2])?);
        let fields = next(fields_len)?;
        Ok(Stored {
            header_len,
            envelope,
            body,
            bodystructure,
            fields,
            bytes,
        })
    }

    /// See [`Analysis::header_len`].
    #[must_use]
    pub fn header_len(&self) -> u64 {
        self.header_len
    }

    /// The value of ENVELOPE; shares the stored bytes.
    #[must_use]
    pub fn envelope(&self) -> Bytes {
        self.bytes.slice(self.envelope.0..self.envelope.1)
    }

    /// The value of BODY; shares the stored bytes.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.bytes.slice(self.body.0..self.body.1)
    }

    /// The value of BODYSTRUCTURE; shares the stored bytes.
    #[must_use]
    pub fn bodystructure(&self) -> Bytes {
        self.bytes.slice(self.bodystructure.0..self.bodystructure.1)
    }

    /// Whether the field contains what is searched for; none when only the header tells.
    #[must_use]
    pub fn has_field(&self, field: SearchField, needle: &Needle) -> Option<bool> {
        let mut reader = self.fields();
        for _ in 0..field as usize {
            reader.field().ok()?;
        }
        match reader.field().ok()? {
            StoredField::Unknown => None,
            StoredField::Absent => Some(false),
            StoredField::Text(text) => Some(needle.is_in(text)),
            StoredField::AsEnvelope => Some(needle.is_in(&self.lower_subject(field)?)),
        }
    }

    /// See [`Analysis::sent_day`].
    pub fn sent_day(&self) -> Result<Option<i32>, CodecError> {
        Ok(self.rest().sent()?.map(|(day, _)| day))
    }

    fn fields(&self) -> Reader<'_> {
        Reader {
            rest: &self.bytes[self.fields.0..self.fields.1],
        }
    }

    /// What follows the ready values.
    fn rest(&self) -> Reader<'_> {
        Reader {
            rest: &self.bytes[self.fields.1..],
        }
    }

    /// The envelope's subject in lower case; none for another field, which is never stored so.
    fn lower_subject(&self, field: SearchField) -> Option<Vec<u8>> {
        let envelope = &self.bytes[self.envelope.0..self.envelope.1];
        let subject = plain_subject(envelope).filter(|_| field == SearchField::Subject);
        subject.map(<[u8]>::to_ascii_lowercase)
    }

    fn search_fields(&self) -> Result<SearchFields, CodecError> {
        let mut found = SearchFields::default();
        let mut reader = self.fields();
        if reader.rest.is_empty() {
            return Ok(found);
        }
        for (field, text) in std::iter::zip(SearchField::ALL, &mut found.0) {
            *text = match reader.field()? {
                StoredField::Unknown => FieldText::Unknown,
                StoredField::Absent => FieldText::Absent,
                StoredField::Text(text) => FieldText::Text(utf8(text)?.to_owned()),
                StoredField::AsEnvelope => {
                    let subject = self.lower_subject(field).ok_or(CodecError::Corrupt("field"))?;
                    FieldText::Text(utf8(&subject)?.to_owned())
                }
            };
        }
        if !reader.rest.is_empty() {
            return Err(CodecError::Corrupt("bytes after the fields"));
        }
        Ok(found)
    }

    /// Decodes all of it.
    pub fn decode(&self) -> Result<Analysis, CodecError> {
        let mut reader = self.rest();
        let (sent_day, sent_date) = reader.sent()?.unzip();
        let message_id = reader.option()?;
        let (in_reply_to, references) = (reader.strings()?, reader.strings()?);
        let count = reader.length()?;
        let mut parts: Vec<PartSpan> = Vec::new();
        for _ in 0..count {
            let part = reader.part(parts.len())?;
            parts.push(part);
        }
        if parts.is_empty() {
            return Err(CodecError::Corrupt("no parts"));
        }
        if !reader.rest.is_empty() {
            return Err(CodecError::Corrupt("bytes after the end"));
        }
        Ok(Analysis {
            header_len: self.header_len,
            envelope: self.envelope(),
            body: self.body(),
            bodystructure: self.bodystructure(),
            parts,
            sent_date,
            sent_day,
            message_id,
            in_reply_to,
            references,
            search_fields: self.search_fields()?,
        })
    }
}

impl Analysis {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut fields = Vec::with_capacity(256);
        for (field, text) in std::iter::zip(SearchField::ALL, &self.search_fields.0) {
            push_field(&mut fields, field, text, &self.envelope);
        }
        let ready: [&[u8]; 4] = [&self.envelope, &self.body, &self.bodystructure, &fields];
        let mut out =
            Vec::with_capacity(64 + 48 * self.parts.len() + ready.map(<[u8]>::len).iter().sum::<usize>());
        out.push(VERSION);
        push_number(&mut out, self.header_len);
        for bytes in ready {
            push_number(&mut out, bytes.len() as u64);
        }
        for bytes in ready {
            out.extend_from_slice(bytes);
        }
        match (self.sent_date, self.sent_day) {
            (Some(date), Some(day)) => {
                out.push(1);
                push_signed(&mut out, i64::from(day));
                push_signed(&mut out, date);
            }
            _ => out.push(0),
        }
        push_option(&mut out, self.message_id.as_deref());
        for ids in [&self.in_reply_to, &self.references] {
            push_number(&mut out, ids.len() as u64);
            ids.iter().for_each(|id| push_text(&mut out, id));
        }
        push_number(&mut out, self.parts.len() as u64);
        self.parts.iter().for_each(|part| push_part(&mut out, part));
        out.into()
    }

    /// Reads the stored form.
    pub fn decode(bytes: Bytes) -> Result<Analysis, CodecError> {
        Stored::new(bytes)?.decode()
    }
}

fn push_field(out: &mut Vec<u8>, field: SearchField, text: &FieldText, envelope: &[u8]) {
    match text {
        FieldText::Unknown => push_number(out, FIELD_UNKNOWN),
        FieldText::Absent => push_number(out, FIELD_ABSENT),
        FieldText::Text(text) if field == SearchField::Subject && is_lower_subject(text, envelope) => {
            push_number(out, FIELD_AS_ENVELOPE);
        }
        FieldText::Text(text) => {
            push_number(out, FIELD_TEXT + text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// Whether `text` is what a reader makes of the envelope's subject; it is for one plain Subject, as most are.
fn is_lower_subject(text: &str, envelope: &[u8]) -> bool {
    plain_subject(envelope).is_some_and(|subject| subject.to_ascii_lowercase() == text.as_bytes())
}

fn push_part(out: &mut Vec<u8>, part: &PartSpan) {
    push_number(out, part.parent.map_or(0, |parent| u64::from(parent) + 1));
    push_number(out, u64::from(part.position));
    out.push(match part.kind {
        PartKind::Leaf => 0,
        PartKind::Multipart => 1,
        PartKind::Message => 2,
    });
    out.push(match part.encoding {
        Encoding::SevenBit => 0,
        Encoding::EightBit => 1,
        Encoding::Binary => 2,
        Encoding::QuotedPrintable => 3,
        Encoding::Base64 => 4,
        Encoding::Other => 5,
    });
    push_number(out, part.header.start);
    push_number(out, part.header.len());
    push_number(out, part.body.start.saturating_sub(part.header.end));
    push_number(out, part.body.len());
    push_number(out, part.lines);
    push_text(out, &part.media_type);
    push_option(out, part.charset.as_deref());
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn push_signed(out: &mut Vec<u8>, number: i64) {
    push_number(out, ((number << 1) ^ (number >> 63)) as u64);
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    push_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn push_option(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => {
            out.push(1);
            push_text(out, text);
        }
        None => out.push(0),
    }
}

/// A field as it is stored.
enum StoredField<'a> {
    Unknown,
    Absent,
    AsEnvelope,
    Text(&'a [u8]),
}

fn utf8(bytes: &[u8]) -> Result<&str, CodecError> {
    std::str::from_utf8(bytes).map_err(|_| CodecError::Corrupt("text"))
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, CodecError> {
        let (&byte, rest) = self.rest.split_first().ok_or(CodecError::Short)?;
        self.rest = rest;
        Ok(byte)
    }

    fn flag(&mut self) -> Result<bool, CodecError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::Corrupt("option")),
        }
    }

    fn number(&mut self) -> Result<u64, CodecError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(CodecError::Corrupt("number"))
    }

    fn signed(&mut self) -> Result<i64, CodecError> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn length(&mut self) -> Result<usize, CodecError> {
        usize::try_from(self.number()?).map_err(|_| CodecError::Corrupt("length"))
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(CodecError::Short)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<String, CodecError> {
        let length = self.length()?;
        Ok(utf8(self.bytes(length)?)?.to_owned())
    }

    fn field(&mut self) -> Result<StoredField<'a>, CodecError> {
        Ok(match self.number()? {
            FIELD_UNKNOWN => StoredField::Unknown,
            FIELD_ABSENT => StoredField::Absent,
            FIELD_AS_ENVELOPE => StoredField::AsEnvelope,
            longer => {
                let length =
                    usize::try_from(longer - FIELD_TEXT).map_err(|_| CodecError::Corrupt("length"))?;
                StoredField::Text(self.bytes(length)?)
            }
        })
    }

    /// The day and the time of the Date field.
    fn sent(&mut self) -> Result<Option<(i32, i64)>, CodecError> {
        if !self.flag()? {
            return Ok(None);
        }
        let day = i32::try_from(self.signed()?).map_err(|_| CodecError::Corrupt("sent day"))?;
        Ok(Some((day, self.signed()?)))
    }

    fn option(&mut self) -> Result<Option<String>, CodecError> {
        if self.flag()? {
            self.text().map(Some)
        } else {
            Ok(None)
        }
    }

    fn strings(&mut self) -> Result<Vec<String>, CodecError> {
        let count = self.length()?;
        let mut strings = Vec::new();
        for _ in 0..count {
            strings.push(self.text()?);
        }
        Ok(strings)
    }

    /// The part at `index`. Its parent comes before it, so that no walk over the parts can loop.
    fn part(&mut self, index: usize) -> Result<PartSpan, CodecError> {
        let parent = match self.number()? {
            0 if index == 0 => None,
            number if number >= 1 && number <= index as u64 => u32::try_from(number - 1).ok(),
            _ => return Err(CodecError::Corrupt("parent")),
        };
        let position = u32::try_from(self.number()?).map_err(|_| CodecError::Corrupt("position"))?;
        let kind = match self.byte()? {
            0 => PartKind::Leaf,
            1 => PartKind::Multipart,
            2 => PartKind::Message,
            _ => return Err(CodecError::Corrupt("kind")),
        };
        let encoding = match self.byte()? {
            0 => Encoding::SevenBit,
            1 => Encoding::EightBit,
            2 => Encoding::Binary,
            3 => Encoding::QuotedPrintable,
            4 => Encoding::Base64,
            5 => Encoding::Other,
            _ => return Err(CodecError::Corrupt("encoding")),
        };
        let header = self.span(0)?;
        let body = self.span(header.end)?;
        Ok(PartSpan {
            parent,
            position,
            kind,
            header,
            body,
            lines: self.number()?,
            encoding,
            media_type: self.text()?,
            charset: self.option()?,
        })
    }

    fn span(&mut self, base: u64) -> Result<Span, CodecError> {
        let start = base
            .checked_add(self.number()?)
            .ok_or(CodecError::Corrupt("span"))?;
        let end = start
            .checked_add(self.number()?)
            .ok_or(CodecError::Corrupt("span"))?;
        Ok(Span { start, end })
    }
}
