//! Holds what servers acknowledged against what is there: each acknowledged message is found once, by its Message-ID.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::corpus::MessageId;
use crate::imap::Imap;
use crate::target::{Protocol, Target};

/// Accounts that are looked into at a time.
const ACCOUNTS_AT_ONCE: usize = 8;

/// How long messages may take from their acknowledgement until they are there: a server may have a queue.
const ARRIVAL_MAX: Duration = Duration::from_secs(30);

/// Pause before a mailbox in which messages are missing is looked into again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Messages that are named of those lost or doubled.
const NAMED_MAX: usize = 10;

/// Where messages are looked for.
const MAILBOX: &str = "INBOX";

/// What was acknowledged, and what was asked to be removed.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// By the account's position.
    acknowledged: BTreeMap<u64, Vec<MessageId>>,
    /// By the account's position.
    removed: HashSet<(u64, MessageId)>,
}

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Verdict {
    /// Messages that the server acknowledged, counted for each recipient.
    pub(crate) acknowledged: u64,
    /// Those that were there, once.
    pub(crate) present: u64,
    /// Those that a session had asked to remove; they may be there or not.
    pub(crate) removed: u64,
    /// Those that were not there.
    pub(crate) lost: u64,
    /// Those that were there more than once.
    pub(crate) doubled: u64,
    /// Some of those lost or doubled.
    pub(crate) named: Vec<String>,
}

impl Verdict {
    /// Whether nothing is lost or doubled.
    pub(crate) fn is_good(&self) -> bool {
        self.lost == 0 && self.doubled == 0
    }
}

impl Ledger {
    /// The server has acknowledged a message for an account.
    pub(crate) fn acknowledge(&self, account: u64, id: MessageId) {
        self.lock().acknowledged.entry(account).or_default().push(id);
    }

    /// A session is about to ask for the removal of a message.
    pub(crate) fn remove(&self, account: u64, id: MessageId) {
        self.lock().removed.insert((account, id));
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Each change is one insertion: whole, whoever has panicked after it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks into each account that something was acknowledged for.
    pub(crate) async fn verify(&self, target: &Arc<Target>) -> Result<Verdict> {
        let entries = std::mem::take(&mut *self.lock());
        let gate = Arc::new(Semaphore::new(ACCOUNTS_AT_ONCE));
        let mut looking = JoinSet::new();
        let removed = Arc::new(entries.removed);
        for (account, expected) in entries.acknowledged {
            let (target, gate, removed) = (Arc::clone(target), Arc::clone(&gate), Arc::clone(&removed));
            looking.spawn(async move {
                let _place = gate.acquire_owned().await?;
                look(&target, account, &expected, &removed).await
            });
        }
        let mut all = Verdict::default();
        while let Some(ended) = looking.join_next().await {
            all.add(ended??);
        }
        Ok(all)
    }
}

impl Verdict {
    fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.present += other.present;
        self.removed += other.removed;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.named.extend(other.named);
        self.named.truncate(NAMED_MAX);
    }
}

async fn look(
    target: &Target,
    account: u64,
    expected: &[MessageId],
    removed: &HashSet<(u64, MessageId)>,
) -> Result<Verdict> {
    let address = target.accounts.address(account);
    let began = Instant::now();
    loop {
        let found = present(target, account, &address)
            .await
            .with_context(|| format!("the oracle looks into {address}"))?;
        let verdict = compare(&address, expected, &found, |id| removed.contains(&(account, id)));
        if verdict.lost == 0 || began.elapsed() > ARRIVAL_MAX {
            return Ok(verdict);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// How often each message of ours is in an account's mailbox.
async fn present(target: &Target, account: u64, address: &str) -> Result<HashMap<MessageId, u32>> {
    let endpoint = target.endpoint(Protocol::Imap)?;
    let mut imap = Imap::connect(&endpoint, usize::try_from(account)?).await?;
    imap.login(address, &target.password).await?;
    let mut found = HashMap::new();
    if imap.select(MAILBOX).await? > 0 {
        imap.ask("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])", |response| {
            if let Some(id) = MessageId::find(response.text()) {
                *found.entry(id).or_default() += 1;
            }
        })
        .await?;
    }
    imap.logout().await?;
    Ok(found)
}

fn compare(
    address: &str,
    expected: &[MessageId],
    found: &HashMap<MessageId, u32>,
    is_removed: impl Fn(MessageId) -> bool,
) -> Verdict {
    let mut verdict = Verdict::default();
    for id in expected {
        verdict.acknowledged += 1;
        let count = found.get(id).copied().unwrap_or_default();
        let what = match count {
            0 | 1 if is_removed(*id) => {
                verdict.removed += 1;
                continue;
            }
            1 => {
                verdict.present += 1;
                continue;
            }
            0 => {
                verdict.lost += 1;
                "is not there".to_owned()
            }
            times => {
                verdict.doubled += 1;
                format!("is there {times} times")
            }
        };
        if verdict.named.len() < NAMED_MAX {
            verdict.named.push(format!("{id} of {address} {what}"));
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_and_doubled_messages_are_told_apart_and_named() {
        let id = |serial| MessageId { run: 1, serial };
        let found = HashMap::from([(id(0), 1), (id(1), 2), (id(3), 1), (id(9), 1)]);
        let expected: Vec<_> = (0..5).map(id).collect();
        let verdict = compare("a@x.test", &expected, &found, |id| id.serial >= 3);
        assert_eq!(
            (verdict.acknowledged, verdict.present, verdict.removed),
            (5, 1, 2)
        );
        assert_eq!((verdict.lost, verdict.doubled, verdict.is_good()), (1, 1, false));
        assert_eq!(
            verdict.named,
            [
                "<1.1@loadtest.test> of a@x.test is there 2 times",
                "<1.2@loadtest.test> of a@x.test is not there"
            ]
        );
    }

    #[test]
    fn nothing_acknowledged_is_nothing_lost() {
        assert!(compare("a@x.test", &[], &HashMap::new(), |_| false).is_good());
    }
}
