//! An IMAP session that works: selects, reads, appends, sets flags, copies, moves, expunges, as the dice say.

use anyhow::Result;
use rookery_tests::faults::history::{Action, Answer, DELETED, FLAGS, MAILBOXES, Nanos, Outcome};
use rookery_tests::faults::workload::address;
use rookery_tests::faults::{answers, content};
use rookery_tests::imap;

use crate::clients::Client;
use crate::cluster::PASSWORD;
use crate::imap::Connection;

/// Pause between two commands, in milliseconds.
const PAUSE: std::ops::Range<u64> = 0..120;

/// Pause before a client that was refused or lost comes again, in milliseconds.
const RETRY_PAUSE: std::ops::Range<u64> = 50..400;

/// With more messages than that, a session would rather remove than add.
const MESSAGES_FULL: usize = 12;

/// A session and, after the loss of its connection, its next life.
pub(crate) struct Session {
    client: Client,
    held: Option<Held>,
}

/// A connection that is logged in.
struct Held {
    connection: Connection,
    mailbox: Option<&'static str>,
    /// What it has seen in the mailbox.
    known: Vec<u32>,
    /// When it last was well.
    well: Nanos,
}

/// What is asked of the server.
enum Ask {
    Line(String),
    /// A message with its text.
    Whole {
        mailbox: &'static str,
        uid: u32,
    },
    Append {
        mailbox: &'static str,
        flags: String,
        message: u64,
    },
}

