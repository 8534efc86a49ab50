//! The transport within one process: a direct call, no encoding, no copy of a body.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::call::{
    Call, Caller, Incoming, LOCAL_WINDOW, Peer, Protocol, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Replies,
    ReplySink, Service, SinkTransport, cancelled, deadline_exceeded, panicked, too_large,
};
use crate::status::Status;

/// Calls a service in this process.
pub struct Local<P: Protocol> {
    service: Arc<dyn Service<P>>,
    peer: Peer,
}

impl<P: Protocol> Local<P> {
    /// A caller that speaks as `peer`.
    pub fn new(service: Arc<dyn Service<P>>, peer: Peer) -> Self {
        Self { service, peer }
    }
}

struct LocalSink<P: Protocol> {
    items: mpsc::Sender<Result<P::Reply, Status>>,
}

impl<P: Protocol> SinkTransport<P> for LocalSink<P> {
    fn send(&self, reply: P::Reply) -> BoxFuture<'_, Result<(), Status>> {
        Box::pin(async move {
            let bytes = reply.encoded_len();
            if bytes > REPLY_BYTES_MAX {
                return Err(too_large("reply", bytes, REPLY_BYTES_MAX));
            }
            self.items.send(Ok(reply)).await.map_err(|_| cancelled())
        })
    }
}

impl<P: Protocol> Caller<P> for Local<P> {
    fn call(&self, call: Call<P>) -> Replies<P> {
        // What one process would refuse to send to another is refused here too, so that nothing works in a single node
        // that fails in a cluster.
        let bytes = call.request.encoded_len();
        if bytes > REQUEST_BYTES_MAX {
            return Replies::failed(too_large("request", bytes, REQUEST_BYTES_MAX));
        }
        let (sender, items) = mpsc::channel(LOCAL_WINDOW);
        let token = CancellationToken::new();
        let guard: DropGuard = token.clone().drop_guard();
        let sink = ReplySink::new(Arc::new(LocalSink {
            items: sender.clone(),
        }));
        let deadline = tokio::time::Instant::from_std(call.context.deadline);
        let incoming = Incoming {
            context: call.context,
            request: call.request,
            body: call.body,
            peer: self.peer.clone(),
        };
        let service = Arc::clone(&self.service);
        // A panic is an error of this call, never its success.
        let serving = AssertUnwindSafe(async move { service.serve(incoming, sink).await }).catch_unwind();
        tokio::spawn(async move {
            let result = tokio::select! {
                biased;
                () = token.cancelled() => return,
                result = serving => result.unwrap_or_else(|_| Err(panicked())),
                () = tokio::time::sleep_until(deadline) => Err(deadline_exceeded()),
            };
            if let Err(status) = result {
                let _ = sender.send(Err(status)).await;
            }
        });
        Replies::new(items, Some(Box::new(guard)))
    }
}
