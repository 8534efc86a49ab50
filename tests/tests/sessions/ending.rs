//! The state at the end, read through IMAP when all is well again and no client works any more.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rookery_simulation::Here;
use rookery_tests::faults::answers;
use rookery_tests::faults::ending::{Ending, FinalMailbox};
use rookery_tests::faults::history::{Answer, History, MAILBOXES, Outcome, Recorder};
use rookery_tests::faults::invariants;
use rookery_tests::faults::model::Model;
use rookery_tests::faults::workload::address;
use tokio::time::sleep;

use crate::cluster::{Cluster, PASSWORD};
use crate::imap::Connection;

/// Pause before a command is made again that was to be tried later.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Between two looks at all mailboxes, for what is handed over may still be under way.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// How many looks there are at most.
const LOOKS_MAX: usize = 60;

/// How often a command is made at most.
const TRIES_MAX: usize = 50;

/// Reads until two looks agree and what was acknowledged is there, or for so long; then the last look stands.
pub(crate) async fn read_settled(here: &Here, cluster: &Cluster, recorder: &Recorder) -> Result<Ending> {
    let so_far = recorder.with_events(|events| History {
        events: events.to_vec(),
        ..History::default()
    });
    let mut before = read(here, cluster).await?;
    for _ in 0..LOOKS_MAX {
        sleep(LOOK_PAUSE).await;
        let now = read(here, cluster).await?;
        if now == before && invariants::is_settled(&Model::of(&so_far, &now)) {
            return Ok(now);
        }
        before = now;
    }
    Ok(before)
}

/// Reads all mailboxes of all accounts.
async fn read(here: &Here, cluster: &Cluster) -> Result<Ending> {
    let mut ending = Ending::default();
    for account in 1..=cluster.accounts {
        let proxy = &cluster.proxies[account as usize % cluster.proxies.len()];
        let mut connection = Connection::open(here, proxy).await?;
        let login = format!("LOGIN {} {PASSWORD}", address(account));
        patient(&mut connection, &login).await?;
        for mailbox in MAILBOXES {
            let held = read_mailbox(&mut connection, mailbox)
                .await
                .with_context(|| format!("{mailbox} of {}", address(account)))?;
            ending.mailboxes.insert((account, mailbox), held);
        }
    }
    Ok(ending)
}

async fn read_mailbox(connection: &mut Connection, mailbox: &str) -> Result<FinalMailbox> {
    let (exists, opened) = patient(connection, &format!("EXAMINE {mailbox}")).await?;
    let mut held = FinalMailbox {
        uid_validity: opened.uid_validity.context("EXAMINE says UIDVALIDITY")?,
        uid_next: opened.uid_next.context("EXAMINE says UIDNEXT")?,
        rows: Vec::new(),
    };
    if exists > 0 {
        let (_, answer) = patient(connection, "UID FETCH 1:* (FLAGS BODY.PEEK[])").await?;
        held.rows = answer
            .rows
            .into_iter()
            .filter(|row| row.message.is_some() || row.whole.is_some())
            .collect();
        held.rows.sort_by_key(|row| row.uid);
        if held.rows.len() != exists as usize {
            bail!("{exists} messages were announced, {} fetched", held.rows.len());
        }
    }
    Ok(held)
}

/// A command that is tried again while the answer is to try later; the number of messages and what was said.
async fn patient(connection: &mut Connection, command: &str) -> Result<(u32, Answer)> {
    let mut said = String::new();
    for _ in 0..TRIES_MAX {
        let answer = connection.command(command).await?;
        let exists = answer.exists().unwrap_or_default();
        match answers::read(&answer) {
            (Outcome::Ok, read) => return Ok((exists, read)),
            (Outcome::Unknown(_), _) => sleep(RETRY_PAUSE).await,
            (Outcome::Refused(why), _) => bail!("{command:?} is refused: {why}"),
        }
        said = answer.tagged;
    }
    bail!("{command:?} is still answered {said}")
}
