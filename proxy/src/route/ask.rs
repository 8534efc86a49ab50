//! Calls on the leader of a shard, whoever that is when they are made.
//!
//! A call with one reply is made again, with the same idempotency key, until somebody answers it or its deadline comes.
//! A node that says nothing is not waited for alone: another replica is asked as well, and the first to answer counts.
//! A stream is begun anew by its reader, who knows how far it has come.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rookery_process::traces::{self, Traced};
use rookery_proto::mailstore::v1::{self as mailstore, IdempotencyKey, Reply, reply, request};
use rookery_proto::{Body, Call, CallContext, MailstoreProtocol, Protocol, Reason, Replies, Status};
use tokio::time::{Instant, sleep_until, timeout};

use super::account::Account;
use super::cluster::Cluster;
use super::leaders::{Target, Way};

/// Pause before a token is asked for again while the directory is away.
const TOKEN_PAUSE: Duration = Duration::from_millis(250);

/// How soon another node is asked again while one is silent and nobody has said that it leads.
const RIVAL_PAUSE: Duration = Duration::from_secs(1);

/// For whom a call is made.
#[derive(Clone, Copy)]
pub(crate) enum Bearer<'a> {
    /// A session's account.
    Account(&'a Account),
    /// Whoever a token names; an empty one where the call needs none.
    Token(&'a Bytes),
}

impl Bearer<'_> {
    fn seen_modseq(&self) -> u64 {
        match self {
            Bearer::Account(account) => account.seen_modseq(),
            Bearer::Token(_) => 0,
        }
    }

    /// MOVED when the account is known to be in another shard by now, whose token is of no use in this one.
    pub(super) fn check_place(&self, shard: u32) -> Result<(), Status> {
        match self {
            Bearer::Account(account) if account.shard() != shard => {
                let message = format!("account {} has left shard {shard}", account.id());
                Err(Status::new(Reason::Moved, message))
            }
            _ => Ok(()),
        }
    }

    fn saw(&self, reply: &reply::Call) {
        if let Bearer::Account(account) = self {
            account.saw_reply(reply);
        }
    }
}

impl Cluster {
    /// The bearer's token, waited for until the deadline.
    pub(super) async fn token_of(
        &self,
        bearer: Bearer<'_>,
        deadline: std::time::Instant,
    ) -> Result<Bytes, Status> {
        let account = match bearer {
            Bearer::Token(token) => return Ok(token.clone()),
            Bearer::Account(account) => account,
        };
        loop {
            match account.token(deadline).await {
                Err(status)
                    if status.is_retryable() && std::time::Instant::now() + TOKEN_PAUSE < deadline =>
                {
                    tokio::time::sleep(TOKEN_PAUSE).await;
                }
                token => return token,
            }
        }
    }

    /// Makes a call that has one reply, again and again until the deadline where that is safe.
    pub(super) async fn ask_leader(
        &self,
        shard: u32,
        bearer: Bearer<'_>,
        call: request::Call,
        key: Option<IdempotencyKey>,
        deadline: std::time::Instant,
    ) -> Result<reply::Call, Status> {
        let traced = traced(&call, shard);
        let asking = self.ask_until_answered(shard, bearer, call, key, deadline, &traced);
        let answer = traced.run(asking).await;
        traced.ended(answer.as_ref().err().map(Status::for_traces));
        answer
    }

    async fn ask_until_answered(
        &self,
        shard: u32,
        bearer: Bearer<'_>,
        call: request::Call,
        key: Option<IdempotencyKey>,
        deadline: std::time::Instant,
        traced: &Traced,
    ) -> Result<reply::Call, Status> {
        let leaders = self.leaders();
        let mut way = leaders.way(shard);
        let mut running = FuturesUnordered::new();
        // Who is being asked, and until when their silence is borne.
        let mut asked: Vec<String> = Vec::new();
        let mut silent_at = Instant::now();
        let mut has_rivals = false;
        let mut token = Bytes::new();
        let mut attempts = 0;
        loop {
            let next = if running.is_empty() {
                token = self.token_of(bearer, deadline).await?;
                bearer.check_place(shard)?;
                let target = leaders.next(&mut way, deadline).await?;
                has_rivals = target.has_rivals();
                silent_at = Instant::now() + way.tour.silence();
                Some(target)
            } else if way.tour.has_hint() {
                leaders.next_now(&mut way)
            } else if Instant::now() >= silent_at {
                way.tour.was_silent();
                silent_at = Instant::now() + way.tour.silence();
                leaders.next_now(&mut way).or_else(|| {
                    way.tour.end_round(&asked);
                    leaders.next_now(&mut way)
                })
            } else {
                None
            };
            if let Some(target) = next {
                attempts += 1;
                traced.count("rookery.attempts", attempts);
                let context = context(token.clone(), deadline, traced);
                let replies = start(
                    &target,
                    context,
                    bearer.seen_modseq(),
                    call.clone(),
                    key.clone(),
                    None,
                );
                asked.push(target.node.clone());
                running.push(async move { (target.node, replies.single().await) });
            }
            let (node, answer) = tokio::select! {
                biased;
                Some(answer) = running.next() => answer,
                // No timer for a shard that has one replica.
                () = sleep_until(silent_at), if has_rivals => continue,
            };
            match answer {
                Ok(Reply { call: Some(reply) }) => {
                    leaders.found(&mut way, &node);
                    bearer.saw(&reply);
                    return Ok(reply);
                }
                Ok(_) => return Err(Status::internal("the mailstore sent an empty reply")),
                Err(status) if status.is_retryable() => {
                    asked.retain(|one| *one != node);
                    leaders.failed(&mut way, &node, &status);
                    if !asked.contains(&status.leader) {
                        silent_at = silent_at.min(Instant::now() + RIVAL_PAUSE);
                    }
                }
                Err(status) => return Err(status),
            }
        }
    }

