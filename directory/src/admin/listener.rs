//! Where the operator's calls come in: TCP, TLS, gRPC.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rookery_process::tls::{Certificate, TlsError};
use rookery_proto::admin::v1::admin_server::AdminServer;
use rookery_proto::admin::v1::backup_server::BackupServer;
use rookery_proto::admin::v1::join_server::JoinServer;
use rookery_proto::admin::v1::nodes_server::NodesServer;
use rookery_proto::admin::v1::rebalance_server::RebalanceServer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;

use super::auth::Bearer;
use super::{AdminService, BackupService, JoinService, NodesService, RebalanceService, join};

/// How long a client has for its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Handshakes under way at a time.
const HANDSHAKES_MAX: usize = 64;

/// How long to wait when the system refuses a connection (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The largest request. A thousand accounts fit with room to spare.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

type Accepted = Result<TlsStream<TcpStream>, std::io::Error>;

/// What is served.
pub(crate) struct Services {
    pub(crate) admin: AdminService,
    pub(crate) backup: BackupService,
    pub(crate) rebalance: RebalanceService,
    pub(crate) nodes: NodesService,
    /// The one for which no token is asked.
    pub(crate) join: JoinService,
}

/// A bound listener.
pub(crate) struct Listener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl Listener {
    /// Binds, with this certificate.
    pub(crate) async fn bind(address: SocketAddr, certificate: &Arc<Certificate>) -> Result<Self, BindError> {
        let tcp = TcpListener::bind(address)
            .await
            .map_err(|source| BindError::Bind { address, source })?;
        let mut config = tokio_rustls::rustls::ServerConfig::clone(certificate.acceptor()?.config());
        // gRPC is HTTP/2, and its clients insist on agreeing on it (RFC 9113 §3.2).
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            tcp,
            tls: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Result<SocketAddr, BindError> {
        Ok(self.tcp.local_addr()?)
    }

    /// Serves until cancelled, then lets calls end.
    pub(crate) async fn serve(self, services: Services, bearer: Bearer, cancel: CancellationToken) {
        let (accepted, streams) = mpsc::channel(HANDSHAKES_MAX);
        let accepting = tokio::spawn(accept(self, accepted, cancel.clone()));
        let Services {
            admin,
            backup,
            rebalance,
            nodes,
            join,
        } = services;
        let admin = AdminServer::new(admin).max_decoding_message_size(REQUEST_BYTES_MAX);
        let join = JoinServer::new(join).max_decoding_message_size(join::REQUEST_BYTES_MAX);
        let served = Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .add_service(InterceptedService::new(admin, bearer.clone()))
            .add_service(InterceptedService::new(BackupServer::new(backup), bearer.clone()))
            .add_service(InterceptedService::new(
                RebalanceServer::new(rebalance),
                bearer.clone(),
            ))
            .add_service(InterceptedService::new(NodesServer::new(nodes), bearer))
            .add_service(join)
            .serve_with_incoming_shutdown(ReceiverStream::new(streams), cancel.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "the admin listener failed");
        }
        accepting.abort();
    }
}

async fn accept(listener: Listener, accepted: mpsc::Sender<Accepted>, cancel: CancellationToken) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else {
            return;
        };
        let stream = tokio::select! {
            () = cancel.cancelled() => return,
            stream = listener.tcp.accept() => stream,
        };
        let (stream, peer) = match stream {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection of an operator");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (tls, accepted) = (listener.tls.clone(), accepted.clone());
        tokio::spawn(async move {
            let _permit = permit;
            // Not having it only makes small answers slower.
            let _ = stream.set_nodelay(true);
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                // A server that has stopped takes no more.
                Ok(Ok(stream)) => drop(accepted.send(Ok(stream)).await),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
            }
        });
    }
}

/// The listener cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken or not ours.
    #[error("cannot listen for operators on {address}: {source}")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The socket does not say where it listens.
    #[error("cannot tell where the admin listener is: {0}")]
    Address(#[from] std::io::Error),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}
