//! The text of a message that SEARCH looks at: header fields and text parts, decoded and case-folded.
//!
//! Searched as BODY: every text/* part, wherever it is nested, transfer encoding and charset removed
//! (HTML with its tags), and the header fields of nested messages. Not searched: attachments of other types
//! and the MIME headers of parts. White space counts as it stands in the decoded text.

use memchr::memmem::Finder;

use super::analysis::Analysis;
use super::charset::decode_lossy;
use super::encoded_word::decode_header_text;
use super::header::{Field, fields, unfold};
use super::limits::{FIELD_BYTES_MAX, Limits};
use super::part::PartSpan;
use super::transfer::decode_part_lossy;

/// Stands between pieces of text that no match may span; no search string holds it.
pub(super) const SEPARATOR: char = '\0';

/// What is searched for, folded once to be looked for in many messages.
#[derive(Clone, Debug)]
pub struct Needle {
    /// None for a text that holds a NUL: nothing contains it.
    finder: Option<Finder<'static>>,
}

impl Needle {
    /// Folds a text.
    #[must_use]
    pub fn new(text: &str) -> Needle {
        let folded = fold(text);
        Needle {
            finder: (!folded.contains(SEPARATOR)).then(|| Finder::new(folded.as_bytes()).into_owned()),
        }
    }

    /// Whether a folded text contains it; an empty one is in every text.
    #[must_use]
    pub fn is_in(&self, folded: &[u8]) -> bool {
        self.finder
            .as_ref()
            .is_some_and(|finder| finder.find(folded).is_some())
    }
}

/// A message's text, folded for search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchText {
    /// Name in lower case, folded value; in the order of the header.
    headers: Vec<(String, String)>,
    body: String,
}

impl SearchText {
    /// The text of `message`, parsed for this alone.
    #[must_use]
    pub fn build(message: &[u8]) -> SearchText {
        let Analysis { parts, .. } = super::analysis::analyze(message, &Limits::default());
        SearchText::new(&[], message, &parts)
    }

    /// The text of a message whose parts are known, served after the trace fields `prefix`.
    #[must_use]
    pub fn new(prefix: &[u8], message: &[u8], parts: &[PartSpan]) -> SearchText {
        let mut text = SearchText::of_body(message, parts);
        if let Some(part) = parts.first() {
            let all = [prefix, part.header.of(message)]
                .into_iter()
                .flat_map(header_texts);
            text.headers = all.map(|(name, value)| (name, fold(&value))).collect();
        }
        text
    }

    /// The same without the message's own header, for SEARCH BODY alone.
    #[must_use]
    pub fn of_body(message: &[u8], parts: &[PartSpan]) -> SearchText {
        let mut text = SearchText::default();
        for (index, part) in parts.iter().enumerate() {
            if index > 0 && is_nested_message(parts, part) {
                for (name, value) in header_texts(part.header.of(message)) {
                    push_folded(&mut text.body, &format!("{name}: {value}"));
                }
            }
            if part.is_text() {
                let decoded = decode_part_lossy(part.body.of(message), part.encoding);
                push_folded(&mut text.body, &decode_lossy(part.charset.as_deref(), &decoded));
            }
        }
        text
    }

    /// Name (lower case) and folded value of each header field.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// All folded text of the body, its pieces ended by a NUL.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }

    /// SEARCH HEADER: whether a field of this name contains `needle`; an empty one asks for the field alone.
    // RFC 3501 §6.4.4
    #[must_use]
    pub fn has_header(&self, name: &str, needle: &Needle) -> bool {
        self.headers
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .any(|(_, value)| needle.is_in(value.as_bytes()))
    }

    /// SEARCH BODY.
    #[must_use]
    pub fn has_body(&self, needle: &Needle) -> bool {
        needle.is_in(self.body.as_bytes())
    }

    /// SEARCH TEXT: whether the header, as `name: value`, or the body contains `needle`.
    #[must_use]
    pub fn has_text(&self, needle: &Needle) -> bool {
        self.has_body(needle)
            || self
                .headers
                .iter()
                .any(|(name, value)| needle.is_in(format!("{name}: {value}").as_bytes()))
    }

    /// [`has_header`](Self::has_header) for a single message.
    #[must_use]
    pub fn contains_header(&self, name: &str, needle: &str) -> bool {
        self.has_header(name, &Needle::new(needle))
    }

