//! What a group's writer has planned and not yet seen applied, laid over what is stored.
//!
//! So a plan sees the plans before it while they are still on their way to the disk. Never waits, never touches a disk
//! itself; who owns it tells it what became of each entry: [`Overlay::applied`] or [`Overlay::clear`].

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;

use crate::batch::{Batch, Column, Write};
use crate::memory::counter;
use crate::view::{View, ViewError, Visitor};

/// Writes in flight of one group.
#[derive(Debug, Default)]
pub struct Overlay {
    columns: [ColumnOverlay; Column::ALL.len()],
    entries: VecDeque<EntryKeys>,
}

#[derive(Debug, Default)]
struct ColumnOverlay {
    slots: BTreeMap<Bytes, Slot>,
    ranges: Vec<DeletedRange>,
}

/// The last write of a key, `None` when that deletes it.
#[derive(Debug)]
struct Slot {
    number: u64,
    value: Option<Bytes>,
}

/// Keys that are gone unless a slot says otherwise.
#[derive(Debug)]
struct DeletedRange {
    number: u64,
    from: Bytes,
    to: Bytes,
}

#[derive(Debug)]
struct EntryKeys {
    number: u64,
    keys: Vec<(Column, Bytes)>,
}

impl Overlay {
    /// Nothing in flight.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lays a batch of the entry `number` on top. Numbers never fall; several batches may belong to one entry.
    ///
    /// `base` is what the overlay lies on: a counter is resolved against it now, so that it makes no difference
    /// whether a later base has the entry already. When that cannot be read, nothing is laid.
    pub fn push(&mut self, number: u64, batch: &Batch, base: &dyn View) -> Result<(), ViewError> {
        let mut stored = self.counters(batch, base)?.into_iter();
        if self.entries.back().is_none_or(|entry| entry.number != number) {
            debug_assert!(self.entries.back().is_none_or(|entry| entry.number < number));
            self.entries.push_back(EntryKeys {
                number,
                keys: Vec::new(),
            });
        }
        for write in batch.writes() {
            match write {
                Write::Put(column, key, value) => self.set(number, *column, key, Some(value.clone())),
                Write::Delete(column, key) => self.set(number, *column, key, None),
                Write::Add(key, by) => {
                    let stored = stored.next().unwrap_or_default();
                    let now = self.columns[Column::Counters as usize].counter(key, || Ok(stored))?;
                    let sum = Bytes::copy_from_slice(&now.wrapping_add(*by).to_le_bytes());
                    self.set(number, Column::Counters, key, Some(sum));
                }
                Write::DeleteRange(column, from, to) => self.delete_range(number, *column, from, to),
            }
        }
        Ok(())
    }

    /// What the base has of the counters that a batch adds to, in its order; 0 where the overlay knows better.
    fn counters(&self, batch: &Batch, base: &dyn View) -> Result<Vec<i64>, ViewError> {
        let overlay = &self.columns[Column::Counters as usize];
        let stored = |key: &Bytes| {
            let value = base.get(Column::Counters, key)?;
            Ok(value.map_or(0, |value| counter(&value)))
        };
        batch
            .writes()
            .iter()
            .filter_map(|write| match write {
                Write::Add(key, _) => Some(overlay.counter(key, || stored(key))),
                _ => None,
            })
            .collect()
    }

    fn set(&mut self, number: u64, column: Column, key: &Bytes, value: Option<Bytes>) {
        let before = self.columns[column as usize]
            .slots
            .insert(key.clone(), Slot { number, value });
        // A key that the entry has already written is in its list.
        if before.is_none_or(|slot| slot.number != number)
            && let Some(entry) = self.entries.back_mut()
        {
            entry.keys.push((column, key.clone()));
        }
    }

