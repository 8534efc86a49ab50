//! `search`: searches in mailboxes whose messages are known, so that each result is checked.

use std::sync::Arc;

use anyhow::{Result, bail};
use rand::Rng;
use tokio::time::Instant;

use super::{fill, logged_in};
use crate::corpus::{SENDERS, TOKENS, TOPICS, search_day, sent_day};
use crate::imap::Imap;
use crate::profile::SearchKind;
use crate::run::Run;
use crate::session::Session;

/// Fills the mailboxes.
pub(crate) async fn prepare(run: &Arc<Run>) -> Result<()> {
    fill::mailboxes(run, run.profile.search.accounts, run.profile.search.messages).await
}

/// A session with a filled mailbox selected.
pub(crate) struct Searcher {
    imap: Imap,
    messages: u64,
    /// Searches so far.
    searches: usize,
}

impl Session for Searcher {
    async fn open(run: &Arc<Run>, index: usize) -> Result<Self> {
        let search = &run.profile.search;
        let accounts = search.accounts.min(run.target.accounts.count);
        let mut imap = logged_in(run, index as u64 % accounts, index).await?;
        imap.select(&fill::name(run, search.messages)).await?;
        let messages = u64::from(search.messages);
        // Sessions begin with different kinds, so that no moment is one kind's alone.
        Ok(Self {
            imap,
            messages,
            searches: index,
        })
    }

    async fn step(&mut self, run: &Arc<Run>, intended: Instant) -> Result<()> {
        let kinds = &run.profile.search.kinds;
        let kind = kinds[self.searches % kinds.len()];
        self.searches += 1;
        let asked = asked(kind, rand::rng().random_range(0..self.messages), self.messages);
        check(&mut self.imap, &asked).await?;
        run.recorder.done(asked.name, intended.elapsed());
        Ok(())
    }

    async fn close(self) {
        // The run is over, and what was answered has counted.
        let _ = self.imap.logout().await;
    }
}

/// A search, and how many messages it must find.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) name: &'static str,
    pub(crate) key: String,
    pub(crate) hits: u64,
}

/// What finds the message of a number, among messages with the numbers 0 and up.
pub(crate) fn asked(kind: SearchKind, number: u64, messages: u64) -> Asked {
    let matching = |same: &dyn Fn(u64) -> bool| (0..messages).filter(|other| same(*other)).count() as u64;
    let same_rest = |of: u64| matching(&|other| other % of == number % of);
    let token = format!("token{:03}", number % TOKENS);
    let (name, key, hits) = match kind {
        SearchKind::Flags => ("search flags", "UNFLAGGED".to_owned(), messages),
        SearchKind::From => (
            "search from",
            format!("FROM \"sender{}@remote.test\"", number % SENDERS),
            same_rest(SENDERS),
        ),
        SearchKind::Subject => (
            "search subject",
            format!("SUBJECT \"topic{:02}\"", number % TOPICS),
            same_rest(TOPICS),
        ),
        SearchKind::Since => (
            "search since",
            format!("SENTSINCE {}", search_day(sent_day(number))),
            matching(&|other| sent_day(other) >= sent_day(number)),
        ),
        SearchKind::Body => ("search body", format!("BODY \"{token}\""), same_rest(TOKENS)),
        SearchKind::Text => ("search text", format!("TEXT \"{token}\""), same_rest(TOKENS)),
    };
    Asked { name, key, hits }
}

/// Searches, and holds the result against what must be found.
pub(crate) async fn check(imap: &mut Imap, asked: &Asked) -> Result<()> {
    let line = format!("SEARCH {}", asked.key);
    let mut found = None;
    imap.ask(&line, |response| found = found.or(response.found()))
        .await?;
    if found.map(|count| count as u64) != Some(asked.hits) {
        bail!(
            "{line}: {} messages match, and the server finds {found:?}",
            asked.hits
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_be_found_is_counted_over_the_numbers() {
        let hits = |kind| asked(kind, 7, 200).hits;
        assert_eq!(hits(SearchKind::Flags), 200);
        assert_eq!(hits(SearchKind::From), 4, "7, 57, 107, 157");
        assert_eq!(hits(SearchKind::Subject), 10);
        assert_eq!(hits(SearchKind::Body), 2);
        assert_eq!(asked(SearchKind::Text, 142, 200).key, "TEXT \"token042\"");
        // 24 messages say that they are of the first day.
        let since = asked(SearchKind::Since, 24, 200);
        assert_eq!((since.key.as_str(), since.hits), ("SENTSINCE 3-Jan-2024", 176));
    }
}
