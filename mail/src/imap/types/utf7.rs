//! Modified UTF-7, the encoding of mailbox names. RFC 3501 §5.1.3.
//!
//! Decoding is lenient, since clients are: an `&` that starts no valid run stands for itself, and UTF-8 passes.
//! Encoding is exact, so that what goes out is always in the one canonical form.

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

const ENGINE: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// Decodes a name as a client sent it.
pub fn decode(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(start) = rest.find('&') {
        text.push_str(&rest[..start]);
        let run = &rest[start + 1..];
        // Only base64 characters can belong to the run, so the search for its end stays linear.
        let length = run.bytes().take_while(|byte| is_base64(*byte)).count();
        let closed = run.as_bytes().get(length) == Some(&b'-');
        match closed.then(|| decode_run(&run[..length])).flatten() {
            Some(decoded) => {
                text.push_str(&decoded);
                rest = &run[length + 1..];
            }
            None => {
                // A bare `&`, as many clients send it.
                text.push('&');
                text.push_str(&run[..length]);
                rest = &run[length..];
            }
        }
    }
    text.push_str(rest);
    text
}

/// Encodes a name as the protocol wants it.
pub fn encode(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    let mut run: Vec<u8> = Vec::new();
    let mut units = [0u16; 2];
    for character in text.chars() {
        if (' '..='~').contains(&character) {
            flush(&mut name, &mut run);
            name.push(character);
            if character == '&' {
                name.push('-');
            }
        } else {
            run.extend(
                character
                    .encode_utf16(&mut units)
                    .iter()
                    .flat_map(|unit| unit.to_be_bytes()),
            );
        }
    }
    flush(&mut name, &mut run);
    name
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b','
}

/// The text of a run between `&` and `-`; `&-` is `&` itself.
fn decode_run(run: &str) -> Option<String> {
    if run.is_empty() {
        return Some("&".to_owned());
    }
    let bytes = ENGINE.decode(run).ok()?;
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
    char::decode_utf16(units).collect::<Result<_, _>>().ok()
}

fn flush(name: &mut String, run: &mut Vec<u8>) {
    if !run.is_empty() {
        name.push('&');
        ENGINE.encode_string(&*run, name);
        name.push('-');
        run.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_names() {
        for (encoded, text) in [
            ("INBOX", "INBOX"),
            ("~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
            ("Entw&APw-rfe", "Entwürfe"),
            ("R&-D", "R&D"),
            ("&2D3eAA-", "😀"),
        ] {
            assert_eq!(decode(encoded), text);
            assert_eq!(encode(text), encoded);
        }
    }

    #[test]
    fn lenient_names() {
        for (sent, text) in [
            ("R&D", "R&D"),
            ("a&", "a&"),
            ("&&-", "&&"),
            ("Entwürfe", "Entwürfe"),
            ("&2D0-", "&2D0-"), // half a surrogate pair
            ("&A-", "&A-"),
            ("&AGE-", "a"),
            ("Q&A-Z", "Q&A-Z"),
        ] {
            assert_eq!(decode(sent), text, "{sent}");
        }
    }

    #[test]
    fn many_ampersands_are_linear() {
        let name = "&A".repeat(100_000);
        assert_eq!(decode(&name), name);
    }

    proptest! {
        #[test]
        fn round_trip(text in ".{0,40}") {
            let encoded = encode(&text);
            prop_assert!(encoded.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(decode(&encoded), text);
        }

        #[test]
        fn decoding_settles(sent in "[&A-Za-z,+/\u{e4}-]{0,40}") {
            let text = decode(&sent);
            prop_assert_eq!(decode(&encode(&text)), text);
        }
    }
}
