//! Which role calls which, directly or over the network.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use rand::Rng;
use rookery_directory::{Directories, Directory, Mailstores};
use rookery_mailstore::analysis::WORKER_COMMAND;
use rookery_mailstore::node::Mailstore;
use rookery_mailstore::{NodeStore, Peers, ReplicationService};
use rookery_process::health::Health;
use rookery_process::http::Handler;
use rookery_process::shutdown::stage;
use rookery_process::telemetry::Gathering;
use rookery_process::tls::Certificate;
use rookery_proto::directory::v1::{Node, NodeRole};
use rookery_proto::elected::{Candidate, Elected};
use rookery_proto::local::Local;
use rookery_proto::remote::{ConnectOptions, Endpoint, NodeTls, Server, ServerOptions, WhenDown, connect};
use rookery_proto::{
    Caller, DirectoryProtocol, MailstoreProtocol, Peer, Protocol, ReplicationProtocol, Replies, Role,
    Service, Status,
};
use rookery_proxy::node::Proxy;
use rookery_proxy::route::Connect;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::endpoints::Endpoints;
use super::{CALLS_GRACE, Later};

/// The usual capacity of a node; a mailstore's own configuration says otherwise.
const WEIGHT: u32 = 100;

/// The mailstore in this process, once it runs.
type LocalMailstore = Later<Arc<dyn Service<MailstoreProtocol>>>;

/// The roles of this process.
pub(super) struct Wiring {
    pub(super) config: Config,
    tls: NodeTls,
    health: Health,
    /// Tells this process from another that takes itself for the same node.
    instance: u64,
    http: String,
    /// What answers further paths over HTTP.
    web: Later<Handler>,
    pub(super) data: PathBuf,
    local_mailstore: LocalMailstore,
    pub(super) peers: Arc<Peers>,
    pub(super) listener: Option<TcpListener>,
    pub(super) store: Option<NodeStore>,
    /// Tells how the store and its replicas are.
    measuring: Option<Gathering>,
    /// The store is open, and known to be damaged.
    pub(super) is_damaged: bool,
    directory: Option<Directory>,
    pub(super) mailstore: Option<Mailstore>,
    proxy: Option<Proxy>,
    calls: Option<JoinHandle<()>>,
    stop_calls: CancellationToken,
}

impl Wiring {
    pub(super) fn new(
        config: Config,
        tls: NodeTls,
        health: Health,
        http: String,
        web: Later<Handler>,
        data: PathBuf,
    ) -> Self {
        let peers = Peers::new(peer_connect(config.role(), tls.clone()));
        Self {
            config,
            tls,
            health,
            instance: rand::rng().random(),
            http,
            web,
            data,
            peers,
            listener: None,
            store: None,
            measuring: None,
            is_damaged: false,
            local_mailstore: LocalMailstore::default(),
            directory: None,
            mailstore: None,
            proxy: None,
            calls: None,
            stop_calls: CancellationToken::new(),
        }
    }

    /// Opens what the roles need: where they are called, and the store. Takes long when that is damaged; may be given up.
    pub(super) async fn open(&mut self, endpoints: &mut Endpoints) -> anyhow::Result<()> {
        self.listener = self.bind_calls(endpoints).await?;
        if self.config.directory.is_some() || self.config.mailstore.is_some() {
            // Roles that share a process share its store, and so its syncs.
            self.open_store().await?;
        }
        Ok(())
    }

    /// Starts the roles: who is called before who calls.
    pub(super) async fn start(&mut self, endpoints: &mut Endpoints) -> anyhow::Result<()> {
        let listener = self.listener.take();
        let address = match &listener {
            Some(listener) => self.advertised(listener.local_addr()?),
            None => String::new(),
        };
        let directory = self.config.directory.clone();
        let mailstore = self.config.mailstore.clone();
        if let Some(store) = self.store.clone() {
            self.measuring = Some(rookery_mailstore::measure_store(&store));
            if let Some(section) = directory {
                self.start_directory(section, address.clone(), Arc::clone(&store), endpoints)
                    .await?;
            }
            if let Some(section) = mailstore {
                self.start_mailstore(&section, address, store)?;
            }
        }
        if let Some(listener) = listener {
            self.answer_calls(listener);
        }
        if let Some(section) = self.config.proxy.clone() {
            self.start_proxy(section, endpoints).await?;
        }
        Ok(())
    }

