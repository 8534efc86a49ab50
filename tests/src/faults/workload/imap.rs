//! An IMAP session of the workload: selects, reads, appends, sets flags, copies, moves, expunges, at random.

use std::time::Duration;

use anyhow::Result;
use rand::Rng;
use rand::seq::{IndexedRandom, IteratorRandom};

use super::super::history::{Account, Action, Answer, DELETED, FLAGS, Lost, MAILBOXES, Nanos, Outcome, Row};
use super::super::{answers, content};
use super::{Client, RECONNECT_PAUSE, address};
use crate::imap::{self as client, ImapClient};

/// How many messages, from the end of the mailbox, a session works on.
const WINDOW: u32 = 25;

/// With more messages than that, a session would rather remove than add.
const MESSAGES_FULL: usize = 30;

/// One session and, after the loss of its connection, its next life.
pub(super) struct Session {
    client: Client,
    account: Account,
    proxy: usize,
    address: String,
    /// Between two commands, on average.
    think: Duration,
    connection: Option<Connection>,
}

/// A connection that is logged in.
struct Connection {
    imap: ImapClient,
    /// Whether it asked for modseqs.
    condstore: bool,
    mailbox: Option<&'static str>,
    /// What it has seen in the mailbox.
    known: Vec<u32>,
    /// When it last was well.
    well: Nanos,
}

impl Session {
    pub(super) fn new(
        client: Client,
        account: Account,
        proxy: usize,
        address: &str,
        think: Duration,
    ) -> Self {
        Self {
            client,
            account,
            proxy,
            address: address.to_owned(),
            think,
            connection: None,
        }
    }

    pub(super) fn run(mut self) -> Result<()> {
        while !self.client.stop.is_said() {
            if self.connection.is_none() && !self.connect() {
                self.client.stop.wait(RECONNECT_PAUSE);
                continue;
            }
            self.step();
            if !self.think.is_zero() {
                let pause = self.think.mul_f64(self.client.rng.random_range(0.0..2.0));
                self.client.stop.wait(pause);
            }
        }
        Ok(())
    }

    /// Connects and logs in; whether it could.
    fn connect(&mut self) -> bool {
        let invoked = self.client.recorder.now();
        let attempt = || -> Result<(Outcome, ImapClient, bool)> {
            let mut imap = ImapClient::connect(&self.address)?;
            let said = imap.command(&format!("LOGIN {} playground", address(self.account)))?;
            let outcome = answers::outcome(&said.tagged);
            let mut condstore = false;
            if outcome.is_ok() {
                let capability = imap.command("CAPABILITY")?.ok()?.lines().join(" ");
                condstore = capability.split(' ').any(|word| word == "CONDSTORE");
                if capability.split(' ').any(|word| word == "QRESYNC") {
                    imap.command("ENABLE QRESYNC")?.ok()?;
                }
            }
            Ok((outcome, imap, condstore))
        };
        let (outcome, connected) = match attempt() {
            Ok((outcome, imap, condstore)) => (outcome, Some((imap, condstore))),
            Err(error) => (Outcome::Unknown(format!("{error:#}")), None),
        };
        let is_ok = outcome.is_ok();
        self.client
            .record(self.account, invoked, Action::Login, outcome, Answer::default());
        let well = self.client.recorder.now();
        self.connection = connected.filter(|_| is_ok).map(|(imap, condstore)| Connection {
            imap,
            condstore,
            mailbox: None,
            known: Vec::new(),
            well,
        });
        is_ok
    }

