//! Content-Transfer-Encodings: a part's body as the bytes it stands for. Strict for BINARY, which must
//! not send garbage (RFC 3516 §4.3), lenient for SEARCH.

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;

use super::part::Encoding;

/// Why a part cannot be decoded; FETCH BINARY answers `NO [UNKNOWN-CTE]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// An encoding that this program does not know.
    #[error("unknown content transfer encoding")]
    Unknown,
    /// The body is not what its encoding says.
    #[error("body does not follow its content transfer encoding")]
    Malformed,
}

/// Decodes a part's body.
pub fn decode_part(body: &[u8], encoding: Encoding) -> Result<Vec<u8>, TransferError> {
    match encoding {
        Encoding::SevenBit | Encoding::EightBit | Encoding::Binary => Ok(body.to_vec()),
        Encoding::Base64 => base64_decode(body).ok_or(TransferError::Malformed),
        Encoding::QuotedPrintable => quoted_printable_decode(body).ok_or(TransferError::Malformed),
        Encoding::Other => Err(TransferError::Unknown),
    }
}

/// Decodes what can be decoded, and leaves the rest as it is.
#[must_use]
pub(super) fn decode_part_lossy(body: &[u8], encoding: Encoding) -> Cow<'_, [u8]> {
    match encoding {
        Encoding::SevenBit | Encoding::EightBit | Encoding::Binary | Encoding::Other => body.into(),
        Encoding::Base64 => base64_decode(body)
            .unwrap_or_else(|| decode_base64_lossy(body))
            .into(),
        Encoding::QuotedPrintable => quoted_printable_decode(body)
            .unwrap_or_else(|| decode_quoted_printable_lossy(body))
            .into(),
    }
}

/// Base64 with whatever is not of its alphabet skipped, up to the first byte of another kind of text: RFC 2045 §6.8
/// has decoders ignore such bytes.
pub(super) fn decode_base64_lossy(text: &[u8]) -> Vec<u8> {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let alphabet: Vec<u8> = text.iter().copied().filter(is_base64).collect();
    base64_decode(&alphabet).unwrap_or_default()
}

/// Quoted-printable where an `=` that begins nothing stands for itself.
fn decode_quoted_printable_lossy(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if let Some(byte) = escaped_byte(rest) {
            decoded.push(byte);
            at += 3;
        } else if rest.starts_with(b"=\r\n") {
            at += 3;
        } else if rest.starts_with(b"=\n") {
            at += 2;
        } else {
            decoded.push(rest[0]);
            at += 1;
        }
    }
    decoded
}

/// The Q encoding of header text.
// RFC 2047 §4.2
pub(super) fn decode_q(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match (escaped_byte(&text[at..]), text[at]) {
            (Some(byte), _) => {
                decoded.push(byte);
                at += 2;
            }
            (None, b'_') => decoded.push(b' '),
            (None, byte) => decoded.push(byte),
        }
        at += 1;
    }
    decoded
}

/// The byte that `=XX` at the front of `text` stands for.
fn escaped_byte(text: &[u8]) -> Option<u8> {
    let [b'=', high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_for_binary_is_strict() {
        use Encoding::{Base64, Binary, Other, QuotedPrintable};
        assert_eq!(decode_part(b"YWJj\r\nZGU=\r\n", Base64).unwrap(), b"abcde");
        assert_eq!(decode_part(b"YW*Jj", Base64), Err(TransferError::Malformed));
        assert_eq!(
            decode_part(b"a=3Db=\r\nc =\r\nd\r\n", QuotedPrintable).unwrap(),
            b"a=bc d\r\n"
        );
        assert_eq!(
            decode_part(b"a=ZZ", QuotedPrintable),
            Err(TransferError::Malformed)
        );
        assert_eq!(decode_part(b"\0\xff", Binary).unwrap(), b"\0\xff");
        assert_eq!(decode_part(b"a", Other), Err(TransferError::Unknown));
    }

    #[test]
    fn decoding_for_search_takes_what_it_can() {
        assert_eq!(*decode_part_lossy(b"YW*Jj", Encoding::Base64), *b"abc");
        assert_eq!(
            *decode_part_lossy(b"a==3D=ZZ=\r\nb=", Encoding::QuotedPrintable),
            *b"a===ZZb="
        );
        assert_eq!(*decode_part_lossy(b"x", Encoding::Other), *b"x");
        assert_eq!(decode_q(b"a_b=20=2"), b"a b =2");
    }
}
