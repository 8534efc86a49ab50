//! The state at the end, read through IMAP when all is well again and nothing moves any more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::answers;
use super::history::{Account, MAILBOXES, Outcome, Row};
use super::workload::address;
use crate::imap::ImapClient;

/// Between two looks at all mailboxes.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How long a command may be told to try later.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// One mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FinalMailbox {
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT.
    pub uid_next: u32,
    /// All messages, with their whole text looked at, ascending by UID.
    pub rows: Vec<Row>,
}

/// All mailboxes of all accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ending {
    /// By account and mailbox.
    #[serde(serialize_with = "as_list")]
    pub mailboxes: BTreeMap<(Account, &'static str), FinalMailbox>,
}

fn as_list<S: serde::Serializer>(
    mailboxes: &BTreeMap<(Account, &'static str), FinalMailbox>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(mailboxes.iter())
}

/// Reads until two looks agree and `is_plausible` with them, or for so long; then the last look stands.
pub fn read(
    proxy: &str,
    accounts: Account,
    longest: Duration,
    is_plausible: impl Fn(&Ending) -> bool,
) -> Result<Ending> {
    let began = Instant::now();
    let mut before = look(proxy, accounts)?;
    loop {
        // Polled, for nothing says that no proxy has anything left to hand on.
        std::thread::park_timeout(LOOK_INTERVAL);
        let now = look(proxy, accounts)?;
        let is_still = now == before;
        if (is_still && is_plausible(&now)) || began.elapsed() > longest {
            return Ok(now);
        }
        before = now;
    }
}

fn look(proxy: &str, accounts: Account) -> Result<Ending> {
    let mut ending = Ending::default();
    for account in 1..=accounts {
        let mut imap = login(proxy, account)?;
        for mailbox in MAILBOXES {
            let held = read_mailbox(&mut imap, mailbox)
                .with_context(|| format!("{mailbox} of {}", address(account)))?;
            ending.mailboxes.insert((account, mailbox), held);
        }
    }
    Ok(ending)
}

/// Logs in; a proxy that has not yet heard of the directory again says UNAVAILABLE for a moment.
fn login(proxy: &str, account: Account) -> Result<ImapClient> {
    let began = Instant::now();
    loop {
        let mut imap = ImapClient::connect(proxy)?;
        let answer = imap.command(&format!("LOGIN {} playground", address(account)))?;
        match answers::outcome(&answer.tagged) {
            Outcome::Ok => return Ok(imap),
            Outcome::Unknown(_) if began.elapsed() < ANSWER_MAX => std::thread::park_timeout(LOOK_INTERVAL),
            _ => bail!("user{account} cannot log in at the end: {}", answer.tagged),
        }
    }
}

fn read_mailbox(imap: &mut ImapClient, mailbox: &str) -> Result<FinalMailbox> {
    let opened = patient(imap, &format!("EXAMINE {mailbox}"))?;
    let mut held = FinalMailbox {
        uid_validity: opened.1.uid_validity.context("EXAMINE says UIDVALIDITY")?,
        uid_next: opened.1.uid_next.context("EXAMINE says UIDNEXT")?,
        rows: Vec::new(),
    };
    if opened.0 > 0 {
        let (_, answer) = patient(imap, "UID FETCH 1:* (FLAGS BODY.PEEK[])")?;
        held.rows = answer
            .rows
            .into_iter()
            .filter(|row| row.message.is_some() || row.whole.is_some())
            .collect();
        held.rows.sort_by_key(|row| row.uid);
        if held.rows.len() != opened.0 as usize {
            bail!(
                "{} messages were announced, {} fetched",
                opened.0,
                held.rows.len()
            );
        }
    }
    Ok(held)
}

/// A command that is tried again while the answer is to try later; the number of messages and what was said.
fn patient(imap: &mut ImapClient, command: &str) -> Result<(u32, super::history::Answer)> {
    let began = Instant::now();
    loop {
        let answer = imap.command(command)?;
        let exists = answer.exists().unwrap_or_default();
        match answers::read(&answer) {
            (Outcome::Ok, said) => return Ok((exists, said)),
            (Outcome::Unknown(_), _) if began.elapsed() < ANSWER_MAX => {
                std::thread::park_timeout(LOOK_INTERVAL);
            }
            _ => bail!("{command:?} is answered {}", answer.tagged),
        }
    }
}
