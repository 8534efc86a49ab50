//! One bidirectional stream at the caller: gives calls their ids and hands out what comes for them.
//!
//! The reader never waits for a consumer: each call's inbox has room for all that its callee may send.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::call::ClientCall;
use crate::frame::v1::frame::Kind;
use crate::frame::v1::{Cancel, Frame};
use crate::remote::inbox::Piece;
use crate::remote::limits::QUEUED_BYTES_MAX;
use crate::remote::outbox::Outbox;
use crate::status::{Reason, Status};

pub(super) struct ClientStream {
    pub(super) outbox: Arc<Outbox>,
    calls: Mutex<Calls>,
    calls_max: usize,
}

struct Calls {
    last_id: u64,
    open: HashMap<u64, Arc<ClientCall>>,
    broken: bool,
}

/// Why a call did not open.
pub(super) enum OpenError {
    /// The stream is broken: another one may do.
    Broken,
    /// A limit.
    Refused(Status),
}

/// The callee does not keep to the protocol.
pub(super) struct Violation(pub(super) &'static str);

impl ClientStream {
    pub(super) fn new(calls_max: usize) -> Arc<Self> {
        let calls = Calls {
            last_id: 0,
            open: HashMap::new(),
            broken: false,
        };
        Arc::new(Self {
            outbox: Outbox::new(),
            calls: Mutex::new(calls),
            calls_max,
        })
    }

    /// Sends a call.
    pub(super) fn open(self: &Arc<Self>, call: &Arc<ClientCall>) -> Result<(), OpenError> {
        let id = {
            let mut calls = self.calls.lock();
            if calls.broken {
                return Err(OpenError::Broken);
            }
            if calls.open.len() >= self.calls_max {
                let message = format!(
                    "{} calls are in flight to this peer, the most allowed",
                    self.calls_max
                );
                return Err(OpenError::Refused(Status::new(Reason::LimitExceeded, message)));
            }
            if self.outbox.bytes() + call.bytes() > QUEUED_BYTES_MAX {
                return Err(OpenError::Refused(Status::unavailable(
                    "the peer does not keep up with what is sent to it",
                )));
            }
            calls.last_id += 1;
            let id = calls.last_id;
            calls.open.insert(id, Arc::clone(call));
            // Within the lock, so that ids ascend on the wire.
            self.outbox.push(id, Kind::Open(call.open_frame()));
            id
        };
        call.sent(self, id);
        Ok(())
    }

    /// Sends a frame of a call that is still open.
    pub(super) fn send(&self, id: u64, kind: Kind) {
        let calls = self.calls.lock();
        if calls.open.contains_key(&id) {
            self.outbox.push(id, kind);
        }
    }

    /// Forgets a call and tells the callee so, unless it has ended.
    pub(super) fn cancel(&self, id: u64) {
        let mut calls = self.calls.lock();
        let removed = calls.open.remove(&id);
        if removed.is_some() {
            self.outbox.push(id, Kind::Cancel(Cancel {}));
        }
        drop(calls);
    }

    /// Takes a frame from the callee. Frames of calls that are over are ignored.
    pub(super) fn receive(&self, frame: Frame) -> Result<(), Violation> {
        let id = frame.call;
        match frame.kind {
            Some(Kind::Reply(reply)) => {
                let Some(call) = self.call(id) else { return Ok(()) };
                let piece = Piece {
                    data: reply.message,
                    flag: reply.more,
                };
                call.inbox
                    .push(piece)
                    .map_err(|_| Violation("it sent more replies than were allowed"))
            }
            Some(Kind::End(end)) => {
                let call = self.calls.lock().open.remove(&id);
                if let Some(call) = call {
                    call.finish(end.error.map_or(Ok(()), |error| Err(error.into())));
                }
                Ok(())
            }
            Some(Kind::Credit(credit)) => {
                let granted = self.call(id).is_none_or(|call| call.grant(credit.bytes));
                if granted {
                    Ok(())
                } else {
                    Err(Violation("it granted more than the window"))
                }
            }
            Some(Kind::Open(_) | Kind::Chunk(_) | Kind::Cancel(_)) => {
                Err(Violation("it sent a caller's frame"))
            }
            // Of a newer version.
            None => Ok(()),
        }
    }

    fn call(&self, id: u64) -> Option<Arc<ClientCall>> {
        self.calls.lock().open.get(&id).cloned()
    }

    /// Ends the stream and, with this status, every call on it.
    pub(super) fn fail(&self, status: &Status) {
        let open = {
            let mut calls = self.calls.lock();
            calls.broken = true;
            std::mem::take(&mut calls.open)
        };
        self.outbox.close(None);
        for call in open.into_values() {
            call.finish(Err(status.clone()));
        }
    }
}
