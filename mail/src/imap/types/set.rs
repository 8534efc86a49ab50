//! Sequence sets: what the client wrote, and which numbers it means in a mailbox of a given size.
//!
//! A set is kept as written; it is never guessed at or filled in. `*` gets its meaning only from `resolve`.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

/// One end of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SequenceBound {
    /// A number.
    Number(NonZeroU32),
    /// `*`: the largest number in use.
    Largest,
}

impl SequenceBound {
    fn resolve(self, largest: u32) -> u32 {
        match self {
            Self::Number(number) => number.get(),
            Self::Largest => largest,
        }
    }
}

/// A single number (both ends equal) or a range; the ends may come in either order. RFC 3501 §9, seq-range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SequenceRange {
    /// The end written first.
    pub first: SequenceBound,
    /// The end written last.
    pub last: SequenceBound,
}

/// `sequence-set`: message numbers or UIDs, depending on the command. Never empty when it was parsed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SequenceSet {
    ranges: Vec<SequenceRange>,
}

impl SequenceSet {
    /// A set of the ranges as written.
    pub fn new(ranges: Vec<SequenceRange>) -> Self {
        Self { ranges }
    }

    /// The set of some plain numbers, in any order; zeros are left out.
    pub fn from_numbers(numbers: impl IntoIterator<Item = u32>) -> Self {
        let mut ranges: Vec<_> = numbers
            .into_iter()
            .filter(|number| *number > 0)
            .map(|number| number..=number)
            .collect();
        merge(&mut ranges);
        Self {
            ranges: ranges.iter().filter_map(from_numbers).collect(),
        }
    }

    /// The ranges as written.
    pub fn ranges(&self) -> &[SequenceRange] {
        &self.ranges
    }

    /// The largest number that is written out; a session compares it with EXISTS. `None` when there is only `*`.
    pub fn largest_number(&self) -> Option<u32> {
        let bounds = self.ranges.iter().flat_map(|range| [range.first, range.last]);
        bounds
            .filter_map(|bound| match bound {
                SequenceBound::Number(number) => Some(number.get()),
                SequenceBound::Largest => None,
            })
            .max()
    }

    /// The numbers meant when `largest` is the largest in use (0: the mailbox is empty): ascending, disjoint,
    /// not adjacent, and cut at `largest`.
    ///
    /// `n:*` with n above `largest` means `largest` alone, since the ends of a range may be in either order
    /// (RFC 3501 §6.4.8); mbsync and offlineimap rely on it.
    pub fn resolve(&self, largest: u32) -> Vec<RangeInclusive<u32>> {
        let mut ranges: Vec<_> = self
            .ranges
            .iter()
            .map(|range| (range.first.resolve(largest), range.last.resolve(largest)))
            .map(|(a, b)| a.min(b).max(1)..=a.max(b).min(largest))
            .filter(|range| !range.is_empty())
            .collect();
        merge(&mut ranges);
        ranges
    }

    /// Every number meant, ascending and once.
    pub fn iter(&self, largest: u32) -> impl Iterator<Item = u32> + use<> {
        self.resolve(largest).into_iter().flatten()
    }

    /// Whether `number` is meant when `largest` is the largest in use.
    pub fn contains(&self, number: u32, largest: u32) -> bool {
        number <= largest
            && self.ranges.iter().any(|range| {
                let (a, b) = (range.first.resolve(largest), range.last.resolve(largest));
                (a.min(b)..=a.max(b)).contains(&number)
            })
    }

    /// The same set in its shortest form: numbers ascending and merged, then at most one range up to `*`.
    pub fn normalise(&self) -> Self {
        let mut numbers = Vec::new();
        let mut open: Option<SequenceBound> = None;
        for range in &self.ranges {
            match (range.first, range.last) {
                (SequenceBound::Number(a), SequenceBound::Number(b)) => {
                    numbers.push(a.min(b).get()..=a.max(b).get());
                }
                (SequenceBound::Number(a), _) | (_, SequenceBound::Number(a)) => {
                    open = Some(match open {
                        Some(SequenceBound::Number(b)) => SequenceBound::Number(a.min(b)),
                        _ => SequenceBound::Number(a),
                    });
                }
                (SequenceBound::Largest, SequenceBound::Largest) => {
                    open = open.or(Some(SequenceBound::Largest));
                }
            }
        }
        merge(&mut numbers);
        let mut ranges: Vec<_> = numbers.iter().filter_map(from_numbers).collect();
        ranges.extend(open.map(|first| SequenceRange {
            first,
            last: SequenceBound::Largest,
        }));
        Self { ranges }
    }
}

