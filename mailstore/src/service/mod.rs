//! The calls on a node's shards.
//!
//! Decides who may do what and where ([`access`]), makes message bytes ready ([`bodies`]), hands mutations to the shard's
//! writer and reads to threads that may block. A mutation that has begun goes on when its caller has gone, so that its
//! retry finds it done. Never plans and never writes itself.

mod access;
mod backup;
mod bodies;
mod compare;
mod deliver;
mod handoff;
mod heaviest;
mod load;
mod members;
mod meter;
mod moved;
mod mutate;
mod reads;
mod roles;
mod shards;
#[cfg(test)]
mod tests;
mod tokens;
mod upload;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use rookery_process::traces;
use rookery_proto::directory::v1::Rights;
use rookery_proto::mailstore::v1::{Reply, request::Call};
use rookery_proto::status::outcome;
use rookery_proto::{Incoming, MailstoreProtocol, Protocol, Reason, ReplySink, Service, Status};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::analysis::Analyser;
use crate::body::BodyStore;
use crate::catalogue::{CALL_SECONDS, CALLS_TOTAL};
use crate::read::{OpenCache, ReadThreads};
use meter::metered;
use reads::Places;
pub use shards::{HostedShard, Shards};
pub use tokens::{Grant, Tokens};

/// What a service is built from.
pub struct ServiceParts {
    /// The shards that this node serves.
    pub shards: Arc<Shards>,
    /// Who checks tokens.
    pub tokens: Arc<Tokens>,
    /// Who looks into new messages.
    pub analyser: Analyser,
    /// Where bodies are.
    pub bodies: Arc<dyn BodyStore>,
    /// Reads at one time.
    pub reads_max: usize,
    /// Searches at one time.
    pub searches_max: usize,
    /// The largest body of a message in bytes.
    pub body_bytes_max: u64,
}

/// Answers the calls of proxies and of the directory.
pub struct MailstoreService {
    shards: Arc<Shards>,
    tokens: Arc<Tokens>,
    analyser: Analyser,
    bodies: Arc<dyn BodyStore>,
    open_cache: Arc<OpenCache>,
    reads: Places,
    searches: Places,
    threads: Arc<ReadThreads>,
    body_bytes_max: u64,
    /// So far.
    calls: AtomicU64,
    /// Mutations under way, which outlive their callers.
    tasks: TaskTracker,
    /// Ends watches, before the calls that others have under way.
    watches_end: CancellationToken,
}

impl MailstoreService {
    /// A service over shards that come and go.
    pub fn new(parts: ServiceParts) -> Arc<Self> {
        let store = parts.shards.member().store();
        Arc::new(Self {
            reads: Places::new("read", Arc::clone(store), parts.reads_max),
            searches: Places::new("search", Arc::clone(store), parts.searches_max),
            threads: Arc::new(match store.may_wait() {
                true => ReadThreads::new(),
                false => ReadThreads::none(),
            }),
            shards: parts.shards,
            tokens: parts.tokens,
            analyser: parts.analyser,
            bodies: parts.bodies,
            open_cache: Arc::default(),
            body_bytes_max: parts.body_bytes_max,
            calls: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            watches_end: CancellationToken::new(),
        })
    }

    /// Ends watches, and those that come later at once: they never end by themselves, and who stops the listener of the
    /// calls would wait for them.
    pub fn end_watches(&self) {
        self.watches_end.cancel();
    }

