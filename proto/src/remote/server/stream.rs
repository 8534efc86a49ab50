//! One bidirectional stream at the callee: starts a task for each call and hands out what comes for it.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Streaming;

use super::ServerOptions;
use super::call::{ServedBody, ServedCall};
use crate::call::{
    Body, CHUNK_BYTES_MAX, CallContext, Incoming, Peer, Protocol, REQUEST_BYTES_MAX, ReplySink, Service,
    deadline_exceeded, panicked, too_large,
};
use crate::frame::v1::frame::Kind;
use crate::frame::v1::{Batch, Chunk, End, Frame, Open};
use crate::remote::inbox::Piece;
use crate::remote::limits::QUEUED_BYTES_MAX;
use crate::remote::outbox::{Outbox, Writer};
use crate::status::{Reason, Status};

pub(super) struct ServerStream<P: Protocol> {
    service: Arc<dyn Service<P>>,
    peer: Peer,
    options: ServerOptions,
    tasks: TaskTracker,
    outbox: Arc<Outbox>,
    calls: Mutex<HashMap<u64, Running>>,
    stopping: AtomicBool,
    quiet: Notify,
}

struct Running {
    task: AbortHandle,
    call: Arc<ServedCall>,
}

/// The caller does not keep to the protocol.
struct Violation(&'static str);

impl<P: Protocol> ServerStream<P> {
    pub(super) fn new(
        service: Arc<dyn Service<P>>,
        peer: Peer,
        options: ServerOptions,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        Arc::new(Self {
            service,
            peer,
            options,
            tasks,
            outbox: Outbox::new(),
            calls: Mutex::default(),
            stopping: AtomicBool::new(false),
            quiet: Notify::new(),
        })
    }

    pub(super) fn writer(&self) -> Writer {
        self.outbox.writer()
    }

    /// Serves until the caller goes or the server stops; then no call is left.
    pub(super) async fn run(self: Arc<Self>, inbound: Streaming<Batch>, stop: CancellationToken) {
        let end = tokio::select! {
            biased;
            end = self.read(inbound) => end,
            () = self.drain(stop) => Some(tonic::Status::unavailable("this node is stopping")),
        };
        let running = std::mem::take(&mut *self.calls.lock());
        for (_, running) in running {
            running.task.abort();
            running.call.close();
        }
        self.outbox.close(end);
    }

    /// Once told to stop, waits until the calls in flight have ended, but not longer than the grace time.
    async fn drain(&self, stop: CancellationToken) {
        stop.cancelled().await;
        self.stopping.store(true, Ordering::SeqCst);
        let ended = async {
            loop {
                let quiet = self.quiet.notified();
                if self.calls.lock().is_empty() {
                    return;
                }
                quiet.await;
            }
        };
        let grace: Duration = self.options.grace;
        let _ = tokio::time::timeout(grace, ended).await;
    }

    async fn read(self: &Arc<Self>, mut inbound: Streaming<Batch>) -> Option<tonic::Status> {
        let mut last_id = 0;
        loop {
            match inbound.message().await {
                Ok(Some(batch)) => {
                    for frame in batch.frames {
                        if let Err(Violation(what)) = self.receive(frame, &mut last_id) {
                            tracing::error!(node = self.peer.node, "the stream was ended: {what}");
                            return Some(tonic::Status::invalid_argument(what));
                        }
                    }
                }
                Ok(None) => return None,
                Err(status) => {
                    tracing::debug!(node = self.peer.node, "the stream was cut: {}", status.message());
                    return Some(status);
                }
            }
            // A caller that does not read its answers is not listened to. It always reads, whatever waits at its own
            // side, so the two never wait for each other.
            self.outbox.below(QUEUED_BYTES_MAX).await;
        }
    }

    fn receive(self: &Arc<Self>, frame: Frame, last_id: &mut u64) -> Result<(), Violation> {
        let id = frame.call;
        match frame.kind {
            Some(Kind::Open(open)) => {
                if id <= *last_id {
                    return Err(Violation("call ids must ascend"));
                }
                *last_id = id;
                self.open(id, open);
                Ok(())
            }
            Some(Kind::Chunk(chunk)) => self.chunk(id, chunk),
            Some(Kind::Credit(credit)) => {
                let granted = self.call(id).is_none_or(|call| call.grant(credit.bytes));
                if granted {
                    Ok(())
                } else {
                    Err(Violation("more credit was granted than the window"))
                }
            }
            Some(Kind::Cancel(_)) => {
                let running = self.remove(id);
                if let Some(running) = running {
                    running.task.abort();
                    running.call.close();
                }
                Ok(())
            }
            Some(Kind::Reply(_) | Kind::End(_)) => Err(Violation("a callee's frame came from the caller")),
            // Of a newer version.
            None => Ok(()),
        }
    }

    fn chunk(&self, id: u64, chunk: Chunk) -> Result<(), Violation> {
        // Chunks of a call that is over are ignored.
        let Some(call) = self.call(id) else { return Ok(()) };
        let Some(body) = &call.body else {
            return Err(Violation("a chunk came for a call without a body"));
        };
        if chunk.data.len() > CHUNK_BYTES_MAX {
            return Err(Violation("a chunk is too large"));
        }
        let piece = Piece {
            data: chunk.data,
            flag: chunk.last,
        };
        body.push(piece)
            .map_err(|_| Violation("more of a body came than was allowed"))?;
        if chunk.last {
            body.finish(Ok(()));
        }
        Ok(())
    }

    fn open(self: &Arc<Self>, id: u64, open: Open) {
        let mut calls = self.calls.lock();
        if let Err(status) = self.admit(calls.len(), &open) {
            self.outbox.push(
                id,
                Kind::End(End {
                    error: Some(status.into()),
                }),
            );
            return;
        }
        let call = ServedCall::new(id, Arc::clone(&self.outbox), open.has_body);
        let serving = Arc::clone(self).serve(id, open, Arc::clone(&call));
        // The task cannot end the call before it is in the map: that takes the lock.
        let task = self.tasks.spawn(serving).abort_handle();
        calls.insert(id, Running { task, call });
    }

    fn admit(&self, in_flight: usize, open: &Open) -> Result<(), Status> {
        if self.stopping.load(Ordering::SeqCst) {
            return Err(Status::unavailable("this node is stopping"));
        }
        if in_flight >= self.options.calls_max {
            let message = format!(
                "{} calls are in flight on this stream, the most allowed",
                in_flight
            );
            return Err(Status::new(Reason::LimitExceeded, message));
        }
        let bytes = open.request.len();
        if bytes > REQUEST_BYTES_MAX {
            return Err(too_large("request", bytes, REQUEST_BYTES_MAX));
        }
        Ok(())
    }

    async fn serve(self: Arc<Self>, id: u64, open: Open, call: Arc<ServedCall>) {
        let result = self.answer(open, &call).await;
        // A call that was cancelled meanwhile has no end.
        if self.remove(id).is_some() {
            call.close();
            self.outbox.push(
                id,
                Kind::End(End {
                    error: result.err().map(Into::into),
                }),
            );
        }
    }

    async fn answer(&self, open: Open, call: &Arc<ServedCall>) -> Result<(), Status> {
        let request = P::Request::decode(open.request)
            .map_err(|error| Status::invalid(format!("the request cannot be decoded: {error}")))?;
        let deadline = Instant::now() + Duration::from_millis(u64::from(open.timeout_millis));
        let incoming = Incoming {
            context: CallContext {
                deadline: deadline.into_std(),
                traceparent: open.traceparent,
                token: open.token,
            },
            request,
            body: open
                .has_body
                .then(|| Body::from_source(Box::new(ServedBody(Arc::clone(call))))),
            peer: self.peer.clone(),
        };
        let sink = ReplySink::new(Arc::clone(call) as Arc<dyn crate::call::SinkTransport<P>>);
        let service = Arc::clone(&self.service);
        // A panic is an error of this call alone.
        let serving = AssertUnwindSafe(async move { service.serve(incoming, sink).await }).catch_unwind();
        match tokio::time::timeout_at(deadline, serving).await {
            Ok(result) => result.unwrap_or_else(|_| Err(panicked())),
            Err(_) => Err(deadline_exceeded()),
        }
    }

    fn call(&self, id: u64) -> Option<Arc<ServedCall>> {
        self.calls
            .lock()
            .get(&id)
            .map(|running| Arc::clone(&running.call))
    }

    fn remove(&self, id: u64) -> Option<Running> {
        let mut calls = self.calls.lock();
        let removed = calls.remove(&id);
        if calls.is_empty() && self.stopping.load(Ordering::SeqCst) {
            self.quiet.notify_waiters();
        }
        removed
    }
}
