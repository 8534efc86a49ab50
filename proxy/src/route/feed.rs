//! Who is woken when a mailbox changed.
//!
//! One subscription for each (proxy, shard), however many sessions listen; a session's share of it is one receiver. Owns
//! no knowledge of what changed: a woken session asks the shard for `Changes`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;
use rookery_proto::mailstore::v1::{self as mailstore, ShardEvent, reply, request};
use rookery_proto::{CallContext, Reason, Status};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ask::start;
use super::leaders::{Leaders, Target, Way};

/// How long one subscription lives before it is begun anew.
const FEED_CALL_MAX: Duration = Duration::from_secs(3600);

/// How long to wait before a broken feed is begun anew.
const FEED_RETRY: Duration = Duration::from_millis(200);

/// How long the shard's replicas are gone round before it is said that nobody answers.
const FEED_SEARCH_MAX: Duration = Duration::from_secs(60);

/// Accounts of which it is remembered that their sessions had to end.
const ENDS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// What a session's receiver holds.
#[derive(Debug, Default)]
struct AccountFeed {
    /// The account's sessions must end.
    ended: bool,
    /// Grows when events may have been lost: everybody refreshes.
    epoch: u64,
    /// Last told modseq of each mailbox that changed; 0 stands for the set of mailboxes.
    mailboxes: HashMap<u32, u64>,
}

struct AccountEntry {
    /// Tells an entry from one that took its place.
    id: u64,
    shard: u32,
    sender: watch::Sender<AccountFeed>,
}

/// By which version of the directory's state sessions had to end: one that was granted by an older state and comes late
/// must end as well.
struct Ends {
    by_account: LruCache<u64, u64>,
    /// The newest of those that are remembered no more.
    others: u64,
}

impl Default for Ends {
    fn default() -> Self {
        Self {
            by_account: LruCache::new(ENDS_MAX),
            others: 0,
        }
    }
}

impl Ends {
    fn note(&mut self, account: u64, version: u64) {
        let known = self.by_account.pop(&account).unwrap_or(self.others);
        if let Some((_, gone)) = self.by_account.push(account, known.max(version)) {
            self.others = self.others.max(gone);
        }
    }

    fn has_after(&self, account: u64, version: u64) -> bool {
        self.by_account.peek(&account).copied().unwrap_or(self.others) > version
    }
}

#[derive(Default)]
struct Inner {
    ends: Ends,
    entries_made: u64,
    accounts: HashMap<u64, AccountEntry>,
    /// Shards that are being followed, with the number of accounts that listen.
    shards: HashMap<u32, (usize, DropGuard)>,
}

impl Inner {
    /// One account less listens to the shard.
    fn listen_no_more(&mut self, shard: u32) {
        if let Some((listeners, _)) = self.shards.get_mut(&shard) {
            *listeners -= 1;
            if *listeners == 0 {
                self.shards.remove(&shard);
            }
        }
    }
}

/// The change feeds of all shards that have listeners here.
pub struct Feed {
    inner: Mutex<Inner>,
    leaders: Arc<Leaders>,
    cancel: CancellationToken,
}

/// What woke a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The mailbox may have changed: ask for its changes.
    Changed,
    /// The account was suspended or deleted, or its password changed: say BYE.
    Ended,
}

/// A session's share of the feed. Costs one receiver.
pub struct Subscription {
    feed: Arc<Feed>,
    account: u64,
    entry: u64,
    receiver: watch::Receiver<AccountFeed>,
    epoch: u64,
    /// The account's sessions had to end after this one was granted and before it listened.
    is_late: bool,
}

