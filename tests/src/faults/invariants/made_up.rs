//! Histories made up for tests: each call is one operation, one after the other.

use super::super::ending::{Ending, FinalMailbox};
use super::super::history::{Account, Action, Answer, Event, History, Nanos, Outcome, Row};
use super::super::model::Model;
use super::Invariant;

/// A history under construction, and the state at its end.
pub(super) struct Story {
    pub(super) history: History,
    pub(super) ending: Ending,
    now: Nanos,
}

pub(super) const VALIDITY: u32 = 5;

impl Story {
    pub(super) fn new() -> Self {
        Self {
            history: History::default(),
            ending: Ending::default(),
            now: 0,
        }
    }

    pub(super) fn check(&self, invariant: &dyn Invariant) -> Vec<String> {
        invariant.check(&Model::of(&self.history, &self.ending))
    }

    /// An operation that begins after all before have ended.
    pub(super) fn event(
        &mut self,
        account: Account,
        action: Action,
        outcome: Outcome,
        answer: Answer,
    ) -> &mut Self {
        self.now += 10;
        self.history.events.push(Event {
            session: 1,
            account,
            invoked: self.now,
            completed: self.now + 5,
            action,
            outcome,
            answer,
        });
        self
    }

    /// Moves the beginning of the last operation back, so that it overlaps with those before.
    pub(super) fn overlapping(&mut self, by: Nanos) -> &mut Self {
        let last = self.history.events.last_mut().unwrap();
        last.invoked -= by;
        self
    }

    fn named(uids: Option<(u32, u32)>) -> (Outcome, Answer) {
        let outcome = if uids.is_some() { Outcome::Ok } else { unknown() };
        let answer = Answer {
            uids: uids.into_iter().collect(),
            uid_validity: uids.map(|_| VALIDITY),
            ..Answer::default()
        };
        (outcome, answer)
    }

    /// With a UID when it is acknowledged.
    pub(super) fn append(
        &mut self,
        account: Account,
        mailbox: &'static str,
        message: u64,
        uid: Option<u32>,
    ) -> &mut Self {
        let (outcome, answer) = Self::named(uid.map(|uid| (0, uid)));
        let action = Action::Append {
            mailbox,
            message,
            flags: Vec::new(),
        };
        self.event(account, action, outcome, answer)
    }

    pub(super) fn deliver(&mut self, account: Account, message: u64, acknowledged: bool) -> &mut Self {
        let outcome = if acknowledged { Outcome::Ok } else { unknown() };
        let action = Action::Deliver {
            message,
            protocol: "smtp",
        };
        self.event(account, action, outcome, Answer::default())
    }

    pub(super) fn copies(
        &mut self,
        account: Account,
        mailbox: &'static str,
        target: &'static str,
        uid: u32,
        to: Option<u32>,
    ) -> &mut Self {
        let (outcome, answer) = Self::named(to.map(|to| (uid, to)));
        let uids = vec![uid];
        let action = Action::Copy {
            mailbox,
            target,
            uids,
        };
        self.event(account, action, outcome, answer)
    }

    pub(super) fn moves(
        &mut self,
        account: Account,
        mailbox: &'static str,
        target: &'static str,
        uid: u32,
        to: Option<u32>,
    ) -> &mut Self {
        let (outcome, answer) = Self::named(to.map(|to| (uid, to)));
        let uids = vec![uid];
        let action = Action::Move {
            mailbox,
            target,
            uids,
        };
        self.event(account, action, outcome, answer)
    }

    pub(super) fn store(
        &mut self,
        account: Account,
        uid: u32,
        flag: &'static str,
        set: bool,
        outcome: Outcome,
    ) -> &mut Self {
        let action = Action::Store {
            mailbox: "INBOX",
            uids: vec![uid],
            flag,
            set,
        };
        self.event(account, action, outcome, Answer::default())
    }

    pub(super) fn expunge(&mut self, account: Account, uid: u32, outcome: Outcome) -> &mut Self {
        let action = Action::Expunge {
            mailbox: "INBOX",
            uids: Some(vec![uid]),
        };
        self.event(account, action, outcome, Answer::default())
    }

    /// Rows that are read.
    pub(super) fn fetch(&mut self, account: Account, rows: Vec<Row>) -> &mut Self {
        let answer = Answer {
            rows,
            ..Answer::default()
        };
        let action = Action::Fetch { mailbox: "INBOX" };
        self.event(account, action, Outcome::Ok, answer)
    }

    pub(super) fn changes(
        &mut self,
        account: Account,
        (since, closing): (u64, bool),
        highest: u64,
        rows: Vec<Row>,
        vanished: &[u32],
    ) -> &mut Self {
        let answer = Answer {
            rows,
            vanished: vanished.to_vec(),
            uid_validity: Some(VALIDITY),
            highest_modseq: Some(highest),
            complete: since == 0,
            ..Answer::default()
        };
        let action = Action::Changes {
            mailbox: "INBOX",
            since,
            closing,
        };
        self.event(account, action, Outcome::Ok, answer)
    }

    /// What is in a mailbox at the end, as (UID, message).
    pub(super) fn ends(
        &mut self,
        account: Account,
        mailbox: &'static str,
        messages: &[(u32, u64)],
    ) -> &mut Self {
        let rows: Vec<Row> = messages
            .iter()
            .map(|(uid, message)| row(*uid, *message, &[]))
            .collect();
        let held = FinalMailbox {
            uid_validity: VALIDITY,
            uid_next: rows.last().map_or(1, |row| row.uid + 1),
            rows,
        };
        self.ending.mailboxes.insert((account, mailbox), held);
        self
    }

    pub(super) fn end_row(&mut self, account: Account, mailbox: &'static str, uid: u32) -> &mut Row {
        let held = self.ending.mailboxes.get_mut(&(account, mailbox)).unwrap();
        held.rows.iter_mut().find(|row| row.uid == uid).unwrap()
    }

    /// A message turns out not to be what was sent.
    pub(super) fn damage(&mut self, account: Account, mailbox: &'static str, uid: u32) {
        self.end_row(account, mailbox, uid).whole = Some(false);
    }
}

pub(super) fn unknown() -> Outcome {
    Outcome::Unknown("the server closed the connection".to_owned())
}

pub(super) fn row(uid: u32, message: u64, flags: &[&str]) -> Row {
    Row {
        uid,
        message: Some(message),
        flags: Some(flags.iter().map(|flag| (*flag).to_owned()).collect()),
        modseq: None,
        whole: Some(true),
    }
}

/// As the change log tells it.
pub(super) fn changed(uid: u32, modseq: u64, flags: &[&str]) -> Row {
    Row {
        uid,
        message: None,
        flags: Some(flags.iter().map(|flag| (*flag).to_owned()).collect()),
        modseq: Some(modseq),
        whole: None,
    }
}
