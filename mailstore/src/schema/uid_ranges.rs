//! Sets of UIDs as ascending, disjoint ranges that do not touch.

use rookery_proto::mailstore::v1::UidSet;

use super::codec::{DecodeError, Decoder, Encoder};
use super::ids::Uid;

/// A set of UIDs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct UidRanges {
    ranges: Vec<(u32, u32)>,
}

impl UidRanges {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// One range, both ends included.
    pub fn range(first: Uid, last: Uid) -> Self {
        let ranges = if first <= last {
            vec![(first.0, last.0)]
        } else {
            Vec::new()
        };
        Self { ranges }
    }

    /// Adds a UID above all that are in the set.
    pub fn push(&mut self, uid: Uid) {
        self.push_range(uid, uid);
    }

    /// Adds a range above all that are in the set.
    pub fn push_range(&mut self, first: Uid, last: Uid) {
        match self.ranges.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(first.0) => *end = last.0,
            _ => {
                debug_assert!(self.ranges.last().is_none_or(|(_, end)| *end < first.0));
                self.ranges.push((first.0, last.0));
            }
        }
    }

    /// From any ranges, in any order, overlapping or not.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut sorted: Vec<(u32, u32)> = ranges.into_iter().filter(|(first, last)| first <= last).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
                _ => merged.push((first, last)),
            }
        }
        Self { ranges: merged }
    }

    /// From the protocol's bounds; `None` when they are not ascending pairs of UIDs from 1.
    pub fn from_proto(set: &UidSet) -> Option<Self> {
        if !set.bounds.len().is_multiple_of(2) {
            return None;
        }
        let mut floor = 0;
        for pair in set.bounds.chunks_exact(2) {
            if pair[0] <= floor || pair[1] < pair[0] {
                return None;
            }
            floor = pair[1];
        }
        // Ranges that touch are joined.
        Some(Self::from_ranges(
            set.bounds.chunks_exact(2).map(|pair| (pair[0], pair[1])),
        ))
    }

    /// As the protocol's bounds.
    pub fn to_proto(&self) -> UidSet {
        UidSet {
            bounds: self
                .ranges
                .iter()
                .flat_map(|(first, last)| [*first, *last])
                .collect(),
        }
    }

    /// The ranges, both ends included.
    pub fn ranges(&self) -> impl DoubleEndedIterator<Item = (Uid, Uid)> + '_ {
        self.ranges.iter().map(|(first, last)| (Uid(*first), Uid(*last)))
    }

    /// The set without another's UIDs.
    pub fn without(&self, other: &UidRanges) -> Self {
        let mut left = Self::new();
        let mut others = other.ranges().peekable();
        for (first, last) in self.ranges() {
            let mut from = first.0;
            while let Some((gone_first, gone_last)) = others.peek().copied()
                && gone_first <= last
            {
                if gone_first.0 > from {
                    left.push_range(Uid(from), Uid(gone_first.0 - 1));
                }
                from = from.max(gone_last.0.saturating_add(1));
                if gone_last >= last {
                    break;
                }
                others.next();
            }
            if from <= last.0 {
                left.push_range(Uid(from), last);
            }
        }
        left
    }

    /// Number of ranges.
    pub fn range_count(&self) -> usize {
        self.ranges.len()
    }

    /// Every UID. Only for sets of UIDs that exist: a client may name 1 to 2^32.
    pub fn iter(&self) -> impl Iterator<Item = Uid> + '_ {
        self.ranges
            .iter()
            .flat_map(|(first, last)| (*first..=*last).map(Uid))
    }

    /// Number of UIDs.
    pub fn count(&self) -> u64 {
        self.ranges
            .iter()
            .map(|(first, last)| u64::from(last - first) + 1)
            .sum()
    }

    /// Whether the UID is in the set.
    pub fn contains(&self, uid: Uid) -> bool {
        let after = self.ranges.partition_point(|(first, _)| *first <= uid.0);
        after > 0 && self.ranges[after - 1].1 >= uid.0
    }

    /// Whether there is no UID.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The lowest UID.
    pub fn first(&self) -> Option<Uid> {
        self.ranges.first().map(|(first, _)| Uid(*first))
    }

    /// The highest UID.
    pub fn last(&self) -> Option<Uid> {
        self.ranges.last().map(|(_, last)| Uid(*last))
    }

    /// Writes the ranges as distances.
    pub fn encode(&self, out: &mut Encoder) {
        out.number(self.ranges.len() as u64);
        let mut at = 0;
        for (first, last) in &self.ranges {
            out.number(first - at);
            out.number(last - first);
            at = *last;
        }
    }

    /// Reads what [`UidRanges::encode`] wrote.
    pub fn decode(fields: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        const DAMAGED: DecodeError = DecodeError::Damaged("UID ranges");
        let count = fields.count(2)?;
        let mut ranges = Vec::with_capacity(count);
        let mut at = 0u32;
        for index in 0..count {
            let gap = fields.number32()?;
            if gap < 2 && index > 0 {
                return Err(DAMAGED);
            }
            let first = at.checked_add(gap).ok_or(DAMAGED)?;
            let last = first.checked_add(fields.number32()?).ok_or(DAMAGED)?;
            ranges.push((first, last));
            at = last;
        }
        Ok(Self { ranges })
    }
}

impl FromIterator<Uid> for UidRanges {
    fn from_iter<T: IntoIterator<Item = Uid>>(uids: T) -> Self {
        Self::from_ranges(uids.into_iter().map(|uid| (uid.0, uid.0)))
    }
}
