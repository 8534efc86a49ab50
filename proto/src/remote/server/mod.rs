//! The callee's side: [`Server`] answers calls of other nodes on one listener.

mod accept;
mod call;
mod served;
mod stream;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::RoutesBuilder;

pub use self::accept::{ConnectedPeer, peer_of};
pub use self::served::Served;
use super::limits::{
    CALLS_IN_FLIGHT_MAX, CONNECTION_WINDOW_BYTES, CONNECTIONS_MAX, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT,
    STREAM_WINDOW_BYTES, STREAMS_MAX,
};
use super::{NodeTls, RemoteProtocol};
use crate::call::{Role, Service};

/// How long peers have to take what was written last, once the grace time is over.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Connections that are held; further ones wait to be accepted.
    pub connections_max: usize,
    /// Calls in flight on each stream; further ones end with LIMIT_EXCEEDED.
    pub calls_max: usize,
    /// How long calls in flight have to end once the server is told to stop.
    pub grace: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            calls_max: CALLS_IN_FLIGHT_MAX,
            grace: Duration::from_secs(5),
        }
    }
}

/// A listener for other nodes' calls, with mutual TLS. Services are added, then it is run.
pub struct Server {
    tls: NodeTls,
    options: ServerOptions,
    routes: RoutesBuilder,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// A server that stops when the token is cancelled: it takes no more calls, gives those in flight the grace time,
    /// and ends its connections.
    pub fn new(tls: NodeTls, options: ServerOptions, stop: CancellationToken) -> Self {
        Self {
            tls,
            options,
            routes: RoutesBuilder::default(),
            stop,
            tasks: TaskTracker::new(),
        }
    }

    /// Serves a protocol to nodes of these roles; others are refused with PERMISSION_DENIED. What each may ask for
    /// is for the service to say, by [`crate::call::Incoming::peer`].
    pub fn add<P: RemoteProtocol>(self, service: Arc<dyn Service<P>>, roles: &[Role]) -> Self {
        let served = Served::new(
            service,
            self.tls.cluster().to_owned(),
            roles.iter().copied().collect::<HashSet<_>>(),
            self.options.clone(),
            self.stop.clone(),
            self.tasks.clone(),
        );
        self.with(|routes| P::add_to(routes, served))
    }

    /// Adds other tonic services to the same listener. Each must itself check [`peer_of`] its requests.
    pub fn with(mut self, add: impl FnOnce(&mut RoutesBuilder)) -> Self {
        add(&mut self.routes);
        self
    }

    /// Runs until stopped.
    pub async fn serve(self, listener: TcpListener) -> Result<(), tonic::transport::Error> {
        let (connections, incoming) = tokio::sync::mpsc::channel(1);
        let accepting = accept::accept(
            listener,
            self.tls.clone(),
            self.options.connections_max,
            connections,
            self.stop.clone(),
            self.tasks.clone(),
        );
        self.tasks.spawn(accepting);
        let serving = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(STREAMS_MAX)
            .add_routes(self.routes.routes())
            .serve_with_incoming_shutdown(ReceiverStream::new(incoming), self.stop.clone().cancelled_owned());
        // Streams end within the grace time; a peer that is dead by then is not waited for.
        let stopped = async {
            self.stop.cancelled().await;
            tokio::time::sleep(self.options.grace + CLOSE_TIMEOUT).await;
        };
        let result = tokio::select! {
            result = serving => result,
            () = stopped => Ok(()),
        };
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        result
    }
}
