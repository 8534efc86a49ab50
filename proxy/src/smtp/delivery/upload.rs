//! A large body on its way to one shard.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rookery_proto::mailstore::v1::{self as mailstore, Reply, reply, request};
use rookery_proto::{Body, MailstoreProtocol, Replies, Status};
use tokio::sync::mpsc;
use tokio::time::{timeout, timeout_at};

use crate::route::Cluster;

/// How long a shard may take no chunk, before the message goes on to the others without it.
const STALL_MAX: Duration = Duration::from_secs(10);

/// An upload. Dropped before its end, it is cancelled, and what the shard has of it expires.
pub(super) struct Upload {
    id: [u8; 16],
    sent: u64,
    state: Result<Running, Status>,
}

struct Running {
    // Dropped before the sender, whose drop alone would be taken for the body's end.
    replies: Replies<MailstoreProtocol>,
    chunks: mpsc::Sender<Result<Bytes, Status>>,
}

impl Upload {
    /// Begins an upload. What fails is told by [`Upload::finish`].
    pub(super) fn begin(
        cluster: &Cluster,
        shard: u32,
        token: Bytes,
        id: [u8; 16],
        deadline: Instant,
    ) -> Self {
        let (chunks, body) = Body::channel();
        let call = request::Call::Upload(mailstore::Upload {
            id: Bytes::copy_from_slice(&id),
        });
        let replies = cluster.start_on_shard(shard, token, call, Some(body), deadline);
        Self {
            id,
            sent: 0,
            state: replies.map(|replies| Running { replies, chunks }),
        }
    }

    /// Sends a chunk; waits while the shard is behind, for a bounded time.
    pub(super) async fn send(&mut self, chunk: Bytes) {
        let Ok(running) = &mut self.state else { return };
        let bytes = chunk.len() as u64;
        let failed = match timeout(STALL_MAX, running.chunks.send(Ok(chunk))).await {
            Ok(Ok(())) => {
                self.sent += bytes;
                return;
            }
            // The call has ended; its end says why.
            Ok(Err(_)) => match timeout(STALL_MAX, running.replies.next()).await {
                Ok(Some(Err(status))) => status,
                _ => Status::unavailable("the upload ended before its body did"),
            },
            Err(_) => Status::unavailable("the shard takes no more of the upload"),
        };
        self.state = Err(failed);
    }

    /// All was sent: waits until it is durable, and gives the upload's id.
    pub(super) async fn finish(self, deadline: Instant) -> Result<Bytes, Status> {
        let Running { replies, chunks } = self.state?;
        drop(chunks);
        let reply = timeout_at(deadline.into(), replies.single())
            .await
            .map_err(|_| Status::unavailable("the upload was not confirmed in time"))??;
        match reply {
            Reply {
                call: Some(reply::Call::Uploaded(uploaded)),
            } if uploaded.size == self.sent => Ok(Bytes::copy_from_slice(&self.id)),
            _ => Err(Status::internal(
                "the mailstore confirmed something else than was uploaded",
            )),
        }
    }
}
