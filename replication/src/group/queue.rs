//! Proposals on their way to the committer, in order, and who leads each group.

use std::collections::{HashMap, VecDeque};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};

use super::ProposeError;
use crate::entry::{Entry, GroupId, LeaderId};

/// Tells the proposer what became of its entry.
pub(super) type Outcome = oneshot::Sender<Result<(), ProposeError>>;

/// An entry that waits.
pub(super) struct Waiting {
    pub(super) entry: Entry,
    pub(super) bytes: usize,
    pub(super) outcome: Outcome,
}

pub(super) struct Queue {
    bytes_max: usize,
    state: Mutex<State>,
    /// Signalled when there is something for the committer.
    filled: Condvar,
    /// Signalled when the committer has finished something.
    applied: Condvar,
    /// Wakes those who wait for room.
    room: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Entries that wait or are being written, by group.
    under_way: HashMap<GroupId, usize>,
    leaders: HashMap<GroupId, LeaderId>,
    closed: bool,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            state: Mutex::new(State::default()),
            filled: Condvar::new(),
            applied: Condvar::new(),
            room: Notify::new(),
        }
    }

    /// Makes `leader` the only one of the group, then waits until nothing of the group is under way.
    pub(super) fn take_over(&self, group: GroupId, leader: LeaderId) {
        let mut state = self.state.lock();
        state.leaders.insert(group, leader);
        while state.under_way.contains_key(&group) {
            self.applied.wait(&mut state);
        }
    }

    /// Queues an entry and returns its number. The entry is made under the queue's lock, so that numbers come in order.
    pub(super) fn push(&self, outcome: Outcome, make: impl FnOnce() -> Entry) -> u64 {
        let mut state = self.state.lock();
        let entry = make();
        let number = entry.number;
        let refused = if state.closed {
            Some(ProposeError::Closed)
        } else if state.leaders.get(&entry.group) != Some(&entry.leader) {
            Some(ProposeError::Replan)
        } else {
            None
        };
        if let Some(error) = refused {
            drop(state);
            // Who dropped the proposal does not care.
            let _ = outcome.send(Err(error));
            return number;
        }
        let bytes = entry.batch.bytes();
        state.bytes += bytes;
        *state.under_way.entry(entry.group).or_default() += 1;
        state.waiting.push_back(Waiting {
            entry,
            bytes,
            outcome,
        });
        drop(state);
        self.filled.notify_one();
        number
    }

    /// Waits for room.
    pub(super) async fn ready(&self) {
        loop {
            let notified = self.room.notified();
            {
                let state = self.state.lock();
                if state.closed || state.bytes <= self.bytes_max {
                    return;
                }
            }
            notified.await;
        }
    }

    /// Takes what is to be written next; blocks while there is nothing; `None` when closed and empty.
    pub(super) fn take(&self, bytes_max: usize) -> Option<Vec<Waiting>> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            self.filled.wait(&mut state);
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(next) = state.waiting.front() {
            if !taken.is_empty() && bytes + next.bytes > bytes_max {
                break;
            }
            bytes += next.bytes;
            taken.extend(state.waiting.pop_front());
        }
        Some(taken)
    }

    /// What was taken has been dealt with.
    pub(super) fn finish(&self, groups: impl Iterator<Item = (GroupId, usize)>) {
        let mut state = self.state.lock();
        for (group, bytes) in groups {
            state.bytes = state.bytes.saturating_sub(bytes);
            if let Some(count) = state.under_way.get_mut(&group) {
                *count -= 1;
                if *count == 0 {
                    state.under_way.remove(&group);
                }
            }
        }
        drop(state);
        self.applied.notify_all();
        self.room.notify_waiters();
    }

    /// Takes nothing more; what waits is still committed.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
        self.room.notify_waiters();
    }

    /// Takes nothing more and loses what waits.
    pub(super) fn fail(&self) {
        let lost: Vec<Waiting> = {
            let mut state = self.state.lock();
            state.closed = true;
            state.bytes = 0;
            state.under_way.clear();
            state.waiting.drain(..).collect()
        };
        for waiting in lost {
            let _ = waiting.outcome.send(Err(ProposeError::Lost));
        }
        self.applied.notify_all();
        self.room.notify_waiters();
    }
}