    fn delete_range(&mut self, number: u64, column: Column, from: &Bytes, to: &Bytes) {
        if from >= to {
            return;
        }
        let overlay = &mut self.columns[column as usize];
        let keys = self.entries.back_mut().map(|entry| &mut entry.keys);
        let range = (Bound::Included(from), Bound::Excluded(to));
        let mut rewritten = Vec::new();
        for (key, slot) in overlay.slots.range_mut::<Bytes, _>(range) {
            if slot.number != number {
                rewritten.push((column, key.clone()));
            }
            *slot = Slot { number, value: None };
        }
        if let Some(keys) = keys {
            keys.append(&mut rewritten);
        }
        overlay.ranges.push(DeletedRange {
            number,
            from: from.clone(),
            to: to.clone(),
        });
    }

    /// The entries up to `number` have been applied: every base from now on has them.
    pub fn applied(&mut self, number: u64) {
        while self.entries.front().is_some_and(|entry| entry.number <= number) {
            let Some(entry) = self.entries.pop_front() else {
                break;
            };
            for (column, key) in entry.keys {
                let slots = &mut self.columns[column as usize].slots;
                if slots.get(&key).is_some_and(|slot| slot.number <= number) {
                    slots.remove(&key);
                }
            }
        }
        for column in &mut self.columns {
            column.ranges.retain(|range| range.number > number);
        }
    }

    /// Forgets all that is in flight: it was lost.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reads through the overlay.
    pub fn over<'a>(&'a self, base: &'a dyn View) -> OverlayView<'a> {
        OverlayView { overlay: self, base }
    }
}

impl ColumnOverlay {
    /// A counter as it is here, or as it is stored.
    fn counter(
        &self,
        key: &Bytes,
        stored: impl FnOnce() -> Result<i64, ViewError>,
    ) -> Result<i64, ViewError> {
        match self.slots.get(key) {
            Some(slot) => Ok(slot.value.as_deref().map_or(0, counter)),
            None if self.deleted(key) => Ok(0),
            None => stored(),
        }
    }

    fn deleted(&self, key: &[u8]) -> bool {
        self.ranges
            .iter()
            .any(|range| range.from.as_ref() <= key && key < range.to.as_ref())
    }
}

/// A base as it will be once all that is in flight has been applied.
#[derive(Clone, Copy)]
pub struct OverlayView<'a> {
    overlay: &'a Overlay,
    base: &'a dyn View,
}

