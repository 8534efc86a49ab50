//! The header fields that describe a part: Content-Type, -Disposition and their relatives, and
//! what holds when they are missing or broken. Values stay bytes; nothing is decoded here.

use std::borrow::Cow;

use super::header::{Field, fields, unfold};
use super::lexical::{first_token, lower_token};
use super::limits::FIELD_BYTES_MAX;
use super::parameter::parameters;
use super::part::Encoding;

/// How many tags of a Content-Language are looked at.
const LANGUAGES_MAX: usize = 64;

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
        .take(LANGUAGES_MAX)
        .collect()
}

fn split_at_semicolon(value: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b';', value) {
        Some(at) => (&value[..at], &value[at + 1..]),
        None => (value, &[]),
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
}