    /// Stops the roles: who calls before who is called.
    pub(super) async fn stop(mut self) {
        if let Some(proxy) = self.proxy.take() {
            proxy.stop().await;
        }
        if let Some(mailstore) = &self.mailstore {
            mailstore.hand_over().await;
            mailstore.end_watches();
        }
        if let Some(directory) = &self.directory {
            directory.hand_over().await;
            directory.end_watches();
        }
        self.stop_calls.cancel();
        if let Some(calls) = self.calls.take() {
            let ended = async {
                // A panic in it has been logged; nothing depends on how it ended.
                let _ = calls.await;
            };
            stage("calls of other nodes", CALLS_GRACE, ended).await;
        }
        if let Some(mailstore) = self.mailstore.take() {
            mailstore.stop().await;
        }
        if let Some(directory) = self.directory.take() {
            directory.shutdown().await;
        }
        drop(self.measuring.take());
        if let Some(store) = self.store.take() {
            store.close().await;
        }
    }

    async fn bind_calls(&self, endpoints: &mut Endpoints) -> anyhow::Result<Option<TcpListener>> {
        let Some(address) = self.config.calls_address()? else {
            return Ok(None);
        };
        let wanted = endpoints.wanted("calls", address);
        let listener = TcpListener::bind(wanted)
            .await
            .with_context(|| format!("cannot listen on {wanted}"))?;
        endpoints.bound("calls", listener.local_addr()?);
        Ok(Some(listener))
    }

    pub(super) fn advertised(&self, bound: SocketAddr) -> String {
        self.config
            .node
            .advertise
            .clone()
            .unwrap_or_else(|| bound.to_string())
    }

    pub(super) fn describe(&self, role: NodeRole, address: String) -> Node {
        let node = &self.config.node;
        // In one process each role is a node of its own to the others.
        let id = if self.is_single() {
            format!("{}-1", role_name(role))
        } else {
            node.id.clone()
        };
        Node {
            id,
            role: role.into(),
            address,
            http: self.http.clone(),
            weight: WEIGHT,
            alive: true,
            instance: self.instance,
            ..Node::default()
        }
    }

    fn is_single(&self) -> bool {
        self.config.directory.is_some() && self.config.mailstore.is_some()
    }

    async fn start_directory(
        &mut self,
        mut section: rookery_directory::Config,
        address: String,
        store: NodeStore,
        endpoints: &mut Endpoints,
    ) -> anyhow::Result<()> {
        section.admin_listen = endpoints.wanted("admin", section.admin_listen);
        for member in &section.members {
            self.peers.set_address(&member.id, &member.address);
        }
        let node = &self.config.node;
        let authority = self.config.authority()?.map(Arc::new);
        let host = rookery_directory::Host {
            cluster_id: node.cluster.clone(),
            node: self.describe(NodeRole::Directory, address),
            data: self.data.clone(),
            member: store,
            mailstores: Arc::new(self.channels(Role::Directory)),
            directories: Arc::new(Members(self.tls.clone())),
            admin_certificate: Some(Certificate::load(&node.certificate, &node.key)?),
            authority,
            health: self.health.clone(),
        };
        let directory = Directory::start(section, host).await?;
        if let Some(address) = directory.admin_address() {
            endpoints.bound("admin", address);
        }
        if let Some(web) = directory.web() {
            // Set once: this is called once.
            let _ = self.web.set(web);
        }
        self.directory = Some(directory);
        Ok(())
    }