impl View for OverlayView<'_> {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        let overlay = &self.overlay.columns[column as usize];
        match overlay.slots.get(key) {
            Some(slot) => Ok(slot.value.clone()),
            None if overlay.deleted(key) => Ok(None),
            None => self.base.get(column, key),
        }
    }

    fn scan(&self, column: Column, from: &[u8], to: &[u8], visit: Visitor<'_>) -> Result<(), ViewError> {
        if from >= to {
            return Ok(());
        }
        let overlay = &self.overlay.columns[column as usize];
        let range = (Bound::Included(from), Bound::Excluded(to));
        let mut slots = overlay.slots.range::<[u8], _>(range).peekable();
        let mut go_on = true;
        let covered = overlay
            .ranges
            .iter()
            .any(|range| range.from.as_ref() <= from && to <= range.to.as_ref());
        if !covered {
            self.base.scan(column, from, to, &mut |key, value| {
                while let Some((slot_key, slot)) = slots.next_if(|(slot_key, _)| slot_key.as_ref() < key) {
                    let Some(value) = &slot.value else { continue };
                    if !visit(slot_key, value) {
                        go_on = false;
                        return false;
                    }
                }
                go_on = match slots.next_if(|(slot_key, _)| slot_key.as_ref() == key) {
                    Some((
                        _,
                        Slot {
                            value: Some(value), ..
                        },
                    )) => visit(key, value),
                    Some(_) => true,
                    None => overlay.deleted(key) || visit(key, value),
                };
                go_on
            })?;
        }
        for (key, slot) in slots {
            if !go_on {
                break;
            }
            if let Some(value) = &slot.value {
                go_on = visit(key, value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::memory::MemoryStore;

    fn key(rng: &mut StdRng) -> Bytes {
        Bytes::copy_from_slice(&[rng.random_range(0..3), rng.random_range(0..12)])
    }

    fn column(rng: &mut StdRng) -> Column {
        // The counters take adds alone: a put of another length is no counter.
        [Column::Rows, Column::Bodies][rng.random_range(0..2)]
    }

    fn batch(rng: &mut StdRng) -> Batch {
        let mut batch = Batch::new();
        for _ in 0..rng.random_range(0..6) {
            match rng.random_range(0..10) {
                0..5 => batch.put(column(rng), key(rng), vec![rng.random::<u8>()]),
                5..7 => batch.delete(column(rng), key(rng)),
                7..9 => batch.add(key(rng), rng.random_range(-3..5)),
                _ => batch.delete_range(Column::ALL[rng.random_range(0..3)], key(rng), key(rng)),
            }
        }
        batch
    }

    fn all(view: &dyn View, column: Column, from: &[u8], to: &[u8], limit: usize) -> Vec<(Bytes, Bytes)> {
        let mut found = Vec::new();
        view.scan(column, from, to, &mut |key, value| {
            found.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            found.len() < limit
        })
        .expect("memory can be read");
        found
    }

    /// `stored` lags behind `model`, sometimes further ahead than the overlay was told.
    #[test]
    fn equals_the_store_that_has_applied_everything() {
        for seed in 0..400 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut model, mut stored, mut overlay) =
                (MemoryStore::new(), MemoryStore::new(), Overlay::new());
            let mut in_flight: VecDeque<(u64, Vec<Batch>)> = VecDeque::new();
            let mut stored_up_to = 0;
            for number in 1..40u64 {
                let batches: Vec<Batch> = (0..rng.random_range(1..3)).map(|_| batch(&mut rng)).collect();
                for batch in &batches {
                    overlay.push(number, batch, &stored).expect("pushes");
                    model.apply(batch);
                }
                in_flight.push_back((number, batches));
                while in_flight.len() > rng.random_range(0..5) {
                    let (number, batches) = in_flight.pop_front().expect("not empty");
                    batches.iter().for_each(|batch| stored.apply(batch));
                    stored_up_to = number;
                }
                if rng.random_bool(0.5) {
                    overlay.applied(stored_up_to);
                    assert_eq!(overlay.is_empty(), in_flight.is_empty(), "seed {seed}");
                }
                let view = overlay.over(&stored);
                for column in Column::ALL {
                    let (from, to) = (key(&mut rng), key(&mut rng));
                    let limit = rng.random_range(1..30);
                    assert_eq!(
                        all(&view, column, &from, &to, limit),
                        all(&model, column, &from, &to, limit),
                        "seed {seed}, entry {number}, {column:?}"
                    );
                    assert_eq!(
                        view.get(column, &from).expect("reads"),
                        model.get(column, &from).expect("reads")
                    );
                }
            }
        }
    }

    #[test]
    fn a_counter_that_cannot_be_read_leaves_all_as_it_was() {
        struct Unreadable;
        impl View for Unreadable {
            fn get(&self, _: Column, _: &[u8]) -> Result<Option<Bytes>, ViewError> {
                Err(ViewError::Failed("no".to_owned()))
            }

            fn scan(&self, _: Column, _: &[u8], _: &[u8], _: Visitor<'_>) -> Result<(), ViewError> {
                Err(ViewError::Failed("no".to_owned()))
            }
        }
        let mut overlay = Overlay::new();
        let mut batch = Batch::new();
        batch.put(Column::Rows, "k", "v");
        batch.add("n", 1);
        assert!(overlay.push(1, &batch, &Unreadable).is_err());
        assert!(overlay.is_empty());
        let view = overlay
            .over(&MemoryStore::new())
            .get(Column::Rows, b"k")
            .expect("reads");
        assert_eq!(view, None);
    }

    #[test]
    fn forgets_what_was_lost() {
        let (mut overlay, base) = (Overlay::new(), MemoryStore::new());
        let mut batch = Batch::new();
        batch.put(Column::Rows, "k", "v");
        overlay.push(1, &batch, &base).expect("pushes");
        overlay.clear();
        assert!(overlay.is_empty());
        assert_eq!(overlay.over(&base).get(Column::Rows, b"k").expect("reads"), None);
    }
}
