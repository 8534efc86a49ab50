//! `mixed`: clients that log in, read, change, append and log out. An operation is a command.
//!
//! Several clients share an account, as devices do, so that a message may be gone when it is asked for; that is counted
//! apart and is no error.

mod round;

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rand::Rng;
use rand::seq::IndexedRandom;
use tokio::time::Instant;

use super::{INBOX, append, fill, logged_in};
use crate::corpus::MessageId;
use crate::imap::Imap;
use crate::imap::response::Tagged;
use crate::run::Run;
use crate::session::Session;
use round::{Command, State};

/// Messages that a FETCH of several asks for, at most.
const FETCHED_MAX: u32 = 10;

/// How flags are changed, and which.
const HOWS: [&str; 2] = ["+FLAGS", "-FLAGS"];
const FLAGS: [&str; 3] = ["\\Seen", "\\Answered", "\\Flagged"];

/// Fills INBOX of all accounts that there are sessions for.
pub(crate) async fn prepare(run: &Arc<Run>) -> Result<()> {
    fill::inboxes(run, run.profile.sessions as u64, run.profile.mixed.messages).await
}

/// A client: where it is in its round, and what it knows of its mailbox.
pub(crate) struct Client {
    index: usize,
    account: u64,
    imap: Option<Imap>,
    selected: bool,
    last: Command,
    /// Messages of the last FETCH, with their UIDs.
    known: Vec<(u32, MessageId)>,
}

impl Session for Client {
    async fn open(run: &Arc<Run>, index: usize) -> Result<Self> {
        let account = index as u64 % run.target.accounts.count;
        Ok(Self {
            index,
            account,
            imap: Some(logged_in(run, account, index).await?),
            selected: false,
            last: Command::Login,
            known: Vec::new(),
        })
    }

    async fn step(&mut self, run: &Arc<Run>, intended: Instant) -> Result<()> {
        let surplus = self.exists().saturating_sub(run.profile.mixed.messages);
        let state = State {
            connected: self.imap.is_some(),
            exists: self.exists(),
            deletable: surplus > 0 && !self.known.is_empty(),
            selected: self.selected,
        };
        let command = self.last.next(state, &run.profile.mixed, &mut rand::rng());
        self.last = command;
        self.run(run, command, surplus).await?;
        run.recorder.done(command.name(), intended.elapsed());
        Ok(())
    }

    async fn close(self) {
        if let Some(imap) = self.imap {
            // The run is over, and what was answered has counted.
            let _ = imap.logout().await;
        }
    }
}

impl Client {
    fn exists(&self) -> u32 {
        let exists = self.imap.as_ref().filter(|_| self.selected).map(Imap::exists);
        exists.unwrap_or_default()
    }

    async fn run(&mut self, run: &Arc<Run>, command: Command, surplus: u32) -> Result<()> {
        if command == Command::Login {
            self.imap = Some(logged_in(run, self.account, self.index).await?);
            return Ok(());
        }
        let exists = self.exists();
        let imap = self.imap.as_mut().context("a command before the login")?;
        match command {
            Command::Login => {}
            Command::List => list(imap).await?,
            Command::Status => {
                imap.messages(INBOX).await?.context("STATUS: there is no INBOX")?;
            }
            Command::Select => {
                imap.select(INBOX).await?;
                self.selected = true;
                self.known.clear();
            }
            Command::Fetch => fetch(run, imap, exists, &mut self.known).await?,
            Command::FetchBody => fetch_body(run, imap, exists).await?,
            Command::Store => store(run, imap, exists).await?,
            Command::Delete => delete(run, imap, self.account, &mut self.known, surplus).await?,
            Command::Expunge => imap.command("EXPUNGE").await?,
            Command::Append => append::append(run, imap, self.account, 1).await?,
            Command::Logout => {
                self.selected = false;
                self.known.clear();
                if let Some(imap) = self.imap.take() {
                    imap.logout().await?;
                }
            }
        }
        Ok(())
    }
}

async fn list(imap: &mut Imap) -> Result<()> {
    let mut names = 0;
    imap.ask("LIST \"\" \"*\"", |response| {
        names += u32::from(response.text().starts_with(b"* LIST "));
    })
    .await?;
    if names == 0 {
        bail!("LIST: the server has no mailbox");
    }
    Ok(())
}

/// Flags, sizes and headers of a few messages in a row.
async fn fetch(run: &Run, imap: &mut Imap, exists: u32, known: &mut Vec<(u32, MessageId)>) -> Result<()> {
    let first = rand::rng().random_range(1..=exists);
    let last = exists.min(first + FETCHED_MAX - 1);
    let line = format!(
        "FETCH {first}:{last} (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM SUBJECT MESSAGE-ID)])"
    );
    known.clear();
    let mut told = 0;
    let ended = imap
        .attempt(&line, |response| {
            let Some(uid) = response.fetched().and_then(|_| response.number_after("UID ")) else {
                return;
            };
            told += 1;
            known.extend(MessageId::find(response.text()).map(|id| (uid, id)));
        })
        .await?;
    // A message that another session has removed may be left out.
    judge(run, ended, &line, told > last - first)
}

async fn fetch_body(run: &Run, imap: &mut Imap, exists: u32) -> Result<()> {
    let number = rand::rng().random_range(1..=exists);
    let line = format!("FETCH {number} (UID BODY.PEEK[])");
    let mut bytes = 0;
    let ended = imap
        .attempt(&line, |response| {
            if response.fetched() == Some(number) {
                bytes += response.literal_bytes();
            }
        })
        .await?;
    run.recorder.bytes(bytes);
    judge(run, ended, &line, bytes > 0)
}

async fn store(run: &Run, imap: &mut Imap, exists: u32) -> Result<()> {
    let number = rand::rng().random_range(1..=exists);
    let how = HOWS.choose(&mut rand::rng()).copied().unwrap_or("+FLAGS");
    let flag = FLAGS.choose(&mut rand::rng()).copied().unwrap_or("\\Seen");
    let line = format!("STORE {number} {how} ({flag})");
    // Flags that stay as they were need not be told.
    let ended = imap.attempt(&line, |_| {}).await?;
    judge(run, ended, &line, true)
}

/// Marks messages for removal that this session knows, so many of them at most.
async fn delete(
    run: &Run,
    imap: &mut Imap,
    account: u64,
    known: &mut Vec<(u32, MessageId)>,
    surplus: u32,
) -> Result<()> {
    known.truncate(surplus as usize);
    let uids: Vec<String> = known.iter().map(|(uid, _)| uid.to_string()).collect();
    if let Some(ledger) = &run.ledger {
        known.iter().for_each(|(_, id)| ledger.remove(account, *id));
    }
    known.clear();
    let line = format!("UID STORE {} +FLAGS.SILENT (\\Deleted)", uids.join(","));
    let ended = imap.attempt(&line, |_| {}).await?;
    judge(run, ended, &line, true)
}

/// A command is right when it succeeds with its whole answer, or when what it was about may have gone meanwhile.
fn judge(run: &Run, ended: Tagged, line: &str, whole: bool) -> Result<()> {
    let alone = run.profile.sessions as u64 <= run.target.accounts.count;
    if ended.is_gone() && !alone {
        run.raced();
        return Ok(());
    }
    ended.ok().with_context(|| line.to_owned())?;
    match (whole, alone) {
        (true, _) => {}
        (false, true) => bail!("{line}: the answer is not whole"),
        (false, false) => run.raced(),
    }
    Ok(())
}
