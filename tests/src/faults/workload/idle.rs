//! An IDLE session: it keeps a picture of INBOX from nothing but what it is told, and says at the end what that is.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rand::Rng;

use super::super::answers;
use super::super::history::{Account, Action, Answer, Lost, Nanos, Outcome};
use super::super::picture::Picture;
use super::{Client, RECONNECT_PAUSE, address};
use crate::imap::ImapClient;

const MAILBOX: &str = "INBOX";

/// How long one IDLE lasts at most.
const IDLE_MAX: Duration = Duration::from_millis(1500);

/// How often a session that is told nothing looks whether it is to stop.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// One session.
pub(super) struct Watcher {
    client: Client,
    account: Account,
    proxy: usize,
    address: String,
}

impl Watcher {
    pub(super) fn new(client: Client, account: Account, proxy: usize, address: &str) -> Self {
        Self {
            client,
            account,
            proxy,
            address: address.to_owned(),
        }
    }

    pub(super) fn run(mut self) -> Result<()> {
        // The last life must be one that ends in peace: it alone can say that nothing was kept from it.
        while !self.live() {
            self.client.stop.wait(RECONNECT_PAUSE);
        }
        Ok(())
    }

    /// One connection; whether it came to a good end.
    fn live(&mut self) -> bool {
        let invoked = self.client.recorder.now();
        let mut well = None;
        let mut picture = Picture::default();
        match self.follow(&mut picture, &mut well) {
            Ok(()) => {
                let action = Action::Told {
                    mailbox: MAILBOX,
                    view: picture.view,
                    faults: picture.faults,
                };
                self.client
                    .record(self.account, invoked, action, Outcome::Ok, Answer::default());
                true
            }
            Err(error) => {
                if let Some(since) = well {
                    self.client.recorder.record_lost(Lost {
                        session: self.client.session,
                        proxy: self.proxy,
                        since,
                        at: self.client.recorder.now(),
                        error: format!("{error:#}"),
                    });
                }
                false
            }
        }
    }

    /// Follows the mailbox until it is time to stop. `well` is when the session last was, once it is logged in.
    fn follow(&mut self, picture: &mut Picture, well: &mut Option<Nanos>) -> Result<()> {
        let mut imap = ImapClient::connect(&self.address)?;
        imap.command(&format!("LOGIN {} playground", address(self.account)))?
            .ok()?;
        let selected = loop {
            let selected = imap.command(&format!("EXAMINE {MAILBOX}"))?;
            if self.is_done(&selected.tagged)? {
                break selected;
            }
        };
        *well = Some(self.client.recorder.now());
        picture.view = vec![None; selected.exists().context("EXAMINE says EXISTS")? as usize];
        self.command(&mut imap, picture, "FETCH 1:* (FLAGS)")?;
        while !self.client.stop.is_said() {
            self.idle(&mut imap, picture)?;
            *well = Some(self.client.recorder.now());
        }
        // The last word on what others have done.
        self.command(&mut imap, picture, "NOOP")?;
        let _ = imap.command("LOGOUT")?;
        Ok(())
    }

    /// A command until it succeeds, whatever else it says on the way.
    fn command(&mut self, imap: &mut ImapClient, picture: &mut Picture, command: &str) -> Result<()> {
        if picture.view.is_empty() && command.starts_with("FETCH") {
            return Ok(());
        }
        loop {
            let answer = imap.command(command)?;
            for line in answer.lines() {
                picture.take(&line);
            }
            if self.is_done(&answer.tagged)? {
                return Ok(());
            }
        }
    }

    /// Whether a command has succeeded; `false` when it is to be tried again, which it may be after a pause.
    fn is_done(&self, tagged: &str) -> Result<bool> {
        match answers::outcome(tagged) {
            Outcome::Ok => Ok(true),
            Outcome::Unknown(_) => {
                self.client.stop.wait(RECONNECT_PAUSE);
                Ok(false)
            }
            Outcome::Refused(why) => bail!("refused: {why}"),
        }
    }

    fn idle(&mut self, imap: &mut ImapClient, picture: &mut Picture) -> Result<()> {
        let tag = imap.begin("IDLE")?;
        let long = self.client.rng.random_range(LOOK_INTERVAL..IDLE_MAX);
        let until = self.client.recorder.now() + u64::try_from(long.as_nanos())?;
        let mut continued = false;
        while !continued || (self.client.recorder.now() < until && !self.client.stop.is_said()) {
            if !continued || imap.wait_pending(LOOK_INTERVAL)? {
                let response = String::from_utf8_lossy(&imap.response()?).into_owned();
                if response.starts_with(&format!("{tag} ")) {
                    // It could not begin.
                    self.is_done(response.split_once(' ').map_or("", |(_, tagged)| tagged))?;
                    return Ok(());
                }
                if response.starts_with("* BYE") {
                    bail!("{response}");
                }
                continued |= response.starts_with('+');
                picture.take(&response);
            }
        }
        imap.send(b"DONE\r\n")?;
        let answer = imap.finish(&tag)?;
        for line in answer.lines() {
            picture.take(&line);
        }
        self.is_done(&answer.tagged)?;
        Ok(())
    }
}
