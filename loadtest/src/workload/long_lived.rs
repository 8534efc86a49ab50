//! `long-lived`: sessions that stay with INBOX selected, each with a command now and then.

use std::sync::Arc;

use anyhow::{Result, bail};
use rand::Rng;
use tokio::time::Instant;

use super::{INBOX, logged_in};
use crate::imap::Imap;
use crate::run::Run;
use crate::session::Session;

/// Messages at the end of the mailbox whose flags are looked at.
const LAST_MESSAGES: u32 = 10;

/// Commands with their shares in percent: mail programs look, and rarely change their mailbox.
const SHARES: [(Command, u32); 4] = [
    (Command::Noop, 40),
    (Command::Status, 25),
    (Command::Fetch, 20),
    (Command::Select, 15),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Noop,
    Status,
    Fetch,
    Select,
}

/// A session at rest.
pub(crate) struct Client {
    imap: Imap,
}

impl Session for Client {
    async fn open(run: &Arc<Run>, index: usize) -> Result<Self> {
        let mut imap = logged_in(run, index as u64 % run.target.accounts.count, index).await?;
        imap.select(INBOX).await?;
        imap.rest();
        Ok(Self { imap })
    }

    async fn step(&mut self, run: &Arc<Run>, intended: Instant) -> Result<()> {
        let number = rand::rng().random_range(0..100);
        let name = match drawn(number) {
            Command::Fetch if self.imap.exists() > 0 => self.fetch().await?,
            Command::Noop | Command::Fetch => {
                self.imap.command("NOOP").await?;
                "noop"
            }
            Command::Status => {
                if self.imap.messages(INBOX).await?.is_none() {
                    bail!("STATUS: the server says that there is no INBOX");
                }
                "status"
            }
            Command::Select => {
                self.imap.select(INBOX).await?;
                "select"
            }
        };
        run.recorder.done(name, intended.elapsed());
        self.imap.rest();
        Ok(())
    }

    async fn close(self) {
        // The run is over, and what was answered has counted.
        let _ = self.imap.logout().await;
    }
}

impl Client {
    async fn fetch(&mut self) -> Result<&'static str> {
        let last = self.imap.exists();
        let first = last.saturating_sub(LAST_MESSAGES - 1).max(1);
        let mut told = 0;
        let line = format!("FETCH {first}:{last} (UID FLAGS)");
        self.imap
            .ask(&line, |response| told += u32::from(response.fetched().is_some()))
            .await?;
        if told < last - first + 1 {
            bail!("{line}: {told} answers");
        }
        Ok("fetch")
    }
}

/// The command that a number below 100 stands for.
fn drawn(number: u32) -> Command {
    let mut below = 0;
    for (command, share) in SHARES {
        below += share;
        if number < below {
            return command;
        }
    }
    Command::Noop
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_drawn_by_their_shares() {
        for (command, share) in SHARES {
            let drawn = (0..100).filter(|number| drawn(*number) == command).count();
            assert_eq!(drawn, share as usize, "{command:?}");
        }
    }
}
