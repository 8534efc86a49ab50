//! A directory with one account and a mailstore with canned replies, both behind the call model's trait.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_proto::directory::v1::{
    self as directory, AccountChange, Authenticated, Node, Shard, WatchEvent, reply as directory_reply,
    request as directory_request,
};
use rookery_proto::mailstore::v1::{
    self as mailstore, Done, Mailbox, Mailboxes, OpenedMailbox, ShardEvent, UidSet,
};
use rookery_proto::mailstore::v1::{reply, request};
use rookery_proto::{Call, Caller, DirectoryProtocol, MailstoreProtocol, Reason, Replies, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::imap::{ImapContext, ImapOptions, LoginSlowing, Peer, serve_stream};
use crate::route::{Cluster, ClusterOptions, Connect};

/// Bytes of an upload that become durable together.
const CHUNK_BYTES: u64 = 256 * 1024;

/// What the mailstore says to a call.
type Script = dyn Fn(&request::Call) -> Vec<Result<reply::Call, Status>> + Send + Sync;

/// The directory; it may be away.
pub(super) struct FakeDirectory {
    is_away: bool,
    watches: Mutex<Vec<mpsc::Sender<Result<directory::Reply, Status>>>>,
}

impl FakeDirectory {
    /// The account was changed: its sessions must end.
    pub(super) fn end_sessions(&self) {
        let event = directory_reply::Call::WatchEvent(WatchEvent {
            version: 1,
            accounts: vec![AccountChange {
                account: 7,
                end_sessions: true,
                ..AccountChange::default()
            }],
            ..WatchEvent::default()
        });
        for watch in self.watches.lock().iter() {
            let _ = watch.try_send(Ok(directory::Reply {
                call: Some(event.clone()),
            }));
        }
    }
}

impl Caller<DirectoryProtocol> for FakeDirectory {
    fn call(&self, call: Call<DirectoryProtocol>) -> Replies<DirectoryProtocol> {
        if self.is_away {
            return Replies::failed(Status::unavailable("the directory is away"));
        }
        let (sender, items) = mpsc::channel(4);
        let reply = match call.request.call {
            Some(directory_request::Call::Watch(_)) => {
                self.watches.lock().push(sender.clone());
                Ok(directory_reply::Call::WatchEvent(WatchEvent {
                    snapshot: true,
                    nodes: vec![Node {
                        id: "mailstore-1".into(),
                        ..Node::default()
                    }],
                    shards: vec![Shard {
                        id: 3,
                        replicas: vec!["mailstore-1".into()],
                        ..Shard::default()
                    }],
                    ..WatchEvent::default()
                }))
            }
            Some(directory_request::Call::Authenticate(asked)) => match asked.password.as_str() {
                "secret" => Ok(directory_reply::Call::Authenticated(Authenticated {
                    account: 7,
                    shard: 3,
                    token: Bytes::from_static(b"token"),
                    token_expires_at_millis: u64::MAX,
                    address: "user@example.test".into(),
                    ..Authenticated::default()
                })),
                "suspended" => Err(Status::new(Reason::Suspended, "suspended")),
                _ => Err(Status::new(Reason::BadCredentials, "wrong")),
            },
            _ => Err(Status::internal("not faked")),
        };
        // The channel is new and has room.
        let _ = sender.try_send(reply.map(|call| directory::Reply { call: Some(call) }));
        Replies::new(items, None)
    }
}

/// The mailstore.
pub(super) struct FakeMailstore {
    script: Box<Script>,
    /// Replies to APPENDs that may be sent; absent: all.
    appends: Option<Arc<Semaphore>>,
    calls: Mutex<Vec<request::Call>>,
    feeds: Mutex<Vec<mpsc::Sender<Result<mailstore::Reply, Status>>>>,
}

impl FakeMailstore {
    /// Tells the change feed's listeners.
    pub(super) fn changed(&self, mailbox: u32, modseq: u64) {
        let mailboxes = vec![mailstore::MailboxEvent {
            account: 7,
            mailbox,
            modseq,
        }];
        let event = reply::Call::ShardEvent(ShardEvent {
            mailboxes,
            overflow: false,
        });
        for feed in self.feeds.lock().iter() {
            let _ = feed.try_send(Ok(mailstore::Reply {
                call: Some(event.clone()),
            }));
        }
    }

    /// Lets a reply to an APPEND go that is held.
    pub(super) fn release_append(&self) {
        self.appends.iter().for_each(|held| held.add_permits(1));
    }

    /// What it was asked, the change feed aside.
    pub(super) fn calls(&self) -> Vec<request::Call> {
        self.calls.lock().clone()
    }
}

struct Channel(Arc<FakeMailstore>);

impl Caller<MailstoreProtocol> for Channel {
    fn call(&self, call: Call<MailstoreProtocol>) -> Replies<MailstoreProtocol> {
        let (sender, items) = mpsc::channel(64);
        let Some(asked) = call.request.call else {
            return Replies::failed(Status::internal("empty"));
        };
        if matches!(asked, request::Call::Watch(_)) {
            // As the real one does: whatever happened before is to be asked for.
            let first = reply::Call::ShardEvent(ShardEvent {
                mailboxes: Vec::new(),
                overflow: true,
            });
            let _ = sender.try_send(Ok(mailstore::Reply { call: Some(first) }));
            self.0.feeds.lock().push(sender);
            return Replies::new(items, None);
        }
        let said = (self.0.script)(&asked);
        self.0.calls.lock().push(asked.clone());
        if call.body.is_some()
            && let Some(Err(status)) = said.first()
        {
            return Replies::failed(status.clone());
        }
        if let Some(mut body) = call.body {
            tokio::spawn(async move {
                let told = |size, hash: &'static [u8]| {
                    let hash = Bytes::from_static(hash);
                    let uploaded = mailstore::Uploaded { size, hash };
                    Ok(mailstore::Reply {
                        call: Some(reply::Call::Uploaded(uploaded)),
                    })
                };
                let (mut size, mut stored) = (0, 0);
                while let Ok(Some(chunk)) = body.chunk().await {
                    size += chunk.len() as u64;
                    if size / CHUNK_BYTES > stored / CHUNK_BYTES {
                        stored = size / CHUNK_BYTES * CHUNK_BYTES;
                        let _ = sender.send(told(stored, b"")).await;
                    }
                }
                let _ = sender.send(told(size, b"hash")).await;
            });
            return Replies::new(items, None);
        }
        let held = self.0.appends.clone();
        let held = held.filter(|_| matches!(asked, request::Call::Append(_)));
        if let Some(held) = held {
            tokio::spawn(async move {
                if let Ok(released) = held.acquire().await {
                    released.forget();
                    reply_with(&sender, said);
                }
            });
        } else {
            reply_with(&sender, said);
        }
        Replies::new(items, None)
    }
}

