//! The UIDs of a mailbox in the order of their sequence numbers, kept as runs of neighbours.
//!
//! A mailbox from which little was deleted costs a few bytes whatever its size.

use std::ops::RangeInclusive;

use rookery_proto::mailstore::v1::UidSet;

/// Neighbouring UIDs, and how many UIDs come before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: u32,
    last: u32,
    before: u32,
}

impl Run {
    fn count(self) -> u32 {
        self.last - self.first + 1
    }
}

/// Ascending UIDs; the position of a UID, counted from 1, is its sequence number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UidRuns {
    runs: Vec<Run>,
}

impl UidRuns {
    /// The UIDs of ascending, disjoint ranges; what is out of order or 0 is left out.
    pub fn from_ranges(ranges: impl IntoIterator<Item = RangeInclusive<u32>>) -> Self {
        let mut runs = Self::default();
        for range in ranges {
            runs.push(*range.start(), *range.end());
        }
        runs.runs.shrink_to_fit();
        runs
    }

    /// The UIDs of a set as it comes over the wire.
    pub fn from_wire(set: Option<&UidSet>) -> Self {
        Self::from_ranges(wire_ranges(set))
    }

    /// As it goes over the wire.
    pub fn to_wire(&self) -> UidSet {
        UidSet {
            bounds: self.runs.iter().flat_map(|run| [run.first, run.last]).collect(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.runs.last().map_or(0, |run| run.before + run.count())
    }

    /// The highest UID, 0 if there is none.
    pub fn highest(&self) -> u32 {
        self.runs.last().map_or(0, |run| run.last)
    }

    /// The sequence number of a UID.
    pub fn position(&self, uid: u32) -> Option<u32> {
        let index = self.runs.partition_point(|run| run.last < uid);
        let run = self.runs.get(index).filter(|run| run.first <= uid)?;
        Some(run.before + (uid - run.first) + 1)
    }

    /// The UID of a sequence number.
    pub fn at(&self, position: u32) -> Option<u32> {
        let wanted = position.checked_sub(1)?;
        let index = self
            .runs
            .partition_point(|run| run.before + run.count() <= wanted);
        let run = self.runs.get(index)?;
        Some(run.first + (wanted - run.before))
    }

    /// How many UIDs are at or above one.
    pub fn count_from(&self, uid: u32) -> u32 {
        let index = self.runs.partition_point(|run| run.last < uid);
        match self.runs.get(index) {
            None => 0,
            Some(run) => self.count() - run.before - uid.saturating_sub(run.first),
        }
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u32>> + '_ {
        self.runs.iter().map(|run| run.first..=run.last)
    }

    /// Every UID, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges().flatten()
    }

    /// Adds UIDs above all others.
    pub fn push(&mut self, first: u32, last: u32) {
        if first > last || first <= self.highest() {
            return;
        }
        if let Some(run) = self.runs.last_mut()
            && run.last + 1 == first
        {
            run.last = last;
            return;
        }
        let before = self.count();
        self.runs.push(Run { first, last, before });
    }

    /// Those that are also in `others` (ascending, disjoint ranges).
    pub fn intersect(&self, others: impl IntoIterator<Item = RangeInclusive<u32>>) -> UidRuns {
        let mut result = UidRuns::default();
        for other in others {
            let (low, high) = (*other.start(), *other.end());
            let from = self.runs.partition_point(|run| run.last < low);
            for run in self.runs[from..].iter().take_while(|run| run.first <= high) {
                result.push(run.first.max(low), run.last.min(high));
            }
        }
        result
    }

    /// The same UIDs in no more ranges than `others` (ascending, disjoint), whatever is missing between them: each range
    /// reaches from its lowest UID here to its highest. Ranges without any are left out.
    pub fn spans(&self, others: impl IntoIterator<Item = RangeInclusive<u32>>) -> UidRuns {
        let mut result = UidRuns::default();
        for other in others {
            let (low, high) = (*other.start(), *other.end());
            let from = self.runs.partition_point(|run| run.last < low);
            let to = self.runs.partition_point(|run| run.first <= high);
            let within = self.runs.get(from..to).unwrap_or_default();
            if let (Some(first), Some(last)) = (within.first(), within.last()) {
                result.push(first.first.max(low), last.last.min(high));
            }
        }
        result
    }

    /// Takes UIDs out.
    pub fn remove(&mut self, gone: &UidRuns) {
        if gone.is_empty() {
            return;
        }
        let mut kept = UidRuns::default();
        for run in &self.runs {
            let mut from = run.first;
            let start = gone.runs.partition_point(|other| other.last < run.first);
            let mut rest = true;
            for hole in gone.runs[start..]
                .iter()
                .take_while(|other| other.first <= run.last)
            {
                if hole.first > from {
                    kept.push(from, hole.first - 1);
                }
                if hole.last >= run.last {
                    rest = false;
                    break;
                }
                from = hole.last + 1;
            }
            if rest {
                kept.push(from, run.last);
            }
        }
        *self = kept;
        self.runs.shrink_to_fit();
    }

    /// Joins another set into this one.
    pub fn union(&mut self, other: &UidRuns) {
        if other.is_empty() {
            return;
        }
        let mut ranges: Vec<_> = self.ranges().chain(other.ranges()).collect();
        ranges.sort_unstable_by_key(|range| *range.start());
        let mut joined: Vec<RangeInclusive<u32>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match joined.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=(*last.end()).max(*range.end());
                }
                _ => joined.push(range),
            }
        }
        *self = Self::from_ranges(joined);
    }
}

