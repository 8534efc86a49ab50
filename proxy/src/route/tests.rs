//! Sessions end when the directory says so, also when it said so while nobody heard it, and nothing is remembered beyond that.

mod leaders;
mod logins;
mod uploads;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rookery_proto::directory::v1::{
    self as directory, AccountChange, Authenticated, Node, ResolvedRecipient, Shard, WatchEvent,
    request as asked,
};
use rookery_proto::local::Local;
use rookery_proto::mailstore::v1::{self as mailstore, ListMailboxes, Mailboxes, ShardEvent, reply, request};
use rookery_proto::{
    Caller, DirectoryProtocol, Incoming, MailstoreProtocol, Peer, Reason, ReplySink, Role, Service, Status,
};
use tokio::sync::watch;

use super::account::{Account, CallOptions};
use super::feed::Wake;
use super::{Cluster, ClusterOptions, Connect};

const SHARD: u32 = 3;
const ACCOUNT: u64 = 7;

/// A directory with one account. Its watch speaks when `said` changes, and breaks when that is `None`.
struct Directory {
    said: watch::Sender<Option<WatchEvent>>,
    /// What the watch says first.
    first: WatchEvent,
    /// Answers no calls but the watch.
    away: AtomicBool,
    suspended: AtomicBool,
    renewals: AtomicU64,
    lookups: AtomicU64,
    /// The version of its state.
    version: AtomicU64,
    /// What callers had heard of when they asked last.
    asked_from: AtomicU64,
    /// When the tokens end that it gives.
    expires_at_millis: AtomicU64,
}

impl Directory {
    fn grant(&self) -> Authenticated {
        Authenticated {
            account: ACCOUNT,
            shard: SHARD,
            token: Bytes::from_static(b"token"),
            token_expires_at_millis: self.expires_at_millis.load(Ordering::SeqCst),
            version: self.version.load(Ordering::SeqCst),
            ..Authenticated::default()
        }
    }

    async fn answer(
        &self,
        call: Incoming<DirectoryProtocol>,
        replies: &ReplySink<DirectoryProtocol>,
    ) -> Result<(), Status> {
        let say = |call| replies.send(directory::Reply { call: Some(call) });
        let asked_from = call.request.seen_version;
        if !matches!(call.request.call, Some(asked::Call::Watch(_))) {
            self.asked_from.store(asked_from, Ordering::SeqCst);
        }
        match call.request.call {
            Some(asked::Call::Watch(_)) => {
                let mut said = self.said.subscribe();
                say(directory::reply::Call::WatchEvent(self.first.clone())).await?;
                while said.changed().await.is_ok() {
                    let Some(event) = said.borrow_and_update().clone() else {
                        return Err(Status::unavailable("the watch broke"));
                    };
                    say(directory::reply::Call::WatchEvent(event)).await?;
                }
                Ok(())
            }
            _ if self.away.load(Ordering::SeqCst) => Err(Status::unavailable("no quorum")),
            Some(asked::Call::Authenticate(login)) if login.password != "secret" => {
                Err(Status::new(Reason::BadCredentials, "wrong"))
            }
            Some(asked::Call::Authenticate(_)) => {
                say(directory::reply::Call::Authenticated(self.grant())).await
            }
            Some(asked::Call::RenewToken(_)) => {
                self.renewals.fetch_add(1, Ordering::SeqCst);
                if self.suspended.load(Ordering::SeqCst) {
                    return Err(Status::new(Reason::Suspended, "suspended"));
                }
                say(directory::reply::Call::Renewed(self.grant())).await
            }
            Some(asked::Call::ResolveRecipient(_)) => {
                self.lookups.fetch_add(1, Ordering::SeqCst);
                let resolved = ResolvedRecipient {
                    cache_millis: 600_000,
                    ..ResolvedRecipient::default()
                };
                say(directory::reply::Call::ResolvedRecipient(resolved)).await
            }
            _ => Err(Status::internal("not asked in these tests")),
        }
    }
}