    /// Makes one command, writes down what came of it, and gives what was answered if it was acknowledged.
    fn attempt(
        &mut self,
        action: Action,
        command: impl FnOnce(&mut ImapClient) -> Result<client::Answer>,
    ) -> Option<Answer> {
        let invoked = self.client.recorder.now();
        let connection = self.connection.as_mut()?;
        let (outcome, answer) = match command(&mut connection.imap) {
            Ok(answer) => {
                connection.well = self.client.recorder.now();
                answers::read(&answer)
            }
            Err(error) => {
                let error = format!("{error:#}");
                let since = connection.well;
                self.lose(since, error.clone());
                (Outcome::Unknown(error), Answer::default())
            }
        };
        let is_ok = outcome.is_ok();
        if matches!(outcome, Outcome::Unknown(_)) {
            // A client that was told to try later does not come back at once.
            self.client.stop.wait(RECONNECT_PAUSE / 4);
        }
        self.client
            .record(self.account, invoked, action, outcome, answer.clone());
        is_ok.then_some(answer)
    }

    fn lose(&mut self, since: Nanos, error: String) {
        self.connection = None;
        self.client.recorder.record_lost(Lost {
            session: self.client.session,
            proxy: self.proxy,
            since,
            at: self.client.recorder.now(),
            error,
        });
    }

    /// One operation.
    fn step(&mut self) {
        let Some(connection) = &self.connection else {
            return;
        };
        let Some(mailbox) = connection.mailbox else {
            self.select();
            return;
        };
        let known = connection.known.len();
        if known == 0 {
            match self.client.rng.random_range(0..3) {
                0 => self.select(),
                1 => self.append(),
                _ => self.look(mailbox),
            }
            return;
        }
        let full = if known >= MESSAGES_FULL.min(WINDOW as usize) {
            12
        } else {
            4
        };
        match self.client.rng.random_range(0..40 + full) {
            0..4 => self.select(),
            4..12 => self.look(mailbox),
            12..18 => self.append(),
            18..30 => self.store(mailbox),
            30..34 => self.copy_or_move(mailbox, false),
            34..37 => self.copy_or_move(mailbox, true),
            37..40 => self.read_whole(mailbox),
            _ => self.remove(mailbox),
        }
    }

    fn select(&mut self) {
        let Some(mailbox) = MAILBOXES.choose(&mut self.client.rng).copied() else {
            return;
        };
        let condstore = self.connection.as_ref().is_some_and(|held| held.condstore);
        let parameters = if condstore { " (CONDSTORE)" } else { "" };
        let selected = self.attempt(Action::Select { mailbox }, |imap| {
            imap.command(&format!("SELECT {mailbox}{parameters}"))
        });
        if let Some(connection) = &mut self.connection {
            // A SELECT that fails leaves no mailbox selected.
            connection.mailbox = selected.is_some().then_some(mailbox);
            connection.known.clear();
        }
        if selected.is_some() {
            self.look(mailbox);
        }
    }

    /// Reads what is at the end of the mailbox.
    fn look(&mut self, mailbox: &'static str) {
        let condstore = self.connection.as_ref().is_some_and(|held| held.condstore);
        let modseq = if condstore { " MODSEQ" } else { "" };
        // Of what is known the latest, and everything after it.
        let from = self.connection.as_ref().and_then(|held| {
            let window = held.known.iter().rev().take(WINDOW as usize).next_back();
            window.copied()
        });
        let set = format!("{}:*", from.unwrap_or(1));
        let items = format!("UID FETCH {set} (FLAGS{modseq} BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])");
        let Some(answer) = self.attempt(Action::Fetch { mailbox }, |imap| imap.command(&items)) else {
            return;
        };
        if let Some(connection) = &mut self.connection {
            let mut known: Vec<u32> = answer
                .rows
                .iter()
                .filter(has_message)
                .map(|row| row.uid)
                .collect();
            known.sort_unstable();
            known.dedup();
            let surplus = known.len().saturating_sub(MESSAGES_FULL);
            known.drain(..surplus);
            connection.known = known;
        }
    }