    /// [`has_body`](Self::has_body) for a single message.
    #[must_use]
    pub fn contains_body(&self, needle: &str) -> bool {
        self.has_body(&Needle::new(needle))
    }

    /// [`has_text`](Self::has_text) for a single message.
    #[must_use]
    pub fn contains_text(&self, needle: &str) -> bool {
        self.has_text(&Needle::new(needle))
    }

    /// SEARCH FROM.
    #[must_use]
    pub fn contains_from(&self, needle: &str) -> bool {
        self.contains_header("from", needle)
    }

    /// SEARCH TO.
    #[must_use]
    pub fn contains_to(&self, needle: &str) -> bool {
        self.contains_header("to", needle)
    }

    /// SEARCH CC.
    #[must_use]
    pub fn contains_cc(&self, needle: &str) -> bool {
        self.contains_header("cc", needle)
    }

    /// SEARCH BCC.
    #[must_use]
    pub fn contains_bcc(&self, needle: &str) -> bool {
        self.contains_header("bcc", needle)
    }

    /// SEARCH SUBJECT.
    #[must_use]
    pub fn contains_subject(&self, needle: &str) -> bool {
        self.contains_header("subject", needle)
    }
}

fn is_nested_message(parts: &[PartSpan], part: &PartSpan) -> bool {
    let parent = part.parent.and_then(|parent| parts.get(parent as usize));
    parent.is_some_and(|parent| parent.kind == super::part::PartKind::Message)
}

/// Name in lower case and decoded value of each field.
fn header_texts(header: &[u8]) -> impl Iterator<Item = (String, String)> + '_ {
    fields(header)
        .filter(|field| !field.name.is_empty())
        .map(|field| {
            let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
            (name, header_value(&field))
        })
}

/// A field's value on one line, decoded.
pub(super) fn header_value(field: &Field<'_>) -> String {
    let value = &field.value[..field.value.len().min(FIELD_BYTES_MAX)];
    decode_header_text(&unfold(value))
}

/// `text` with case differences removed, character by character, so that a substring of a text folds to a
/// substring of the folded text.
#[must_use]
pub fn fold(text: &str) -> String {
    let mut folded = String::new();
    fold_into(&mut folded, text);
    folded
}

fn push_folded(out: &mut String, text: &str) {
    for piece in text.split(SEPARATOR) {
        fold_into(out, piece);
    }
    out.push(SEPARATOR);
}

/// Most text is ASCII for long stretches, which are folded as bytes.
fn fold_into(out: &mut String, text: &str) {
    out.reserve(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (ascii, after) = rest.split_at(ascii_len(rest.as_bytes()));
        let start = out.len();
        out.push_str(ascii);
        out[start..].make_ascii_lowercase();
        let length = after.find(|character: char| character.is_ascii());
        let (other, ascii) = after.split_at(length.unwrap_or(after.len()));
        out.extend(other.chars().map(fold_char));
        rest = ascii;
    }
}

/// How many of the first bytes are ASCII.
fn ascii_len(bytes: &[u8]) -> usize {
    const BLOCK: usize = 64;
    let blocks = bytes.chunks_exact(BLOCK).take_while(|block| block.is_ascii());
    let whole = blocks.count() * BLOCK;
    let rest = &bytes[whole..];
    whole
        + rest
            .iter()
            .position(|byte| !byte.is_ascii())
            .unwrap_or(rest.len())
}

/// Unicode's simple case folding: upper case first, so that ς, σ and Σ (and ſ and s) meet. Characters whose case
/// mapping has several characters stay as they are.
fn fold_char(character: char) -> char {
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
    // Turkish dotless ı is a letter of its own, not an i.
    if character == 'ı' {
        return character;
    }
    let upper = single(character.to_uppercase()).unwrap_or(character);
    single(upper.to_lowercase()).unwrap_or(character)
}

fn single(mut characters: impl Iterator<Item = char>) -> Option<char> {
    let first = characters.next()?;
    characters.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding() {
        assert_eq!(fold("GRÜSSE Straße"), "grüsse straße");
        assert_eq!(fold("ΟΔΟΣ"), fold("οδος"));
        assert_eq!(fold("ΟΔΟς"), fold("οδοσ"));
        assert_eq!(fold("ПРИВЕТ"), "привет");
        assert_ne!(fold("ı"), fold("i"));
        assert_eq!(fold("ſ"), "s");
    }
}
