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

use super::header::{self, HeaderError, Origin};
use super::limits::{ConnectionLimits, Slot};
use super::network::Network;
use crate::catalogue::{CONNECTIONS_REFUSED, HEADERS_REFUSED, shook_hands};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;

/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(20);

/// How long a header of the PROXY protocol may take: a segment that was lost comes again within it (its §2: at least 3 seconds).
const HEADER_MAX: Duration = Duration::from_secs(5);

/// How long to wait when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound socket that is not yet accepting.
pub struct Listener {
    tcp: TcpListener,
    local: SocketAddr,
    implicit_tls: Option<TlsAcceptor>,
    limits: Arc<ConnectionLimits>,
    headers_from: Arc<[Network]>,
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
    /// The client's address: who connected, or whom a load balancer's header names.
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
            headers_from: Arc::from([]),
        })
    }

    /// The address it listens on, with the port that the system chose.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The same, where connections from some networks begin with a header of the PROXY protocol. Those from elsewhere never do: what
    /// looks like a header is the client's own words there.
    pub fn with_headers_from(mut self, networks: Arc<[Network]>) -> Self {
        self.headers_from = networks;
        self
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
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or the client went away while it waited: neither ends the listener.
                    tracing::warn!(%error, local = %self.local, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let headed = self
                .headers_from
                .iter()
                .any(|network| network.contains(peer.ip()));
            let slot = if headed {
                self.limits.take_unnamed()
            } else {
                self.limits.take(peer.ip())
            };
            let Some(slot) = slot else {
                refuse(peer, self.local);
                continue;
            };
            // Without it each small answer behind another waits for the client's delayed acknowledgement.
            if stream.set_nodelay(true).is_err() {
                continue;
            }
            let (local, tls) = (self.local, self.implicit_tls.clone());
            let accepted = Plain {
                stream,
                client: peer,
                local,
                slot,
            };
            if !headed && tls.is_none() {
                tasks.spawn(handler(accepted.into()));
                continue;
            }
            let handler = handler.clone();
            tasks.spawn(async move {
                // Boxed, so that its state is gone once the session begins.
                if let Some(accepted) = Box::pin(accepted.prepare(headed, tls)).await {
                    handler(accepted).await;
                }
            });
        }
    }
}

/// A connection of which nothing has been read.
struct Plain {
    stream: TcpStream,
    client: SocketAddr,
    local: SocketAddr,
    slot: Slot,
}

impl From<Plain> for Accepted {
    fn from(plain: Plain) -> Self {
        Self {
            wire: Wire::Plain(plain.stream),
            client: plain.client,
            local: plain.local,
            slot: plain.slot,
        }
    }
}

impl Plain {
    /// What comes before the protocol: a load balancer's header, then a handshake. `None`: it is closed.
    async fn prepare(mut self, headed: bool, tls: Option<TlsAcceptor>) -> Option<Accepted> {
        if headed {
            self = self.read_header().await?;
        }
        let Some(acceptor) = tls else {
            return Some(self.into());
        };
        let client = self.client;
        match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(self.stream)).await {
            Ok(Ok(tls)) => {
                shook_hands("ok");
                Some(Accepted {
                    wire: Wire::Tls(Box::new(tls)),
                    client,
                    local: self.local,
                    slot: self.slot,
                })
            }
            Ok(Err(error)) => {
                shook_hands("failed");
                tracing::debug!(%client, %error, "TLS handshake failed");
                None
            }
            Err(_) => {
                shook_hands("late");
                tracing::debug!(%client, "TLS handshake took too long");
                None
            }
        }
    }

    /// The same with the client that the header names, counted for its address.
    async fn read_header(mut self) -> Option<Self> {
        let (peer, local) = (self.client, self.local);
        let reason = match tokio::time::timeout(HEADER_MAX, header::read(&mut self.stream)).await {
            Ok(Ok(origin)) => {
                if let Origin::Named(client) = origin {
                    self.client = client;
                }
                let Some(slot) = self.slot.named(self.client.ip()) else {
                    refuse(self.client, local);
                    return None;
                };
                return Some(Self { slot, ..self });
            }
            Ok(Err(error)) => {
                if matches!(error, HeaderError::Absent) {
                    tracing::debug!(%peer, %local, %error, "connection without a PROXY header");
                } else {
                    tracing::info!(%peer, %local, %error, "closed a connection without a good PROXY header: does the \
                        load balancer send them?");
                }
                error.reason()
            }
            Err(_) => {
                tracing::info!(%peer, %local, "closed a connection whose PROXY header did not come: does the load \
                    balancer send them?");
                "slow"
            }
        };
        HEADERS_REFUSED.with(&[reason]).increment(1);
        None
    }
}

fn refuse(client: SocketAddr, local: SocketAddr) {
    CONNECTIONS_REFUSED.increment(1);
    tracing::info!(%client, %local, "too many connections: refused");
}

#[cfg(test)]
mod tests;
