//! What was asked of the groups and what became of it, in the order in which it happened.

use std::collections::BTreeMap;

use rookery_replication::{GroupId, LeaderId};

/// What became of an operation, as far as who asked for it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in the state, for good.
    Applied,
    /// It may be.
    Unknown,
    /// It is not, and will not be.
    Refused,
}

/// An element that was to be appended to a group's list.
#[derive(Debug, Clone)]
pub(crate) struct Append {
    pub(crate) group: GroupId,
    pub(crate) node: String,
    pub(crate) leader: LeaderId,
    /// Where in the list its plan put it.
    pub(crate) index: u64,
    /// When it was asked for, in the order of all events.
    pub(crate) asked: u64,
    /// When it was answered.
    pub(crate) answered: Option<u64>,
    pub(crate) outcome: Outcome,
}

/// A read of a group's list that was answered.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) group: GroupId,
    pub(crate) node: String,
    /// Elements that had been acknowledged or read before it was asked for.
    pub(crate) known: u64,
    /// Elements that it saw.
    pub(crate) seen: u64,
}

/// All operations of a run.
#[derive(Debug, Default)]
pub(crate) struct History {
    events: u64,
    /// By number.
    pub(crate) appends: BTreeMap<u64, Append>,
    pub(crate) reads: Vec<Read>,
    known: BTreeMap<GroupId, u64>,
}

impl History {
    fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// An append is asked for. Gives its number.
    pub(crate) fn ask(&mut self, group: GroupId, node: &str, leader: LeaderId, index: u64) -> u64 {
        let asked = self.event();
        let append = Append {
            group,
            node: node.to_owned(),
            leader,
            index,
            asked,
            answered: None,
            outcome: Outcome::Unknown,
        };
        self.appends.insert(asked, append);
        asked
    }

    /// An append was answered.
    pub(crate) fn answer(&mut self, number: u64, outcome: Outcome) {
        let answered = self.event();
        let Some(append) = self.appends.get_mut(&number) else {
            return;
        };
        append.answered = Some(answered);
        append.outcome = outcome;
        if outcome == Outcome::Applied {
            let (group, elements) = (append.group, append.index + 1);
            self.know(group, elements);
        }
    }

    /// Elements that a read that begins now has to see.
    pub(crate) fn known(&self, group: GroupId) -> u64 {
        self.known.get(&group).copied().unwrap_or(0)
    }

    /// A read was answered.
    pub(crate) fn read(&mut self, read: Read) {
        self.know(read.group, read.seen);
        self.reads.push(read);
    }

    fn know(&mut self, group: GroupId, elements: u64) {
        let known = self.known.entry(group).or_default();
        *known = (*known).max(elements);
    }

    /// Operations with an outcome.
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        let appends = self.appends.values();
        appends.filter(|append| append.outcome == outcome).count()
    }
}
