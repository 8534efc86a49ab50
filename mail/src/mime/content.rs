//! The header fields that describe a part: Content-Type, -Disposition and their relatives, with parameters
//! in the form in which BODYSTRUCTURE sends them. Values stay bytes; nothing is decoded here.

use std::borrow::Cow;

use super::header::{Field, fields, unfold};
use super::limits::FIELD_BYTES_MAX;
use super::part::Encoding;

/// How many parameters of one field are looked at.
const PARAMETERS_MAX: usize = 64;
/// RFC 2231 §3 segments beyond this number are ignored.
const SEGMENT_NUMBER_MAX: usize = 999;

/// A field such as `text/plain; charset=utf-8` or `attachment; filename=a`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Described {
    /// Type or disposition, in lower case.
    pub(super) main: String,
    /// Subtype in lower case; empty for a disposition.
    pub(super) sub: String,
    /// Names in lower case; RFC 2231 segments joined, an extended value under a name with `*`.
    pub(super) parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Described {
    pub(super) fn parameter(&self, name: &str) -> Option<&[u8]> {
        self.parameters
            .iter()
            .find(|(key, _)| key == name.as_bytes())
            .map(|(_, value)| value.as_slice())
    }
}

/// What a part's header says about it.
#[derive(Clone, Debug)]
pub(super) struct PartFields<'a> {
    pub(super) content_type: Described,
    /// The token in lower case; none when the field is missing.
    pub(super) encoding_token: Option<Vec<u8>>,
    pub(super) id: Option<Cow<'a, [u8]>>,
    pub(super) description: Option<Cow<'a, [u8]>>,
    pub(super) md5: Option<Cow<'a, [u8]>>,
    pub(super) disposition: Option<Described>,
    pub(super) language: Vec<Vec<u8>>,
    pub(super) location: Option<Cow<'a, [u8]>>,
}

impl<'a> PartFields<'a> {
    /// What holds for a part without any field.
    pub(super) fn missing(in_digest: bool) -> Self {
        PartFields {
            content_type: if in_digest { digest_default() } else { plain_text() },
            encoding_token: None,
            id: None,
            description: None,
            md5: None,
            disposition: None,
            language: Vec::new(),
            location: None,
        }
    }

    /// Reads a part's header; `default` is what [`PartFields::missing`] gave for it. Adds the number of fields to
    /// `count`.
    pub(super) fn read(header: &'a [u8], default: &PartFields<'_>, count: &mut usize) -> Self {
        let mut found = PartFields::missing(false);
        found.content_type = default.content_type.clone();
        let mut has_type = false;
        for field in fields(header) {
            *count += 1;
            if field.name.len() < 8 || !field.name[..8].eq_ignore_ascii_case(b"content-") {
                continue;
            }
            if field.is("Content-Type") && !has_type {
                has_type = true;
                // RFC 2045 §5.2: what is not a valid type is plain text.
                found.content_type = content_type(&value(&field)).unwrap_or_else(plain_text);
            } else if field.is("Content-Transfer-Encoding") && found.encoding_token.is_none() {
                found.encoding_token = first_token(&value(&field));
            } else if field.is("Content-ID") && found.id.is_none() {
                found.id = text(&field);
            } else if field.is("Content-Description") && found.description.is_none() {
                found.description = text(&field);
            } else if field.is("Content-MD5") && found.md5.is_none() {
                found.md5 = text(&field);
            } else if field.is("Content-Disposition") && found.disposition.is_none() {
                found.disposition = disposition(&value(&field));
            } else if field.is("Content-Language") && found.language.is_empty() {
                found.language = language(&value(&field));
            } else if field.is("Content-Location") && found.location.is_none() {
                found.location = text(&field);
            }
        }
        found
    }

    pub(super) fn media_type(&self) -> String {
        format!("{}/{}", self.content_type.main, self.content_type.sub)
    }

    pub(super) fn is_multipart(&self) -> bool {
        self.content_type.main == "multipart"
    }

    pub(super) fn is_message(&self) -> bool {
        self.content_type.main == "message" && self.content_type.sub == "rfc822"
    }

    pub(super) fn charset(&self) -> Option<String> {
        let value = self
            .content_type
            .parameter("charset")
            .filter(|_| self.content_type.main == "text")?;
        let name = String::from_utf8_lossy(value).trim().to_ascii_lowercase();
        Some(name).filter(|name| !name.is_empty())
    }

    pub(super) fn boundary(&self) -> Option<Vec<u8>> {
        let value = self.content_type.parameter("boundary")?.trim_ascii_end();
        Some(value.to_vec()).filter(|boundary| !boundary.is_empty())
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding_token
            .as_deref()
            .map_or(Encoding::SevenBit, Encoding::from_token)
    }

    /// The same part, served as plain text.
    pub(super) fn as_plain_text(&self) -> Self {
        PartFields {
            content_type: plain_text(),
            ..self.clone()
        }
    }
}

