//! Fields of a header block, as bytes: their names, raw values and folding. Never decodes anything.

use std::borrow::Cow;

/// One field of a header, with its continuation lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as written, without the colon; empty for a line that is no field.
    pub name: &'a [u8],
    /// All after the colon, folding included, without the last line end.
    pub value: &'a [u8],
    /// The whole field with its last line end.
    pub whole: &'a [u8],
}

impl Field<'_> {
    /// Whether the field has this name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The fields of a header block, up to its blank line or its end.
pub fn fields(header: &[u8]) -> Fields<'_> {
    Fields { rest: header }
}

/// Iterator over a header's fields; see [`fields`].
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// What was not read yet; after the last field, the blank line (and nothing for a header without one).
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        if self.rest.is_empty() || is_blank_line(self.rest) {
            return None;
        }
        let mut end = line_end(self.rest);
        // RFC 5322 §2.2.3: a line that starts with white space continues the field.
        while matches!(self.rest.get(end), Some(b' ' | b'\t')) {
            end += line_end(&self.rest[end..]);
        }
        let (whole, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(split_field(whole))
    }
}

fn split_field(whole: &[u8]) -> Field<'_> {
    let text = without_line_end(whole);
    let Some(colon) = memchr::memchr(b':', text) else {
        return Field {
            name: &[],
            value: text,
            whole,
        };
    };
    let name = text[..colon].trim_ascii_end();
    // A name holds no white space; such a line (an mbox "From " line, say) is no field.
    if name.iter().any(u8::is_ascii_whitespace) {
        return Field {
            name: &[],
            value: text,
            whole,
        };
    }
    Field {
        name,
        value: &text[colon + 1..],
        whole,
    }
}

/// Length of the first line of `bytes`, its line end included.
pub(super) fn line_end(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1)
}

/// Whether `bytes` begin with an empty line.
pub(super) fn is_blank_line(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\r\n") || bytes.starts_with(b"\n")
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A value on one line: folds removed (their white space stays), trimmed at both ends.
// RFC 5322 §2.2.3
#[must_use]
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    let value = value.trim_ascii();
    if memchr::memchr2(b'\r', b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut line = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = memchr::memchr(b'\n', rest) {
        line.extend_from_slice(without_line_end(&rest[..=at]));
        rest = &rest[at + 1..];
    }
    line.extend_from_slice(rest);
    Cow::Owned(line)
}

/// Where the header of `message` ends: after its blank line, or at the end when there is none.
#[must_use]
pub fn header_len(message: &[u8]) -> usize {
    let mut at = 0;
    while at < message.len() {
        let line = line_end(&message[at..]);
        let blank = is_blank_line(&message[at..]);
        at += line;
        if blank {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_folding_and_stop_at_the_blank_line() {
        let header = b"From x\r\nSubject : a\r\n b\r\nX:\r\n\r\nBody: no\r\n";
        let mut all = fields(header);
        let found: Vec<_> = all.by_ref().map(|f| (f.name, f.value)).collect();
        assert_eq!(
            found,
            vec![
                (&b""[..], &b"From x"[..]),
                (&b"Subject"[..], &b" a\r\n b"[..]),
                (&b"X"[..], &b""[..]),
            ]
        );
        assert_eq!(all.rest(), b"\r\nBody: no\r\n");
    }

    #[test]
    fn unfolding_keeps_the_white_space_and_lone_carriage_returns() {
        assert_eq!(unfold(b" a\r\n\tb \r\n").as_ref(), b"a\tb");
        assert_eq!(unfold(b"a\rb\n c").as_ref(), b"a\rb c");
    }

    #[test]
    fn a_header_without_a_blank_line_takes_the_whole_message() {
        assert_eq!(header_len(b"A: b\r\n"), 6);
        assert_eq!(header_len(b"A: b\n\nx"), 6);
        assert_eq!(header_len(b""), 0);
        assert_eq!(header_len(b"\r\nx"), 2);
    }
}
