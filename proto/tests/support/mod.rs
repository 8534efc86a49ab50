//! What the tests of the transports share: certificates, a service that does as it is told, a relay that can be cut.
//!
//! Each test program uses a part of it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod certificates;
pub mod relay;
pub mod scripted;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rookery_proto::local::Local;
use rookery_proto::remote::{
    ConnectOptions, Endpoint, NodeTls, Remote, Server, ServerOptions, WhenDown, connect,
};
use rookery_proto::{Body, Call, CallContext, Caller, DirectoryProtocol, Replies, Role};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::certificates::Authority;
use self::scripted::{Scripted, request};

/// Longer than any test takes: whoever sees it pass has hung.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Id of the cluster of most tests.
pub const CLUSTER: &str = "c1";

/// A service behind one of the transports, called as `proxy-1`.
pub struct Harness {
    pub caller: Arc<dyn Caller<DirectoryProtocol>>,
    pub service: Arc<Scripted>,
    _server: Option<Running>,
}

impl Harness {
    pub fn local() -> Self {
        let service = Scripted::new();
        let peer = Authority::new().node("proxy-1", Role::Proxy, CLUSTER).peer();
        let caller = Arc::new(Local::new(Arc::clone(&service) as _, peer));
        Self {
            caller,
            service,
            _server: None,
        }
    }

    pub async fn remote() -> Self {
        let authority = Authority::new();
        let server = Running::start(&authority, ServerOptions::default()).await;
        let tls = authority.node("proxy-1", Role::Proxy, CLUSTER);
        let caller = Arc::new(caller(server.address, tls, patient()));
        Self {
            caller,
            service: Arc::clone(&server.service),
            _server: Some(server),
        }
    }

    pub fn call(&self, command: &str) -> Replies<DirectoryProtocol> {
        start(&*self.caller, command, None, PATIENCE)
    }
}

/// A server of the scripted service.
pub struct Running {
    pub address: SocketAddr,
    pub service: Arc<Scripted>,
    pub stop: CancellationToken,
    pub task: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Running {
    pub async fn start(authority: &Authority, options: ServerOptions) -> Self {
        Self::start_as(authority.node("directory-1", Role::Directory, CLUSTER), options).await
    }

    pub async fn start_as(tls: NodeTls, options: ServerOptions) -> Self {
        let service = Scripted::new();
        let stop = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new(tls, options, stop.clone())
            .add::<DirectoryProtocol>(Arc::clone(&service) as _, &[Role::Proxy, Role::Mailstore]);
        let task = tokio::spawn(server.serve(listener));
        Self {
            address,
            service,
            stop,
            task,
        }
    }
}

/// Options with which a call waits for its connection as long as a test may take.
pub fn patient() -> ConnectOptions {
    ConnectOptions {
        when_down: WhenDown::Wait(PATIENCE),
        ..ConnectOptions::default()
    }
}

pub fn caller(address: SocketAddr, tls: NodeTls, options: ConnectOptions) -> Remote<DirectoryProtocol> {
    connect(
        Endpoint {
            address: address.to_string(),
            role: Role::Directory,
            tls,
        },
        options,
    )
    .unwrap()
}

pub fn start(
    caller: &dyn Caller<DirectoryProtocol>,
    command: &str,
    body: Option<Body>,
    timeout: Duration,
) -> Replies<DirectoryProtocol> {
    caller.call(Call {
        context: CallContext::with_timeout(timeout),
        request: request(command),
        body,
    })
}
