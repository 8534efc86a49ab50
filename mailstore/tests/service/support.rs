//! A mailstore over the local transport, and a directory that only knows what a test tells it.

#![allow(unreachable_pub)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use prost::Message;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rookery_mailstore::Peers;
use rookery_mailstore::analysis::AnalysisSettings;
use rookery_mailstore::config::Config;
use rookery_mailstore::node::{Host, Mailstore};
use rookery_mailstore::shard::ShardOptions;
use rookery_process::health::Health;
use rookery_proto::directory::v1::{self as directory, AccountToken, Node, Rights, TokenClaims, WatchEvent};
use rookery_proto::local::Local;
use rookery_proto::mailstore::v1::{self as proto, Reply, Request, reply, request::Call as Wire};
use rookery_proto::{
    Body, Call, CallContext, Caller, DirectoryProtocol, Incoming, MailstoreProtocol, Peer, Replies,
    ReplySink, Role, Service, Status,
};
use rookery_replication::group::{Member, MemberOptions};
use tokio::sync::watch;

/// The generation of every placement in these tests.
pub const GENERATION: u64 = 3;
pub const SHARD: u32 = 1;
pub const OTHER_SHARD: u32 = 2;
pub const ANN: u64 = 11;
pub const BOB: u64 = 12;
/// Lives in the other shard.
pub const CAT: u64 = 13;

pub fn now_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A name that no other call of this process has.
pub fn unique() -> [u8; 16] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut name = [0; 16];
    name[..8].copy_from_slice(&now_millis().to_be_bytes());
    name[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    name
}

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[42; 32]).unwrap()
}

/// Signs claims as the directory does.
pub fn sign(claims: &TokenClaims) -> Bytes {
    let claims: Bytes = claims.encode_to_vec().into();
    let signature = pair().sign(&claims).as_ref().to_vec();
    AccountToken {
        claims,
        key_id: 1,
        signature: signature.into(),
    }
    .encode_to_vec()
    .into()
}

pub fn claims(account: u64, rights: Rights) -> TokenClaims {
    TokenClaims {
        account,
        shard: if account == CAT { OTHER_SHARD } else { SHARD },
        generation: 1,
        credential_generation: 1,
        rights: rights.into(),
        holder: Bytes::new(),
        expires_at_millis: now_millis() + 600_000,
        holder_name: String::new(),
    }
}

pub fn owner(account: u64) -> Bytes {
    sign(&claims(account, Rights::Owner))
}

pub fn deliverer(account: u64) -> Bytes {
    sign(&claims(account, Rights::Deliver))
}

struct FakeDirectory {
    events: watch::Sender<WatchEvent>,
    /// The last one.
    registered: watch::Sender<directory::RegisterNode>,
}

impl Service<DirectoryProtocol> for FakeDirectory {
    fn serve(
        self: Arc<Self>,
        call: Incoming<DirectoryProtocol>,
        replies: ReplySink<DirectoryProtocol>,
    ) -> BoxFuture<'static, Result<(), Status>> {
        Box::pin(async move {
            let answer = |call| directory::Reply { call: Some(call) };
            match call.request.call {
                Some(directory::request::Call::Watch(_)) => {
                    let mut events = self.events.subscribe();
                    loop {
                        let event = events.borrow_and_update().clone();
                        replies
                            .send(answer(directory::reply::Call::WatchEvent(event)))
                            .await?;
                        let _ = tokio::time::timeout(Duration::from_secs(1), events.changed()).await;
                    }
                }
                Some(directory::request::Call::RegisterNode(register)) => {
                    self.events.send_if_modified(|event| take(event, &register.held));
                    self.registered.send_replace(register);
                    let registered = directory::RegisteredNode::default();
                    replies
                        .send(answer(directory::reply::Call::RegisteredNode(registered)))
                        .await
                }
                _ => Err(Status::internal("not asked in these tests")),
            }
        })
    }
}

/// Notes the replicas that the node holds, as a directory does; says whether that is new.
fn take(event: &mut WatchEvent, held: &[directory::HeldReplica]) -> bool {
    let mut changed = false;
    for shard in &mut event.shards {
        for member in &mut shard.members {
            let is_held = held
                .iter()
                .any(|held| held.shard == shard.id && held.replica == member.id);
            if is_held && !member.taken {
                member.taken = true;
                shard.formed = true;
                changed = true;
            }
        }
    }
    changed
}

