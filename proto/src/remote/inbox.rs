//! Pieces of one call that have come and wait for their consumer: replies at the caller, chunks at the callee.
//!
//! Holds at most the call's window; a sender that passes it is in breach of the protocol. Credit is granted when the
//! consumer takes pieces, so a slow consumer stops its own sender and no one else.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

use super::limits::{GRANT_BYTES, WINDOW_BYTES, cost};
use crate::status::Status;

pub(crate) struct Inbox {
    state: Mutex<State>,
}

struct State {
    pieces: VecDeque<Piece>,
    end: Option<Result<(), Status>>,
    waker: Option<Waker>,
    // What the sender may still send.
    allowance: usize,
    // What was consumed and not granted again yet.
    consumed: usize,
}

/// One frame's data. The flag says `more` for replies and `last` for chunks.
pub(crate) struct Piece {
    pub(crate) data: Bytes,
    pub(crate) flag: bool,
}

/// The sender has sent more than it may.
pub(crate) struct Overrun;

/// What a consumer gets.
pub(crate) enum Taken {
    /// A piece, and credit that is now to be sent, if not 0.
    Piece(Piece, u64),
    /// Nothing more comes.
    End(Result<(), Status>),
}

impl Inbox {
    pub(crate) fn new() -> Self {
        let state = State {
            pieces: VecDeque::new(),
            end: None,
            waker: None,
            allowance: WINDOW_BYTES,
            consumed: 0,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// Puts in what has come. What comes after the end is dropped.
    pub(crate) fn push(&self, piece: Piece) -> Result<(), Overrun> {
        let waker = {
            let mut state = self.state.lock();
            if state.end.is_some() {
                return Ok(());
            }
            state.allowance = state
                .allowance
                .checked_sub(cost(piece.data.len()))
                .ok_or(Overrun)?;
            state.pieces.push_back(piece);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Ends it, after what waits. Only the first end counts.
    pub(crate) fn finish(&self, end: Result<(), Status>) {
        let waker = {
            let mut state = self.state.lock();
            if state.end.is_some() {
                return;
            }
            state.end = Some(end);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the next piece or the end.
    pub(crate) fn poll_take(&self, context: &mut Context<'_>) -> Poll<Taken> {
        let mut state = self.state.lock();
        let Some(piece) = state.pieces.pop_front() else {
            if let Some(end) = &state.end {
                return Poll::Ready(Taken::End(end.clone()));
            }
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        state.consumed += cost(piece.data.len());
        let mut grant = 0;
        if state.consumed >= GRANT_BYTES && state.end.is_none() {
            grant = std::mem::take(&mut state.consumed);
            state.allowance += grant;
        }
        Poll::Ready(Taken::Piece(piece, grant as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::CHUNK_BYTES_MAX;

    fn piece(bytes: usize) -> Piece {
        Piece {
            data: vec![0; bytes].into(),
            flag: false,
        }
    }

    fn take(inbox: &Inbox) -> Option<Taken> {
        match inbox.poll_take(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(taken) => Some(taken),
            Poll::Pending => None,
        }
    }

    #[test]
    fn grants_what_was_consumed_and_refuses_more() {
        let inbox = Inbox::new();
        let mut sent = 0;
        while inbox.push(piece(CHUNK_BYTES_MAX)).is_ok() {
            sent += cost(CHUNK_BYTES_MAX);
        }
        assert!(sent <= WINDOW_BYTES && sent + cost(CHUNK_BYTES_MAX) > WINDOW_BYTES);
        let mut granted = 0;
        while let Some(Taken::Piece(_, grant)) = take(&inbox) {
            granted += grant as usize;
        }
        // A largest piece always fits again once all was consumed: no sender waits for ever.
        assert!(WINDOW_BYTES - sent + granted >= cost(CHUNK_BYTES_MAX));
        assert!(inbox.push(piece(CHUNK_BYTES_MAX)).is_ok());
    }

    #[test]
    fn bounds_empty_pieces_too() {
        let inbox = Inbox::new();
        let count = std::iter::repeat_with(|| inbox.push(piece(0)))
            .take_while(Result::is_ok)
            .count();
        assert_eq!(count, WINDOW_BYTES / cost(0));
    }

    #[test]
    fn gives_what_waits_before_the_end() {
        let inbox = Inbox::new();
        assert!(take(&inbox).is_none());
        assert!(inbox.push(piece(1)).is_ok());
        inbox.finish(Err(Status::unavailable("cut")));
        inbox.finish(Ok(()));
        assert!(matches!(take(&inbox), Some(Taken::Piece(..))));
        assert!(matches!(take(&inbox), Some(Taken::End(Err(_)))));
        assert!(matches!(take(&inbox), Some(Taken::End(Err(_)))));
    }
}
