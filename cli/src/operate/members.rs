//! The way to the admin API of a directory with several members: calls go to the one that leads.
//!
//! Only the leader answers; the others say UNAVAILABLE. Who has failed so is not asked the next time: the one after it is.
//! A call is never made twice by itself, as many of them may not be.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tonic::Code;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::transport::{Channel, Error};

/// Channels to all members, shared by the clients of a command.
#[derive(Clone)]
pub(crate) struct Members {
    channels: Arc<[Channel]>,
    current: Arc<AtomicUsize>,
}

impl Members {
    /// At least one.
    pub(super) fn new(channels: Vec<Channel>) -> Self {
        Self {
            channels: channels.into(),
            current: Arc::default(),
        }
    }

    /// The member that is asked next.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// This one is not asked next.
    pub(super) fn move_on(&self, from: usize) {
        let next = (from + 1) % self.channels.len();
        // Another call may have moved on already.
        let _ = self
            .current
            .compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Service<http::Request<Body>> for Members {
    type Response = http::Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // That of the channel is waited for with the call.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let members = self.clone();
        Box::pin(async move {
            let index = members.current();
            let mut channel = members.channels[index].clone();
            let answered = match std::future::poll_fn(|context| channel.poll_ready(context)).await {
                Ok(()) => channel.call(request).await,
                Err(error) => Err(error),
            };
            let failed = answered.as_ref().map_or(true, is_unavailable);
            if failed {
                members.move_on(index);
            }
            answered
        })
    }
}

fn is_unavailable(response: &http::Response<Body>) -> bool {
    let status = response.headers().get("grpc-status");
    status.is_some_and(|status| Code::from_bytes(status.as_bytes()) == Code::Unavailable)
}