/// The whole state as the directory tells it, with these shards on the node.
fn event(shards: &[(u32, &str)]) -> WatchEvent {
    let shards = shards.iter().map(|(id, node)| {
        // A replica of its own on each node.
        let replica = u64::from(*id) + if *node == "mailstore-1" { 100 } else { 200 };
        directory::Shard {
            id: *id,
            generation: GENERATION,
            replicas: vec![(*node).to_owned()],
            members: vec![directory::ShardReplica {
                id: replica,
                node: (*node).to_owned(),
                taken: false,
            }],
            voters: vec![replica],
            ..directory::Shard::default()
        }
    });
    let key = directory::VerifyingKey {
        id: 1,
        public_key: pair().public_key().as_ref().to_vec().into(),
    };
    WatchEvent {
        snapshot: true,
        shards: shards.collect(),
        keys: vec![key],
        ..WatchEvent::default()
    }
}

/// A mailstore in a folder.
pub struct Fixture {
    pub member: Arc<Member>,
    pub mailstore: Mailstore,
    directory: Arc<FakeDirectory>,
}

/// How to start a mailstore other than by default.
#[derive(Default)]
pub struct Setup {
    pub config: Config,
    pub analysis: AnalysisSettings,
    pub worker_command: Vec<String>,
    pub shard_options: ShardOptions,
}

impl Fixture {
    pub async fn start(folder: &Path) -> Self {
        Self::start_with(folder, Setup::default()).await
    }

    pub async fn start_with(folder: &Path, setup: Setup) -> Self {
        let member = Member::open(folder, MemberOptions::default()).unwrap();
        let first = event(&[
            (SHARD, "mailstore-1"),
            (OTHER_SHARD, "mailstore-1"),
            (9, "mailstore-2"),
        ]);
        let directory = Arc::new(FakeDirectory {
            events: watch::Sender::new(first),
            registered: watch::Sender::default(),
        });
        let peer = Peer {
            role: Role::Mailstore,
            node: "mailstore-1".into(),
            certificate: Bytes::new(),
        };
        let health = Health::new();
        let host = Host {
            cluster_id: "test".into(),
            node: Node {
                id: "mailstore-1".into(),
                ..Node::default()
            },
            member: Arc::clone(&member),
            peers: Peers::new(Box::new(|_| unreachable!("the shards have one replica each"))),
            directory: Arc::new(Local::new(
                Arc::clone(&directory) as Arc<dyn Service<DirectoryProtocol>>,
                peer,
            )),
            worker_command: setup.worker_command,
            health: health.clone(),
        };
        let mailstore =
            Mailstore::start_with(&setup.config, host, setup.shard_options, setup.analysis).unwrap();
        tokio::time::timeout(Duration::from_secs(30), health.ready())
            .await
            .unwrap();
        Self {
            member,
            mailstore,
            directory,
        }
    }

    /// Tells another shard map.
    pub fn place(&self, shards: &[(u32, &str)]) {
        self.directory.events.send_replace(event(shards));
    }

    /// What the node registers with from now on.
    pub fn registrations(&self) -> watch::Receiver<directory::RegisterNode> {
        self.directory.registered.subscribe()
    }

    pub fn caller(&self, role: Role, node: &str) -> Local<MailstoreProtocol> {
        Local::new(
            self.mailstore.service(),
            Peer {
                role,
                node: node.into(),
                certificate: Bytes::new(),
            },
        )
    }

    /// As proxy-1.
    pub fn proxy(&self) -> Client {
        Client {
            caller: Arc::new(self.caller(Role::Proxy, "proxy-1")),
        }
    }

    pub fn directory(&self) -> Client {
        Client {
            caller: Arc::new(self.caller(Role::Directory, "directory-1")),
        }
    }

    /// Makes the accounts of the tests.
    pub async fn put_accounts(&self) {
        for account in [ANN, BOB, CAT] {
            self.put_account(account, 0).await;
        }
    }

    pub async fn put_account(&self, account: u64, quota_bytes: u64) {
        let shard = if account == CAT { OTHER_SHARD } else { SHARD };
        let put = proto::PutAccount {
            shard,
            account,
            generation: 1,
            quota_bytes,
        };
        self.directory()
            .ask(Wire::PutAccount(put), Bytes::new())
            .await
            .unwrap();
    }

