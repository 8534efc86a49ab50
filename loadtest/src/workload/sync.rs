//! `sync`: a client's first synchronisation. It lists the mailboxes, and of each takes flags, headers and all bodies.
//! An operation is an account that is synchronised; its steps are told too.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

use super::{fill, logged_in};
use crate::imap::Imap;
use crate::imap::response::Response;
use crate::run::Run;
use crate::session::Session;

/// Fills the mailboxes.
pub(crate) async fn prepare(run: &Arc<Run>) -> Result<()> {
    fill::mailboxes(run, run.profile.sync.accounts, run.profile.sync.messages).await
}

/// Synchronises one account after the other, each over a connection of its own.
pub(crate) struct Client {
    index: usize,
    /// Accounts so far.
    done: u64,
}

/// A message as the server told of it before its body.
struct Told {
    uid: u32,
    size: u64,
}

impl Session for Client {
    async fn open(_run: &Arc<Run>, index: usize) -> Result<Self> {
        Ok(Self { index, done: 0 })
    }

    async fn step(&mut self, run: &Arc<Run>, intended: Instant) -> Result<()> {
        let accounts = run.profile.sync.accounts.min(run.target.accounts.count);
        let account = (self.index as u64 + self.done * run.profile.sessions as u64) % accounts;
        self.done += 1;
        let mut imap = logged_in(run, account, self.index).await?;
        for mailbox in mailboxes(&mut imap).await? {
            synchronise(run, &mut imap, &mailbox).await.with_context(|| {
                format!(
                    "synchronise {mailbox} of {}",
                    run.target.accounts.address(account)
                )
            })?;
        }
        imap.logout().await?;
        run.recorder.done("sync", intended.elapsed());
        Ok(())
    }

    async fn close(self) {}
}

/// Names of all mailboxes that can be selected, as the server writes them.
async fn mailboxes(imap: &mut Imap) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut strange = None;
    imap.ask("LIST \"\" \"*\"", |response| {
        if !response.text().starts_with(b"* LIST ") {
            return;
        }
        match listed(response.text()) {
            Some((flags, name)) => {
                if !flags.contains("\\noselect") && !flags.contains("\\nonexistent") {
                    names.push(name);
                }
            }
            None => strange = Some(crate::wire::said(response.text())),
        }
    })
    .await?;
    match strange {
        Some(line) => bail!("LIST: {line:?} is not understood"),
        None if names.is_empty() => bail!("LIST: the server has no mailbox"),
        None => Ok(names),
    }
}

/// Flags in small letters, and the name, of a LIST response (RFC 9051 §7.3.1).
fn listed(line: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(line).ok()?;
    let (flags, rest) = text.strip_prefix("* LIST (")?.split_once(") ")?;
    let delimiter = if rest.starts_with("NIL ") {
        4
    } else {
        rest.find("\" ")? + 2
    };
    Some((flags.to_ascii_lowercase(), rest.get(delimiter..)?.to_owned()))
}

async fn synchronise(run: &Run, imap: &mut Imap, mailbox: &str) -> Result<()> {
    let began = Instant::now();
    imap.command(&format!("SELECT {mailbox}")).await?;
    run.recorder.part("select", began.elapsed());
    let exists = imap.exists();
    if exists == 0 {
        return Ok(());
    }
    let began = Instant::now();
    let mut flags = 0;
    imap.ask("UID FETCH 1:* (FLAGS)", |response| {
        flags += u32::from(response.fetched().is_some() && response.number_after("UID ").is_some());
    })
    .await?;
    run.recorder.part("fetch flags", began.elapsed());
    if flags != exists {
        bail!("{flags} flags of {exists} messages");
    }
    let began = Instant::now();
    let mut told = Vec::new();
    let headers = "UID FETCH 1:* (RFC822.SIZE INTERNALDATE \
                   BODY.PEEK[HEADER.FIELDS (DATE FROM TO SUBJECT MESSAGE-ID REFERENCES)])";
    imap.ask(headers, |response| told.extend(size_told(response)))
        .await?;
    run.recorder.part("fetch headers", began.elapsed());
    if told.len() != exists as usize {
        bail!("{} headers of {exists} messages", told.len());
    }
    for batch in told.chunks(run.profile.sync.batch as usize) {
        fetch_bodies(run, imap, batch).await?;
    }
    Ok(())
}

fn size_told(response: &Response) -> Option<Told> {
    response.fetched()?;
    Some(Told {
        uid: response.number_after("UID ")?,
        size: u64::from(response.number_after("RFC822.SIZE ")?),
    })
}

async fn fetch_bodies(run: &Run, imap: &mut Imap, batch: &[Told]) -> Result<()> {
    let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
        return Ok(());
    };
    let began = Instant::now();
    let (mut count, mut bytes) = (0, 0);
    let line = format!("UID FETCH {}:{} (BODY.PEEK[])", first.uid, last.uid);
    imap.ask(&line, |response| {
        if response.fetched().is_some() {
            count += 1;
            bytes += response.literal_bytes();
        }
    })
    .await?;
    run.recorder.part("fetch bodies", began.elapsed());
    run.recorder.bytes(bytes);
    let expected: u64 = batch.iter().map(|message| message.size).sum();
    if (count, bytes) != (batch.len(), expected) {
        bail!(
            "{line}: {count} bodies of {bytes} bytes in place of {} of {expected} bytes",
            batch.len()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_the_server_writes_them() {
        let cases = [
            ("* LIST (\\HasNoChildren) \"/\" INBOX", "INBOX"),
            ("* LIST () \"/\" \"With space\"", "\"With space\""),
            ("* LIST () \".\" a.b", "a.b"),
            ("* LIST () NIL flat", "flat"),
        ];
        for (line, name) in cases {
            assert_eq!(listed(line.as_bytes()).unwrap().1, name, "{line}");
        }
        assert_eq!(listed(b"* LIST (\\Noselect) \"/\" x").unwrap().0, "\\noselect");
        assert!(listed(b"* LIST gibberish").is_none());
    }
}
