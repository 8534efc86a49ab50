//! Numbers and sets of them.

use std::ops::RangeInclusive;

use crate::imap::types::coalesce;

/// Writes a number in decimal.
pub fn number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        // The remainder is below 10.
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Writes UIDs in their order, runs of ascending neighbours as ranges: `1:3,7,5`.
///
/// The order is kept since the two sets of COPYUID correspond by position (RFC 4315 §3).
pub fn uid_set(out: &mut Vec<u8>, uids: impl IntoIterator<Item = u32>) {
    ranges(out, coalesce(uids));
}

/// Writes ranges, separated by commas.
pub(super) fn ranges(out: &mut Vec<u8>, ranges: impl IntoIterator<Item = RangeInclusive<u32>>) {
    for (index, range) in ranges.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        number(out, u64::from(*range.start()));
        if range.start() != range.end() {
            out.push(b':');
            number(out, u64::from(*range.end()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sets_are_compact_and_in_order() {
        let mut out = Vec::new();
        uid_set(&mut out, [1, 2, 3, 7, 5, 6, 4_294_967_295]);
        assert_eq!(out, b"1:3,7,5:6,4294967295");
    }

    proptest! {
        #[test]
        fn numbers(value: u64) {
            let mut out = Vec::new();
            number(&mut out, value);
            prop_assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }

    #[test]
    fn extreme_numbers() {
        for value in [0, 9, 10, u64::MAX] {
            let mut out = Vec::new();
            number(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
        }
    }
}
