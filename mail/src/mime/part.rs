//! Where a part of a message lies, and what it is. Plain values: found by the scanner, stored by the
//! codec, read by sections and search.

use std::ops::Range;

/// Bytes `start..end` of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u64,
    /// Offset after the last byte; never below `start`.
    pub end: u64,
}

impl Span {
    /// The span from `start` to `end`, empty when `end` lies before `start`.
    #[must_use]
    pub fn new(start: u64, end: u64) -> Span {
        Span {
            start,
            end: end.max(start),
        }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether the span holds no byte.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The span as an index range.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        let index = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        index(self.start)..index(self.end)
    }

    /// These bytes of `message`; empty when the message is shorter than the span says.
    #[must_use]
    pub fn of(self, message: &[u8]) -> &[u8] {
        message.get(self.range()).unwrap_or_default()
    }

    /// The same bytes after `offset` bytes were put before the message.
    #[must_use]
    pub fn shifted(self, offset: u64) -> Span {
        Span {
            start: self.start.saturating_add(offset),
            end: self.end.saturating_add(offset),
        }
    }

    /// The part of the span that `<start.count>` asks for; empty when it starts after the end.
    // RFC 3501 §6.4.5
    #[must_use]
    pub fn partial(self, start: u64, count: u64) -> Span {
        let first = self.start.saturating_add(start).min(self.end);
        Span {
            start: first,
            end: first.saturating_add(count).min(self.end),
        }
    }
}

/// What a part is to IMAP's part numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// A part with content and no parts.
    Leaf,
    /// multipart/*, with at least one child.
    Multipart,
    /// message/rfc822, with exactly one child: the nested message.
    Message,
}

/// A part's Content-Transfer-Encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// 7bit, also when the field is missing.
    SevenBit,
    /// 8bit.
    EightBit,
    /// binary.
    Binary,
    /// quoted-printable.
    QuotedPrintable,
    /// base64.
    Base64,
    /// Something this program cannot decode.
    Other,
}

impl Encoding {
    /// The encoding that a Content-Transfer-Encoding token names.
    #[must_use]
    pub fn from_token(token: &[u8]) -> Encoding {
        let is = |name: &str| token.eq_ignore_ascii_case(name.as_bytes());
        if is("7bit") {
            Encoding::SevenBit
        } else if is("8bit") {
            Encoding::EightBit
        } else if is("binary") {
            Encoding::Binary
        } else if is("quoted-printable") {
            Encoding::QuotedPrintable
        } else if is("base64") {
            Encoding::Base64
        } else {
            Encoding::Other
        }
    }
}

/// One part of a message. The parts of an analysis are in the order of the message: index 0 is the message
/// itself, and a parent always comes before its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartSpan {
    /// Index of the part that holds this one; none for the message itself.
    pub parent: Option<u32>,
    /// Its place among the parent's children, from 1.
    pub position: u32,
    /// What it is.
    pub kind: PartKind,
    /// Its MIME header (for the message and nested messages, their header), with the blank line.
    pub header: Span,
    /// Its body, without the line end that belongs to the boundary after it.
    pub body: Span,
    /// Line ends in the body.
    pub lines: u64,
    /// How the body is encoded.
    pub encoding: Encoding,
    /// Lower case, such as `text/plain`.
    pub media_type: String,
    /// The charset parameter of a text part, in lower case.
    pub charset: Option<String>,
}

impl PartSpan {
    /// Whether the part's content is text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.kind == PartKind::Leaf && self.media_type.starts_with("text/")
    }
}
