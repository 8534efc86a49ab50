//! What a proxy's sessions hold of the cluster: the directory, the shard map, channels, caches, the change feed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::Rng;
use rookery_process::traces;
use rookery_proto::directory::v1::{self as directory, Authenticated, ResolvedRecipient, reply, request};
use rookery_proto::mailstore::v1 as mailstore;
use rookery_proto::status::outcome;
use rookery_proto::{Call, CallContext, Caller, DirectoryProtocol, Protocol, Reason, Status};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::account::Account;
use super::ask::Bearer;
use super::feed::Feed;
use super::leaders::Leaders;
use super::logins::Logins;
use super::nodes::{Connect, Nodes};
use super::recipients::Recipients;
use super::watch::{self, Notice, Picture};
use crate::catalogue::{DIRECTORY_CALL_SECONDS, DIRECTORY_CALLS_TOTAL, directory_call, looked_up};

/// How long the directory is waited for by a login that it has granted lately.
const KNOWN_LOGIN_WAIT_MAX: Duration = Duration::from_secs(3);

/// How patient a proxy is.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// How long a client's command waits for its shard.
    pub patience: Duration,
    /// How long a node may say nothing to a call before another replica of the shard is asked as well.
    pub silence: Duration,
    /// How long a lookup or a login waits for the directory.
    pub lookup_timeout: Duration,
    /// The age of the watch from which on nothing that is cached counts.
    pub watch_age_max: Duration,
    /// How long after the directory has checked a password it lets in again while the directory cannot be asked. Zero:
    /// never.
    pub logins_kept: Duration,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(30),
            silence: Duration::from_secs(3),
            lookup_timeout: Duration::from_secs(10),
            watch_age_max: Duration::from_secs(5),
            logins_kept: Duration::from_secs(15 * 60),
        }
    }
}

