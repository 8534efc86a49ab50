//! `big-mailbox`: whole commands over one mailbox of many messages, one after the other. An operation is a command.

use std::sync::Arc;

use anyhow::{Result, bail};
use tokio::time::Instant;

use super::fill;
use super::logged_in;
use super::search::{asked, check};
use crate::imap::{Imap, quoted};
use crate::profile::SearchKind;
use crate::run::Run;

/// The account that has the mailbox, by its position.
const ACCOUNT: u64 = 0;

/// The copy that messages are removed from, so that the mailbox itself stays for the next run.
const COPY: &str = "Loadtest-copy";

/// Messages that a client shows on its first screen.
const SCREEN: u32 = 50;

/// The message whose sender, subject and token are searched for.
const SEARCHED: u64 = 7;

/// What is fetched of all messages, by its name.
const FETCHES: [(&str, &str); 4] = [
    ("fetch flags", "(FLAGS)"),
    ("fetch sizes", "(UID FLAGS RFC822.SIZE INTERNALDATE)"),
    ("fetch envelopes", "(UID ENVELOPE)"),
    ("fetch structures", "(BODYSTRUCTURE)"),
];

const SEARCHES: [SearchKind; 6] = [
    SearchKind::Flags,
    SearchKind::From,
    SearchKind::Subject,
    SearchKind::Since,
    SearchKind::Body,
    SearchKind::Text,
];

/// Fills the mailbox if need be, and times each command on it.
pub(crate) async fn work(run: &Arc<Run>) -> Result<()> {
    let big = &run.profile.big_mailbox;
    let messages = big.messages;
    run.progress
        .say(&format!("{}: a mailbox of {messages} messages", run.target.name));
    let began = Instant::now();
    if fill::mailbox(run, ACCOUNT, messages, big.batch).await? {
        run.tell(
            "mailbox filled",
            f64::from(messages) / began.elapsed().as_secs_f64(),
            "messages/s",
        );
    }
    let mut imap = logged_in(run, ACCOUNT, 0).await?;
    let name = fill::name(run, messages);
    run.begin_measuring()?;
    for _ in 0..big.repeat {
        read(run, &mut imap, &name, messages).await?;
        change(run, &mut imap, &name, messages).await?;
    }
    run.end_measuring()?;
    imap.logout().await
}

async fn read(run: &Run, imap: &mut Imap, name: &str, messages: u32) -> Result<()> {
    let began = Instant::now();
    let exists = imap.select(name).await?;
    run.recorder.done("select", began.elapsed());
    if exists != messages {
        bail!("{name} has {exists} messages in place of {messages}");
    }
    for (operation, items) in FETCHES {
        let began = Instant::now();
        fetch(imap, 1, messages, items).await?;
        run.recorder.done(operation, began.elapsed());
    }
    let began = Instant::now();
    let first = messages.saturating_sub(SCREEN) + 1;
    fetch(imap, first, messages, "(UID FLAGS ENVELOPE BODYSTRUCTURE)").await?;
    run.recorder.done("fetch last 50", began.elapsed());
    let began = Instant::now();
    let bytes = fetch(imap, 1, messages, "(BODY.PEEK[])").await?;
    run.recorder.done("fetch bodies", began.elapsed());
    run.recorder.bytes(bytes);
    for kind in SEARCHES {
        let asked = asked(kind, SEARCHED.min(u64::from(messages) - 1), u64::from(messages));
        let began = Instant::now();
        check(imap, &asked).await?;
        run.recorder.done(asked.name, began.elapsed());
    }
    Ok(())
}

/// Fetches a range; each message of it must come once. Bytes of their literals.
async fn fetch(imap: &mut Imap, first: u32, last: u32, items: &str) -> Result<u64> {
    let line = format!("FETCH {first}:{last} {items}");
    let (mut told, mut bytes) = (0, 0);
    imap.ask(&line, |response| {
        if response.fetched().is_some() {
            told += 1;
            bytes += response.literal_bytes();
        }
    })
    .await?;
    if told != last - first + 1 {
        bail!("{line}: {told} answers");
    }
    Ok(bytes)
}

async fn change(run: &Run, imap: &mut Imap, name: &str, messages: u32) -> Result<()> {
    if imap.messages(COPY).await?.is_some() {
        imap.command(&format!("DELETE {COPY}")).await?;
    }
    imap.command(&format!("CREATE {COPY}")).await?;
    timed(run, imap, "copy", &format!("COPY 1:* {COPY}")).await?;
    let copied = imap.select(COPY).await?;
    if copied != messages {
        bail!("COPY: {copied} messages in place of {messages}");
    }
    timed(run, imap, "store", "STORE 1:* +FLAGS.SILENT (\\Seen)").await?;
    let half = messages / 2;
    imap.command(&format!("STORE 1:{half} +FLAGS.SILENT (\\Deleted)"))
        .await?;
    timed(run, imap, "expunge half", "EXPUNGE").await?;
    if imap.exists() != messages - half {
        bail!(
            "EXPUNGE: {} messages in place of {}",
            imap.exists(),
            messages - half
        );
    }
    // The selected mailbox cannot be deleted everywhere.
    imap.select(name).await?;
    timed(run, imap, "delete mailbox", &format!("DELETE {}", quoted(COPY)?)).await
}

async fn timed(run: &Run, imap: &mut Imap, operation: &'static str, line: &str) -> Result<()> {
    let began = Instant::now();
    imap.command(line).await?;
    run.recorder.done(operation, began.elapsed());
    Ok(())
}
