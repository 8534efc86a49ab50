//! `deliver`: messages in by LMTP, SMTP or submission. An operation is a message that was taken for all its recipients.

use std::sync::Arc;

use anyhow::{Result, bail};
use tokio::time::Instant;

use crate::corpus::MessageId;
use crate::run::Run;
use crate::session::Session;
use crate::smtp::Smtp;
use crate::target::Protocol;

/// A connection that sends.
pub(crate) struct Sender {
    smtp: Option<Smtp>,
    index: usize,
    /// Messages on this connection.
    sent: u64,
    message: Vec<u8>,
}

impl Session for Sender {
    async fn open(run: &Arc<Run>, index: usize) -> Result<Self> {
        Ok(Self {
            smtp: Some(connect(run, index).await?),
            index,
            sent: 0,
            message: Vec::with_capacity(run.profile.message_bytes),
        })
    }

    async fn step(&mut self, run: &Arc<Run>, intended: Instant) -> Result<()> {
        let most = run.profile.deliver.messages_per_connection;
        if most > 0
            && self.sent == most
            && let Some(smtp) = self.smtp.take()
        {
            smtp.quit().await?;
            self.sent = 0;
        }
        let smtp = match &mut self.smtp {
            Some(smtp) => smtp,
            None => self.smtp.insert(connect(run, self.index).await?),
        };
        deliver_one(run, smtp, &mut self.message, intended).await?;
        self.sent += 1;
        Ok(())
    }

    async fn close(self) {
        if let Some(smtp) = self.smtp {
            // The run is over, and what was answered has counted.
            let _ = smtp.quit().await;
        }
    }
}

/// Connects as the profile's `deliver` says; a submission logs in as an account of its own.
pub(crate) async fn connect(run: &Run, index: usize) -> Result<Smtp> {
    let (recipients, accounts) = (run.profile.deliver.recipients, run.target.accounts.count);
    if recipients as u64 > accounts {
        bail!(
            "{accounts} accounts cannot be {recipients} recipients of one message: lower deliver.recipients"
        );
    }
    let protocol = Protocol::from(run.profile.deliver.protocol);
    let endpoint = run.target.endpoint(protocol)?;
    let login = run.target.accounts.address(index as u64);
    Smtp::connect(&endpoint, index, protocol, (&login, &run.target.password)).await
}

async fn deliver_one(run: &Run, smtp: &mut Smtp, message: &mut Vec<u8>, intended: Instant) -> Result<()> {
    let recipients = run.profile.deliver.recipients as u64;
    let id = run.next_message();
    let accounts =
        (0..recipients).map(|number| (id.serial * recipients + number) % run.target.accounts.count);
    let accounts: Vec<u64> = accounts.collect();
    send(run, smtp, id, &accounts, message).await?;
    run.recorder.done("deliver", intended.elapsed());
    Ok(())
}

/// Sends a message to accounts by their positions.
pub(crate) async fn send(
    run: &Run,
    smtp: &mut Smtp,
    id: MessageId,
    accounts: &[u64],
    message: &mut Vec<u8>,
) -> Result<()> {
    let recipients: Vec<String> = accounts
        .iter()
        .map(|account| run.target.accounts.address(*account))
        .collect();
    message.clear();
    run.corpus
        .write(id, run.profile.message_bytes, &recipients[0], message);
    let bytes = message.len() as u64;
    smtp.deliver(&recipients, message).await?;
    run.recorder.bytes(bytes);
    if let Some(ledger) = &run.ledger {
        for account in accounts {
            ledger.acknowledge(*account, id);
        }
    }
    Ok(())
}