impl fmt::Display for SequenceBound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(out),
            Self::Largest => out.write_str("*"),
        }
    }
}

impl fmt::Display for SequenceSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            if index > 0 {
                out.write_str(",")?;
            }
            range.first.fmt(out)?;
            if range.first != range.last {
                write!(out, ":{}", range.last)?;
            }
        }
        Ok(())
    }
}

/// Gathers ascending numbers into ranges, without looking further than the next number.
pub fn coalesce(numbers: impl IntoIterator<Item = u32>) -> impl Iterator<Item = RangeInclusive<u32>> {
    let mut numbers = numbers.into_iter().peekable();
    std::iter::from_fn(move || {
        let first = numbers.next()?;
        let mut last = first;
        while let Some(next) = numbers.next_if(|next| last.checked_add(1) == Some(*next)) {
            last = next;
        }
        Some(first..=last)
    })
}

fn from_numbers(range: &RangeInclusive<u32>) -> Option<SequenceRange> {
    let bound = |number| NonZeroU32::new(number).map(SequenceBound::Number);
    Some(SequenceRange {
        first: bound(*range.start())?,
        last: bound(*range.end())?,
    })
}

/// Sorts ranges and joins those that touch or overlap.
fn merge(ranges: &mut Vec<RangeInclusive<u32>>) {
    ranges.sort_unstable_by_key(|range| *range.start());
    ranges.dedup_by(|next, kept| {
        let touches = *next.start() <= kept.end().saturating_add(1);
        if touches {
            *kept = *kept.start()..=(*kept.end()).max(*next.end());
        }
        touches
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::parse::parse_sequence_set;
    use proptest::prelude::*;

    fn set(text: &str) -> SequenceSet {
        parse_sequence_set(text.as_bytes()).unwrap()
    }

    #[test]
    fn resolves_against_the_largest() {
        let cases: &[(&str, u32, &[u32])] = &[
            ("1:*", 3, &[1, 2, 3]),
            ("*", 3, &[3]),
            ("*:2", 3, &[2, 3]),
            ("7:*", 3, &[3]),
            ("7:9", 3, &[]),
            ("3:1,2", 9, &[1, 2, 3]),
            ("4294967295:*", 5, &[5]),
            ("1:4294967295", 2, &[1, 2]),
            ("1:*,*", 0, &[]),
        ];
        for (text, largest, numbers) in cases {
            assert_eq!(
                &set(text).iter(*largest).collect::<Vec<_>>(),
                numbers,
                "{text} of {largest}"
            );
        }
    }

    #[test]
    fn normalises() {
        for (text, normal) in [
            ("5,1:3,4,9", "1:5,9"),
            ("*:7,3:*,1", "1,3:*"),
            ("*,*", "*"),
            ("4294967295,1", "1,4294967295"),
        ] {
            assert_eq!(set(text).normalise().to_string(), normal);
        }
    }

    #[test]
    fn coalesces() {
        let ranges: Vec<_> = coalesce([1, 2, 3, 5, 7, 8, u32::MAX]).collect();
        assert_eq!(ranges, [1..=3, 5..=5, 7..=8, u32::MAX..=u32::MAX]);
    }

    fn bound() -> impl Strategy<Value = SequenceBound> {
        prop_oneof![
            8 => (1u32..60).prop_map(|number| SequenceBound::Number(NonZeroU32::new(number).unwrap())),
            1 => Just(SequenceBound::Largest),
        ]
    }

    proptest! {
        #[test]
        fn display_parses_back(ends in proptest::collection::vec((bound(), bound()), 1..20)) {
            let written = SequenceSet::new(
                ends.into_iter().map(|(first, last)| SequenceRange { first, last }).collect());
            prop_assert_eq!(&set(&written.to_string()), &written);
        }

        #[test]
        fn all_views_agree(ends in proptest::collection::vec((bound(), bound()), 1..20), largest in 0u32..70) {
            let written = SequenceSet::new(
                ends.into_iter().map(|(first, last)| SequenceRange { first, last }).collect());
            let plain: Vec<u32> = (1..=largest).filter(|number| written.contains(*number, largest)).collect();
            prop_assert_eq!(&written.iter(largest).collect::<Vec<_>>(), &plain);
            prop_assert_eq!(&written.normalise().iter(largest).collect::<Vec<_>>(), &plain);
            prop_assert_eq!(&SequenceSet::from_numbers(plain.clone()).iter(largest).collect::<Vec<_>>(), &plain);
        }
    }
}
