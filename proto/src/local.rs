//! The transport within one process: a direct call, no encoding, no copy of a body.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::call::{
    Call, Caller, Incoming, LOCAL_WINDOW, Peer, Protocol, Replies, ReplySink, Service, SinkTransport, cancelled,
    deadline_exceeded,
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
        Box::pin(async move { self.items.send(Ok(reply)).await.map_err(|_| cancelled()) })
    }
}

impl<P: Protocol> Caller<P> for Local<P> {
    fn call(&self, call: Call<P>) -> Replies<P> {
        let (sender, items) = mpsc::channel(LOCAL_WINDOW);
        let token = CancellationToken::new();
        let guard: DropGuard = token.clone().drop_guard();
        let sink = ReplySink::new(Arc::new(LocalSink { items: sender.clone() }));
        let deadline = tokio::time::Instant::from_std(call.context.deadline);
        let incoming =
            Incoming { context: call.context, request: call.request, body: call.body, peer: self.peer.clone() };
        let serving = Arc::clone(&self.service).serve(incoming, sink);
        tokio::spawn(async move {
            let result = tokio::select! {
                biased;
                () = token.cancelled() => return,
                result = serving => result,
                () = tokio::time::sleep_until(deadline) => Err(deadline_exceeded()),
            };
            if let Err(status) = result {
                let _ = sender.send(Err(status)).await;
            }
        });
        Replies::new(items, Some(Box::new(guard)))
    }
}
