//! The marker at the end of a line that announces a literal.

/// A literal as announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Marker {
    /// How many bytes follow; `u64::MAX` for every larger number.
    pub(super) size: u64,
    /// Whether the client waits for a continuation request.
    pub(super) synchronising: bool,
    /// `~{…}`: may hold NULs. RFC 3516 §4.4, literal8.
    pub(super) binary: bool,
}

/// Splits a line without its end into the text before the marker and the marker.
///
/// ```abnf
/// literal  = "{" number ["+"] "}" CRLF *CHAR8    ; RFC 3501 §9, RFC 7888 §3
/// literal8 = "~" literal                         ; RFC 3516
/// ```
///
/// `-` in place of `+` is taken alike: the extension of small non-synchronising literals is named `LITERAL-`, and
/// a client that writes it so sends the bytes at once.
pub(super) fn split_marker(line: &[u8]) -> Option<(usize, Marker)> {
    let rest = line.strip_suffix(b"}")?;
    let (rest, synchronising) = match rest.split_last()? {
        (b'+' | b'-', rest) => (rest, false),
        _ => (rest, true),
    };
    let digits = rest.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, digits) = rest.split_at(rest.len() - digits);
    let before = before.strip_suffix(b"{")?;
    if digits.is_empty() {
        return None;
    }
    let size = digits.iter().fold(0u64, |size, digit| {
        size.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    let text = before.strip_suffix(b"~").unwrap_or(before);
    Some((
        text.len(),
        Marker {
            size,
            synchronising,
            binary: text.len() < before.len(),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(size: u64, synchronising: bool, binary: bool) -> Marker {
        Marker {
            size,
            synchronising,
            binary,
        }
    }

    #[test]
    fn markers() {
        let cases: &[(&str, Option<(usize, Marker)>)] = &[
            ("a LOGIN {11}", Some((8, marker(11, true, false)))),
            ("{0+}", Some((0, marker(0, false, false)))),
            ("x ~{7-}", Some((2, marker(7, false, true)))),
            ("{4294967296}", Some((0, marker(1 << 32, true, false)))),
            ("{9223372036854775808+}", Some((0, marker(1 << 63, false, false)))),
            (
                "{99999999999999999999999999}",
                Some((0, marker(u64::MAX, true, false))),
            ),
            ("{}", None),
            ("{+}", None),
            ("{1 }", None),
            ("{-1}", None),
            ("1}", None),
            ("}", None),
            ("", None),
            ("{5}x", None),
            ("{5++}", None),
        ];
        for (line, wanted) in cases {
            assert_eq!(&split_marker(line.as_bytes()), wanted, "{line}");
        }
    }
}