impl Session {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, held: None }
    }

    pub(crate) async fn run(mut self) {
        while !self.client.is_stopped() {
            if self.held.is_none() && !self.connect().await {
                self.client.pause(RETRY_PAUSE).await;
                continue;
            }
            self.step().await;
            self.client.pause(PAUSE).await;
        }
    }

    /// Connects and logs in; whether it could.
    async fn connect(&mut self) -> bool {
        let invoked = self.client.recorder.now();
        let (outcome, connection) = match self.log_in().await {
            Ok((outcome, connection)) => (outcome, Some(connection)),
            Err(error) => (Outcome::Unknown(format!("{error:#}")), None),
        };
        let is_ok = outcome.is_ok();
        self.client
            .record(invoked, Action::Login, outcome, Answer::default());
        let well = self.client.recorder.now();
        self.held = connection.filter(|_| is_ok).map(|connection| Held {
            connection,
            mailbox: None,
            known: Vec::new(),
            well,
        });
        is_ok
    }

    async fn log_in(&self) -> Result<(Outcome, Connection)> {
        let mut connection = Connection::open(&self.client.here, self.client.proxy_name()).await?;
        let said = connection
            .command(&format!("LOGIN {} {PASSWORD}", address(self.client.account)))
            .await?;
        Ok((answers::outcome(&said.tagged), connection))
    }

    /// Makes one command, writes down what came of it, and gives what was answered if it was acknowledged.
    async fn attempt(&mut self, action: Action, ask: Ask) -> Option<Answer> {
        let invoked = self.client.recorder.now();
        let held = self.held.as_mut()?;
        let read = match ask {
            Ask::Whole { mailbox, uid } => Some((mailbox, uid)),
            _ => None,
        };
        let (outcome, answer) = match asked(&mut held.connection, ask).await {
            Ok(answer) => {
                held.well = self.client.recorder.now();
                answers::read(&answer)
            }
            Err(error) => {
                let error = format!("{error:#}");
                self.client.lost(held.well, error.clone(), read);
                self.held = None;
                (Outcome::Unknown(error), Answer::default())
            }
        };
        let is_ok = outcome.is_ok();
        self.client.record(invoked, action, outcome, answer.clone());
        is_ok.then_some(answer)
    }

    /// One operation.
    async fn step(&mut self) {
        let Some(held) = &self.held else { return };
        let Some(mailbox) = held.mailbox else {
            return self.select().await;
        };
        let known = held.known.len();
        if known == 0 {
            return match self.client.draw(0..4) {
                0 => self.select().await,
                1 => self.look(mailbox).await,
                _ => self.append().await,
            };
        }
        let removals = if known >= MESSAGES_FULL { 12 } else { 4 };
        match self.client.draw(0..40 + removals) {
            0..4 => self.select().await,
            4..12 => self.look(mailbox).await,
            12..20 => self.append().await,
            20..30 => self.store(mailbox).await,
            30..34 => self.copy_or_move(mailbox, false).await,
            34..37 => self.copy_or_move(mailbox, true).await,
            37..40 => self.read_whole(mailbox).await,
            _ => self.remove(mailbox).await,
        }
    }

    async fn select(&mut self) {
        let mailbox = self.client.one_of(&MAILBOXES);
        let ask = Ask::Line(format!("SELECT {mailbox}"));
        let selected = self.attempt(Action::Select { mailbox }, ask).await;
        if let Some(held) = &mut self.held {
            // A SELECT that fails leaves no mailbox selected.
            held.mailbox = selected.is_some().then_some(mailbox);
            held.known.clear();
        }
        if selected.is_some() {
            self.look(mailbox).await;
        }
    }

    /// Reads what is in the mailbox.
    async fn look(&mut self, mailbox: &'static str) {
        let line = "UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])";
        let ask = Ask::Line(line.to_owned());
        let Some(answer) = self.attempt(Action::Fetch { mailbox }, ask).await else {
            return;
        };
        if let Some(held) = &mut self.held {
            let rows = answer.rows.iter().filter(|row| row.message.is_some());
            held.known = rows.map(|row| row.uid).collect();
            held.known.sort_unstable();
            held.known.dedup();
        }
    }

    async fn append(&mut self) {
        let mailbox = self.client.one_of(&MAILBOXES);
        let flags = match self.client.draw(0..2) {
            0 => vec![self.client.one_of(&FLAGS)],
            _ => Vec::new(),
        };
        let message = self.client.next_message();
        let ask = Ask::Append {
            mailbox,
            flags: format!("({})", flags.join(" ")),
            message,
        };
        let action = Action::Append {
            mailbox,
            message,
            flags,
        };
        self.attempt(action, ask).await;
    }

    fn some_known(&mut self, count_max: u64) -> Vec<u32> {
        let Some(held) = &self.held else {
            return Vec::new();
        };
        let count = 1 + self.client.draw(0..count_max);
        let mut uids: Vec<u32> = (0..count).map(|_| self.client.one_of(&held.known)).collect();
        uids.sort_unstable();
        uids.dedup();
        uids
    }

    async fn store(&mut self, mailbox: &'static str) {
        let flag = self.client.one_of(&FLAGS);
        let set = self.client.draw(0..10) < 6;
        let uids = self.some_known(3);
        self.store_flag(mailbox, uids, flag, set).await;
    }

    async fn store_flag(
        &mut self,
        mailbox: &'static str,
        uids: Vec<u32>,
        flag: &'static str,
        set: bool,
    ) -> Option<Answer> {
        let sign = if set { '+' } else { '-' };
        let ask = Ask::Line(format!("UID STORE {} {sign}FLAGS ({flag})", list(&uids)));
        let action = Action::Store {
            mailbox,
            uids,
            flag,
            set,
        };
        self.attempt(action, ask).await
    }

    async fn copy_or_move(&mut self, mailbox: &'static str, moves: bool) {
        let others: Vec<&'static str> = MAILBOXES.into_iter().filter(|other| *other != mailbox).collect();
        let target = self.client.one_of(&others);
        let uids = self.some_known(3);
        let word = if moves { "MOVE" } else { "COPY" };
        let ask = Ask::Line(format!("UID {word} {} {target}", list(&uids)));
        let action = match moves {
            true => Action::Move {
                mailbox,
                target,
                uids,
            },
            false => Action::Copy {
                mailbox,
                target,
                uids,
            },
        };
        self.attempt(action, ask).await;
    }

    async fn read_whole(&mut self, mailbox: &'static str) {
        for uid in self.some_known(1) {
            self.attempt(Action::Fetch { mailbox }, Ask::Whole { mailbox, uid })
                .await;
        }
    }

    /// Marks messages as deleted and expunges them, in one of three ways.
    async fn remove(&mut self, mailbox: &'static str) {
        let uids = self.some_known(4);
        let marked = self.store_flag(mailbox, uids.clone(), DELETED, true).await;
        if marked.is_none() {
            return;
        }
        let (word, named) = match self.client.draw(0..6) {
            0 => ("EXPUNGE".to_owned(), None),
            1 => ("CLOSE".to_owned(), None),
            _ => (format!("UID EXPUNGE {}", list(&uids)), Some(uids.clone())),
        };
        let closes = word == "CLOSE";
        let action = Action::Expunge { mailbox, uids: named };
        let expunged = self.attempt(action, Ask::Line(word)).await;
        if let Some(held) = &mut self.held {
            if closes {
                held.mailbox = None;
            }
            if expunged.is_some() {
                held.known.retain(|uid| !uids.contains(uid));
            }
        }
    }
}

async fn asked(connection: &mut Connection, ask: Ask) -> Result<imap::Answer> {
    match ask {
        Ask::Line(line) => connection.command(&line).await,
        Ask::Whole { uid, .. } => {
            let line = format!("UID FETCH {uid} (FLAGS BODY.PEEK[])");
            connection.command(&line).await
        }
        Ask::Append {
            mailbox,
            flags,
            message,
        } => connection.append(mailbox, &flags, &content::text(message)).await,
    }
}

/// A set of UIDs as commands carry it.
fn list(uids: &[u32]) -> String {
    let words: Vec<String> = uids.iter().map(u32::to_string).collect();
    words.join(",")
}
