//! Charsets: bytes of a named charset to text. Mail names its charsets badly, so search decodes leniently;
//! a client's own CHARSET is taken at its word.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use encoding_rs::{Encoding, REPLACEMENT, UTF_8};
use mail_parser::decoders::charsets::map::charset_decoder;

/// Longest charset name that is looked up.
const NAME_BYTES_MAX: usize = 64;

/// `bytes` of `charset` as text; none for a charset that is not known, or bytes that it does not have.
/// SEARCH answers the first with `NO [BADCHARSET]`; see [`is_known`].
#[must_use]
pub fn decode_charset(charset: &str, bytes: &[u8]) -> Option<String> {
    match Charset::named(charset)? {
        Charset::Ascii => bytes
            .is_ascii()
            .then(|| String::from_utf8_lossy(bytes).into_owned()),
        Charset::Whatwg(encoding) => encoding
            .decode_without_bom_handling_and_without_replacement(bytes)
            .map(|text| text.into_owned()),
        Charset::Other(decode) => guarded(decode, bytes),
    }
}

/// Whether text in `charset` can be decoded.
#[must_use]
pub fn is_known(charset: &str) -> bool {
    Charset::named(charset).is_some()
}

/// `bytes` as text, whatever they are: by `charset` if it is known, else as UTF-8 if valid, else as
/// windows-1252. us-ascii says nothing, since mail in any charset carries that label.
#[must_use]
pub fn decode_lossy<'a>(charset: Option<&str>, bytes: &'a [u8]) -> Cow<'a, str> {
    match charset.and_then(Charset::named) {
        Some(Charset::Whatwg(encoding)) if encoding != UTF_8 => encoding.decode_without_bom_handling(bytes).0,
        Some(Charset::Other(decode)) => guarded(decode, bytes).map_or_else(|| guess(bytes), Cow::Owned),
        _ => guess(bytes),
    }
}

fn guess(bytes: &[u8]) -> Cow<'_, str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

enum Charset {
    Ascii,
    /// A charset of the WHATWG's standard.
    Whatwg(&'static Encoding),
    /// One of the older charsets that only mail has, such as UTF-7.
    Other(fn(&[u8]) -> String),
}

impl Charset {
    fn named(name: &str) -> Option<Charset> {
        let name = name.trim();
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
        if name.eq_ignore_ascii_case("us-ascii") || name.eq_ignore_ascii_case("ascii") {
            return Some(Charset::Ascii);
        }
        if let Some(encoding) = Encoding::for_label(name.as_bytes()).filter(|found| *found != REPLACEMENT) {
            return Some(Charset::Whatwg(encoding));
        }
        charset_decoder(name.as_bytes()).map(Charset::Other)
    }
}

/// These decoders are not ours: a panic in one is a text that cannot be decoded.
fn guarded(decode: fn(&[u8]) -> String, bytes: &[u8]) -> Option<String> {
    catch_unwind(AssertUnwindSafe(|| decode(bytes))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_charsets() {
        let table: [(&str, &[u8], Option<&str>); 9] = [
            ("UTF-8", "ü".as_bytes(), Some("ü")),
            ("utf-8", b"\xff", None),
            ("US-ASCII", b"abc", Some("abc")),
            ("us-ascii", b"\xe9", None),
            ("iso-8859-1", b"\xe9", Some("é")),
            ("KOI8-R", b"\xc4\xc1", Some("да")),
            ("iso-2022-jp", b"\x1b$B%O\x1b(B", Some("ハ")),
            ("utf-7", b"a+AOk-", Some("aé")),
            ("no-such-charset", b"a", None),
        ];
        for (charset, bytes, expected) in table {
            assert_eq!(
                decode_charset(charset, bytes).as_deref(),
                expected,
                "for {charset}"
            );
        }
        assert!(is_known("big5") && !is_known("x") && !is_known(&"a".repeat(1_000)));
    }

    #[test]
    fn mail_is_decoded_whatever_it_says() {
        assert_eq!(decode_lossy(Some("us-ascii"), "ü".as_bytes()), "ü");
        assert_eq!(decode_lossy(Some("utf-8"), b"caf\xe9"), "café");
        assert_eq!(decode_lossy(None, b"\xef\xbb\xbfa"), "a");
        assert_eq!(decode_lossy(Some("x-nonsense"), b"a"), "a");
    }
}
