//! One call at its callee: its replies leave within the caller's credit, its body comes within ours.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use prost::Message;
use tokio::sync::{Mutex, Semaphore};

use crate::call::{
    BodySource, CHUNK_BYTES_MAX, Protocol, REPLY_BYTES_MAX, SinkTransport, cancelled, too_large,
};
use crate::frame::v1::frame::Kind;
use crate::frame::v1::{Credit, Reply};
use crate::remote::inbox::{Inbox, Taken};
use crate::remote::limits::{WINDOW_BYTES, cost};
use crate::remote::outbox::Outbox;
use crate::status::Status;

/// What the serving task, the stream's reader and the body's consumer share.
pub(super) struct ServedCall {
    id: u64,
    outbox: Arc<Outbox>,
    credit: Semaphore,
    // Held while the pieces of a reply are sent, so that those of two replies never mix.
    sending: Mutex<()>,
    pub(super) body: Option<Inbox>,
}

impl ServedCall {
    pub(super) fn new(id: u64, outbox: Arc<Outbox>, has_body: bool) -> Arc<Self> {
        Arc::new(Self {
            id,
            outbox,
            credit: Semaphore::new(WINDOW_BYTES),
            sending: Mutex::new(()),
            body: has_body.then(Inbox::new),
        })
    }

    /// The caller takes so many more bytes of replies. False when it grants more than the window.
    pub(super) fn grant(&self, bytes: u64) -> bool {
        let Ok(bytes) = usize::try_from(bytes) else {
            return false;
        };
        let within = bytes <= WINDOW_BYTES && self.credit.available_permits() + bytes <= WINDOW_BYTES;
        if within {
            self.credit.add_permits(bytes);
        }
        within
    }

    /// The call is over: whoever still holds its sink or body learns of it.
    pub(super) fn close(&self) {
        self.credit.close();
        if let Some(body) = &self.body {
            body.finish(Err(cancelled()));
        }
    }

    async fn send_piece(&self, message: Bytes, more: bool) -> Result<(), Status> {
        let permit = self
            .credit
            .acquire_many(cost(message.len()) as u32)
            .await
            .map_err(|_| cancelled())?;
        permit.forget();
        self.outbox.push(self.id, Kind::Reply(Reply { message, more }));
        Ok(())
    }
}

impl<P: Protocol> SinkTransport<P> for ServedCall {
    fn send(&self, reply: P::Reply) -> BoxFuture<'_, Result<(), Status>> {
        Box::pin(async move {
            let bytes = reply.encoded_len();
            if bytes > REPLY_BYTES_MAX {
                return Err(too_large("reply", bytes, REPLY_BYTES_MAX));
            }
            let mut encoded = Vec::with_capacity(bytes);
            reply.encode_raw(&mut encoded);
            drop(reply);
            let mut message = Bytes::from(encoded);
            let _sending = self.sending.lock().await;
            while message.len() > CHUNK_BYTES_MAX {
                self.send_piece(message.split_to(CHUNK_BYTES_MAX), true).await?;
            }
            self.send_piece(message, false).await
        })
    }
}

/// The body of a call, as its service reads it.
pub(super) struct ServedBody(pub(super) Arc<ServedCall>);

impl BodySource for ServedBody {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        let Some(body) = &self.0.body else {
            return Poll::Ready(None);
        };
        loop {
            match std::task::ready!(body.poll_take(context)) {
                Taken::Piece(piece, grant) => {
                    if grant > 0 {
                        self.0
                            .outbox
                            .push(self.0.id, Kind::Credit(Credit { bytes: grant }));
                    }
                    if !piece.data.is_empty() {
                        return Poll::Ready(Some(Ok(piece.data)));
                    }
                }
                Taken::End(end) => return Poll::Ready(end.err().map(Err)),
            }
        }
    }
}