    fn start_mailstore(
        &mut self,
        section: &rookery_mailstore::Config,
        address: String,
        store: NodeStore,
    ) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("cannot tell this program's path")?;
        let program = program
            .into_os_string()
            .into_string()
            .map_err(|path| anyhow!("{path:?} is not UTF-8"))?;
        let host = rookery_mailstore::node::Host {
            cluster_id: self.config.node.cluster.clone(),
            node: self.describe(NodeRole::Mailstore, address),
            member: store,
            peers: Arc::clone(&self.peers),
            directory: self.directory_caller(Role::Mailstore)?,
            worker_command: vec![program, WORKER_COMMAND.to_owned()],
            health: self.health.clone(),
        };
        let mailstore = Mailstore::start(section, host).map_err(anyhow::Error::msg)?;
        // Set once: this is called once.
        let _ = self.local_mailstore.set(mailstore.service());
        self.mailstore = Some(mailstore);
        Ok(())
    }

    async fn start_proxy(
        &mut self,
        mut section: rookery_proxy::config::Config,
        endpoints: &mut Endpoints,
    ) -> anyhow::Result<()> {
        let listen = &mut section.listen;
        for (name, address) in [
            ("imap", &mut listen.imap),
            ("imaps", &mut listen.imaps),
            ("smtp", &mut listen.smtp),
            ("submission", &mut listen.submission),
            ("submissions", &mut listen.submissions),
            ("lmtp", &mut listen.lmtp),
        ] {
            if let Some(address) = address {
                *address = endpoints.wanted(name, *address);
            }
        }
        let host = rookery_proxy::node::Host {
            directory: self.directory_caller(Role::Proxy)?,
            connect: Arc::new(self.channels(Role::Proxy)),
            health: self.health.clone(),
        };
        let proxy = Proxy::start(section, host).await?;
        for (name, address) in proxy.endpoints() {
            endpoints.bound(name, address);
        }
        self.proxy = Some(proxy);
        Ok(())
    }

    /// Answers other nodes' calls.
    fn answer_calls(&mut self, listener: TcpListener) {
        let mut server = Server::new(
            self.tls.clone(),
            ServerOptions::default(),
            self.stop_calls.clone(),
        );
        if let Some(directory) = &self.directory {
            server = server.add(
                directory.service(),
                &[Role::Proxy, Role::Mailstore, Role::Directory],
            );
        }
        if let Some(mailstore) = &self.mailstore {
            server = server.add(mailstore.service(), &[Role::Proxy, Role::Directory]);
        }
        if let Some(store) = &self.store {
            let service = Arc::new(ReplicationService(Arc::clone(store)));
            server = server.add(
                service as Arc<dyn Service<ReplicationProtocol>>,
                &[self.config.role()],
            );
        }
        self.calls = Some(tokio::spawn(async move {
            if let Err(error) = server.serve(listener).await {
                tracing::error!(%error, "calls of other nodes are no longer answered");
            }
        }));
    }

    pub(super) fn directory_caller(&self, from: Role) -> anyhow::Result<Arc<dyn Caller<DirectoryProtocol>>> {
        if let Some(directory) = &self.directory {
            return Ok(Arc::new(Local::new(directory.service(), local_peer(from))));
        }
        let members = Members(self.tls.clone());
        match self.config.node.directory.0.as_slice() {
            [] => bail!("node.directory is not set"),
            [address] => Ok(Arc::new(connect::<DirectoryProtocol>(
                members.endpoint(address),
                ConnectOptions::default(),
            )?)),
            addresses => {
                let candidates = addresses.iter().map(|address| Candidate {
                    address: address.clone(),
                    caller: members.directory(address),
                });
                Ok(Arc::new(Elected::new(candidates.collect())))
            }
        }
    }

    fn channels(&self, from: Role) -> Channels {
        let local = self
            .config
            .mailstore
            .is_some()
            .then(|| Arc::clone(&self.local_mailstore));
        Channels {
            local,
            from,
            tls: self.tls.clone(),
            kept: Mutex::default(),
        }
    }
}

/// Makes channels between nodes that hold replicas of the same groups, which have the same role.
fn peer_connect(role: Role, tls: NodeTls) -> rookery_mailstore::PeerConnect {
    Box::new(move |address| {
        let endpoint = Endpoint {
            address: address.to_owned(),
            role,
            tls: tls.clone(),
        };
        let options = ConnectOptions {
            backoff_max: BACKOFF_MAX,
            ..ConnectOptions::default()
        };
        match connect::<ReplicationProtocol>(endpoint, options) {
            Ok(remote) => Arc::new(remote),
            Err(error) => Arc::new(Unreachable(format!("{address} cannot be called: {error}"))),
        }
    })
}