    /// Waits for mutations under way. No new ones must come.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn dispatch(
        self: Arc<Self>,
        mut incoming: Incoming<MailstoreProtocol>,
        replies: ReplySink<MailstoreProtocol>,
    ) -> Result<(), Status> {
        let call = incoming
            .request
            .call
            .take()
            .ok_or_else(|| Status::invalid("the request names no call"))?;
        roles::check_role(&incoming.peer, &call)?;
        let answer = match call {
            Call::ListMailboxes(_) => {
                let (_, snapshot) = self.readable(&incoming).await?;
                self.list_mailboxes(snapshot).await?
            }
            Call::OpenMailbox(open) => {
                let (_, snapshot) = self.readable(&incoming).await?;
                self.open_mailbox(snapshot, open).await?
            }
            Call::ClaimRecent(claim) => {
                let (_, snapshot) = self.readable(&incoming).await?;
                self.claim_recent(snapshot, claim).await?
            }
            Call::Changes(changes) => {
                let (_, snapshot) = self.readable(&incoming).await?;
                self.changes(snapshot, changes).await?
            }
            Call::Fetch(fetch) => {
                let (shard, snapshot) = self.readable(&incoming).await?;
                return self.fetch(&shard, snapshot, fetch, &replies).await;
            }
            Call::Search(search) => {
                let (_, snapshot) = self.readable(&incoming).await?;
                self.search(snapshot, search).await?
            }
            Call::Upload(upload) => Box::pin(self.upload(incoming, upload, &replies)).await?,
            Call::Append(append) => {
                let (shard, grant) = self.access(&incoming, Rights::Owner).await?;
                let key = mutate::key(&incoming)?;
                self.to_completion(move |service| service.append(shard, grant, key, append))
                    .await?
            }
            Call::Deliver(deliver) => {
                let (shard, grant) = self.access(&incoming, Rights::Deliver).await?;
                let holder = incoming.peer;
                self.to_completion(move |service| service.deliver(shard, grant, holder, deliver))
                    .await?
            }
            Call::HandOff(hand_off) => {
                let (shard, grant) = self.access(&incoming, Rights::Deliver).await?;
                self.to_completion(move |service| service.hand_off(shard, grant, hand_off))
                    .await?
            }
            Call::LeaseHandOffs(lease) => return self.lease_hand_offs(&incoming, lease, &replies).await,
            Call::ExportShard(export) => return self.export_shard(&incoming, export, &replies).await,
            Call::ExportAccount(export) => return self.export_account(&incoming, export, &replies).await,
            Call::TakeRows(take) => Box::pin(self.take_rows(incoming, take)).await?,
            Call::ImportRows(import) => Box::pin(self.import_rows(incoming, import)).await?,
            Call::CompareReplicas(compare) => self.compare_replicas(&incoming, compare).await?,
            Call::Watch(watch) => return self.watch(&incoming, watch, &replies).await,
            other => self.mutate(&incoming, other).await?,
        };
        replies.send(Reply { call: Some(answer) }).await
    }
}

impl Service<MailstoreProtocol> for MailstoreService {
    fn serve(
        self: Arc<Self>,
        call: Incoming<MailstoreProtocol>,
        replies: ReplySink<MailstoreProtocol>,
    ) -> BoxFuture<'static, Result<(), Status>> {
        let name = call.request.call.as_ref().map_or("other", Call::name);
        let traced = traces::served(MailstoreProtocol::NAME, name, &call.context.traceparent);
        if traced.is_traced() {
            traced.set("rookery.node", self.shards.member().node().to_owned());
            traced.set("rookery.peer", call.peer.node.clone());
        }
        let serving = async move {
            let shards = Arc::clone(&self.shards);
            let number = self.calls.fetch_add(1, Ordering::Relaxed);
            let began = Instant::now();
            // In a simulation no two runs would be alike.
            let result = match shards.member().store().may_wait() {
                true => metered(number, self.dispatch(call, replies)).await,
                false => self.dispatch(call, replies).await,
            };
            let result = result.map_err(|status| match status.reason {
                // This node hands its shards over: another one has what is damaged here.
                Reason::Damaged if shards.others_hold_all() => Status::unavailable(status.message),
                _ => status,
            });
            CALLS_TOTAL.with(&[name, outcome(&result)]).increment(1);
            CALL_SECONDS.since(&[name], began);
            traces::current().ended(result.as_ref().err().map(Status::for_traces));
            result
        };
        Box::pin(traced.run(serving))
    }
}

/// Now, in unix milliseconds.
pub(crate) fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
