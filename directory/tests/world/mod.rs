//! A running directory on a real store, with mailstores that only note what they are told.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "a module of a test program, of which each uses a part"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rookery_directory::{Config, Directory, Host, Mailstores, NoDirectories};
use rookery_process::certificates::Authority;
use rookery_process::health::Health;
use rookery_process::tls::Certificate;
use rookery_proto::admin::v1 as admin;
use rookery_proto::admin::v1::admin_client::AdminClient;
use rookery_proto::directory::v1::{self as directory, Node, NodeRole, WatchEvent, reply, request};
use rookery_proto::local::Local;
use rookery_proto::mailstore::v1 as mailstore;
use rookery_proto::{
    Call, CallContext, Caller, DirectoryProtocol, Incoming, MailstoreProtocol, Peer, Replies, ReplySink,
    Role, Service, Status,
};
use rookery_replication::group::{Member, MemberOptions};
use tempfile::TempDir;
use tokio::sync::watch;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const CLUSTER: &str = "test-cluster";

/// What mailstores were told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Put {
        node: String,
        shard: u32,
        account: u64,
        quota_bytes: u64,
    },
    Purge {
        node: String,
        account: u64,
    },
}

/// All mailstores of the cluster.
pub struct Recorder {
    pub told: watch::Sender<Vec<Told>>,
    pub is_down: AtomicBool,
}

struct Mailstore {
    id: String,
    recorder: Arc<Recorder>,
}

impl Service<MailstoreProtocol> for Mailstore {
    fn serve(
        self: Arc<Self>,
        call: Incoming<MailstoreProtocol>,
        replies: ReplySink<MailstoreProtocol>,
    ) -> BoxFuture<'static, Result<(), Status>> {
        Box::pin(async move {
            assert_eq!(call.peer.role, Role::Directory);
            if self.recorder.is_down.load(Ordering::SeqCst) {
                return Err(Status::unavailable("down"));
            }
            let node = self.id.clone();
            let told = match call.request.call {
                Some(mailstore::request::Call::PutAccount(put)) => Told::Put {
                    node,
                    shard: put.shard,
                    account: put.account,
                    quota_bytes: put.quota_bytes,
                },
                Some(mailstore::request::Call::PurgeAccount(purge)) => Told::Purge {
                    node,
                    account: purge.account,
                },
                _ => return Err(Status::invalid("not a call of a directory")),
            };
            self.recorder.told.send_modify(|all| all.push(told));
            let done = mailstore::reply::Call::Done(mailstore::Done { modseq: 1 });
            replies.send(mailstore::Reply { call: Some(done) }).await
        })
    }
}

struct Channels(Arc<Recorder>);

impl Mailstores for Channels {
    fn mailstore(&self, node: &Node) -> Arc<dyn Caller<MailstoreProtocol>> {
        let service = Arc::new(Mailstore {
            id: node.id.clone(),
            recorder: Arc::clone(&self.0),
        });
        Arc::new(Local::new(service, peer(Role::Directory, "directory-1")))
    }
}

pub fn peer(role: Role, node: &str) -> Peer {
    Peer {
        role,
        node: node.to_owned(),
        certificate: node.as_bytes().to_vec().into(),
    }
}

/// Sends the operator's token with each call.
#[derive(Clone)]
pub struct WithToken(Option<String>);

impl Interceptor for WithToken {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(token) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        Ok(request)
    }
}

pub type Admin = AdminClient<InterceptedService<Channel, WithToken>>;

/// A directory and what it lives on.
pub struct World {
    pub folder: TempDir,
    pub recorder: Arc<Recorder>,
    pub directory: Option<Directory>,
    member: Option<Arc<Member>>,
    ca: String,
}

