//! Makes the shards agree with the accounts' rows: puts accounts on them, tells them of quotas, purges deleted accounts.
//!
//! Work is named by *due* rows, which are written with the change that needs it and removed when the shard has answered.
//! A request does its own work at once; what it could not do, or a crash left over, is found by [`reconcile`]. All calls
//! are idempotent, and for one account never two at a time, so that an older one cannot overtake a newer.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use rookery_proto::directory::v1::Node;
use rookery_proto::mailstore::v1::{self as mailstore, request};
use rookery_proto::{Body, Call, CallContext, Caller, MailstoreProtocol, Reason, Replies, Status};
use tokio_util::sync::CancellationToken;

use crate::clock::now_millis;
use crate::plan::account::{self, Purged, Told};
use crate::schema::read::ReadError;
use crate::schema::row::{Account, Life};
use crate::schema::{AccountId, ShardId, key};
use crate::state::State;
use crate::watch::Picture;

/// Pause before a shard's leader is looked for again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How long a shard has to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Calls under way at a time.
const CALLS_MAX: usize = 64;

/// Due rows that are looked at in one go.
const PAGE_MAX: usize = 256;

/// Time between two looks.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(1);

/// Locks that accounts share by their ids.
const LOCKS: usize = 256;

/// Gives channels to mailstore nodes, over the network or within the process.
pub trait Mailstores: Send + Sync + 'static {
    /// A channel to a node. Does not block.
    fn mailstore(&self, node: &Node) -> Arc<dyn Caller<MailstoreProtocol>>;
}

/// That an account is to be looked at from a time (unix milliseconds) on.
pub type Due = (u64, AccountId);

/// Talks to the shards.
pub struct Provisioner {
    state: Arc<State>,
    picture: Arc<Picture>,
    mailstores: Arc<dyn Mailstores>,
    locks: Vec<tokio::sync::Mutex<()>>,
}

/// A call on a shard's leader that is under way.
pub struct ShardCall {
    replies: Replies<MailstoreProtocol>,
    /// A channel that is dropped ends its calls.
    _channel: Arc<dyn Caller<MailstoreProtocol>>,
}

impl ShardCall {
    /// The next reply; `None` at the good end.
    pub async fn next(&mut self) -> Option<Result<mailstore::Reply, Status>> {
        self.replies.next().await
    }

    /// The one reply of a call that has just one.
    pub async fn single(self) -> Result<mailstore::Reply, Status> {
        let Self { replies, _channel } = self;
        replies.single().await
    }
}

/// What came of one due row.
enum Outcome {
    Told(Told),
    Gone(Purged),
    Failed(Status),
}

impl Provisioner {
    /// Over these channels.
    pub fn new(state: Arc<State>, picture: Arc<Picture>, mailstores: Arc<dyn Mailstores>) -> Self {
        let locks = (0..LOCKS).map(|_| tokio::sync::Mutex::default()).collect();
        Self {
            state,
            picture,
            mailstores,
            locks,
        }
    }