fn plain_text() -> Described {
    Described {
        main: "text".to_owned(),
        sub: "plain".to_owned(),
        parameters: vec![(b"charset".to_vec(), b"us-ascii".to_vec())],
    }
}

/// RFC 2046 §5.1.5.
fn digest_default() -> Described {
    Described {
        main: "message".to_owned(),
        sub: "rfc822".to_owned(),
        parameters: Vec::new(),
    }
}

fn value<'a>(field: &Field<'a>) -> Cow<'a, [u8]> {
    unfold(&field.value[..field.value.len().min(FIELD_BYTES_MAX)])
}

fn text<'a>(field: &Field<'a>) -> Option<Cow<'a, [u8]>> {
    Some(value(field)).filter(|text| !text.is_empty())
}

fn content_type(value: &[u8]) -> Option<Described> {
    let (head, rest) = split_at_semicolon(value);
    let mut names = head.splitn(2, |&byte| byte == b'/');
    let main = lower_token(names.next()?)?;
    let sub = lower_token(names.next()?)?;
    let mut parameters = parameters(rest);
    // RFC 2046 §4.1.2: plain text without a charset is us-ascii.
    let has_charset = parameters.iter().any(|(name, _)| name.starts_with(b"charset"));
    if main == "text" && sub == "plain" && !has_charset {
        parameters.push((b"charset".to_vec(), b"us-ascii".to_vec()));
    }
    Some(Described {
        main,
        sub,
        parameters,
    })
}

/// A broken disposition still tells an attachment by its first word.
fn disposition(value: &[u8]) -> Option<Described> {
    let (head, rest) = split_at_semicolon(value);
    let main = String::from_utf8(first_token(head)?).ok()?;
    Some(Described {
        main,
        sub: String::new(),
        parameters: parameters(rest),
    })
}

fn language(value: &[u8]) -> Vec<Vec<u8>> {
    value
        .split(|&byte| byte == b',')
        .filter_map(first_token)
        .take(PARAMETERS_MAX)
        .collect()
}

fn split_at_semicolon(value: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b';', value) {
        Some(at) => (&value[..at], &value[at + 1..]),
        None => (value, &[]),
    }
}

/// The first word of `text` in lower case, comments before it skipped.
fn first_token(text: &[u8]) -> Option<Vec<u8>> {
    let text = skip_comments(text);
    let end = text
        .iter()
        .position(|&byte| !is_token(byte))
        .unwrap_or(text.len());
    Some(text[..end].to_ascii_lowercase()).filter(|token| !token.is_empty())
}

/// `text` as one token in lower case, with comments around it allowed.
fn lower_token(text: &[u8]) -> Option<String> {
    let text = skip_comments(text);
    let end = text
        .iter()
        .position(|&byte| !is_token(byte))
        .unwrap_or(text.len());
    let (token, rest) = text.split_at(end);
    if token.is_empty() || !skip_comments(rest).is_empty() {
        return None;
    }
    String::from_utf8(token.to_ascii_lowercase()).ok()
}

/// RFC 2045 §5.1: token.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}

/// Skips white space and comments.
// RFC 5322 §3.2.2
fn skip_comments(text: &[u8]) -> &[u8] {
    let mut text = text.trim_ascii_start();
    while text.first() == Some(&b'(') {
        text = text[comment_len(text)..].trim_ascii_start();
    }
    text
}

/// Length of the comment that `text` begins with; all of it when it is never closed.
pub(super) fn comment_len(text: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 1,
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at.min(text.len())
}

/// Reads a quoted string that `text` begins with: its content, and its length with the quotes.
// RFC 5322 §3.2.4
pub(super) fn quoted_string(text: &[u8]) -> (Vec<u8>, usize) {
    let mut content = Vec::new();
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'"' => return (content, at + 1),
            b'\\' if at + 1 < text.len() => {
                at += 1;
                content.push(text[at]);
            }
            byte => content.push(byte),
        }
        at += 1;
    }
    (content, text.len())
}

fn parameters(mut rest: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    while found.len() < PARAMETERS_MAX {
        rest = skip_comments(rest);
        while let Some(after) = rest.strip_prefix(b";") {
            rest = skip_comments(after);
        }
        if rest.is_empty() {
            break;
        }
        let name_end = rest
            .iter()
            .position(|&byte| byte == b'=' || byte == b';')
            .unwrap_or(rest.len());
        let name = rest[..name_end].trim_ascii().to_ascii_lowercase();
        rest = &rest[name_end..];
        let Some(after) = rest.strip_prefix(b"=") else {
            continue;
        };
        let (value, len) = parameter_value(after);
        rest = &after[len..];
        // Whatever stands between a value and the next semicolon is noise.
        rest = &rest[memchr::memchr(b';', rest).unwrap_or(rest.len())..];
        if !name.is_empty() {
            found.push((name, value));
        }
    }
    join_segments(found)
}

