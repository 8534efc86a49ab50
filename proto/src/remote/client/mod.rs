//! The caller's side: [`Remote`] calls a role in another process.
//!
//! Two connections a peer, so that bulk never delays interactive calls; each is made by the first call that needs it
//! and made again by the first call that finds it broken.

mod call;
mod lane;
mod stream;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;

use self::call::{ClientCall, Opening, RemoteReplies};
use self::lane::Lane;
use self::stream::OpenError;
use super::limits::CALLS_IN_FLIGHT_MAX;
use super::{NodeTls, RemoteProtocol, TlsError};
use crate::call::{Call, Caller, REQUEST_BYTES_MAX, Replies, Role, too_large};

/// Where a peer is and what it must prove to be.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `host:port` of its gRPC listener.
    pub address: String,
    /// The role that its certificate must name, in the cluster of ours.
    pub role: Role,
    /// Our own certificate.
    pub tls: NodeTls,
}

/// What becomes of a call while there is no connection. In either case the connection is (re)made in the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenDown {
    /// It fails at once with UNAVAILABLE.
    FailFast,
    /// It waits so long, at most until its deadline, and then fails with UNAVAILABLE: it was never sent.
    Wait(Duration),
    /// The same, but it fails with the first attempt to connect: for callers who can ask another peer.
    Once(Duration),
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Calls in flight on each connection; further ones fail with LIMIT_EXCEEDED.
    pub calls_max: usize,
    /// What calls do while there is no connection.
    pub when_down: WhenDown,
    /// Longest time for one attempt, from TCP to the accepted stream.
    pub attempt_timeout: Duration,
    /// Pause after the first failed attempt; it doubles with each.
    pub backoff_min: Duration,
    /// Longest pause between attempts.
    pub backoff_max: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            calls_max: CALLS_IN_FLIGHT_MAX,
            when_down: WhenDown::Wait(Duration::from_secs(1)),
            attempt_timeout: Duration::from_secs(5),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
        }
    }
}

/// Calls a service in another process. Dropping it ends its connections; calls in flight fail with UNAVAILABLE.
pub struct Remote<P: RemoteProtocol> {
    interactive: Arc<Lane>,
    bulk: Arc<Lane>,
    protocol: PhantomData<fn() -> P>,
}

/// A caller of the service at an endpoint. Connects when first used. Errors when the address or certificate can never do.
pub fn connect<P: RemoteProtocol>(
    endpoint: Endpoint,
    options: ConnectOptions,
) -> Result<Remote<P>, TlsError> {
    Ok(Remote {
        interactive: Lane::new(&endpoint, &options, P::PATH)?,
        bulk: Lane::new(&endpoint, &options, P::PATH)?,
        protocol: PhantomData,
    })
}

impl<P: RemoteProtocol> Remote<P> {
    /// Ends the connections and waits for what runs in the background.
    pub async fn close(self) {
        self.interactive.close();
        self.bulk.close();
        self.interactive.closed().await;
        self.bulk.closed().await;
    }
}

impl<P: RemoteProtocol> Drop for Remote<P> {
    fn drop(&mut self) {
        self.interactive.close();
        self.bulk.close();
    }
}

impl<P: RemoteProtocol> Caller<P> for Remote<P> {
    fn call(&self, call: Call<P>) -> Replies<P> {
        let bytes = call.request.encoded_len();
        if bytes > REQUEST_BYTES_MAX {
            return Replies::failed(too_large("request", bytes, REQUEST_BYTES_MAX));
        }
        let lane = if call.body.is_some() || P::is_bulk(&call.request) {
            &self.bulk
        } else {
            &self.interactive
        };
        let mut request = Vec::with_capacity(bytes);
        call.request.encode_raw(&mut request);
        let opening = Opening {
            request: request.into(),
            context: call.context,
        };
        let shared = ClientCall::new(opening, call.body);
        let opened = lane.stream().map(|stream| stream.open(&shared));
        match opened {
            Some(Ok(())) => {}
            Some(Err(OpenError::Refused(status))) => return Replies::failed(status),
            Some(Err(OpenError::Broken)) | None => {
                if let Err(status) = lane.open_when_up(&shared) {
                    return Replies::failed(status);
                }
            }
        }
        Replies::from_source(Box::new(RemoteReplies::new(shared)))
    }
}