/// The ranges of a set as it comes over the wire; a bound without its partner is left out.
pub fn wire_ranges(set: Option<&UidSet>) -> impl Iterator<Item = RangeInclusive<u32>> + '_ {
    let (pairs, _) = set.map_or(&[][..], |set| set.bounds.as_slice()).as_chunks::<2>();
    pairs.iter().map(|[low, high]| *low..=*high)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn runs_of(uids: &BTreeSet<u32>) -> UidRuns {
        UidRuns::from_ranges(uids.iter().map(|uid| *uid..=*uid))
    }

    #[test]
    fn agrees_with_a_plain_set() {
        let seed: u64 = rand::rng().random();
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..300 {
            let mut plain: BTreeSet<u32> = (0..random.random_range(0..60))
                .map(|_| random.random_range(1..90))
                .collect();
            let gone: BTreeSet<u32> = (0..random.random_range(0..40))
                .map(|_| random.random_range(1..90))
                .collect();
            let mut runs = runs_of(&plain);
            let from = random.random_range(0..95);
            assert_eq!(runs.count_from(from) as usize, plain.range(from..).count());
            let both: Vec<u32> = plain.intersection(&gone).copied().collect();
            assert_eq!(
                runs.intersect(runs_of(&gone).ranges()).iter().collect::<Vec<_>>(),
                both
            );
            let spans = runs.spans(runs_of(&gone).ranges());
            assert!(spans.runs.len() <= runs_of(&gone).runs.len());
            assert_eq!(runs.intersect(spans.ranges()).iter().collect::<Vec<_>>(), both);
            let mut joined = runs.clone();
            joined.union(&runs_of(&gone));
            assert_eq!(
                joined.iter().collect::<BTreeSet<_>>(),
                plain.union(&gone).copied().collect()
            );
            runs.remove(&runs_of(&gone));
            plain.retain(|uid| !gone.contains(uid));
            assert_eq!(runs, runs_of(&plain));
            assert_eq!(runs.count() as usize, plain.len());
            assert_eq!(runs.highest(), plain.last().copied().unwrap_or(0));
            for uid in 0..95 {
                let position = plain
                    .iter()
                    .position(|known| *known == uid)
                    .map(|index| index as u32 + 1);
                assert_eq!(runs.position(uid), position);
            }
            for position in 0..95u32 {
                let uid = position
                    .checked_sub(1)
                    .and_then(|index| plain.iter().nth(index as usize).copied());
                assert_eq!(runs.at(position), uid);
            }
            assert_eq!(UidRuns::from_wire(Some(&runs.to_wire())), runs);
        }
    }
}
