//! Accepts connections: a bounded number, each with a TLS handshake of its own, so that none waits for another's.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::Connected;

use crate::call::Peer;
use crate::remote::NodeTls;
use crate::remote::limits::{HANDSHAKE_TIMEOUT, HANDSHAKES_MAX};
use crate::remote::tls::{fingerprint, node_name};

/// Pause after a failure to accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection, by a certificate that the cluster's CA signed.
#[derive(Debug, Clone)]
pub struct ConnectedPeer {
    /// Where it connected from.
    pub address: SocketAddr,
    /// Who it is and its cluster's id; absent when its certificate names no node.
    pub node: Option<(Peer, String)>,
}

/// Who sent a tonic request to a [`crate::remote::Server`], if its certificate names a node of the cluster.
pub fn peer_of<T>(request: &tonic::Request<T>, cluster: &str) -> Result<Peer, tonic::Status> {
    let connected = request.extensions().get::<Arc<ConnectedPeer>>();
    let connected = connected.ok_or_else(|| tonic::Status::internal("the connection has no peer"))?;
    match &connected.node {
        Some((peer, of)) if of == cluster => Ok(peer.clone()),
        Some((peer, of)) => Err(tonic::Status::permission_denied(format!(
            "the certificate of {} is for cluster {of}, and this is cluster {cluster}",
            peer.node
        ))),
        None => Err(tonic::Status::permission_denied(
            "the certificate names no node of a cluster",
        )),
    }
}

/// Accepts until stopped, or nobody takes connections any more.
pub(super) async fn accept(
    listener: TcpListener,
    tls: NodeTls,
    connections_max: usize,
    connections: mpsc::Sender<io::Result<Connection>>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let held = Arc::new(Semaphore::new(connections_max));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let next = async {
            // The semaphores are never closed.
            let connection = Arc::clone(&held).acquire_owned().await.ok()?;
            let handshake = Arc::clone(&handshakes).acquire_owned().await.ok()?;
            Some((connection, handshake, listener.accept().await))
        };
        let Some(Some((connection, handshake, accepted))) = stop.run_until_cancelled(next).await else {
            return;
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections of other nodes");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // The certificate of this moment.
        let acceptor = TlsAcceptor::from(tls.server_config());
        let connections = connections.clone();
        let stop = stop.clone();
        tasks.spawn(async move {
            let shaken = stop
                .run_until_cancelled(shake_hands(acceptor, stream, address, connection))
                .await;
            drop(handshake);
            match shaken {
                Some(Ok(connection)) => {
                    let _ = connections.send(Ok(connection)).await;
                }
                Some(Err(error)) => tracing::warn!(%address, %error, "a connection was refused"),
                None => {}
            }
        });
    }
}

async fn shake_hands(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    held: OwnedSemaphorePermit,
) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long"))??;
    let certificate = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first());
    let node = certificate.and_then(|certificate| {
        let name = node_name(certificate)?;
        let peer = Peer {
            role: name.role,
            node: name.node,
            certificate: fingerprint(certificate),
        };
        Some((peer, name.cluster))
    });
    Ok(Connection {
        stream,
        peer: Arc::new(ConnectedPeer { address, node }),
        _held: held,
    })
}

/// An accepted connection.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Arc<ConnectedPeer>,
    _held: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = Arc<ConnectedPeer>;

    fn connect_info(&self) -> Self::ConnectInfo {
        Arc::clone(&self.peer)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
