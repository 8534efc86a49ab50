//! One listening socket.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::limits::{ConnectionLimits, Slot};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;

/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(20);

/// How long to wait when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound socket that is not yet accepting.
pub struct Listener {
    tcp: TcpListener,
    local: SocketAddr,
    implicit_tls: Option<TlsAcceptor>,
    limits: Arc<ConnectionLimits>,
}

/// What a client's connection runs over.
pub enum Wire {
    /// As the client connected; STARTTLS may come.
    Plain(TcpStream),
    /// TLS from the first byte (RFC 8314 §3).
    Tls(Box<TlsStream<TcpStream>>),
}

/// A client's connection.
pub struct Accepted {
    /// The stream.
    pub wire: Wire,
    /// The client's address.
    pub client: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Its place among the proxy's connections, to be held as long as it lives.
    pub slot: Slot,
}

impl Listener {
    /// Binds a socket. With `implicit_tls`, each connection begins with a handshake.
    pub fn bind(
        address: SocketAddr,
        implicit_tls: Option<TlsAcceptor>,
        limits: Arc<ConnectionLimits>,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket
            .bind(&address.into())
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
        socket.listen(BACKLOG)?;
        let tcp = TcpListener::from_std(socket.into())?;
        let local = tcp.local_addr()?;
        Ok(Self {
            tcp,
            local,
            implicit_tls,
            limits,
        })
    }

    /// The address it listens on, with the port that the system chose.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Accepts until cancelled, each connection in a task of `tasks`.
    pub async fn run<H, F>(self, tasks: TaskTracker, cancel: CancellationToken, handler: H)
    where
        H: Fn(Accepted) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => return,
                accepted = self.tcp.accept() => accepted,
            };
            let (stream, client) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or the client went away while it waited: neither ends the listener.
                    tracing::warn!(%error, local = %self.local, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(slot) = self.limits.take(client.ip()) else {
                metrics::counter!("rookery_proxy_connections_refused_total").increment(1);
                tracing::info!(%client, local = %self.local, "too many connections: refused");
                continue;
            };
            // Without it each small answer behind another waits for the client's delayed acknowledgement.
            if stream.set_nodelay(true).is_err() {
                continue;
            }
            let local = self.local;
            match self.implicit_tls.clone() {
                None => {
                    tasks.spawn(handler(Accepted {
                        wire: Wire::Plain(stream),
                        client,
                        local,
                        slot,
                    }));
                }
                Some(acceptor) => {
                    let handler = handler.clone();
                    tasks.spawn(async move {
                        // Boxed, so that the handshake's state is gone once the session begins.
                        let handshake =
                            Box::pin(tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)));
                        match handshake.await {
                            Ok(Ok(tls)) => {
                                let wire = Wire::Tls(Box::new(tls));
                                handler(Accepted {
                                    wire,
                                    client,
                                    local,
                                    slot,
                                })
                                .await;
                            }
                            Ok(Err(error)) => tracing::debug!(%client, %error, "TLS handshake failed"),
                            Err(_) => tracing::debug!(%client, "TLS handshake took too long"),
                        }
                    });
                }
            }
        }
    }
}
