//! `append`: messages in by IMAP, into INBOX. An operation is a message, whether it came alone or with others.

use std::sync::Arc;

use anyhow::Result;
use tokio::time::Instant;

use super::{INBOX, fill, logged_in};
use crate::corpus::MessageId;
use crate::imap::Imap;
use crate::run::Run;
use crate::session::Session;

/// A connection that appends to its account's INBOX.
pub(crate) struct Appender {
    imap: Imap,
    account: u64,
}

impl Session for Appender {
    async fn open(run: &Arc<Run>, index: usize) -> Result<Self> {
        let account = index as u64 % run.target.accounts.count;
        let imap = logged_in(run, account, index).await?;
        Ok(Self { imap, account })
    }

    async fn step(&mut self, run: &Arc<Run>, intended: Instant) -> Result<()> {
        if run.profile.append.pipelined > 1 {
            return pipelined(run, &mut self.imap, self.account, intended).await;
        }
        append(run, &mut self.imap, self.account, run.profile.append.batch).await?;
        let took = intended.elapsed();
        for _ in 0..run.profile.append.batch {
            run.recorder.done("append", took);
        }
        Ok(())
    }

    async fn close(self) {
        // The run is over, and what was answered has counted.
        let _ = self.imap.logout().await;
    }
}

/// Appends new messages to INBOX with a command each, and reads the answers when all are sent.
async fn pipelined(run: &Run, imap: &mut Imap, account: u64, intended: Instant) -> Result<()> {
    let (ids, messages) = new_messages(run, account, run.profile.append.pipelined);
    imap.append_pipelined(INBOX, &messages, |position| {
        run.recorder.done("append", intended.elapsed());
        run.recorder.bytes(messages[position].len() as u64);
        if let Some(ledger) = &run.ledger {
            ledger.acknowledge(account, ids[position]);
        }
    })
    .await
}

fn new_messages(run: &Run, account: u64, count: usize) -> (Vec<MessageId>, Vec<Vec<u8>>) {
    let address = run.target.accounts.address(account);
    let ids: Vec<_> = (0..count).map(|_| run.next_message()).collect();
    let messages = ids.iter().map(|id| fill::message(run, *id, &address)).collect();
    (ids, messages)
}

/// Appends so many new messages to INBOX with one command.
pub(crate) async fn append(run: &Run, imap: &mut Imap, account: u64, count: usize) -> Result<()> {
    let (ids, messages) = new_messages(run, account, count);
    imap.append(INBOX, &messages).await?;
    run.recorder
        .bytes(messages.iter().map(|message| message.len() as u64).sum());
    if let Some(ledger) = &run.ledger {
        ids.iter().for_each(|id| ledger.acknowledge(account, *id));
    }
    Ok(())
}