    /// A stream of replies, to be opened.
    pub(crate) fn stream<'a>(self: &Arc<Self>, shard: u32, bearer: Bearer<'a>) -> LeaderStream<'a> {
        LeaderStream {
            cluster: Arc::clone(self),
            bearer,
            way: self.leaders().way(shard),
            open: None,
        }
    }
}

pub(super) fn context(token: Bytes, deadline: std::time::Instant, traced: &Traced) -> CallContext {
    CallContext {
        deadline,
        traceparent: traced.traceparent(),
        token,
    }
}

/// A call on a shard, as the traced work that sets it off sees it.
pub(super) fn traced(call: &request::Call, shard: u32) -> Traced {
    let traced = traces::call(MailstoreProtocol::NAME, call.name());
    traced.count("rookery.shard", shard.into());
    traced
}

/// Starts a call at a node.
pub(super) fn start(
    target: &Target,
    context: CallContext,
    seen_modseq: u64,
    call: request::Call,
    key: Option<IdempotencyKey>,
    body: Option<Body>,
) -> Replies<MailstoreProtocol> {
    let request = mailstore::Request {
        shard_generation: target.placement.generation,
        key,
        seen_modseq,
        call: Some(call),
    };
    target.caller.call(Call {
        context,
        request,
        body,
    })
}

/// Replies of the leader of a shard, one call after the other: who has opened it again goes on at another node when the
/// first one failed.
pub(crate) struct LeaderStream<'a> {
    cluster: Arc<Cluster>,
    bearer: Bearer<'a>,
    way: Way,
    open: Option<Open>,
}

struct Open {
    node: String,
    has_rivals: bool,
    first: Option<Reply>,
    replies: Replies<MailstoreProtocol>,
    traced: Traced,
}

impl LeaderStream<'_> {
    /// Makes the call, and makes it again until somebody begins to answer it, but not later than `until`.
    pub(crate) async fn open(
        &mut self,
        call: request::Call,
        until: std::time::Instant,
        deadline: std::time::Instant,
    ) -> Result<(), Status> {
        self.open = None;
        let leaders = Arc::clone(self.cluster.leaders());
        loop {
            let token = self.cluster.token_of(self.bearer, until).await?;
            if let Bearer::Account(account) = self.bearer
                && account.shard() != self.way.shard()
            {
                self.way = leaders.way(account.shard());
            }
            let target = leaders.next(&mut self.way, until).await?;
            let seen_modseq = self.bearer.seen_modseq();
            let traced = traced(&call, self.way.shard());
            let replies = start(
                &target,
                context(token, deadline, &traced),
                seen_modseq,
                call.clone(),
                None,
                None,
            );
            let mut open = Open {
                has_rivals: target.has_rivals(),
                node: target.node,
                first: None,
                replies,
                traced,
            };
            match self.heard(&mut open).await {
                None => return Ok(()),
                Some(Ok(first)) => {
                    open.first = Some(first);
                    self.open = Some(open);
                    return Ok(());
                }
                Some(Err(status)) if status.is_retryable() => {}
                Some(Err(status)) => match self.bearer {
                    Bearer::Account(account) if status.reason == Reason::Moved => {
                        account.find_again(self.way.shard(), until).await?;
                        self.way = leaders.way(account.shard());
                    }
                    _ => return Err(status),
                },
            }
        }
    }

    /// The next reply; `None` when all has been said. After an error it is to be opened again.
    pub(crate) async fn next(&mut self) -> Option<Result<Reply, Status>> {
        let mut open = self.open.take()?;
        let next = match open.first.take() {
            Some(first) => Some(Ok(first)),
            None => self.heard(&mut open).await,
        };
        if matches!(next, Some(Ok(_))) {
            self.open = Some(open);
        }
        next
    }

    async fn heard(&mut self, open: &mut Open) -> Option<Result<Reply, Status>> {
        let silence = self.way.tour.silence();
        let next = if open.has_rivals {
            timeout(silence, open.replies.next()).await.unwrap_or_else(|_| {
                self.way.tour.was_silent();
                let message = format!("{} has said nothing for {silence:?}", open.node);
                Some(Err(Status::unavailable(message)))
            })
        } else {
            open.replies.next().await
        };
        let leaders = self.cluster.leaders();
        match &next {
            None => {
                open.traced.ended(None);
                leaders.found(&mut self.way, &open.node);
            }
            Some(Ok(reply)) => {
                leaders.found(&mut self.way, &open.node);
                if let Some(reply) = &reply.call {
                    self.bearer.saw(reply);
                }
            }
            Some(Err(status)) => {
                open.traced.ended(Some(status.for_traces()));
                tracing::debug!(shard = self.way.shard(), node = open.node, %status, "a stream broke off");
                leaders.failed(&mut self.way, &open.node, status);
            }
        }
        next
    }
}