impl World {
    /// A directory that waits for its mailstores.
    pub async fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(CLUSTER).unwrap();
        let (ca_file, ca_key) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
        authority.save(&ca_file, &ca_key).unwrap();
        let (file, key) = (folder.path().join("admin.pem"), folder.path().join("admin.key"));
        authority
            .issue(&["127.0.0.1".to_owned()])
            .unwrap()
            .save(&file, &key)
            .unwrap();
        let ca = std::fs::read_to_string(ca_file).unwrap();
        let recorder = Arc::new(Recorder {
            told: watch::Sender::default(),
            is_down: AtomicBool::new(false),
        });
        let mut world = Self {
            folder,
            recorder,
            directory: None,
            member: None,
            ca,
        };
        world.start().await;
        world
    }

    /// A directory with two mailstores, the domain `example.test`, and these accounts with the password `secret`.
    pub async fn with_accounts(addresses: &[&str]) -> Self {
        let world = Self::empty().await;
        world.register_mailstores().await;
        let mut admin = world.admin().await;
        admin
            .add_domain(admin::AddDomainRequest {
                name: "example.test".to_owned(),
            })
            .await
            .unwrap();
        if !addresses.is_empty() {
            add_accounts(&mut admin, addresses).await.unwrap();
        }
        world
    }

    pub async fn start(&mut self) {
        let path: &Path = self.folder.path();
        let config = Config {
            shards: 16,
            expected_mailstores: 2,
            admin_listen: ([127, 0, 0, 1], 0).into(),
            ..Config::default()
        };
        let member = Member::open(path.join("store"), MemberOptions::default()).unwrap();
        self.member = Some(Arc::clone(&member));
        let node = Node {
            id: "directory-1".to_owned(),
            role: NodeRole::Directory.into(),
            address: "127.0.0.1:1".to_owned(),
            ..Node::default()
        };
        let host = Host {
            cluster_id: CLUSTER.to_owned(),
            node,
            data: path.to_owned(),
            member,
            mailstores: Arc::new(Channels(Arc::clone(&self.recorder))),
            directories: Arc::new(NoDirectories),
            health: Health::new(),
            authority: None,
            admin_certificate: Some(
                Certificate::load(&path.join("admin.pem"), &path.join("admin.key")).unwrap(),
            ),
        };
        self.directory = Some(Directory::start(config, host).await.unwrap());
    }

    pub async fn restart(&mut self) {
        self.directory.take().unwrap().shutdown().await;
        self.member.take().unwrap().close().await;
        self.start().await;
    }

    pub async fn register_mailstores(&self) {
        for id in ["mailstore-1", "mailstore-2"] {
            self.register(peer(Role::Mailstore, id), id, CLUSTER)
                .await
                .unwrap();
        }
        assert!(self.directory.as_ref().unwrap().is_placed());
    }

    pub async fn register(&self, peer: Peer, id: &str, cluster: &str) -> Result<(), Status> {
        let node = Node {
            id: id.to_owned(),
            role: NodeRole::Mailstore.into(),
            address: format!("{id}:7300"),
            weight: 100,
            ..Node::default()
        };
        let register = directory::RegisterNode {
            node: Some(node),
            cluster_id: cluster.to_owned(),
            ..directory::RegisterNode::default()
        };
        self.call(peer, request::Call::RegisterNode(register))
            .await
            .map(drop)
    }

    pub fn begin(&self, peer: Peer, call: request::Call) -> Replies<DirectoryProtocol> {
        let local = Local::new(self.directory.as_ref().unwrap().service(), peer);
        let request = directory::Request {
            call: Some(call),
            ..directory::Request::default()
        };
        local.call(Call {
            context: CallContext::with_timeout(PATIENCE),
            request,
            body: None,
        })
    }

    pub async fn call(&self, peer: Peer, call: request::Call) -> Result<reply::Call, Status> {
        Ok(self.begin(peer, call).single().await?.call.unwrap())
    }

    pub async fn login(&self, login: &str, password: &str) -> Result<directory::Authenticated, Status> {
        let call = directory::Authenticate {
            login: login.to_owned(),
            password: password.to_owned(),
            client: "192.0.2.1".to_owned(),
        };
        match self
            .call(peer(Role::Proxy, "proxy-1"), request::Call::Authenticate(call))
            .await?
        {
            reply::Call::Authenticated(authenticated) => Ok(authenticated),
            other => panic!("{other:?}"),
        }
    }

    pub async fn renew(&self, proxy: &str, token: &[u8]) -> Result<directory::Authenticated, Status> {
        let call = directory::RenewToken {
            token: token.to_vec().into(),
        };
        match self
            .call(peer(Role::Proxy, proxy), request::Call::RenewToken(call))
            .await?
        {
            reply::Call::Renewed(authenticated) => Ok(authenticated),
            other => panic!("{other:?}"),
        }
    }

    pub async fn resolve(&self, address: &str) -> Result<directory::ResolvedRecipient, Status> {
        let call = directory::ResolveRecipient {
            address: address.to_owned(),
        };
        match self
            .call(
                peer(Role::Proxy, "proxy-1"),
                request::Call::ResolveRecipient(call),
            )
            .await?
        {
            reply::Call::ResolvedRecipient(resolved) => Ok(resolved),
            other => panic!("{other:?}"),
        }
    }

    /// A watch, and its first event.
    pub async fn watch(&self) -> (Replies<DirectoryProtocol>, WatchEvent) {
        let mut events = self.begin(
            peer(Role::Proxy, "proxy-1"),
            request::Call::Watch(directory::Watch {}),
        );
        let first = next_event(&mut events).await;
        (events, first)
    }

    pub async fn admin(&self) -> Admin {
        let token = std::fs::read_to_string(self.directory.as_ref().unwrap().admin_token_file()).unwrap();
        self.admin_with(Some(token.trim())).await
    }

    pub async fn admin_with(&self, token: Option<&str>) -> Admin {
        let tls = ClientTlsConfig::new()
            .ca_certificate(tonic::transport::Certificate::from_pem(&self.ca))
            .domain_name("127.0.0.1");
        let address = self.directory.as_ref().unwrap().admin_address().unwrap();
        let endpoint = Endpoint::from_shared(format!("https://{address}"))
            .unwrap()
            .tls_config(tls)
            .unwrap();
        AdminClient::with_interceptor(
            endpoint.connect().await.unwrap(),
            WithToken(token.map(str::to_owned)),
        )
    }

    /// Waits until the mailstores were told something.
    pub async fn until_told(&self, is_it: impl Fn(&Told) -> bool) {
        let mut told = self.recorder.told.subscribe();
        let waiting = told.wait_for(|all| all.iter().any(&is_it));
        tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    }
}

pub async fn next_event(events: &mut Replies<DirectoryProtocol>) -> WatchEvent {
    let next = tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
    match next.unwrap().unwrap().call.unwrap() {
        reply::Call::WatchEvent(event) => event,
        other => panic!("{other:?}"),
    }
}

/// The next event that says more than that the directory is there.
pub async fn next_change(events: &mut Replies<DirectoryProtocol>) -> WatchEvent {
    loop {
        let event = next_event(events).await;
        let silent = WatchEvent {
            version: event.version,
            ..WatchEvent::default()
        };
        if event != silent {
            return event;
        }
    }
}

pub async fn add_accounts(
    admin: &mut Admin,
    addresses: &[&str],
) -> Result<Vec<admin::Account>, tonic::Status> {
    let accounts = addresses.iter().map(|address| admin::NewAccount {
        address: (*address).to_owned(),
        password: "secret".to_owned(),
        quota_bytes: 1_000,
    });
    let request = admin::AddAccountsRequest {
        accounts: accounts.collect(),
    };
    Ok(admin.add_accounts(request).await?.into_inner().accounts)
}