fn reply_with(
    sender: &mpsc::Sender<Result<mailstore::Reply, Status>>,
    said: Vec<Result<reply::Call, Status>>,
) {
    for reply in said {
        let _ = sender.try_send(reply.map(|call| mailstore::Reply { call: Some(call) }));
    }
}

struct FakeConnect(Arc<FakeMailstore>);

impl Connect for FakeConnect {
    fn connect(&self, _: &Node) -> Arc<dyn Caller<MailstoreProtocol>> {
        Arc::new(Channel(Arc::clone(&self.0)))
    }
}

/// How the server under test is set up.
pub(super) struct Setup {
    pub(super) options: ImapOptions,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) directory_is_away: bool,
    pub(super) patience: Duration,
    pub(super) script: Box<Script>,
    /// Whether replies to APPENDs wait until they are released.
    pub(super) holds_appends: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            options: ImapOptions {
                plaintext_login: true,
                ..ImapOptions::default()
            },
            tls: None,
            directory_is_away: false,
            patience: ClusterOptions::default().patience,
            script: Box::new(|call| vec![plain(call)]),
            holds_appends: false,
        }
    }
}

/// An INBOX with UIDs 1 to 3, and a mailstore that agrees to everything.
pub(super) fn plain(call: &request::Call) -> Result<reply::Call, Status> {
    let inbox = Mailbox {
        id: 1,
        name: "INBOX".into(),
        uid_validity: 9,
        uid_next: 4,
        highest_modseq: 5,
        ..Mailbox::default()
    };
    Ok(match call {
        request::Call::ListMailboxes(_) => reply::Call::Mailboxes(Mailboxes {
            mailboxes: vec![inbox],
            subscriptions: Vec::new(),
            modseq: 5,
        }),
        request::Call::OpenMailbox(_) => reply::Call::OpenedMailbox(OpenedMailbox {
            mailbox: Some(inbox),
            uids: Some(UidSet { bounds: vec![1, 3] }),
            recent_from: 4,
            keywords_free: 1,
            ..OpenedMailbox::default()
        }),
        request::Call::Changes(_) => reply::Call::Changes(mailstore::MailboxChanges {
            modseq: 5,
            ..mailstore::MailboxChanges::default()
        }),
        request::Call::Append(append) => reply::Call::Appended(mailstore::Appended {
            uid_validity: 9,
            uids: Some(UidSet {
                bounds: vec![4, 3 + append.messages.len() as u32],
            }),
            modseq: 6,
        }),
        _ => reply::Call::Done(Done { modseq: 5 }),
    })
}