    fn append(&mut self) {
        let Some(mailbox) = MAILBOXES.choose(&mut self.client.rng).copied() else {
            return;
        };
        let flag = FLAGS.choose(&mut self.client.rng).copied();
        let flags: Vec<&'static str> = flag
            .into_iter()
            .filter(|_| self.client.rng.random_bool(0.5))
            .collect();
        let message = self.client.next_message();
        let list = format!("({})", flags.join(" "));
        let action = Action::Append {
            mailbox,
            message,
            flags,
        };
        let _ = self.attempt(action, |imap| {
            imap.append(mailbox, &list, &content::text(message))
        });
    }

    fn some_known(&mut self, count_max: usize) -> Vec<u32> {
        let Some(connection) = &self.connection else {
            return Vec::new();
        };
        let count = self.client.rng.random_range(1..=count_max);
        let mut uids = connection
            .known
            .iter()
            .copied()
            .choose_multiple(&mut self.client.rng, count);
        uids.sort_unstable();
        uids
    }

    fn store(&mut self, mailbox: &'static str) {
        let Some(flag) = FLAGS.choose(&mut self.client.rng).copied() else {
            return;
        };
        let set = self.client.rng.random_bool(0.6);
        let uids = self.some_known(3);
        self.store_flag(mailbox, uids, flag, set);
    }

    fn store_flag(
        &mut self,
        mailbox: &'static str,
        uids: Vec<u32>,
        flag: &'static str,
        set: bool,
    ) -> Option<Answer> {
        let sign = if set { '+' } else { '-' };
        let command = format!("UID STORE {} {sign}FLAGS ({flag})", list(&uids));
        let action = Action::Store {
            mailbox,
            uids,
            flag,
            set,
        };
        self.attempt(action, |imap| imap.command(&command))
    }

    fn copy_or_move(&mut self, mailbox: &'static str, moves: bool) {
        let others = MAILBOXES.iter().copied().filter(|other| *other != mailbox);
        let Some(target) = others.choose(&mut self.client.rng) else {
            return;
        };
        let uids = self.some_known(3);
        let set = list(&uids);
        let (word, action) = if moves {
            let action = Action::Move {
                mailbox,
                target,
                uids,
            };
            ("MOVE", action)
        } else {
            let action = Action::Copy {
                mailbox,
                target,
                uids,
            };
            ("COPY", action)
        };
        let _ = self.attempt(action, |imap| imap.command(&format!("UID {word} {set} {target}")));
    }

    fn read_whole(&mut self, mailbox: &'static str) {
        let uids = self.some_known(1);
        let command = format!("UID FETCH {} (FLAGS BODY.PEEK[])", list(&uids));
        let _ = self.attempt(Action::Fetch { mailbox }, |imap| imap.command(&command));
    }

    /// Marks messages as deleted and expunges them, in one of three ways.
    fn remove(&mut self, mailbox: &'static str) {
        let uids = self.some_known(4);
        if self.store_flag(mailbox, uids.clone(), DELETED, true).is_none() {
            return;
        }
        let expunge = |uids| Action::Expunge { mailbox, uids };
        let expunged = match self.client.rng.random_range(0..6) {
            0 => self.attempt(expunge(None), |imap| imap.command("EXPUNGE")),
            1 => {
                let closed = self.attempt(expunge(None), |imap| imap.command("CLOSE"));
                if let Some(connection) = &mut self.connection {
                    connection.mailbox = None;
                }
                closed
            }
            _ => {
                let command = format!("UID EXPUNGE {}", list(&uids));
                self.attempt(expunge(Some(uids.clone())), |imap| imap.command(&command))
            }
        };
        if let (Some(_), Some(connection)) = (expunged, &mut self.connection) {
            connection.known.retain(|uid| !uids.contains(uid));
        }
    }
}

fn has_message(row: &&Row) -> bool {
    row.message.is_some()
}

/// A set of UIDs as commands carry it.
fn list(uids: &[u32]) -> String {
    let words: Vec<String> = uids.iter().map(u32::to_string).collect();
    words.join(",")
}
