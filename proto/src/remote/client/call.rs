//! One call at its caller: what it sends (request, body within credit) and what comes back.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::stream::ClientStream;
use crate::call::{
    Body, CHUNK_BYTES_MAX, CallContext, Protocol, REPLY_BYTES_MAX, ReplySource, deadline_exceeded, too_large,
};
use crate::frame::v1::frame::Kind;
use crate::frame::v1::{Chunk, Credit, Open};
use crate::remote::inbox::{Inbox, Taken};
use crate::remote::limits::{WINDOW_BYTES, cost};
use crate::status::Status;

/// What opens a call, kept until a connection is there.
pub(super) struct Opening {
    pub(super) request: Bytes,
    pub(super) context: CallContext,
}

/// What the consumer of replies, the stream's reader and the body's sender share.
pub(super) struct ClientCall {
    opening: Opening,
    body: Mutex<Option<Body>>,
    has_body: bool,
    // Set once the call was sent.
    link: OnceLock<(Arc<ClientStream>, u64)>,
    // The consumer has gone, perhaps before the call was sent.
    abandoned: AtomicBool,
    pub(super) inbox: Inbox,
    body_credit: Semaphore,
    // Ends the task that sends the body.
    body_stop: CancellationToken,
}

impl ClientCall {
    pub(super) fn new(opening: Opening, body: Option<Body>) -> Arc<Self> {
        Arc::new(Self {
            opening,
            has_body: body.is_some(),
            body: Mutex::new(body),
            link: OnceLock::new(),
            abandoned: AtomicBool::new(false),
            inbox: Inbox::new(),
            body_credit: Semaphore::new(WINDOW_BYTES),
            body_stop: CancellationToken::new(),
        })
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::from_std(self.opening.context.deadline)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Bytes of the request.
    pub(super) fn bytes(&self) -> usize {
        self.opening.request.len()
    }

    /// The frame that opens the call, with the time that is left now.
    pub(super) fn open_frame(&self) -> Open {
        let left = self.deadline().saturating_duration_since(Instant::now());
        // Rounded up, so that the caller is never told of a deadline before its own.
        let millis = left.as_nanos().div_ceil(1_000_000);
        Open {
            request: self.opening.request.clone(),
            timeout_millis: u32::try_from(millis).unwrap_or(u32::MAX),
            traceparent: self.opening.context.traceparent.clone(),
            token: self.opening.context.token.clone(),
            has_body: self.has_body,
        }
    }

    /// The call was sent: starts its body, or takes the call back when its consumer has gone meanwhile.
    pub(super) fn sent(self: &Arc<Self>, stream: &Arc<ClientStream>, id: u64) {
        // A call is sent once.
        let _ = self.link.set((Arc::clone(stream), id));
        if self.is_abandoned() {
            stream.cancel(id);
        } else if let Some(body) = self.body.lock().take() {
            let sending = send_body(body, Arc::clone(self), Arc::clone(stream), id);
            tokio::spawn(self.body_stop.clone().run_until_cancelled_owned(sending));
        }
    }

    /// The callee takes so many more bytes of the body. False when it grants more than the window.
    pub(super) fn grant(&self, bytes: u64) -> bool {
        let Ok(bytes) = usize::try_from(bytes) else {
            return false;
        };
        let within = bytes <= WINDOW_BYTES && self.body_credit.available_permits() + bytes <= WINDOW_BYTES;
        if within {
            self.body_credit.add_permits(bytes);
        }
        within
    }

    /// Nothing more comes; the body's rest is not wanted.
    pub(super) fn finish(&self, end: Result<(), Status>) {
        self.inbox.finish(end);
        if self.has_body {
            self.body_stop.cancel();
        }
    }
}

/// Sends a body as the callee grants it. Stopped when the call ends first.
async fn send_body(mut body: Body, call: Arc<ClientCall>, stream: Arc<ClientStream>, id: u64) {
    loop {
        match body.chunk().await {
            Ok(Some(mut data)) => {
                while !data.is_empty() {
                    let piece = data.split_to(data.len().min(CHUNK_BYTES_MAX));
                    let Ok(permit) = call.body_credit.acquire_many(cost(piece.len()) as u32).await else {
                        return;
                    };
                    permit.forget();
                    stream.send(
                        id,
                        Kind::Chunk(Chunk {
                            data: piece,
                            last: false,
                        }),
                    );
                }
            }
            Ok(None) => {
                let Ok(permit) = call.body_credit.acquire_many(cost(0) as u32).await else {
                    return;
                };
                permit.forget();
                stream.send(
                    id,
                    Kind::Chunk(Chunk {
                        data: Bytes::new(),
                        last: true,
                    }),
                );
                return;
            }
            Err(status) => {
                stream.cancel(id);
                call.finish(Err(status));
                return;
            }
        }
    }
}

/// The consumer's side of a call.
pub(super) struct RemoteReplies {
    call: Arc<ClientCall>,
    deadline: Option<Pin<Box<Sleep>>>,
    // Pieces of a reply that is not whole yet.
    gathered: BytesMut,
    done: bool,
}

impl RemoteReplies {
    pub(super) fn new(call: Arc<ClientCall>) -> Self {
        Self {
            call,
            deadline: None,
            gathered: BytesMut::new(),
            done: false,
        }
    }

    fn grant(&self, bytes: u64) {
        if bytes > 0
            && let Some((stream, id)) = self.call.link.get()
        {
            stream.send(*id, Kind::Credit(Credit { bytes }));
        }
    }

    /// Ends the call from this side.
    fn stop(&mut self) {
        self.done = true;
        self.call.abandoned.store(true, Ordering::Release);
        if let Some((stream, id)) = self.call.link.get() {
            stream.cancel(*id);
        }
        if self.call.has_body {
            self.call.body.lock().take();
            self.call.body_stop.cancel();
        }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Taken> {
        if let Poll::Ready(taken) = self.call.inbox.poll_take(context) {
            return Poll::Ready(taken);
        }
        // The timer is made only for calls that are not answered at once.
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.call.deadline())));
        match deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Taken::End(Err(deadline_exceeded()))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<P: Protocol> ReplySource<P> for RemoteReplies {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<P::Reply, Status>>> {
        if self.done {
            return Poll::Ready(None);
        }
        loop {
            let (piece, grant) = match std::task::ready!(self.poll_piece(context)) {
                Taken::Piece(piece, grant) => (piece, grant),
                Taken::End(end) => {
                    self.stop();
                    return Poll::Ready(end.err().map(Err));
                }
            };
            self.grant(grant);
            let message = if !piece.flag && self.gathered.is_empty() {
                piece.data
            } else {
                let bytes = self.gathered.len() + piece.data.len();
                if bytes > REPLY_BYTES_MAX {
                    self.stop();
                    return Poll::Ready(Some(Err(too_large("reply", bytes, REPLY_BYTES_MAX))));
                }
                self.gathered.extend_from_slice(&piece.data);
                if piece.flag {
                    continue;
                }
                self.gathered.split().freeze()
            };
            let decoded = P::Reply::decode(message);
            return Poll::Ready(Some(decoded.map_err(|error| {
                self.stop();
                Status::internal(format!("the reply cannot be decoded: {error}"))
            })));
        }
    }
}

impl Drop for RemoteReplies {
    fn drop(&mut self) {
        if !self.done {
            self.stop();
        }
    }
}