impl Feed {
    /// No listeners yet. Subscriptions stop with `cancel`.
    pub(super) fn new(leaders: Arc<Leaders>, cancel: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            leaders,
            cancel,
        })
    }

    /// Listens to an account of a shard, for a session that was granted by a version of the directory's state: what ended
    /// sessions by a later one ends it too. Must be called within a tokio runtime.
    pub fn subscribe(self: &Arc<Self>, account: u64, shard: u32, granted_version: u64) -> Subscription {
        let mut inner = self.inner.lock();
        let is_late = inner.ends.has_after(account, granted_version);
        // What ended the sessions of before is not for one that logged in after it.
        let known = inner
            .accounts
            .get(&account)
            .filter(|entry| !entry.sender.borrow().ended);
        let known = known.map(|entry| (entry.id, entry.sender.subscribe()));
        let (entry, receiver) = known.unwrap_or_else(|| {
            let sender = watch::Sender::new(AccountFeed::default());
            let receiver = sender.subscribe();
            inner.entries_made += 1;
            let id = inner.entries_made;
            if inner
                .accounts
                .insert(account, AccountEntry { id, shard, sender })
                .is_none()
            {
                self.listen(&mut inner, shard);
            }
            (id, receiver)
        });
        let epoch = receiver.borrow().epoch;
        Subscription {
            is_late,
            feed: Arc::clone(self),
            account,
            entry,
            receiver,
            epoch,
        }
    }

    /// Ends the account's sessions here, and those that come later and were granted by a version before this one.
    pub fn end(&self, account: u64, version: u64) {
        let mut inner = self.inner.lock();
        inner.ends.note(account, version);
        if let Some(entry) = inner.accounts.get(&account) {
            entry.sender.send_modify(|feed| feed.ended = true);
        }
    }

    /// The account is in another shard: it is listened to there, and its sessions look for what they may have missed.
    pub(super) fn moved(self: &Arc<Self>, account: u64, shard: u32) {
        let mut inner = self.inner.lock();
        let Some(entry) = inner
            .accounts
            .get_mut(&account)
            .filter(|entry| entry.shard != shard)
        else {
            return;
        };
        let before = std::mem::replace(&mut entry.shard, shard);
        entry.sender.send_modify(|feed| feed.epoch += 1);
        self.listen(&mut inner, shard);
        inner.listen_no_more(before);
    }

    /// The directory's state may be another one by now: of which version a session is says nothing.
    pub fn forget_ends(&self) {
        self.inner.lock().ends = Ends::default();
    }

    /// Wakes everybody: something may have been missed.
    pub fn refresh(&self) {
        for entry in self.inner.lock().accounts.values() {
            entry.sender.send_modify(|feed| feed.epoch += 1);
        }
    }

    fn listen(self: &Arc<Self>, inner: &mut Inner, shard: u32) {
        if let Some((listeners, _)) = inner.shards.get_mut(&shard) {
            *listeners += 1;
            return;
        }
        let cancel = self.cancel.child_token();
        inner.shards.insert(shard, (1, cancel.clone().drop_guard()));
        let feed = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = feed.follow(shard) => {}
            }
        });
    }

    /// Follows whoever leads the shard.
    async fn follow(&self, shard: u32) {
        let mut way = self.leaders.way(shard);
        loop {
            let patience = Instant::now() + FEED_SEARCH_MAX;
            let target = match self.leaders.next(&mut way, patience).await {
                Ok(target) => target,
                Err(status) => {
                    tracing::debug!(shard, %status, "nobody feeds changes of the shard");
                    way = self.leaders.way(shard);
                    continue;
                }
            };
            let mut was_heard = false;
            let outcome = tokio::select! {
                outcome = self.follow_one(&mut way, &target, &mut was_heard) => outcome,
                // One that is cut off, or stands still, would not say so itself.
                () = self.leaders.another_leads(shard, &target.node) => {
                    Err(Status::new(Reason::NotLeader, "another node leads now"))
                }
            };
            let Err(status) = outcome;
            tracing::debug!(shard, node = target.node, %status, "the change feed broke; beginning anew");
            self.leaders.failed(&mut way, &target.node, &status);
            if was_heard {
                tokio::time::sleep(FEED_RETRY).await;
            }
        }
    }

    async fn follow_one(
        &self,
        way: &mut Way,
        target: &Target,
        was_heard: &mut bool,
    ) -> Result<Infallible, Status> {
        let shard = way.shard();
        let watch = request::Call::Watch(mailstore::Watch { shard });
        let context = CallContext::with_timeout(FEED_CALL_MAX);
        let mut replies = start(target, context, 0, watch, None, None);
        while let Some(item) = replies.next().await {
            match item? {
                mailstore::Reply {
                    call: Some(reply::Call::ShardEvent(event)),
                } => {
                    if !*was_heard {
                        *was_heard = true;
                        self.leaders.found(way, &target.node);
                    }
                    self.take(shard, event);
                }
                _ => return Err(Status::internal("the change feed answered something else")),
            }
        }
        Err(Status::unavailable("the change feed has ended"))
    }

    fn take(&self, shard: u32, event: ShardEvent) {
        let inner = self.inner.lock();
        if event.overflow {
            for entry in inner.accounts.values().filter(|entry| entry.shard == shard) {
                entry.sender.send_modify(|feed| feed.epoch += 1);
            }
        }
        for changed in event.mailboxes {
            if let Some(entry) = inner.accounts.get(&changed.account) {
                entry.sender.send_modify(|feed| {
                    let told = feed.mailboxes.entry(changed.mailbox).or_default();
                    *told = (*told).max(changed.modseq);
                });
            }
        }
    }

    fn leave(&self, account: u64, id: u64) {
        let mut inner = self.inner.lock();
        let Some(entry) = inner.accounts.get(&account).filter(|entry| entry.id == id) else {
            return;
        };
        // The receiver that leaves is still counted.
        if entry.sender.receiver_count() > 1 {
            return;
        }
        let shard = entry.shard;
        inner.accounts.remove(&account);
        inner.listen_no_more(shard);
    }
}

impl Subscription {
    /// Waits until the mailbox may have changed after `since` (a modseq), or the session must end. Cancel-safe.
    pub async fn changed(&mut self, mailbox: u32, since: u64) -> Wake {
        loop {
            {
                let feed = self.receiver.borrow_and_update();
                if feed.ended || self.is_late {
                    return Wake::Ended;
                }
                if feed.epoch != self.epoch {
                    self.epoch = feed.epoch;
                    return Wake::Changed;
                }
                if feed.mailboxes.get(&mailbox).is_some_and(|told| *told > since) {
                    return Wake::Changed;
                }
            }
            if self.receiver.changed().await.is_err() {
                return Wake::Ended;
            }
        }
    }

    /// Waits until the session must end. Cancel-safe.
    pub async fn ended(&mut self) {
        if self.is_late {
            return;
        }
        // A closed channel means that the proxy stops: that ends the session as well.
        let _ = self.receiver.wait_for(|feed| feed.ended).await;
    }

    /// Whether the session must end.
    pub fn is_ended(&self) -> bool {
        self.is_late || self.receiver.borrow().ended
    }

    /// The last modseq of the mailbox that was told, 0 if none was.
    pub fn told(&self, mailbox: u32) -> u64 {
        self.receiver
            .borrow()
            .mailboxes
            .get(&mailbox)
            .copied()
            .unwrap_or(0)
    }

    /// Whether the mailbox may have changed after `since`, without waiting.
    pub fn has_changed(&mut self, mailbox: u32, since: u64) -> bool {
        let feed = self.receiver.borrow_and_update();
        let refreshed = feed.epoch != self.epoch;
        self.epoch = feed.epoch;
        refreshed || feed.mailboxes.get(&mailbox).is_some_and(|told| *told > since)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.leave(self.account, self.entry);
    }
}
