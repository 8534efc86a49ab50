//! The history arranged by message: which operations made, changed or removed each copy that a client can know by its UID.

use std::collections::{BTreeMap, BTreeSet};

use super::ending::Ending;
use super::history::{Account, Action, DELETED, Event, History, Nanos};

/// The mailbox of an account.
pub type Place = (Account, &'static str);

/// A message in a mailbox, by its UID.
pub type Copy = (Account, &'static str, u32);

/// How a copy came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An event, by its index, that named the UID.
    Made {
        /// The event.
        event: usize,
        /// The UID that it was copied or moved from; 0 for an append.
        from: u32,
    },
    /// Some delivery, or an operation that was not answered.
    Unnamed,
}

/// What is known of a copy.
#[derive(Debug, Clone)]
pub struct Known {
    /// The message's number, when it was read.
    pub message: Option<u64>,
    /// How it came to be.
    pub origin: Origin,
    /// Events that set or removed flags of it, by index.
    pub stores: Vec<usize>,
    /// Moves that named it, by index.
    pub moves: Vec<usize>,
    /// When it was first known to exist.
    pub first_seen: Nanos,
}

/// How often a message was put into a mailbox.
#[derive(Debug, Clone, Default)]
pub struct Creations {
    /// Acknowledged.
    pub certain: usize,
    /// With an unknown outcome.
    pub possible: usize,
}

/// The history arranged.
#[derive(Debug)]
pub struct Model<'a> {
    /// What happened.
    pub history: &'a History,
    /// What is there at the end.
    pub ending: &'a Ending,
    /// All copies that were ever seen or named.
    pub copies: BTreeMap<Copy, Known>,
    /// By account, mailbox and message.
    pub creations: BTreeMap<(Account, &'static str, u64), Creations>,
    /// Of the same keys: whether nothing but deliveries may have put it there.
    pub delivered: BTreeMap<(Account, &'static str, u64), bool>,
    /// EXPUNGE, CLOSE and UID EXPUNGE by mailbox, by index.
    pub expunges: BTreeMap<Place, Vec<usize>>,
    /// UIDs at the end.
    pub present: BTreeSet<Copy>,
    /// The copies of a message in an account, whatever the mailbox.
    pub of_message: BTreeMap<(Account, u64), Vec<Copy>>,
}

impl<'a> Model<'a> {
    /// Arranges a history.
    pub fn of(history: &'a History, ending: &'a Ending) -> Self {
        let mut model = Self {
            history,
            ending,
            copies: BTreeMap::new(),
            creations: BTreeMap::new(),
            delivered: BTreeMap::new(),
            expunges: BTreeMap::new(),
            present: BTreeSet::new(),
            of_message: BTreeMap::new(),
        };
        for (index, event) in history.events.iter().enumerate() {
            model.take_uids(index, event);
            if let Some((mailbox, rows)) = rows_of(event) {
                for row in rows.iter().filter(|row| row.message.is_some()) {
                    model.see(event.account, mailbox, row.uid, row.message, event.completed);
                }
            }
        }
        for (&(account, mailbox), held) in &ending.mailboxes {
            for row in &held.rows {
                model.present.insert((account, mailbox, row.uid));
                model.see(account, mailbox, row.uid, row.message, Nanos::MAX);
            }
        }
        model.follow_messages();
        for (&copy, known) in &model.copies {
            if let Some(message) = known.message {
                let copies = model.of_message.entry((copy.0, message)).or_default();
                copies.push(copy);
            }
        }
        for (index, event) in history.events.iter().enumerate() {
            model.take_creation(event);
            model.take_change(index, event);
        }
        model
    }

    fn known(&mut self, copy: Copy, seen: Nanos) -> &mut Known {
        let known = self.copies.entry(copy).or_insert(Known {
            message: None,
            origin: Origin::Unnamed,
            stores: Vec::new(),
            moves: Vec::new(),
            first_seen: seen,
        });
        known.first_seen = known.first_seen.min(seen);
        known
    }

    fn see(&mut self, account: Account, mailbox: &'static str, uid: u32, message: Option<u64>, seen: Nanos) {
        let known = self.known((account, mailbox, uid), seen);
        known.message = known.message.or(message);
    }

    /// UIDs that an operation named for what it made.
    fn take_uids(&mut self, index: usize, event: &Event) {
        let (target, message) = match &event.action {
            Action::Append { mailbox, message, .. } => (*mailbox, Some(*message)),
            Action::Copy { target, .. } | Action::Move { target, .. } => (*target, None),
            _ => return,
        };
        for &(from, uid) in &event.answer.uids {
            let known = self.known((event.account, target, uid), event.completed);
            known.origin = Origin::Made { event: index, from };
            known.message = known.message.or(message);
        }
    }

    /// What was copied has the number of its source, even if nobody read it there.
    fn follow_messages(&mut self) {
        let mut open: Vec<(Copy, Copy)> = Vec::new();
        for (&copy, known) in &self.copies {
            if let Some(source) = self.source(copy, known) {
                open.push((copy, source));
            }
        }
        // Copies of copies: each round fills in one step.
        loop {
            let mut changed = false;
            for &(copy, source) in &open {
                let (here, there) = (self.message(copy), self.message(source));
                let (empty, message) = match (here, there) {
                    (None, Some(message)) => (copy, message),
                    (Some(message), None) => (source, message),
                    _ => continue,
                };
                if let Some(known) = self.copies.get_mut(&empty) {
                    known.message = Some(message);
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    fn message(&self, copy: Copy) -> Option<u64> {
        self.copies.get(&copy).and_then(|known| known.message)
    }

    /// The copy that this one was copied or moved from.
    pub fn source(&self, copy: Copy, known: &Known) -> Option<Copy> {
        let Origin::Made { event, from } = known.origin else {
            return None;
        };
        match &self.history.events[event].action {
            Action::Copy { mailbox, .. } | Action::Move { mailbox, .. } => Some((copy.0, mailbox, from)),
            _ => None,
        }
    }

    fn take_creation(&mut self, event: &Event) {
        let account = event.account;
        let made: Vec<(&'static str, u64)> = match &event.action {
            Action::Append { mailbox, message, .. } => vec![(*mailbox, *message)],
            Action::Deliver { message, .. } => vec![("INBOX", *message)],
            Action::Copy {
                mailbox,
                target,
                uids,
            }
            | Action::Move {
                mailbox,
                target,
                uids,
            } => {
                let named: Vec<u32> = if event.outcome.is_ok() {
                    event.answer.uids.iter().map(|(from, _)| *from).collect()
                } else {
                    uids.clone()
                };
                let message = |uid: &u32| self.message((account, mailbox, *uid));
                named
                    .iter()
                    .filter_map(message)
                    .map(|message| (*target, message))
                    .collect()
            }
            _ => return,
        };
        let is_delivery = matches!(event.action, Action::Deliver { .. });
        for (mailbox, message) in made {
            let delivered = self.delivered.entry((account, mailbox, message)).or_insert(true);
            *delivered &= is_delivery;
            let creations = self.creations.entry((account, mailbox, message)).or_default();
            if event.outcome.is_ok() {
                creations.certain += 1;
            } else if event.outcome.may_count() {
                creations.possible += 1;
            }
        }
    }

    fn take_change(&mut self, index: usize, event: &Event) {
        if !event.outcome.may_count() {
            return;
        }
        match &event.action {
            Action::Store { mailbox, uids, .. } => {
                for uid in uids {
                    self.known((event.account, mailbox, *uid), event.completed)
                        .stores
                        .push(index);
                }
            }
            Action::Move { mailbox, uids, .. } => {
                for uid in uids {
                    self.known((event.account, mailbox, *uid), event.completed)
                        .moves
                        .push(index);
                }
            }
            Action::Expunge { mailbox, .. } => {
                self.expunges
                    .entry((event.account, *mailbox))
                    .or_default()
                    .push(index);
            }
            _ => {}
        }
    }

    /// The event of an index.
    pub fn event(&self, index: usize) -> &'a Event {
        &self.history.events[index]
    }

    /// The moment at which it was acknowledged that the copy has gone, if that ever was.
    pub fn gone_since(&self, copy: Copy) -> Option<Nanos> {
        let known = self.copies.get(&copy)?;
        let moved =
            known.moves.iter().map(|index| self.event(*index)).find(|event| {
                event.outcome.is_ok() && event.answer.uids.iter().any(|(from, _)| *from == copy.2)
            });
        if let Some(event) = moved {
            return Some(event.completed);
        }
        let marked = self.deleted_marks(known).filter(|event| event.outcome.is_ok());
        let marked = marked.map(|event| event.completed).min()?;
        self.expunges_of(copy)
            .filter(|event| event.outcome.is_ok() && event.invoked > marked)
            .map(|event| event.completed)
            .min()
    }

    /// Whether some operation may have removed the copy, moves with an unknown outcome left out.
    pub fn may_be_expunged_or_moved(&self, copy: Copy) -> bool {
        let Some(known) = self.copies.get(&copy) else {
            return false;
        };
        if self.gone_since(copy).is_some() {
            return true;
        }
        // The mark may have been copied along from another copy.
        let alone = vec![copy];
        let message = known.message.map(|message| (copy.0, message));
        let related = message
            .and_then(|message| self.of_message.get(&message))
            .unwrap_or(&alone);
        let marks: Vec<&Event> = related
            .iter()
            .filter_map(|other| self.copies.get(other))
            .flat_map(|held| self.deleted_marks(held))
            .collect();
        self.expunges_of(copy).any(|expunge| {
            let until = if expunge.outcome.is_ok() {
                expunge.completed
            } else {
                Nanos::MAX
            };
            marks.iter().any(|mark| mark.invoked < until)
        })
    }

    /// Whether a move of which nobody knows may have taken the copy away.
    pub fn may_be_moved_unseen(&self, copy: Copy) -> bool {
        let moves = self.copies.get(&copy).map(|known| known.moves.as_slice());
        moves
            .unwrap_or_default()
            .iter()
            .any(|index| !self.event(*index).outcome.is_ok())
    }

    fn deleted_marks(&self, known: &Known) -> impl Iterator<Item = &'a Event> {
        let history = self.history;
        known
            .stores
            .clone()
            .into_iter()
            .map(move |index| &history.events[index])
            .filter(
                |event| matches!(&event.action, Action::Store { flag, set, .. } if *flag == DELETED && *set),
            )
    }

    fn expunges_of(&self, copy: Copy) -> impl Iterator<Item = &'a Event> {
        let history = self.history;
        let indices = self.expunges.get(&(copy.0, copy.1)).cloned().unwrap_or_default();
        indices
            .into_iter()
            .map(move |index| &history.events[index])
            .filter(move |event| match &event.action {
                Action::Expunge { uids, .. } => uids.as_ref().is_none_or(|uids| uids.contains(&copy.2)),
                _ => false,
            })
    }
}

/// The rows of an event and the mailbox that they are of.
pub fn rows_of(event: &Event) -> Option<(&'static str, &[super::history::Row])> {
    match &event.action {
        Action::Fetch { mailbox } | Action::Changes { mailbox, .. } | Action::Store { mailbox, .. } => {
            Some((*mailbox, event.answer.rows.as_slice()))
        }
        _ => None,
    }
}
