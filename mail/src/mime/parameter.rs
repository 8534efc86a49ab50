//! Parameters of Content-Type and Content-Disposition, in the form in which BODYSTRUCTURE sends them. Lenient:
//! what real mail has instead of a parameter is skipped or read as it was meant.

use super::lexical::{quoted_string, skip_comments};

/// How many parameters of one field are looked at.
const PARAMETERS_MAX: usize = 64;
/// RFC 2231 §3 segments beyond this number are ignored.
const SEGMENT_NUMBER_MAX: usize = 999;

/// Reads `name=value; name=value`: names in lower case, RFC 2231 segments joined, an extended value under a name
/// that ends in `*`.
pub(super) fn parameters(mut rest: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
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
