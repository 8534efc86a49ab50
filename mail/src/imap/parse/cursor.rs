//! The position in a command, and the smallest pieces of the grammar.

use bytes::Bytes;

use super::error::{Parsed, SyntaxError};
use crate::imap::frame::Segment;

/// `ATOM-CHAR = <any CHAR except atom-specials>`
pub fn is_atom_char(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// `ASTRING-CHAR = ATOM-CHAR / resp-specials`
pub fn is_astring_char(byte: u8) -> bool {
    is_atom_char(byte) || byte == b']'
}

/// A place in a command: some text, and the segments behind it.
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    behind: &'a [Segment],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(segments: &'a [Segment]) -> Self {
        let mut cursor = Self {
            text: &[],
            behind: segments,
        };
        cursor.load();
        cursor
    }

    pub(super) fn from_text(text: &'a [u8]) -> Self {
        Self { text, behind: &[] }
    }

    /// The next byte; `None` at the end, and before a literal.
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.first().copied()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.text.is_empty() && self.behind.is_empty()
    }

    /// The literal that starts here.
    pub(super) fn literal(&mut self) -> Option<&'a Segment> {
        if !self.text.is_empty() {
            return None;
        }
        let (literal, behind) = self.behind.split_first()?;
        self.behind = behind;
        self.load();
        Some(literal)
    }

    pub(super) fn take_while(&mut self, legal: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.text.iter().take_while(|byte| legal(**byte)).count();
        self.take(length)
    }

    /// Takes `byte` if it is next.
    pub(super) fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.take(1);
        }
        found
    }

    /// Takes `byte`, or fails for that reason.
    pub(super) fn expect(&mut self, byte: u8, reason: &'static str) -> Parsed<()> {
        if self.accept(byte) {
            Ok(())
        } else {
            Err(SyntaxError::new(reason))
        }
    }

    /// `SP`; the reason says what is missing behind it.
    pub(super) fn space(&mut self, reason: &'static str) -> Parsed<()> {
        self.expect(b' ', reason)
    }

    /// Takes `text`, in any case, if it is next.
    pub(super) fn accept_text(&mut self, text: &str) -> bool {
        let found = self
            .text
            .get(..text.len())
            .is_some_and(|front| front.eq_ignore_ascii_case(text.as_bytes()));
        if found {
            self.take(text.len());
        }
        found
    }

    /// `atom = 1*ATOM-CHAR`
    pub(super) fn atom(&mut self, reason: &'static str) -> Parsed<&'a str> {
        self.word(is_atom_char, reason)
    }

    /// A run of legal ASCII characters, not empty.
    pub(super) fn word(&mut self, legal: impl Fn(u8) -> bool, reason: &'static str) -> Parsed<&'a str> {
        match std::str::from_utf8(self.take_while(|byte| byte.is_ascii() && legal(byte))) {
            Ok(word) if !word.is_empty() => Ok(word),
            _ => Err(SyntaxError::new(reason)),
        }
    }

    /// `quoted = DQUOTE *QUOTED-CHAR DQUOTE`, its first quote not yet taken. Bytes above 127 are let through, for
    /// names and passwords in UTF-8.
    pub(super) fn quoted(&mut self) -> Parsed<Vec<u8>> {
        self.expect(b'"', "missing quoted string")?;
        let mut content = Vec::new();
        loop {
            content.extend_from_slice(self.take_while(|byte| byte != b'"' && byte != b'\\'));
            if self.accept(b'"') {
                return Ok(content);
            }
            self.expect(b'\\', "quoted string without an end")?;
            match self.peek() {
                Some(byte @ (b'"' | b'\\')) => content.push(byte),
                _ => return Err(SyntaxError::new("malformed escape in a quoted string")),
            }
            self.take(1);
        }
    }

    /// `list = "(" [item *(SP item)] ")"`, with at most `max` items.
    pub(super) fn list<T>(
        &mut self,
        what: &'static str,
        max: usize,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        self.expect(b'(', "missing parenthesis")?;
        let mut items = Vec::new();
        if self.accept(b')') {
            return Ok(items);
        }
        loop {
            if items.len() == max {
                return Err(SyntaxError::too_many(what, max));
            }
            items.push(item(self)?);
            if self.accept(b')') {
                return Ok(items);
            }
            self.space("missing space or closing parenthesis")?;
        }
    }

    /// The end of the command. Spaces before it are let through, since several clients send one.
    pub(super) fn finish(&mut self) -> Parsed<()> {
        self.take_while(|byte| byte == b' ');
        if self.is_at_end() {
            Ok(())
        } else {
            Err(SyntaxError::new("unexpected text after the command"))
        }
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.text.split_at(length);
        self.text = rest;
        taken
    }

    /// Moves into the text that is next, if it is text.
    fn load(&mut self) {
        if let Some((Segment::Text(text), behind)) = self.behind.split_first() {
            self.text = text;
            self.behind = behind;
        }
    }
}

/// The bytes of a literal that stands for a string.
pub(super) fn string_literal(segment: &Segment) -> Parsed<&Bytes> {
    match segment {
        Segment::Literal { data, binary: false } if memchr::memchr(0, data).is_none() => Ok(data),
        Segment::Literal { .. } => Err(SyntaxError::new("binary literal or NUL where a string belongs")),
        Segment::Text(_) | Segment::Streamed { .. } => Err(SyntaxError::new("missing string")),
    }
}