/// The cluster as this proxy sees it.
pub struct Cluster {
    options: ClusterOptions,
    directory: Arc<dyn Caller<DirectoryProtocol>>,
    picture: Arc<Picture>,
    leaders: Arc<Leaders>,
    feed: Arc<Feed>,
    recipients: Recipients,
    logins: Logins,
    /// Grows when notices may have been missed: what the directory once granted is to be asked for again.
    grants_epoch: AtomicU64,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Cluster {
    /// Begins to follow the directory. Must be called within a tokio runtime.
    pub fn start(
        options: ClusterOptions,
        directory: Arc<dyn Caller<DirectoryProtocol>>,
        connect: Arc<dyn Connect>,
    ) -> Arc<Self> {
        let cancel = CancellationToken::new();
        let picture = Picture::new();
        let nodes = Arc::new(Nodes::new(connect));
        let leaders = Arc::new(Leaders::new(Arc::clone(&picture), nodes, options.silence));
        let feed = Feed::new(Arc::clone(&leaders), cancel.child_token());
        let cluster = Arc::new(Self {
            logins: Logins::new(options.logins_kept),
            options,
            directory,
            picture,
            leaders,
            feed,
            recipients: Recipients::default(),
            grants_epoch: AtomicU64::new(0),
            cancel,
            tasks: TaskTracker::new(),
        });
        // Subscribed before the watch begins, so that no notice is missed.
        cluster
            .tasks
            .spawn(Arc::clone(&cluster).heed(cluster.picture.notices()));
        cluster.tasks.spawn(watch::follow(
            Arc::clone(&cluster.picture),
            Arc::clone(&cluster.directory),
            cluster.cancel.clone(),
        ));
        cluster
    }

    /// Stops following and waits for the tasks.
    pub async fn stop(&self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Patience and bounds.
    pub fn options(&self) -> &ClusterOptions {
        &self.options
    }

    /// The directory's picture of nodes and shards.
    pub fn picture(&self) -> &Arc<Picture> {
        &self.picture
    }

    /// Who leads each shard.
    pub(super) fn leaders(&self) -> &Arc<Leaders> {
        &self.leaders
    }

    /// Logins that were granted lately.
    pub(super) fn logins(&self) -> &Logins {
        &self.logins
    }

    /// The change feed.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Whether logins and lookups have a chance: a shard map is known and not too old.
    pub fn is_ready(&self) -> bool {
        self.picture.is_known() && self.fresh_snapshots().is_some()
    }

    /// Whether clients are to come here: the directory has named a shard map, and was heard no longer ago than it takes until no login
    /// that it has granted counts. A directory that is away takes all proxies' logins alike, so it must not take them all out of
    /// service while known people may still log in; a proxy that has not heard it for longer can do nothing that another
    /// could not do better.
    pub fn is_of_use(&self) -> bool {
        let age_max = self.options.logins_kept.max(self.options.watch_age_max);
        self.picture.is_known() && self.picture.snapshots_if_heard(age_max).is_some()
    }

    /// [`Picture::snapshots_if_heard`], as long as caches count.
    fn fresh_snapshots(&self) -> Option<u64> {
        self.picture.snapshots_if_heard(self.options.watch_age_max)
    }

    /// Checks a password and gives the account to act for. Errors as `directory.v1.Authenticate`; UNAVAILABLE when the
    /// directory does not answer in time, unless it has granted the same login lately.
    pub async fn authenticate(
        self: &Arc<Self>,
        login: &str,
        password: &str,
        client: &str,
    ) -> Result<Arc<Account>, Status> {
        let call = request::Call::Authenticate(directory::Authenticate {
            login: login.to_owned(),
            password: password.to_owned(),
            client: client.to_owned(),
        });
        let mut timeout = self.options.lookup_timeout;
        if self.logins.has(login) {
            timeout = timeout.min(KNOWN_LOGIN_WAIT_MAX);
        }
        // Before the directory is asked: what it says afterwards is newer than the answer.
        let (epoch, logins_epoch) = (self.grants_epoch(), self.logins.epoch());
        let granted = match self.ask(call, Instant::now() + timeout).await {
            Ok(reply::Call::Authenticated(granted)) => {
                self.logins.granted(login, password, &granted, logins_epoch);
                granted
            }
            Ok(_) => {
                return Err(Status::internal(
                    "the directory answered a login with something else",
                ));
            }
            // It has decided nothing.
            Err(status) if is_no_answer(&status) => {
                let known = self.logins.get(login, password);
                looked_up("logins", known.is_some());
                let granted = known.ok_or(status)?;
                tracing::info!(
                    account = granted.account,
                    "the directory is away: a login that it granted lately counts"
                );
                granted
            }
            Err(status) => {
                self.logins.refused(login, password);
                return Err(status);
            }
        };
        let session = rand::rng().random();
        Ok(Arc::new(Account::new(Arc::clone(self), granted, session, epoch)))
    }

    /// Who gets mail for an address. Errors as `directory.v1.ResolveRecipient`.
    pub async fn resolve(&self, address: &str) -> Result<ResolvedRecipient, Status> {
        let snapshots = self.fresh_snapshots();
        let known = snapshots.and_then(|snapshots| self.recipients.get(address, snapshots));
        looked_up("recipients", known.is_some());
        if let Some(known) = known {
            traces::current().set("rookery.remembered", true);
            return Ok(known);
        }
        let epoch = self.recipients.epoch();
        let call = request::Call::ResolveRecipient(directory::ResolveRecipient {
            address: address.to_owned(),
        });
        let deadline = Instant::now() + self.options.lookup_timeout;
        match self.ask(call, deadline).await? {
            reply::Call::ResolvedRecipient(resolved) => {
                if let Some(snapshots) = snapshots {
                    self.recipients.put(address, &resolved, epoch, snapshots);
                }
                Ok(resolved)
            }
            _ => Err(Status::internal(
                "the directory answered a lookup with something else",
            )),
        }
    }

    /// Who gets mail for an address, as the directory says now whatever is remembered.
    pub(crate) async fn resolve_anew(
        &self,
        address: &str,
        deadline: Instant,
    ) -> Result<ResolvedRecipient, Status> {
        let call = request::Call::ResolveRecipient(directory::ResolveRecipient {
            address: address.to_owned(),
        });
        let limit = Instant::now() + self.options.lookup_timeout;
        match self.ask(call, deadline.min(limit)).await? {
            reply::Call::ResolvedRecipient(resolved) => Ok(resolved),
            _ => Err(Status::internal(
                "the directory answered a lookup with something else",
            )),
        }
    }

    /// A new token for a live session.
    pub(super) async fn renew(&self, token: Bytes, deadline: Instant) -> Result<Authenticated, Status> {
        let limit = Instant::now() + self.options.lookup_timeout;
        match self
            .ask(
                request::Call::RenewToken(directory::RenewToken { token }),
                deadline.min(limit),
            )
            .await?
        {
            reply::Call::Renewed(renewed) => Ok(renewed),
            _ => Err(Status::internal(
                "the directory answered a renewal with something else",
            )),
        }
    }

    /// Makes a call on a shard for who has no session there, with a token of one of its accounts (or none, where the call
    /// needs none). Tried again until the deadline as long as that may help, so it must be idempotent.
    pub async fn call_shard(
        &self,
        shard: u32,
        token: Bytes,
        call: mailstore::request::Call,
        deadline: Instant,
    ) -> Result<mailstore::reply::Call, Status> {
        self.ask_leader(shard, Bearer::Token(&token), call, None, deadline)
            .await
    }

    /// Waits for a new shard map, at most so long.
    pub async fn changed_or(&self, pause: Duration) {
        let mut versions = self.picture.versions();
        versions.mark_unchanged();
        // Either way it is time to try again.
        let _ = tokio::time::timeout(pause, versions.changed()).await;
    }

    async fn ask(&self, call: request::Call, deadline: Instant) -> Result<reply::Call, Status> {
        let name = directory_call(&call);
        let began = Instant::now();
        let answer = self.ask_once(call, deadline).await;
        DIRECTORY_CALLS_TOTAL.with(&[name, outcome(&answer)]).increment(1);
        DIRECTORY_CALL_SECONDS.since(&[name], began);
        answer
    }

    async fn ask_once(&self, call: request::Call, deadline: Instant) -> Result<reply::Call, Status> {
        let traced = traces::call(DirectoryProtocol::NAME, call.name());
        let context = CallContext {
            deadline,
            traceparent: traced.traceparent(),
            token: Bytes::new(),
        };
        let request = directory::Request {
            call: Some(call),
            // After the epochs that answers are kept under: what was void by then does not come back.
            seen_version: self.picture.seen_version(),
        };
        let replies = self.directory.call(Call {
            context,
            request,
            body: None,
        });
        let reply = replies.single().await;
        traced.ended(reply.as_ref().err().map(Status::for_traces));
        reply?
            .call
            .ok_or_else(|| Status::internal("the directory sent an empty reply"))
    }

    async fn heed(self: Arc<Self>, mut notices: tokio::sync::broadcast::Receiver<Notice>) {
        use tokio::sync::broadcast::error::RecvError;
        loop {
            let notice = tokio::select! {
                () = self.cancel.cancelled() => return,
                notice = notices.recv() => notice,
            };
            if let Ok(notice) = &notice {
                self.logins.void(notice);
            }
            match notice {
                Ok(
                    notice @ Notice::Account {
                        account,
                        end_sessions,
                        version,
                        moved_to,
                    },
                ) => {
                    self.recipients.void(&notice);
                    if let Some(shard) = moved_to {
                        self.feed.moved(account, shard);
                    }
                    if end_sessions {
                        self.feed.end(account, version);
                    }
                }
                Ok(Notice::Recipients) => self.recipients.void(&Notice::Recipients),
                Ok(Notice::All) | Err(RecvError::Lagged(_)) => self.doubt(),
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Notices may have been missed: nothing that is remembered counts, and each session proves itself anew with its next
    /// call, which comes at once, since all are woken.
    fn doubt(&self) {
        self.logins.void(&Notice::All);
        self.recipients.void(&Notice::All);
        self.feed.forget_ends();
        self.grants_epoch.fetch_add(1, Ordering::AcqRel);
        self.feed.refresh();
    }

    /// Grows when what the directory once granted is to be asked for again.
    pub(crate) fn grants_epoch(&self) -> u64 {
        self.grants_epoch.load(Ordering::Acquire)
    }
}

/// Whether the directory has said neither yes nor no.
fn is_no_answer(status: &Status) -> bool {
    matches!(
        status.reason,
        Reason::Unavailable | Reason::DeadlineExceeded | Reason::NotLeader | Reason::Cancelled
    )
}