/// Makes channels to members of a directory with several.
struct Members(NodeTls);

impl Members {
    fn endpoint(&self, address: &str) -> Endpoint {
        Endpoint {
            address: address.to_owned(),
            role: Role::Directory,
            tls: self.0.clone(),
        }
    }
}

impl Directories for Members {
    fn directory(&self, address: &str) -> Arc<dyn Caller<DirectoryProtocol>> {
        // Another one is asked at once.
        let options = ConnectOptions {
            when_down: WhenDown::FailFast,
            ..ConnectOptions::default()
        };
        match connect::<DirectoryProtocol>(self.endpoint(address), options) {
            Ok(remote) => Arc::new(remote),
            Err(error) => Arc::new(Unreachable(format!("{address} cannot be called: {error}"))),
        }
    }
}

/// Longest pause between two attempts to connect to a mailstore, or of one member of a group to another: when it is back, what it
/// holds is waited for.
const BACKOFF_MAX: Duration = Duration::from_millis(250);

/// How long a call waits for the connection to a mailstore.
const CONNECT_WAIT: Duration = Duration::from_secs(1);

/// Makes channels to mailstores.
struct Channels {
    /// The mailstore of this process, if it runs one.
    local: Option<LocalMailstore>,
    from: Role,
    tls: NodeTls,
    /// What the directory calls mailstores over, by their addresses.
    kept: Mutex<HashMap<String, Arc<dyn Caller<MailstoreProtocol>>>>,
}

impl Channels {
    fn channel(&self, node: &Node) -> Arc<dyn Caller<MailstoreProtocol>> {
        if let Some(local) = &self.local {
            return match local.get() {
                Some(service) => Arc::new(Local::new(Arc::clone(service), local_peer(self.from))),
                None => Arc::new(Unreachable(
                    "the mailstore of this process has not started yet".to_owned(),
                )),
            };
        }
        let endpoint = Endpoint {
            address: node.address.clone(),
            role: Role::Mailstore,
            tls: self.tls.clone(),
        };
        let when_down = match self.from {
            // It asks another replica at once, and this one again.
            Role::Proxy => WhenDown::Once(CONNECT_WAIT),
            _ => WhenDown::Wait(CONNECT_WAIT),
        };
        let options = ConnectOptions {
            when_down,
            backoff_max: BACKOFF_MAX,
            ..ConnectOptions::default()
        };
        match connect::<MailstoreProtocol>(endpoint, options) {
            Ok(remote) => Arc::new(remote),
            Err(error) => Arc::new(Unreachable(format!("{} cannot be called: {error}", node.id))),
        }
    }
}

impl Connect for Channels {
    fn connect(&self, node: &Node) -> Arc<dyn Caller<MailstoreProtocol>> {
        self.channel(node)
    }
}

impl Mailstores for Channels {
    fn mailstore(&self, node: &Node) -> Arc<dyn Caller<MailstoreProtocol>> {
        // Kept, since a handshake costs more than the call; but not what this process has not started yet.
        if self.local.is_some() {
            return self.channel(node);
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = kept
            .entry(node.address.clone())
            .or_insert_with(|| self.channel(node));
        Arc::clone(channel)
    }
}

/// A node with an address that cannot be used: every call says so.
struct Unreachable(String);

impl<P: Protocol> Caller<P> for Unreachable {
    fn call(&self, _call: rookery_proto::Call<P>) -> Replies<P> {
        Replies::failed(Status::unavailable(self.0.clone()))
    }
}

/// Who a role of this process is to the others of it.
fn local_peer(role: Role) -> Peer {
    Peer {
        role,
        node: format!("{}-1", role.as_str()),
        certificate: Bytes::new(),
    }
}

fn role_name(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Directory => "directory",
        NodeRole::Mailstore => "mailstore",
        NodeRole::Proxy => "proxy",
        NodeRole::Unspecified => "node",
    }
}
