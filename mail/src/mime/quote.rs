//! Strings as IMAP4rev1 sends them: quoted, 7-bit, on one line. Raw 8-bit text of a header becomes
//! RFC 2047 encoded-words, since an ENVELOPE has no other way to say it (RFC 3501 §9: TEXT-CHAR).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::limits::STRING_BYTES_MAX;

/// Bytes of text in one encoded-word, so that it stays within 75 characters (RFC 2047 §2).
const WORD_BYTES_MAX: usize = 45;

/// Appends `NIL` or a quoted string.
pub(super) fn push_nstring(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => push_string(out, text),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Appends a quoted string: 8-bit text encoded, tabs (of folded lines) and control characters that may not stand there as spaces,
/// what is too long cut.
pub(super) fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    let text = seven_bit(cut(text));
    out.push(b'"');
    for &byte in text.iter() {
        match byte {
            0 | b'\t' | b'\r' | b'\n' => out.push(b' '),
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// `text` up to its limit, not in the middle of a UTF-8 character.
fn cut(text: &[u8]) -> &[u8] {
    if text.len() <= STRING_BYTES_MAX {
        return text;
    }
    let is_continuation = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
    let back = (0..4)
        .find(|back| !is_continuation(text[STRING_BYTES_MAX - back]))
        .unwrap_or(0);
    &text[..STRING_BYTES_MAX - back]
}

/// Header text as UTF-8: what is not valid UTF-8 is most likely windows-1252.
pub(super) fn header_text(text: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(text) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(text).0,
    }
}

/// `text` in ASCII: words with 8-bit characters as encoded-words, the others as they are.
fn seven_bit(text: &[u8]) -> Cow<'_, [u8]> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let text = header_text(text);
    let words: Vec<&str> = text.split(' ').collect();
    let mut out = Vec::with_capacity(text.len() * 2);
    let mut at = 0;
    while at < words.len() {
        if at > 0 {
            out.push(b' ');
        }
        if words[at].is_ascii() {
            out.extend_from_slice(words[at].as_bytes());
            at += 1;
            continue;
        }
        // White space between encoded-words is not shown (RFC 2047 §6.2): the spaces of a run of such
        // words are encoded with them, and so are those beside an encoded-word of the sender.
        let first = at;
        while at < words.len() && !words[at].is_ascii() {
            at += 1;
        }
        let mut run = words[first..at].join(" ");
        if first > 0 && is_encoded_word(words[first - 1]) {
            run.insert(0, ' ');
        }
        if words.get(at).is_some_and(|next| is_encoded_word(next)) {
            run.push(' ');
        }
        push_encoded_words(&mut out, &run);
    }
    Cow::Owned(out)
}

fn is_encoded_word(word: &str) -> bool {
    word.starts_with("=?") && word.ends_with("?=")
}

fn push_encoded_words(out: &mut Vec<u8>, mut text: &str) {
    let mut is_first = true;
    while !text.is_empty() {
        let mut end = text.len().min(WORD_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let (word, rest) = text.split_at(end);
        text = rest;
        if !is_first {
            out.push(b' ');
        }
        is_first = false;
        out.extend_from_slice(b"=?utf-8?B?");
        out.extend_from_slice(STANDARD.encode(word).as_bytes());
        out.extend_from_slice(b"?=");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &[u8]) -> String {
        let mut out = Vec::new();
        push_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn quoting() {
        assert_eq!(string(b"a \"b\" \\ c"), r#""a \"b\" \\ c""#);
        assert_eq!(string(b"a\0b\rc\nd"), r#""a b c d""#);
        assert_eq!(string(b""), r#""""#);
    }

    #[test]
    fn eight_bit_words_become_encoded_words() {
        assert_eq!(
            string("Grüße an alle".as_bytes()),
            r#""=?utf-8?B?R3LDvMOfZQ==?= an alle""#
        );
        assert_eq!(string(b"caf\xe9"), r#""=?utf-8?B?Y2Fmw6k=?=""#);
        assert_eq!(string("ü ö".as_bytes()), r#""=?utf-8?B?w7wgw7Y=?=""#);
        assert_eq!(
            string("=?utf-8?Q?a?= ü".as_bytes()),
            r#""=?utf-8?Q?a?= =?utf-8?B?IMO8?=""#
        );
    }

    #[test]
    fn long_text_is_split_between_characters_and_bounded() {
        let long = "ü".repeat(STRING_BYTES_MAX);
        let quoted = string(long.as_bytes());
        assert!(quoted.len() < 2 * STRING_BYTES_MAX);
        assert!(
            quoted
                .trim_matches('"')
                .split(' ')
                .all(|word| word.len() <= 75 && is_encoded_word(word))
        );
    }
}
