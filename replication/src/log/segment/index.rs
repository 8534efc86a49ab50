//! Where each entry is, and the payloads of the last ones. Memory only.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::log::replica::ReplicaLog;
use crate::log::{Position, Record, ReplicaId};

/// What a recent payload counts beside its bytes.
const RECENT_OVERHEAD: usize = 64;

/// Where a payload is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) crc: u32,
}

/// What is kept of an entry.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    /// Of no other entry since the log was opened.
    pub(super) serial: u64,
    pub(super) len: u32,
    /// `None`: not written yet, and the payload is here.
    pub(super) place: Option<Place>,
    pub(super) payload: Option<Bytes>,
}

/// An entry of which the payload counts as recent.
#[derive(Debug)]
struct Recent {
    replica: ReplicaId,
    index: u64,
    serial: u64,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct Index {
    pub(super) replicas: HashMap<ReplicaId, ReplicaLog<Slot>>,
    /// In the order of appending. Entries that are gone stay in it and count until they are the oldest.
    recent: VecDeque<Recent>,
    recent_bytes: usize,
    recent_bytes_max: usize,
    next_serial: u64,
}

impl Index {
    /// `next_serial` is above those of all slots.
    pub(super) fn new(
        replicas: HashMap<ReplicaId, ReplicaLog<Slot>>,
        next_serial: u64,
        recent_bytes_max: usize,
    ) -> Self {
        Self {
            replicas,
            recent: VecDeque::new(),
            recent_bytes: 0,
            recent_bytes_max,
            next_serial,
        }
    }

    /// Applies records of a replica; returns the serial of the first entry among them, those of the others follow.
    /// Or says why they cannot follow what is there, and changes nothing.
    pub(super) fn append(&mut self, replica: ReplicaId, records: &[Record]) -> Result<u64, String> {
        let first = self.next_serial;
        if records.is_empty() {
            return Ok(first);
        }
        let known = self.replicas.get(&replica);
        if let Some(refused) = known.map_or_else(
            || ReplicaLog::<Slot>::default().refuse(records),
            |log| log.refuse(records),
        ) {
            return Err(refused);
        }
        let log = self.replicas.entry(replica).or_default();
        for record in records {
            if let Record::Entry(position, payload) = record {
                let bytes = payload.len() + RECENT_OVERHEAD;
                self.recent.push_back(Recent {
                    replica,
                    index: position.index,
                    serial: self.next_serial,
                    bytes,
                });
                self.recent_bytes += bytes;
            }
            let next_serial = &mut self.next_serial;
            log.apply(
                record.clone(),
                |payload| {
                    let serial = *next_serial;
                    *next_serial += 1;
                    Slot {
                        serial,
                        len: payload.len() as u32,
                        place: None,
                        payload: Some(payload),
                    }
                },
                drop,
            );
        }
        if matches!(records.last(), Some(Record::Forget)) {
            self.replicas.remove(&replica);
        }
        Ok(first)
    }

    /// Notes where an entry has been written, if it is still there.
    pub(super) fn placed(&mut self, replica: ReplicaId, index: u64, serial: u64, place: Place) {
        if let Some(slot) = self.slot_mut(replica, index, serial) {
            slot.place = Some(place);
        }
    }

    /// Lets go of the oldest payloads that are on disk, until the rest fits.
    pub(super) fn trim(&mut self) {
        while self.recent_bytes > self.recent_bytes_max {
            let Some(oldest) = self.recent.pop_front() else {
                return;
            };
            if let Some(slot) = self.slot_mut(oldest.replica, oldest.index, oldest.serial) {
                if slot.place.is_none() {
                    self.recent.push_front(oldest);
                    return;
                }
                slot.payload = None;
            }
            self.recent_bytes -= oldest.bytes;
        }
    }

    /// The entries in a range that fit in some bytes, at least one.
    pub(super) fn read(
        &self,
        replica: ReplicaId,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Vec<(Position, Slot)> {
        let mut bytes = 0;
        let mut found = Vec::new();
        let range = self.replicas.get(&replica).into_iter();
        for (position, slot) in range.flat_map(|log| log.range(from, to)) {
            bytes += slot.len as usize;
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push((*position, slot.clone()));
        }
        found
    }

    /// Whether the entry of a slot is still there.
    pub(super) fn holds(&self, replica: ReplicaId, index: u64, serial: u64) -> bool {
        let slot = self.replicas.get(&replica).and_then(|log| log.get(index));
        slot.is_some_and(|slot| slot.serial == serial)
    }

    fn slot_mut(&mut self, replica: ReplicaId, index: u64, serial: u64) -> Option<&mut Slot> {
        let slot = self.replicas.get_mut(&replica)?.get_mut(index)?;
        (slot.serial == serial).then_some(slot)
    }
}
