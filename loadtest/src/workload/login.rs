//! `login`: connect, LOGIN, SELECT, LOGOUT. An operation is a whole session; its steps are told too.

use std::sync::Arc;

use anyhow::Result;
use tokio::time::Instant;

use super::INBOX;
use crate::imap::Imap;
use crate::run::Run;
use crate::session::Session;

/// Connects again and again, as one account after the other.
pub(crate) struct Client {
    index: usize,
    /// Sessions so far.
    sessions: u64,
}

impl Session for Client {
    async fn open(run: &Arc<Run>, index: usize) -> Result<Self> {
        let mut client = Self { index, sessions: 0 };
        if index == 0 {
            // What is wrong with the address or the password is told before the clock runs.
            client.session(run).await?;
        }
        Ok(client)
    }

    async fn step(&mut self, run: &Arc<Run>, intended: Instant) -> Result<()> {
        self.session(run).await?;
        run.recorder.done("session", intended.elapsed());
        Ok(())
    }

    async fn close(self) {}
}

impl Client {
    async fn session(&mut self, run: &Run) -> Result<()> {
        // Accounts and source addresses change with each session.
        let parallel = run.profile.sessions as u64;
        let position = self.index as u64 + self.sessions * parallel;
        self.sessions += 1;
        let address = run.target.accounts.address(position);
        let began = Instant::now();
        let mut imap = Imap::connect(run.imap()?, usize::try_from(position)?).await?;
        run.recorder.part("connect", began.elapsed());
        let began = Instant::now();
        imap.login(&address, &run.target.password).await?;
        run.recorder.part("login", began.elapsed());
        if run.profile.login.select {
            let began = Instant::now();
            imap.select(INBOX).await?;
            run.recorder.part("select", began.elapsed());
        }
        let began = Instant::now();
        imap.logout().await?;
        run.recorder.part("logout", began.elapsed());
        Ok(())
    }
}