fn parameter_value(text: &[u8]) -> (Vec<u8>, usize) {
    let start = text.len() - text.trim_ascii_start().len();
    if text.get(start) == Some(&b'"') {
        let (value, len) = quoted_string(&text[start..]);
        return (value, start + len);
    }
    // File names with spaces come without quotes, too: read up to the semicolon, or a comment.
    let end = memchr::memchr(b';', text).unwrap_or(text.len());
    let value = &text[start.min(end)..end];
    let comment = value
        .windows(2)
        .position(|pair| pair[0].is_ascii_whitespace() && pair[1] == b'(');
    (
        value[..comment.unwrap_or(value.len())].trim_ascii_end().to_vec(),
        end,
    )
}

/// Joins the segments of RFC 2231 §3 (`name*0`, `name*1*`, …) into one parameter: `name*` when any is
/// extended, `name` otherwise. A client that knows RFC 2231 §4 alone reads that.
fn join_segments(parameters: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut joined: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut done: Vec<Vec<u8>> = Vec::new();
    for (name, value) in &parameters {
        let Some(segment) = Segment::of(name, value) else {
            joined.push((name.clone(), value.clone()));
            continue;
        };
        if done.iter().any(|base| base == segment.base) {
            continue;
        }
        done.push(segment.base.to_vec());
        let mut segments: Vec<_> = parameters
            .iter()
            .filter_map(|(name, value)| Segment::of(name, value))
            .filter(|other| other.base == segment.base)
            .collect();
        segments.sort_by_key(|segment| segment.number);
        segments.dedup_by_key(|segment| segment.number);
        joined.push(join(segment.base, &segments));
    }
    joined
}

struct Segment<'a> {
    base: &'a [u8],
    number: usize,
    is_extended: bool,
    value: &'a [u8],
}

impl<'a> Segment<'a> {
    fn of(name: &'a [u8], value: &'a [u8]) -> Option<Self> {
        let (name, is_extended) = match name.strip_suffix(b"*") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let star = memchr::memrchr(b'*', name)?;
        let number = std::str::from_utf8(&name[star + 1..]).ok()?.parse().ok()?;
        (number <= SEGMENT_NUMBER_MAX).then_some(Segment {
            base: &name[..star],
            number,
            is_extended,
            value,
        })
    }
}

fn join(base: &[u8], segments: &[Segment<'_>]) -> (Vec<u8>, Vec<u8>) {
    // A gap ends the value.
    let contiguous = segments
        .iter()
        .enumerate()
        .take_while(|(at, segment)| *at == segment.number);
    let segments: Vec<_> = contiguous.map(|(_, segment)| segment).collect();
    let is_extended = segments.first().is_some_and(|first| first.is_extended);
    let mut value = Vec::new();
    for segment in segments {
        if is_extended && !segment.is_extended {
            percent_encode(segment.value, &mut value);
        } else {
            value.extend_from_slice(segment.value);
        }
    }
    let mut name = base.to_vec();
    if is_extended {
        name.push(b'*');
    }
    (name, value)
}

/// Appends `text` in the form of an extended value.
// RFC 2231 §7: attribute-char
pub(super) fn percent_encode(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`{|}~".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(field: &str) -> String {
        let described = content_type(field.as_bytes()).unwrap_or_else(plain_text);
        let mut text = format!("{}/{}", described.main, described.sub);
        for (name, value) in &described.parameters {
            text += &format!(
                " {}={}",
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value)
            );
        }
        text
    }

    #[test]
    fn content_types() {
        let table = [
            ("Text/HTML; Charset=\"utf-8\"", "text/html charset=utf-8"),
            (
                "text/plain; charset=us-ascii (Plain text)",
                "text/plain charset=us-ascii",
            ),
            (
                "text/plain (c) ; (x) a=b;;; c = d ; e",
                "text/plain a=b c=d charset=us-ascii",
            ),
            ("text", "text/plain charset=us-ascii"),
            ("", "text/plain charset=us-ascii"),
            ("a b/c", "text/plain charset=us-ascii"),
            (
                "image/png; name=my file.png; x=\"a\\\"b;c\"",
                "image/png name=my file.png x=a\"b;c",
            ),
            ("image/png; name=\"open", "image/png name=open"),
            ("a/b; n*1=y; n*0=x; k=v; n*3=z", "a/b n=xy k=v"),
            (
                "a/b; n*0*=utf-8''%e2; n*1=\" b\"; n*2*=%20",
                "a/b n*=utf-8''%e2%20b%20",
            ),
            ("a/b; n*=utf-8''x; n=x", "a/b n*=utf-8''x n=x"),
        ];
        for (field, expected) in table {
            assert_eq!(shown(field), expected, "for {field:?}");
        }
    }

    #[test]
    fn an_unclosed_comment_ends_with_the_field() {
        assert_eq!(comment_len(b"(a(b)c) d"), 7);
        assert_eq!(comment_len(b"(a\\)"), 4);
        assert_eq!(comment_len(b"(a\\"), 3);
    }
}
