//! Fills mailboxes before a run. The messages of a filled mailbox are known, so that what is found in it can be checked.

use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{INBOX, logged_in};
use crate::corpus::MessageId;
use crate::imap::quoted;
use crate::run::Run;

/// Accounts whose mailboxes are filled at a time.
const FILLED_AT_ONCE: usize = 8;

/// Messages of one command.
const BATCH: usize = 20;

/// The run of messages that mailboxes are filled with.
const FILLING: u64 = 0;

/// The mailbox that holds so many messages of the profile's size. What it is called says what is in it, so that it is
/// filled once for all runs that need the same.
pub(crate) fn name(run: &Run, messages: u32) -> String {
    format!("Loadtest-{messages}-{}", run.profile.message_bytes)
}

/// Fills a mailbox of each of the first accounts with the messages 0 and up, unless it has so many already.
pub(crate) async fn mailboxes(run: &Arc<Run>, accounts: u64, messages: u32) -> Result<()> {
    run.progress.say(&format!(
        "{}: {accounts} mailboxes with {messages} messages each",
        run.target.name
    ));
    each_account(run, accounts, move |run, account| async move {
        mailbox(&run, account, messages, BATCH).await.map(drop)
    })
    .await
}

/// Fills one account's mailbox; whether there was something to do.
pub(crate) async fn mailbox(run: &Run, account: u64, messages: u32, batch: usize) -> Result<bool> {
    let name = name(run, messages);
    let mut imap = logged_in(run, account, usize::try_from(account)?).await?;
    let held = imap.messages(&name).await?;
    let filled = held == Some(messages);
    if !filled {
        if held.is_some() {
            imap.command(&format!("DELETE {}", quoted(&name)?)).await?;
        }
        imap.command(&format!("CREATE {}", quoted(&name)?)).await?;
        let address = run.target.accounts.address(account);
        let serials: Vec<u64> = (0..u64::from(messages)).collect();
        for serials in serials.chunks(batch) {
            let ids = serials.iter().map(|serial| MessageId {
                run: FILLING,
                serial: *serial,
            });
            let batch: Vec<Vec<u8>> = ids.map(|id| message(run, id, &address)).collect();
            imap.append(&name, &batch)
                .await
                .with_context(|| format!("fill {name} of {address}"))?;
        }
    }
    imap.logout().await?;
    Ok(!filled)
}

/// Gives INBOX of each of the first accounts at least so many messages, of this run.
pub(crate) async fn inboxes(run: &Arc<Run>, accounts: u64, messages: u32) -> Result<()> {
    run.progress.say(&format!(
        "{}: {accounts} times {messages} messages in INBOX",
        run.target.name
    ));
    each_account(run, accounts, move |run, account| async move {
        let mut imap = logged_in(&run, account, usize::try_from(account)?).await?;
        let address = run.target.accounts.address(account);
        let held = imap.messages(INBOX).await?.unwrap_or_default();
        let ids: Vec<MessageId> = (held..messages).map(|_| run.next_message()).collect();
        for ids in ids.chunks(BATCH) {
            let batch: Vec<Vec<u8>> = ids.iter().map(|id| message(&run, *id, &address)).collect();
            imap.append(INBOX, &batch).await?;
            if let Some(ledger) = &run.ledger {
                ids.iter().for_each(|id| ledger.acknowledge(account, *id));
            }
        }
        imap.logout().await
    })
    .await
}

/// A message of the profile's size.
pub(crate) fn message(run: &Run, id: MessageId, address: &str) -> Vec<u8> {
    let mut message = Vec::with_capacity(run.profile.message_bytes);
    run.corpus
        .write(id, run.profile.message_bytes, address, &mut message);
    message
}

async fn each_account<F>(
    run: &Arc<Run>,
    accounts: u64,
    work: impl Fn(Arc<Run>, u64) -> F + Copy + Send + 'static,
) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let gate = Arc::new(Semaphore::new(FILLED_AT_ONCE));
    let mut filling = JoinSet::new();
    for account in 0..accounts.min(run.target.accounts.count) {
        let (run, gate) = (Arc::clone(run), Arc::clone(&gate));
        filling.spawn(async move {
            let _place = gate.acquire_owned().await?;
            work(run, account).await
        });
    }
    while let Some(ended) = filling.join_next().await {
        ended??;
    }
    Ok(())
}
