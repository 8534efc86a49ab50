//! Decodes RFC 2047 encoded-words in header text, for SEARCH. Lenient as mail demands, and linear.

use super::charset::decode_lossy;
use super::transfer::{decode_base64_lossy, decode_q};

/// Longest charset name in an encoded-word.
const CHARSET_BYTES_MAX: usize = 64;

/// An encoded-word taken apart, its content decoded to bytes.
struct Word {
    charset: String,
    bytes: Vec<u8>,
}

/// Unfolded header text with its encoded-words decoded.
#[must_use]
pub fn decode_header_text(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    // Words of one charset that follow each other may split a character: their bytes are joined first.
    let mut pending: Option<Word> = None;
    let mut plain = 0;
    let mut at = 0;
    while let Some(found) = memchr::memmem::find(&text[at..], b"=?") {
        let start = at + found;
        let Some((word, len)) = parse_word(&text[start..]) else {
            at = start + 1;
            continue;
        };
        let between = &text[plain..start];
        at = start + len;
        plain = at;
        match &mut pending {
            // RFC 2047 §6.2: white space between encoded-words is not shown.
            Some(before) if between.trim_ascii().is_empty() => {
                if before.charset == word.charset {
                    before.bytes.extend_from_slice(&word.bytes);
                    continue;
                }
            }
            _ => {
                flush(&mut out, &mut pending);
                out.push_str(&decode_lossy(None, between));
            }
        }
        flush(&mut out, &mut pending);
        pending = Some(word);
    }
    flush(&mut out, &mut pending);
    out.push_str(&decode_lossy(None, &text[plain..]));
    out
}

fn flush(out: &mut String, pending: &mut Option<Word>) {
    if let Some(word) = pending.take() {
        out.push_str(&decode_lossy(Some(&word.charset), &word.bytes));
    }
}

/// Reads `=?charset?encoding?text?=` at the front of `text`.
// RFC 2047 §2; RFC 2231 §5: `*language` after the charset.
fn parse_word(text: &[u8]) -> Option<(Word, usize)> {
    let name_len = memchr::memchr(b'?', text.get(2..)?.get(..CHARSET_BYTES_MAX.min(text.len() - 2))?)?;
    let name = &text[2..2 + name_len];
    let mut at = 2 + name_len + 1;
    let encoding = text.get(at)?.to_ascii_lowercase();
    if name.is_empty() || text.get(at + 1) != Some(&b'?') {
        return None;
    }
    at += 2;
    // The text holds no `?`, though some senders put one into Q: only `?=` ends it.
    let len = memchr::memchr_iter(b'?', text.get(at..)?)
        .take(if encoding == b'q' { QUESTION_MARKS_MAX } else { 1 })
        .find(|mark| text.get(at + mark + 1) == Some(&b'='))?;
    let content = &text[at..at + len];
    let bytes = match encoding {
        b'q' => decode_q(content),
        b'b' => decode_base64_lossy(content),
        _ => return None,
    };
    let charset = name.split(|&byte| byte == b'*').next().unwrap_or_default();
    let charset = String::from_utf8_lossy(charset).to_ascii_lowercase();
    Some((Word { charset, bytes }, at + len + 2))
}

/// Bare question marks that one Q-encoded word may hold.
const QUESTION_MARKS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words() {
        let table = [
            ("plain =? text", "plain =? text"),
            ("=?utf-8?Q?J=C3=B6rg_X?= <a@b>", "Jörg X <a@b>"),
            ("a =?iso-8859-1?q?=E9?= b", "a é b"),
            ("=?utf-8?B?w7w=?= =?utf-8?B?w7Y=?=", "üö"),
            ("=?utf-8?B?ww==?= =?utf-8?B?vA==?=", "ü"),
            ("=?utf-8?Q?a?= =?iso-8859-1?Q?=E9?= c", "aé c"),
            ("=?utf-8*en?Q?a?=", "a"),
            ("=?utf-8?Q?why?_not?=", "why? not"),
            ("=?utf-8?X?a?= =?utf-8?Q?b", "=?utf-8?X?a?= =?utf-8?Q?b"),
            ("=?", "=?"),
            ("=?=?utf-8?Q?a?=", "=?a"),
        ];
        for (text, expected) in table {
            assert_eq!(decode_header_text(text.as_bytes()), expected, "for {text:?}");
        }
    }

    #[test]
    fn raw_eight_bit_text_is_read() {
        assert_eq!(decode_header_text("grün".as_bytes()), "grün");
        assert_eq!(decode_header_text(b"gr\xfcn"), "grün");
    }
}