impl Service<DirectoryProtocol> for Directory {
    fn serve(
        self: Arc<Self>,
        call: Incoming<DirectoryProtocol>,
        replies: ReplySink<DirectoryProtocol>,
    ) -> BoxFuture<'static, Result<(), Status>> {
        Box::pin(async move { self.answer(call, &replies).await })
    }
}

/// A mailstore without mailboxes.
struct Mailstore;

impl Service<MailstoreProtocol> for Mailstore {
    fn serve(
        self: Arc<Self>,
        call: Incoming<MailstoreProtocol>,
        replies: ReplySink<MailstoreProtocol>,
    ) -> BoxFuture<'static, Result<(), Status>> {
        Box::pin(async move {
            let say = |call| replies.send(mailstore::Reply { call: Some(call) });
            match call.request.call {
                Some(request::Call::Watch(_)) => {
                    let event = ShardEvent {
                        mailboxes: Vec::new(),
                        overflow: true,
                    };
                    say(reply::Call::ShardEvent(event)).await?;
                    std::future::pending().await
                }
                _ => say(reply::Call::Mailboxes(Mailboxes::default())).await,
            }
        })
    }
}

struct ToMailstore;

impl Connect for ToMailstore {
    fn connect(&self, _node: &Node) -> Arc<dyn Caller<MailstoreProtocol>> {
        Arc::new(Local::new(Arc::new(Mailstore), peer()))
    }
}

fn peer() -> Peer {
    Peer {
        role: Role::Proxy,
        node: "proxy-1".into(),
        certificate: Bytes::new(),
    }
}

fn snapshot() -> WatchEvent {
    snapshot_of(&["mailstore-1"])
}

/// One shard with these replicas.
fn snapshot_of(replicas: &[&str]) -> WatchEvent {
    let node = |id: &&str| Node {
        id: (*id).to_owned(),
        ..Node::default()
    };
    WatchEvent {
        snapshot: true,
        nodes: replicas.iter().map(node).collect(),
        shards: vec![Shard {
            id: SHARD,
            replicas: replicas.iter().map(|id| (*id).to_owned()).collect(),
            ..Shard::default()
        }],
        ..WatchEvent::default()
    }
}

/// A proxy's cluster that has heard the directory, and one session in it.
async fn session() -> (Arc<Directory>, Arc<Cluster>, Arc<Account>) {
    session_in(snapshot(), ClusterOptions::default(), Arc::new(ToMailstore)).await
}

async fn session_in(
    first: WatchEvent,
    options: ClusterOptions,
    connect: Arc<dyn Connect>,
) -> (Arc<Directory>, Arc<Cluster>, Arc<Account>) {
    let directory = Arc::new(Directory {
        said: watch::Sender::new(Some(WatchEvent::default())),
        first,
        away: AtomicBool::new(false),
        suspended: AtomicBool::new(false),
        renewals: AtomicU64::new(0),
        lookups: AtomicU64::new(0),
        version: AtomicU64::new(1),
        asked_from: AtomicU64::new(0),
        expires_at_millis: AtomicU64::new(u64::MAX),
    });
    let caller = Arc::new(Local::new(Arc::clone(&directory) as _, peer()));
    let cluster = Cluster::start(options, caller, connect);
    until(&cluster, 1).await;
    let account = cluster
        .authenticate("user@example.test", "secret", "client")
        .await;
    (directory, cluster, account.expect("logs in"))
}

/// Waits until so many snapshots have been heeded.
async fn until(cluster: &Cluster, snapshots: u64) {
    while cluster.grants_epoch() < snapshots {
        tokio::task::yield_now().await;
    }
}

async fn list(account: &Account) -> Result<reply::Call, Status> {
    let call = request::Call::ListMailboxes(ListMailboxes {});
    account.call(call, CallOptions::READ).await
}

fn break_watch(directory: &Directory) {
    directory.said.send_replace(None);
}