    pub async fn stop(self) {
        let Self {
            member, mailstore, ..
        } = self;
        mailstore.stop().await;
        member.close().await;
    }
}

/// Makes calls.
#[derive(Clone)]
pub struct Client {
    pub caller: Arc<dyn Caller<MailstoreProtocol>>,
}

pub fn request(call: Wire) -> Request {
    Request {
        shard_generation: GENERATION,
        call: Some(call),
        ..Request::default()
    }
}

impl Client {
    pub fn start(&self, request: Request, token: Bytes, body: Option<Body>) -> Replies<MailstoreProtocol> {
        let context = CallContext::with_timeout(Duration::from_secs(60)).token(token);
        self.caller.call(Call {
            context,
            request,
            body,
        })
    }

    pub async fn ask(&self, call: Wire, token: Bytes) -> Result<reply::Call, Status> {
        self.ask_request(request(call), token).await
    }

    pub async fn ask_request(&self, request: Request, token: Bytes) -> Result<reply::Call, Status> {
        let Reply { call } = self.start(request, token, None).single().await?;
        Ok(call.expect("a reply has something in it"))
    }

    /// A mutation with an idempotency key.
    pub async fn mutate(
        &self,
        call: Wire,
        account: u64,
        session: [u8; 16],
        number: u64,
    ) -> Result<reply::Call, Status> {
        let key = proto::IdempotencyKey {
            session: session.to_vec().into(),
            number,
            issued_at_millis: now_millis(),
        };
        self.ask_request(
            Request {
                key: Some(key),
                ..request(call)
            },
            owner(account),
        )
        .await
    }

    pub async fn mailboxes(&self, account: u64) -> proto::Mailboxes {
        match self
            .ask(Wire::ListMailboxes(proto::ListMailboxes {}), owner(account))
            .await
            .unwrap()
        {
            reply::Call::Mailboxes(mailboxes) => mailboxes,
            other => panic!("{other:?}"),
        }
    }

    pub async fn mailbox_id(&self, account: u64, name: &str) -> u32 {
        self.mailboxes(account)
            .await
            .mailboxes
            .iter()
            .find(|mailbox| mailbox.name == name)
            .expect("exists")
            .id
    }

    pub async fn open(&self, account: u64, mailbox: u32) -> proto::OpenedMailbox {
        let open = proto::OpenMailbox {
            mailbox,
            claim_recent: false,
        };
        match self.ask(Wire::OpenMailbox(open), owner(account)).await.unwrap() {
            reply::Call::OpenedMailbox(opened) => opened,
            other => panic!("{other:?}"),
        }
    }

    pub async fn changes(&self, account: u64, mailbox: u32, since: u64) -> proto::MailboxChanges {
        match self
            .ask(Wire::Changes(proto::Changes { mailbox, since }), owner(account))
            .await
            .unwrap()
        {
            reply::Call::Changes(changes) => changes,
            other => panic!("{other:?}"),
        }
    }

    pub async fn fetch(&self, account: u64, fetch: proto::Fetch) -> Result<Vec<proto::FetchedRow>, Status> {
        let mut replies = self.start(request(Wire::Fetch(fetch)), owner(account), None);
        let mut rows = Vec::new();
        while let Some(reply) = replies.next().await {
            match reply?.call {
                Some(reply::Call::Rows(got)) => rows.extend(got.rows),
                other => panic!("{other:?}"),
            }
        }
        Ok(rows)
    }

    /// Whole messages: (UID, bytes).
    pub async fn messages(&self, account: u64, mailbox: u32) -> Vec<(u32, Vec<u8>)> {
        let fetch = proto::Fetch {
            mailbox,
            uids: all(),
            sections: vec![proto::Section::default()],
            ..proto::Fetch::default()
        };
        let mut messages: Vec<(u32, Vec<u8>)> = Vec::new();
        for row in self.fetch(account, fetch).await.unwrap() {
            if messages.last().is_none_or(|(uid, _)| *uid != row.uid) {
                messages.push((row.uid, Vec::new()));
            }
            for section in row.sections {
                messages.last_mut().unwrap().1.extend_from_slice(&section.data);
            }
        }
        messages
    }

    pub async fn deliver(&self, deliver: proto::Deliver) -> Result<Vec<proto::DeliveryOutcome>, Status> {
        let token = deliver
            .recipients
            .first()
            .map(|recipient| recipient.token.clone())
            .unwrap_or_default();
        match self.ask(Wire::Deliver(deliver), token).await? {
            reply::Call::Delivered(delivered) => Ok(delivered.outcomes),
            other => panic!("{other:?}"),
        }
    }