/// A server with one client.
pub(super) struct Server {
    pub(super) client: DuplexStream,
    pub(super) mailstore: Arc<FakeMailstore>,
    pub(super) directory: Arc<FakeDirectory>,
    pub(super) shutdown: CancellationToken,
    pub(super) cluster: Arc<Cluster>,
    pub(super) context: Arc<ImapContext>,
    pub(super) task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(setup: Setup) -> Self {
        let mailstore = Arc::new(FakeMailstore {
            script: setup.script,
            appends: setup.holds_appends.then(|| Arc::new(Semaphore::new(0))),
            calls: Mutex::default(),
            feeds: Mutex::default(),
        });
        let directory = Arc::new(FakeDirectory {
            is_away: setup.directory_is_away,
            watches: Mutex::default(),
        });
        let options = ClusterOptions {
            patience: setup.patience,
            ..ClusterOptions::default()
        };
        let cluster = Cluster::start(
            options,
            Arc::clone(&directory) as _,
            Arc::new(FakeConnect(Arc::clone(&mailstore))),
        );
        while !setup.directory_is_away && !cluster.is_ready() {
            tokio::task::yield_now().await;
        }
        let shutdown = CancellationToken::new();
        let context = Arc::new(ImapContext {
            cluster: Arc::clone(&cluster),
            options: setup.options,
            tls: setup.tls,
            slowing: Arc::new(LoginSlowing::new(Duration::ZERO, Duration::ZERO)),
            shutdown: shutdown.clone(),
        });
        let (client, server) = tokio::io::duplex(256 * 1024);
        let peer = Peer {
            address: "127.0.0.1:1".parse().unwrap(),
            tls: false,
        };
        let task = tokio::spawn(serve_stream(Box::new(server), peer, Arc::clone(&context)));
        Self {
            client,
            mailstore,
            directory,
            shutdown,
            cluster,
            context,
            task,
        }
    }

    /// Sends everything, then reads until the server closes.
    pub(super) async fn all(setup: Setup, input: &[u8]) -> String {
        let mut server = Self::start(setup).await;
        server.client.write_all(input).await.unwrap();
        server.rest().await
    }

    pub(super) async fn send(&mut self, input: &str) {
        self.client.write_all(input.as_bytes()).await.unwrap();
    }

    /// Reads until the text has come.
    pub(super) async fn until(&mut self, text: &str) -> String {
        let mut heard = Vec::new();
        loop {
            let byte = self.client.read_u8().await;
            let Ok(byte) = byte else {
                panic!("closed before {text:?}: {}", String::from_utf8_lossy(&heard));
            };
            heard.push(byte);
            if heard.ends_with(text.as_bytes()) {
                return String::from_utf8_lossy(&heard).into_owned();
            }
        }
    }

    /// Reads until the server closes.
    pub(super) async fn rest(mut self) -> String {
        let mut heard = Vec::new();
        self.client.read_to_end(&mut heard).await.unwrap();
        self.task.await.unwrap();
        self.cluster.stop().await;
        String::from_utf8_lossy(&heard).into_owned()
    }
}
