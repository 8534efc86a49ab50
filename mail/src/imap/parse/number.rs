//! Numbers and sets of them.

use std::num::NonZeroU32;

use super::cursor::Cursor;
use super::error::{CommandError, Parsed, SyntaxError};
use crate::imap::types::{SequenceBound, SequenceRange, SequenceSet};

/// The most ranges in one set.
pub const SET_RANGES_MAX: usize = 20_000;

/// Reads a sequence set that stands alone, such as a stored or a configured one.
pub fn parse_sequence_set(text: &[u8]) -> Result<SequenceSet, CommandError> {
    let mut cursor = Cursor::from_text(text);
    sequence_set(&mut cursor)
        .and_then(|set| {
            if cursor.is_at_end() {
                Ok(set)
            } else {
                Err(SyntaxError::new("malformed set"))
            }
        })
        .map_err(|error| CommandError::new(None, error))
}

/// ```abnf
/// number = 1*DIGIT    ; 0 <= n < 4,294,967,296
/// ```
pub(super) fn number(cursor: &mut Cursor<'_>) -> Parsed<u32> {
    let digits = cursor.take_while(|byte| byte.is_ascii_digit());
    if digits.is_empty() {
        return Err(SyntaxError::new("missing number"));
    }
    digits
        .iter()
        .try_fold(0u32, |number, digit| {
            number.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
        })
        .ok_or(SyntaxError::new("number too large"))
}

/// ```abnf
/// nz-number = digit-nz *DIGIT    ; 0 < n < 4,294,967,296
/// ```
pub(super) fn nz_number(cursor: &mut Cursor<'_>) -> Parsed<NonZeroU32> {
    NonZeroU32::new(number(cursor)?).ok_or(SyntaxError::new("zero where a number from 1 belongs"))
}

/// ```abnf
/// sequence-set = (seq-number / seq-range) *("," sequence-set)
/// seq-range    = seq-number ":" seq-number
/// ```
pub(super) fn sequence_set(cursor: &mut Cursor<'_>) -> Parsed<SequenceSet> {
    let mut ranges = Vec::new();
    loop {
        if ranges.len() == SET_RANGES_MAX {
            return Err(SyntaxError::too_many("ranges in a set", SET_RANGES_MAX));
        }
        let first = seq_number(cursor)?;
        let last = if cursor.accept(b':') {
            seq_number(cursor)?
        } else {
            first
        };
        ranges.push(SequenceRange { first, last });
        if !cursor.accept(b',') {
            return Ok(SequenceSet::new(ranges));
        }
    }
}

/// `seq-number = nz-number / "*"`
fn seq_number(cursor: &mut Cursor<'_>) -> Parsed<SequenceBound> {
    if cursor.accept(b'*') {
        return Ok(SequenceBound::Largest);
    }
    if !cursor.peek().is_some_and(|byte| byte.is_ascii_digit()) {
        return Err(SyntaxError::new("malformed set of numbers"));
    }
    nz_number(cursor).map(SequenceBound::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_sets_are_refused() {
        for bad in [
            "",
            "0",
            "1,",
            ",1",
            "1:",
            ":1",
            "1:2:3",
            "1,,2",
            "**",
            "1*",
            "a",
            "1 2",
            "4294967296",
            "-1",
            "1:0",
            "+1",
            "1..2",
            "$",
        ] {
            assert!(parse_sequence_set(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse_sequence_set(b"4294967295:*,1,000002").is_ok());
    }

    #[test]
    fn sets_are_bounded() {
        let most = vec!["1"; SET_RANGES_MAX].join(",");
        assert!(parse_sequence_set(most.as_bytes()).is_ok());
        assert!(parse_sequence_set(format!("{most},1").as_bytes()).is_err());
    }
}
