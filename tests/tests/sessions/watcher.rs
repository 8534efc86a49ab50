//! An IDLE session: it keeps a picture of INBOX from nothing but what it is told, and says at the end what that is.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rookery_tests::faults::answers;
use rookery_tests::faults::history::{Action, Answer, Nanos, Outcome};
use rookery_tests::faults::picture::Picture;
use rookery_tests::faults::workload::address;

use crate::clients::Client;
use crate::cluster::PASSWORD;
use crate::imap::Connection;

const MAILBOX: &str = "INBOX";

/// How long one IDLE lasts at most, in milliseconds: short ones are often begun anew, long ones live from what they are told.
const IDLE_MAX: [u64; 2] = [3_000, 100_000];

/// How often a session that is told nothing looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// Pause before a command is made again, or a connection, in milliseconds.
const RETRY_PAUSE: std::ops::Range<u64> = 50..400;

/// One session.
pub(crate) struct Watcher {
    client: Client,
}

impl Watcher {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    pub(crate) async fn run(self) {
        // The last life must be one that ends in peace: it alone can say that nothing was kept from it.
        while !self.live().await {
            self.client.pause(RETRY_PAUSE).await;
        }
    }

    /// One connection; whether it came to a good end.
    async fn live(&self) -> bool {
        let invoked = self.client.recorder.now();
        let mut well = None;
        let mut picture = Picture::default();
        match self.follow(&mut picture, &mut well).await {
            Ok(()) => {
                let action = Action::Told {
                    mailbox: MAILBOX,
                    view: picture.view,
                    faults: picture.faults,
                };
                self.client
                    .record(invoked, action, Outcome::Ok, Answer::default());
                true
            }
            Err(error) => {
                match well {
                    Some(since) => self.client.lost(since, format!("{error:#}"), None),
                    None => self.client.here.trace(&format!(
                        "client {} does not get to watch: {error:#}",
                        self.client.number
                    )),
                }
                false
            }
        }
    }

    /// Follows the mailbox until it is time to stop. `well` is when the session last was, once it is logged in.
    async fn follow(&self, picture: &mut Picture, well: &mut Option<Nanos>) -> Result<()> {
        let mut connection = Connection::open(&self.client.here, self.client.proxy_name()).await?;
        let login = format!("LOGIN {} {PASSWORD}", address(self.client.account));
        connection.command(&login).await?.ok()?;
        *well = Some(self.client.recorder.now());
        let selected = loop {
            let selected = connection.command(&format!("EXAMINE {MAILBOX}")).await?;
            if self.is_done(&selected.tagged).await? {
                break selected;
            }
        };
        picture.view = vec![None; selected.exists().context("EXAMINE says EXISTS")? as usize];
        self.command(&mut connection, picture, "FETCH 1:* (FLAGS)")
            .await?;
        while !self.client.is_stopped() {
            *well = Some(self.client.recorder.now());
            self.idle(&mut connection, picture, well).await?;
            self.client.is_well();
        }
        connection.command("LOGOUT").await?;
        Ok(())
    }

    /// A command until it succeeds, whatever else it says on the way.
    async fn command(&self, connection: &mut Connection, picture: &mut Picture, command: &str) -> Result<()> {
        if picture.view.is_empty() && command.starts_with("FETCH") {
            return Ok(());
        }
        loop {
            let answer = connection.command(command).await?;
            for line in answer.lines() {
                picture.take(&line);
            }
            if self.is_done(&answer.tagged).await? {
                return Ok(());
            }
        }
    }

    /// Whether a command has succeeded; `false` when it is to be tried again, which it may be after a pause.
    async fn is_done(&self, tagged: &str) -> Result<bool> {
        match answers::outcome(tagged) {
            Outcome::Ok => Ok(true),
            Outcome::Unknown(_) => {
                self.client.pause(RETRY_PAUSE).await;
                Ok(false)
            }
            Outcome::Refused(why) => bail!("refused: {why}"),
        }
    }

    async fn idle(
        &self,
        connection: &mut Connection,
        picture: &mut Picture,
        well: &mut Option<Nanos>,
    ) -> Result<()> {
        let tag = connection.begin("IDLE").await?;
        let now = || self.client.recorder.now();
        let longest = self.client.draw(50..self.client.one_of(&IDLE_MAX));
        let until = now() + longest * 1_000_000;
        let mut continued = false;
        while !continued || (now() < until && !self.client.is_stopped()) {
            if continued && !connection.wait_pending(LOOK).await {
                *well = Some(now());
                self.client.is_well();
                continue;
            }
            let response = String::from_utf8_lossy(&connection.response().await?).into_owned();
            if let Some(tagged) = response.strip_prefix(&format!("{tag} ")) {
                // It could not begin.
                self.is_done(tagged).await?;
                return Ok(());
            }
            if response.starts_with("* BYE") {
                bail!("{response}");
            }
            *well = Some(now());
            continued |= response.starts_with('+');
            picture.take(&response);
        }
        // All has been still for a while: what it was not told by now, it was not told while it was in IDLE.
        let told_all = self.client.is_stopped();
        connection.send(b"DONE\r\n").await?;
        let answer = connection.finish(&tag).await?;
        for line in answer.lines().iter().filter(|_| !told_all) {
            picture.take(line);
        }
        self.is_done(&answer.tagged).await?;
        Ok(())
    }
}