#[tokio::test]
async fn a_suspension_that_nobody_heard_ends_sessions_when_the_watch_is_back() {
    let (directory, cluster, account) = session().await;
    let mut subscription = account.subscribe();
    list(&account).await.expect("may read");
    assert_eq!(directory.renewals.load(Ordering::SeqCst), 0);

    directory.suspended.store(true, Ordering::SeqCst);
    break_watch(&directory);
    until(&cluster, 2).await;
    // An idle session is woken, asks, and learns it.
    let woken = tokio::time::timeout(Duration::from_secs(20), subscription.changed(1, u64::MAX));
    assert_eq!(woken.await.expect("is woken"), Wake::Changed);
    assert_eq!(
        list(&account).await.expect_err("is refused").reason,
        Reason::Suspended
    );
    assert!(subscription.is_ended());
    cluster.stop().await;
}

#[tokio::test]
async fn sessions_that_may_go_on_ask_once_and_go_on() {
    let (directory, cluster, account) = session().await;
    let subscription = account.subscribe();
    break_watch(&directory);
    until(&cluster, 2).await;
    for _ in 0..3 {
        list(&account).await.expect("may read");
    }
    assert_eq!(directory.renewals.load(Ordering::SeqCst), 1);
    assert!(!subscription.is_ended());
    cluster.stop().await;
}

#[tokio::test]
async fn the_end_of_sessions_is_not_the_end_of_later_ones() {
    let (directory, cluster, account) = session().await;
    let mut before = account.subscribe();
    let change = AccountChange {
        account: ACCOUNT,
        end_sessions: true,
        moved_to: None,
    };
    let event = |version| WatchEvent {
        version,
        accounts: vec![change],
        ..WatchEvent::default()
    };
    directory.said.send_replace(Some(event(2)));
    before.ended().await;
    directory.version.store(2, Ordering::SeqCst);
    let login = cluster.authenticate("user@example.test", "secret", "client");
    let mut after = login.await.expect("logs in").subscribe();
    assert!(!after.is_ended(), "who logs in afterwards is another session");
    // The older one's leave takes nothing from the newer one.
    drop(before);
    directory.said.send_replace(Some(event(3)));
    after.ended().await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_login_that_was_granted_by_an_older_state_ends_with_those_that_were_there() {
    let (directory, cluster, before) = session().await;
    // By a member that does not know of the change yet.
    let login = cluster.authenticate("user@example.test", "secret", "client");
    let late = login.await.expect("logs in");
    let change = AccountChange {
        account: ACCOUNT,
        end_sessions: true,
        moved_to: None,
    };
    let event = WatchEvent {
        version: 2,
        accounts: vec![change],
        ..WatchEvent::default()
    };
    let mut listening = before.subscribe();
    directory.said.send_replace(Some(event));
    listening.ended().await;
    drop(listening);
    let mut late = late.subscribe();
    assert!(late.is_ended());
    assert_eq!(late.changed(1, u64::MAX).await, Wake::Ended);
    late.ended().await;
    cluster.stop().await;
}

#[tokio::test]
async fn whoever_asks_says_what_it_has_heard_of() {
    let (directory, cluster, _) = session().await;
    let event = |version, snapshot| WatchEvent {
        version,
        snapshot,
        ..WatchEvent::default()
    };
    for (version, snapshot, wanted) in [(5, false, 5), (4, false, 5), (3, true, 3)] {
        cluster.picture().apply(event(version, snapshot));
        let unknown = format!("user{version}@example.test");
        cluster.resolve(&unknown).await.expect("is known");
        assert_eq!(directory.asked_from.load(Ordering::SeqCst), wanted);
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_snapshot_voids_recipients_before_anybody_has_acted_on_it() {
    let (directory, cluster, _) = session().await;
    for _ in 0..2 {
        cluster.resolve("user@example.test").await.expect("is known");
    }
    assert_eq!(directory.lookups.load(Ordering::SeqCst), 1);
    // The task that heeds it has had no turn yet.
    cluster.picture().apply(snapshot());
    cluster.resolve("user@example.test").await.expect("is known");
    assert_eq!(directory.lookups.load(Ordering::SeqCst), 2);
    cluster.stop().await;
}