    /// Does what is due for these accounts, and notes what is done. The error is that of one that failed; the others are
    /// done nevertheless.
    pub async fn settle(&self, dues: Vec<Due>) -> Result<(), Status> {
        let (mut told, mut gone, mut failure) = (Vec::new(), Vec::new(), None);
        let mut outcomes = futures_util::stream::iter(dues)
            .map(|due| self.settle_one(due))
            .buffer_unordered(CALLS_MAX);
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Outcome::Told(one) => told.push(one),
                Outcome::Gone(one) => gone.push(one),
                Outcome::Failed(status) => failure = Some(status),
            }
        }
        drop(outcomes);
        if !told.is_empty() {
            self.state
                .change(move |rows| account::made_live(rows, &told))
                .await?;
        }
        if !gone.is_empty() {
            self.state
                .change(move |rows| account::purged(rows, &gone))
                .await?;
        }
        failure.map_or(Ok(()), Err)
    }

    async fn settle_one(&self, (due_millis, id): Due) -> Outcome {
        let Some(lock) = self.locks.get(id.0 as usize % LOCKS) else {
            return Outcome::Failed(Status::internal("no lock"));
        };
        let _held = lock.lock().await;
        let read = self
            .state
            .read(move |rows| Ok::<_, ReadError>((rows.account(id)?, rows.awaited(id)?)));
        let account = match read.await {
            // Its shard must not make it anew before its rows have come.
            Ok(Ok((Some(_), Some(_)))) => {
                return Outcome::Failed(Status::unavailable(format!(
                    "account {id} is being restored: run the restore to its end"
                )));
            }
            Ok(Ok((Some(account), None))) => account,
            // It was purged already.
            Ok(Ok((None, _))) => {
                return Outcome::Gone(Purged {
                    due_millis,
                    id,
                    shard: ShardId(0),
                    generation: 0,
                });
            }
            Ok(Err(error)) => return Outcome::Failed(error.into()),
            Err(status) => return Outcome::Failed(status),
        };
        let told = Told {
            due_millis,
            id,
            quota_bytes: account.quota_bytes,
        };
        if account.life() != Life::Deleted {
            let call = request::Call::PutAccount(mailstore::PutAccount {
                shard: account.shard,
                account: id.0,
                generation: account.generation,
                quota_bytes: account.quota_bytes,
            });
            return self
                .call(&account, call)
                .await
                .map_or_else(Outcome::Failed, |()| Outcome::Told(told));
        }
        if due_millis < account.purge_at_millis {
            // From before it was deleted.
            return Outcome::Told(told);
        }
        let call = request::Call::PurgeAccount(mailstore::PurgeAccount {
            shard: account.shard,
            account: id.0,
            generation: account.generation,
        });
        let purged = Purged {
            due_millis,
            id,
            shard: ShardId(account.shard),
            generation: account.generation,
        };
        self.call(&account, call)
            .await
            .map_or_else(Outcome::Failed, |()| Outcome::Gone(purged))
    }

    /// Makes a call on the node that leads the account's shard: both calls that are made so may be made again.
    async fn call(&self, account: &Account, call: request::Call) -> Result<(), Status> {
        self.ask_leader(account.shard, call, CALL_TIMEOUT).await.map(drop)
    }

    /// Makes a call that has one reply, and may be made again, on the node that leads a shard. When there are several that may
    /// lead it, it is tried until one does, for a few seconds; whoever leads may take longer to answer.
    pub async fn ask_leader(
        &self,
        shard: u32,
        call: request::Call,
        timeout: Duration,
    ) -> Result<mailstore::Reply, Status> {
        self.ask_leader_with(shard, call, None, timeout).await
    }

    /// The same with a body.
    pub async fn ask_leader_with(
        &self,
        shard: u32,
        call: request::Call,
        body: Option<Bytes>,
        timeout: Duration,
    ) -> Result<mailstore::Reply, Status> {
        let began = Instant::now();
        let (tried_until, deadline) = (began + CALL_TIMEOUT, began + timeout);
        let mut hint = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let body = body.clone().map(Body::whole);
            let begun = self.call_node(shard, &hint, call.clone(), body, left);
            let result = match begun {
                Ok(begun) => begun.single().await,
                Err(status) => Err(status),
            };
            match result {
                Err(status)
                    if status.is_retryable()
                        && (status.reason != Reason::Unavailable || self.picture.is_settling(shard))
                        && Instant::now() + RETRY_PAUSE < tried_until =>
                {
                    hint = status.leader;
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                result => return result,
            }
        }
    }

    /// Begins a call on the node that leads a shard.
    pub fn call_leader(
        &self,
        shard: u32,
        call: request::Call,
        body: Option<Body>,
        timeout: Duration,
    ) -> Result<ShardCall, Status> {
        self.call_node(shard, "", call, body, timeout)
    }

    /// The same on a certain node, if that is known.
    fn call_node(
        &self,
        shard: u32,
        node: &str,
        call: request::Call,
        body: Option<Body>,
        timeout: Duration,
    ) -> Result<ShardCall, Status> {
        let (placement, leader) = self
            .picture
            .leader(shard)
            .ok_or_else(|| Status::unavailable(format!("the shard {shard} has no place yet")))?;
        let node = self.picture.node(node).unwrap_or(leader);
        let request = mailstore::Request {
            shard_generation: placement.generation,
            key: None,
            seen_modseq: 0,
            call: Some(call),
        };
        let context = CallContext::with_timeout(timeout);
        let channel = self.mailstores.mailstore(&node);
        let replies = channel.call(Call {
            context,
            request,
            body,
        });
        Ok(ShardCall {
            replies,
            _channel: channel,
        })
    }
}

/// Looks for what is due and does it, page by page, until cancelled.
pub async fn reconcile(provisioner: Arc<Provisioner>, state: Arc<State>, cancel: CancellationToken) {
    let mut interval = tokio::time::interval(RECONCILE_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = interval.tick() => {}
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            result = reconcile_once(&provisioner, &state) => {
                if let Err(error) = result {
                    tracing::warn!(%error, "cannot bring accounts and shards together; trying again");
                }
            }
        }
    }
}

async fn reconcile_once(provisioner: &Provisioner, state: &State) -> Result<(), Status> {
    let now = now_millis();
    let mut after: Option<Due> = None;
    let mut failure = None;
    loop {
        let page = state.read(move |rows| page(rows, now, after)).await??;
        let Some(last) = page.last() else {
            return failure.map_or(Ok(()), Err);
        };
        after = Some(*last);
        // A shard that is away must not keep the others' accounts from being done.
        if let Err(status) = provisioner.settle(page).await {
            failure = Some(status);
        }
    }
}

fn page(
    rows: crate::schema::read::Rows<'_>,
    now_millis: u64,
    after: Option<Due>,
) -> Result<Vec<Due>, ReadError> {
    let mut range = key::dues_until(now_millis);
    if let Some((at, id)) = after {
        range.from = key::due(at, id);
        range.from.push(0);
    }
    let mut page = Vec::new();
    rows.keys(&range, |key| {
        page.extend(key::read_due(key));
        if page.len() < PAGE_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(page)
}
