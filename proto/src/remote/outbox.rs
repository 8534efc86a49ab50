//! Frames on their way out of one side of a stream.
//!
//! Any task puts frames in and never waits; the HTTP/2 connection takes all that has gathered as one batch whenever it
//! can send. So under load one message carries the frames of many calls, and alone a frame leaves at once: no timer.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::limits::{BATCH_BYTES_TARGET, BATCH_FRAMES_MAX, FRAME_COST_BYTES};
use crate::frame::v1::frame::Kind;
use crate::frame::v1::{Batch, Frame};

pub(crate) struct Outbox {
    state: Mutex<State>,
    drained: Notify,
}

struct State {
    frames: VecDeque<Frame>,
    bytes: usize,
    waker: Option<Waker>,
    // The writer has let others run since it found these frames.
    yielded: bool,
    end: End,
}

enum End {
    Open,
    // What is queued is still written; then the stream ends so.
    Closed(Option<tonic::Status>),
    // Nobody writes any more.
    Abandoned,
}

impl Outbox {
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            frames: VecDeque::new(),
            bytes: 0,
            waker: None,
            yielded: false,
            end: End::Open,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            drained: Notify::new(),
        })
    }

    /// Queues a frame. After the end it is dropped: whoever waits for its effect learns of the end by other means.
    pub(crate) fn push(&self, call: u64, kind: Kind) {
        let bytes = frame_bytes(&kind);
        let waker = {
            let mut state = self.state.lock();
            if !matches!(state.end, End::Open) {
                return;
            }
            state.bytes += bytes;
            state.frames.push_back(Frame {
                call,
                kind: Some(kind),
            });
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Ends the stream once all that is queued was written: without an error, or with one.
    pub(crate) fn close(&self, error: Option<tonic::Status>) {
        let waker = {
            let mut state = self.state.lock();
            if !matches!(state.end, End::Open) {
                return;
            }
            state.end = End::Closed(error);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits until fewer bytes than this wait, or nobody writes any more.
    pub(crate) async fn below(&self, bytes: usize) {
        loop {
            let drained = self.drained.notified();
            if self.bytes() < bytes {
                return;
            }
            drained.await;
        }
    }

    /// The stream of batches. Its drop abandons the outbox.
    pub(crate) fn writer(self: &Arc<Self>) -> Writer {
        Writer {
            outbox: Arc::clone(self),
        }
    }

    fn poll_batch(&self, context: &mut Context<'_>) -> Poll<Option<Result<Batch, tonic::Status>>> {
        let mut state = self.state.lock();
        if state.frames.is_empty() {
            return match std::mem::replace(&mut state.end, End::Abandoned) {
                End::Open => {
                    state.end = End::Open;
                    state.waker = Some(context.waker().clone());
                    Poll::Pending
                }
                End::Closed(error) => Poll::Ready(error.map(Err)),
                End::Abandoned => Poll::Ready(None),
            };
        }
        // Tasks that are ready to run are let run once, so that their frames go along: a batch costs far more than a
        // frame. Nothing waits for a time.
        if !state.yielded && state.bytes < BATCH_BYTES_TARGET {
            state.yielded = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        state.yielded = false;
        let mut bytes = 0;
        let mut count = 0;
        for frame in state.frames.iter().take(BATCH_FRAMES_MAX) {
            bytes += frame.kind.as_ref().map_or(0, frame_bytes);
            count += 1;
            if bytes >= BATCH_BYTES_TARGET {
                break;
            }
        }
        let frames = if count == state.frames.len() {
            Vec::from(std::mem::take(&mut state.frames))
        } else {
            state.frames.drain(..count).collect()
        };
        state.bytes -= bytes;
        drop(state);
        self.drained.notify_waiters();
        Poll::Ready(Some(Ok(Batch { frames })))
    }
}

/// About what a frame takes in memory and on the wire.
fn frame_bytes(kind: &Kind) -> usize {
    let data = match kind {
        Kind::Open(open) => open.request.len() + open.token.len() + open.traceparent.len(),
        Kind::Chunk(chunk) => chunk.data.len(),
        Kind::Reply(reply) => reply.message.len(),
        Kind::End(end) => end
            .error
            .as_ref()
            .map_or(0, |error| error.message.len() + error.leader.len()),
        Kind::Credit(_) | Kind::Cancel(_) => 0,
    };
    data + FRAME_COST_BYTES
}

/// The batches of an [`Outbox`], for the callee's response stream.
#[allow(unreachable_pub, reason = "an associated type of the public tonic service")]
pub struct Writer {
    outbox: Arc<Outbox>,
}

impl Stream for Writer {
    type Item = Result<Batch, tonic::Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.outbox.poll_batch(context)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.outbox.state.lock();
        state.end = End::Abandoned;
        state.frames = VecDeque::new();
        state.bytes = 0;
        drop(state);
        self.outbox.drained.notify_waiters();
    }
}

/// The same for the caller's request stream, which has no way to end with an error.
pub(crate) struct RequestWriter(pub(crate) Writer);

impl Stream for RequestWriter {
    type Item = Batch;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0
            .outbox
            .poll_batch(context)
            .map(|batch| batch.and_then(Result::ok))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::frame::v1::{Cancel, Chunk};

    fn chunk(bytes: usize) -> Kind {
        Kind::Chunk(Chunk {
            data: vec![0; bytes].into(),
            last: false,
        })
    }

    /// Polls until something comes, or nothing will.
    fn poll(outbox: &Outbox) -> Poll<Option<Result<Batch, tonic::Status>>> {
        let context = &mut Context::from_waker(Waker::noop());
        match outbox.poll_batch(context) {
            Poll::Pending => outbox.poll_batch(context),
            ready => ready,
        }
    }

    fn batch(outbox: &Outbox) -> Option<usize> {
        match poll(outbox) {
            Poll::Ready(Some(Ok(batch))) => Some(batch.frames.len()),
            _ => None,
        }
    }

    #[test]
    fn gathers_what_waits_into_one_batch() {
        let outbox = Outbox::new();
        let _writer = outbox.writer();
        assert_eq!(batch(&outbox), None);
        for call in 1..=5 {
            outbox.push(call, Kind::Cancel(Cancel {}));
        }
        assert_eq!(batch(&outbox), Some(5));
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn closes_a_batch_at_its_size() {
        let outbox = Outbox::new();
        for call in 1..=5 {
            outbox.push(call, chunk(64 * 1024));
        }
        assert_eq!(
            [batch(&outbox), batch(&outbox), batch(&outbox)],
            [Some(2), Some(2), Some(1)]
        );
    }

    #[test]
    fn writes_what_is_queued_before_it_ends() {
        let outbox = Outbox::new();
        outbox.push(1, chunk(1));
        outbox.close(Some(tonic::Status::unavailable("stopping")));
        outbox.push(2, chunk(1));
        assert_eq!(batch(&outbox), Some(1));
        assert!(matches!(poll(&outbox), Poll::Ready(Some(Err(_)))));
        assert!(matches!(poll(&outbox), Poll::Ready(None)));
    }

    #[test]
    fn keeps_nothing_when_nobody_writes() {
        let outbox = Outbox::new();
        drop(outbox.writer());
        outbox.push(1, chunk(1));
        assert_eq!(outbox.bytes(), 0);
    }
}
