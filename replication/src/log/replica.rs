//! What a replica's records come to: its vote, what is purged, and its entries without holes. No disk, no clock.
//!
//! Generic over what is kept for each entry, so that the log in memory, the log on disk and its recovery share one
//! meaning of the records.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{LogState, Position, Record};

/// One replica's log, as its records so far have made it.
#[derive(Debug, Clone)]
pub(super) struct ReplicaLog<T> {
    pub(super) vote: Option<Bytes>,
    pub(super) purged: Option<Position>,
    /// Last of the entries that were there at a checkpoint and lie in no segment that is left. Only while recovering.
    pub(super) missing: Option<Position>,
    entries: VecDeque<(Position, T)>,
}

impl<T> Default for ReplicaLog<T> {
    fn default() -> Self {
        Self {
            vote: None,
            purged: None,
            missing: None,
            entries: VecDeque::new(),
        }
    }
}

impl<T> ReplicaLog<T> {
    pub(super) fn last(&self) -> Option<Position> {
        self.entries
            .back()
            .map(|(position, _)| *position)
            .or(self.missing)
            .or(self.purged)
    }

    pub(super) fn state(&self) -> LogState {
        LogState {
            vote: self.vote.clone(),
            purged: self.purged,
            last: self.last(),
        }
    }

    /// The entries from one index (inclusive) to another (exclusive), as far as they are there.
    pub(super) fn range(&self, from: u64, to: u64) -> impl Iterator<Item = &(Position, T)> {
        let first = self.first();
        let start = from.saturating_sub(first).min(self.entries.len() as u64) as usize;
        let end = to.saturating_sub(first).min(self.entries.len() as u64) as usize;
        self.entries.range(start..end.max(start))
    }

    pub(super) fn get_mut(&mut self, index: u64) -> Option<&mut T> {
        let at = usize::try_from(index.checked_sub(self.first())?).ok()?;
        self.entries.get_mut(at).map(|(_, kept)| kept)
    }

    pub(super) fn get(&self, index: u64) -> Option<&T> {
        let at = usize::try_from(index.checked_sub(self.first())?).ok()?;
        self.entries.get(at).map(|(_, kept)| kept)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &(Position, T)> {
        self.entries.iter()
    }

    /// Why these records, in order, cannot follow what is there; nothing is changed.
    pub(super) fn refuse(&self, records: &[Record]) -> Option<String> {
        let mut purged = self.purged.map(|position| position.index);
        let mut first = self.entries.front().map(|(position, _)| position.index);
        let mut last = self.last().map(|position| position.index);
        // As long as entries are missing, what follows must be their next.
        let mut empty = first.is_none() && self.missing.is_none();
        for record in records {
            match record {
                Record::Entry(position, payload) => {
                    let fits = if empty {
                        purged.is_none_or(|purged| position.index > purged)
                    } else {
                        last.and_then(|last| last.checked_add(1)) == Some(position.index)
                    };
                    if !fits {
                        return Some(format!("entry {} cannot follow {last:?}", position.index));
                    }
                    if u32::try_from(payload.len()).is_err() {
                        return Some(format!("entry {} has {} bytes", position.index, payload.len()));
                    }
                    if empty {
                        first = Some(position.index);
                    }
                    empty = false;
                    last = Some(position.index);
                }
                Record::Truncate(to) => {
                    let kept = to.filter(|to| purged.is_none_or(|purged| *to > purged));
                    let kept = kept.filter(|to| first.is_none_or(|first| *to >= first));
                    if let (false, Some(to)) = (empty, kept) {
                        last = last.map(|last| last.min(to));
                    } else {
                        (empty, first, last) = (true, None, purged);
                    }
                }
                Record::Purge(position) => {
                    purged = purged.max(Some(position.index));
                    if last <= purged {
                        (empty, first, last) = (true, None, purged);
                    } else {
                        first = first.map(|first| first.max(position.index + 1));
                    }
                }
                Record::Vote(vote) if u32::try_from(vote.len()).is_err() => {
                    return Some(format!("a vote has {} bytes", vote.len()));
                }
                Record::Vote(_) => {}
                Record::Forget => (empty, first, last, purged) = (true, None, None, None),
            }
        }
        None
    }

    /// Applies a record that was not refused. `kept` is what is to be kept of an entry; `dropped` gets what is no longer
    /// kept.
    pub(super) fn apply(
        &mut self,
        record: Record,
        kept: impl FnOnce(Bytes) -> T,
        mut dropped: impl FnMut(T),
    ) {
        match record {
            Record::Entry(position, payload) => self.entries.push_back((position, kept(payload))),
            Record::Truncate(to) => {
                while self
                    .entries
                    .back()
                    .is_some_and(|(position, _)| to.is_none_or(|to| position.index > to))
                {
                    dropped_entry(self.entries.pop_back(), &mut dropped);
                }
                self.missing = self.missing.and_then(|missing| {
                    let index = missing.index.min(to?);
                    let beyond = self.purged.is_none_or(|purged| index > purged.index);
                    beyond.then_some(Position { index, ..missing })
                });
            }
            Record::Purge(to) => {
                while self
                    .entries
                    .front()
                    .is_some_and(|(position, _)| position.index <= to.index)
                {
                    dropped_entry(self.entries.pop_front(), &mut dropped);
                }
                if self.purged.is_none_or(|purged| purged.index < to.index) {
                    self.purged = Some(to);
                }
                self.missing = self.missing.filter(|missing| missing.index > to.index);
            }
            Record::Vote(vote) => self.vote = Some(vote),
            Record::Forget => {
                for (_, kept) in std::mem::take(self).entries {
                    dropped(kept);
                }
            }
        }
    }

    fn first(&self) -> u64 {
        self.entries.front().map_or(0, |(position, _)| position.index)
    }
}

fn dropped_entry<T>(entry: Option<(Position, T)>, dropped: &mut impl FnMut(T)) {
    if let Some((_, kept)) = entry {
        dropped(kept);
    }
}