    /// Delivers to one account and gives the UID.
    pub async fn deliver_to(&self, account: u64, body: &[u8]) -> u32 {
        let outcomes = self.deliver(delivery(&[account], inline(body))).await.unwrap();
        assert_eq!(outcomes[0].error, None);
        outcomes[0].uid
    }

    pub async fn upload(&self, token: Bytes, id: [u8; 16], bytes: Bytes) -> Result<proto::Uploaded, Status> {
        let (sender, body) = Body::channel();
        let sending = async move {
            for piece in bytes.chunks(60_000) {
                // The call may fail before the body's end.
                if sender.send(Ok(bytes.slice_ref(piece))).await.is_err() {
                    break;
                }
            }
        };
        let call = Wire::Upload(proto::Upload {
            id: id.to_vec().into(),
            ..proto::Upload::default()
        });
        let replies = self.start(request(call), token, Some(body));
        let (reply, ()) = tokio::join!(replies.single(), sending);
        match reply?.call {
            Some(reply::Call::Uploaded(uploaded)) => Ok(uploaded),
            other => panic!("{other:?}"),
        }
    }

    pub async fn search(&self, account: u64, key: proto::search_key::Key) -> Result<Vec<u32>, Status> {
        let key = Some(proto::SearchKey { key: Some(key) });
        match self
            .ask(
                Wire::Search(proto::Search {
                    mailbox: 1,
                    key,
                    recent_from: 0,
                }),
                owner(account),
            )
            .await?
        {
            reply::Call::Search(found) => Ok(uids(found.uids.as_ref())),
            other => panic!("{other:?}"),
        }
    }

    pub async fn store(&self, account: u64, store: proto::Store) -> Result<proto::Stored, Status> {
        match self.mutate(Wire::Store(store), account, unique(), 1).await? {
            reply::Call::Stored(stored) => Ok(stored),
            other => panic!("{other:?}"),
        }
    }

    /// Subscribes to a shard and takes the first word.
    pub async fn watch(&self, shard: u32) -> Replies<MailstoreProtocol> {
        let mut replies = self.start(request(Wire::Watch(proto::Watch { shard })), Bytes::new(), None);
        let first = next_event(&mut replies).await;
        assert!(first.overflow && first.mailboxes.is_empty());
        replies
    }
}

pub async fn next_event(replies: &mut Replies<MailstoreProtocol>) -> proto::ShardEvent {
    match replies.next().await.expect("goes on").unwrap().call {
        Some(reply::Call::ShardEvent(event)) => event,
        other => panic!("{other:?}"),
    }
}

pub fn inline(body: &[u8]) -> proto::NewBody {
    proto::NewBody {
        source: Some(proto::new_body::Source::Inline(Bytes::copy_from_slice(body))),
    }
}

pub fn uploaded(id: [u8; 16]) -> proto::NewBody {
    proto::NewBody {
        source: Some(proto::new_body::Source::Upload(id.to_vec().into())),
    }
}

pub fn recipient(account: u64) -> proto::Recipient {
    proto::Recipient {
        token: deliverer(account),
        address: format!("user{account}@example.test"),
        prefix: prefix(account).into(),
    }
}

pub fn prefix(account: u64) -> Vec<u8> {
    format!("Delivered-To: user{account}@example.test\r\n").into_bytes()
}

pub fn delivery(accounts: &[u64], body: proto::NewBody) -> proto::Deliver {
    proto::Deliver {
        transaction: unique().to_vec().into(),
        sender: "sender@example.test".into(),
        body: Some(body),
        recipients: accounts.iter().map(|account| recipient(*account)).collect(),
        issued_at_millis: now_millis(),
    }
}

pub fn all() -> Option<proto::UidSet> {
    Some(proto::UidSet {
        bounds: vec![1, u32::MAX - 1],
    })
}

pub fn set(bounds: &[u32]) -> Option<proto::UidSet> {
    Some(proto::UidSet {
        bounds: bounds.to_vec(),
    })
}

/// Every UID of a set.
pub fn uids(set: Option<&proto::UidSet>) -> Vec<u32> {
    set.map(|set| set.bounds.chunks(2).flat_map(|pair| pair[0]..=pair[1]).collect())
        .unwrap_or_default()
}
