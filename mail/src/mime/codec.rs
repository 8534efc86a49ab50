//! The stored form of an analysis, version 1. A reader that wants ENVELOPE, BODY or BODYSTRUCTURE takes a
//! slice of it ([`Stored`]) and never decodes the parts. Bytes from a disk may be anything: a decoder here
//! errs, never panics, and allocates no more than the bytes it was given account for.
//!
//! ```text
//! analysis = version header_len len(envelope) len(body) len(bodystructure)
//!            envelope body bodystructure
//!            option(sent_date sent_day) option(string) strings strings count *part
//! part     = parent+1 position kind encoding header.start len(header)
//!            body.start-header.end len(body) lines string option(string)
//! ```
//! Numbers are unsigned LEB128 (signed ones zigzag), strings a length and UTF-8, an option one byte 0 or 1.

use bytes::Bytes;

use super::analysis::Analysis;
use super::part::{Encoding, PartKind, PartSpan, Span};

/// The version that [`Analysis::encode`] writes.
pub const VERSION: u8 = 1;

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
}

impl Stored {
    /// Reads the lengths at the front of `bytes`.
    pub fn new(bytes: Bytes) -> Result<Stored, CodecError> {
        let mut reader = Reader { rest: &bytes };
        match reader.byte()? {
            VERSION => {}
            other => return Err(CodecError::Version(other)),
        }
        let header_len = reader.number()?;
        let lengths = [reader.length()?, reader.length()?, reader.length()?];
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
        Ok(Stored {
            header_len,
            envelope,
            body,
            bodystructure,
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

    /// Decodes all of it.
    pub fn decode(&self) -> Result<Analysis, CodecError> {
        let mut reader = Reader {
            rest: &self.bytes[self.bodystructure.1..],
        };
        let (sent_date, sent_day) = if reader.flag()? {
            let day = i32::try_from(reader.signed()?).map_err(|_| CodecError::Corrupt("sent day"))?;
            (Some(reader.signed()?), Some(day))
        } else {
            (None, None)
        };
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
        })
    }
}

impl Analysis {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let ready = [&self.envelope, &self.body, &self.bodystructure];
        let mut out =
            Vec::with_capacity(64 + 48 * self.parts.len() + ready.map(Bytes::len).iter().sum::<usize>());
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

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
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

    fn text(&mut self) -> Result<String, CodecError> {
        let length = self.length()?;
        let (text, rest) = self.rest.split_at_checked(length).ok_or(CodecError::Short)?;
        self.rest = rest;
        Ok(std::str::from_utf8(text)
            .map_err(|_| CodecError::Corrupt("text"))?
            .to_owned())
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
