//! Upload: the bytes of a large message, stored as they come.
//!
//! At most a few chunks are in memory: the next one is read from the caller only when there is room for it, so that
//! the caller is slowed to the speed of the disk. An upload that broke off goes on behind the chunks that are stored:
//! they are read once more, for the hash of the whole.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use rookery_proto::directory::v1::Rights;
use rookery_proto::mailstore::v1::{self as proto, reply};
use rookery_proto::{Incoming, MailstoreProtocol, Reason, ReplySink, Status};
use tokio::task::JoinHandle;

use super::reads::blocking;
use super::{Grant, HostedShard, MailstoreService};
use crate::body::{ChunkWriter, OpenBody};
use crate::plan::{Command, FinishUpload, Mutation, UploadChunk};
use crate::schema::body::{BODY_CHUNK_BYTES, BodyLocation};
use crate::schema::{BodyHash, UploadId};

/// Chunks of one upload that are on their way to the disk, while the next is compressed. They must be stored in order, so
/// two would need an order among their tasks.
const CHUNKS_UNDER_WAY_MAX: usize = 1;

/// Stored chunks that are read at one go when an upload goes on.
const CHUNKS_READ_AT_ONCE: u32 = 16;

impl MailstoreService {
    pub(super) async fn upload(
        self: &Arc<Self>,
        mut incoming: Incoming<MailstoreProtocol>,
        upload: proto::Upload,
        replies: &ReplySink<MailstoreProtocol>,
    ) -> Result<reply::Call, Status> {
        let (shard, grant) = self.access(&incoming, Rights::Deliver).await?;
        let id = UploadId::from_slice(&upload.id)
            .ok_or_else(|| Status::invalid("the id of an upload is 16 bytes"))?;
        let mut body = incoming
            .body
            .take()
            .ok_or_else(|| Status::invalid("an upload has no body"))?;
        let stored = u32::try_from(upload.from / BODY_CHUNK_BYTES as u64)
            .ok()
            .filter(|_| upload.from.is_multiple_of(BODY_CHUNK_BYTES as u64))
            .ok_or_else(|| Status::invalid("an upload goes on where a chunk ends"))?;
        let mut writer = self.stored_so_far(&shard, &grant, id, stored).await?;
        let mut sending = Sending {
            service: self,
            shard,
            grant,
            id,
            next: stored,
            stored,
            replies: upload.acknowledge.then_some(replies),
            under_way: VecDeque::new(),
        };
        // That there is somebody who takes it.
        sending.tell().await?;
        loop {
            // Told as soon as it is durable, however long the next bytes take: the caller keeps what was not told.
            let piece = tokio::select! {
                biased;
                settled = sending.settle(), if !sending.under_way.is_empty() => {
                    settled?;
                    sending.acknowledge().await?;
                    continue;
                }
                piece = body.chunk() => piece?,
            };
            let Some(piece) = piece else { break };
            if writer.size() + piece.len() as u64 > self.body_bytes_max {
                let message = format!("a message may have {} bytes at most", self.body_bytes_max);
                return Err(Status::new(Reason::LimitExceeded, message));
            }
            // Only a piece that completes a chunk costs compression.
            let (back, chunks) = if writer.completes_chunk(piece.len()) {
                blocking(&self.reads, move || {
                    let chunks = writer.push(&piece);
                    Ok((writer, chunks))
                })
                .await?
            } else {
                let chunks = writer.push(&piece);
                (writer, chunks)
            };
            writer = back;
            for chunk in chunks {
                sending.send(chunk, BODY_CHUNK_BYTES).await?;
            }
        }
        let last_len = (writer.size() % BODY_CHUNK_BYTES as u64) as usize;
        let finished = writer.finish();
        if let Some(last) = finished.last {
            sending.send(last, last_len).await?;
        }
        let finish = FinishUpload {
            upload: id,
            blake3: finished.blake3,
            hash: finished.hash,
        };
        sending.finish(finish).await
    }

    /// What has been hashed once the first chunks of an upload are stored.
    async fn stored_so_far(
        &self,
        shard: &Arc<HostedShard>,
        grant: &Grant,
        id: UploadId,
        chunks: u32,
    ) -> Result<ChunkWriter, Status> {
        let mut writer = ChunkWriter::default();
        if chunks == 0 {
            return Ok(writer);
        }
        let size = u64::from(chunks) * BODY_CHUNK_BYTES as u64;
        if size > self.body_bytes_max {
            let message = format!("a message may have {} bytes at most", self.body_bytes_max);
            return Err(Status::new(Reason::LimitExceeded, message));
        }
        let snapshot = self.snapshot(shard, grant.account);
        let held = snapshot.reader().upload(id)?.map_or(0, |record| record.size);
        if held < size {
            // A leader that is new may be about to learn of more.
            let message = format!("{held} bytes of the upload are here, not {size}: retry");
            return Err(Status::unavailable(message));
        }
        let body = OpenBody {
            hash: BodyHash {
                size,
                ..BodyHash::default()
            },
            location: Some(BodyLocation::Upload(grant.account, id)),
        };
        for first in (0..chunks).step_by(CHUNKS_READ_AT_ONCE as usize) {
            let (bodies, snapshot) = (Arc::clone(&self.bodies), snapshot.clone());
            writer = blocking(&self.reads, move || {
                for chunk in first..chunks.min(first + CHUNKS_READ_AT_ONCE) {
                    writer.take_stored(&bodies.read_unverified_chunk(&snapshot.reader(), &body, chunk)?);
                }
                Ok(writer)
            })
            .await?;
        }
        Ok(writer)
    }
}

struct Sending<'a> {
    service: &'a Arc<MailstoreService>,
    shard: Arc<HostedShard>,
    grant: Grant,
    id: UploadId,
    next: u32,
    /// Whole chunks that are stored, from the first on.
    stored: u32,
    /// Where to tell of what is stored, if anybody wants to know.
    replies: Option<&'a ReplySink<MailstoreProtocol>>,
    under_way: VecDeque<JoinHandle<Result<reply::Call, Status>>>,
}

impl Sending<'_> {
    async fn send(&mut self, stored: Bytes, raw_len: usize) -> Result<(), Status> {
        while self.under_way.len() >= CHUNKS_UNDER_WAY_MAX {
            self.settle().await?;
            self.acknowledge().await?;
        }
        let chunk = UploadChunk {
            upload: self.id,
            index: self.next,
            raw_len,
            stored,
            within_quota: self.grant.rights == Rights::Owner,
        };
        self.next += 1;
        self.start(Command::UploadChunk(chunk));
        Ok(())
    }

    async fn finish(mut self, finish: FinishUpload) -> Result<reply::Call, Status> {
        while !self.under_way.is_empty() {
            self.settle().await?;
        }
        self.start(Command::FinishUpload(finish));
        self.settle().await
    }

    fn start(&mut self, command: Command) {
        let mutation = Mutation {
            account: self.grant.account,
            key: None,
            command,
        };
        let shard = Arc::clone(&self.shard);
        self.under_way.push_back(
            self.service
                .tasks
                .spawn(async move { shard.mutate(mutation).await }),
        );
    }

    /// Tells that one more whole chunk is stored.
    async fn acknowledge(&mut self) -> Result<(), Status> {
        self.stored += 1;
        self.tell().await
    }

    async fn tell(&self) -> Result<(), Status> {
        let Some(replies) = self.replies else {
            return Ok(());
        };
        let acknowledged = proto::Uploaded {
            size: u64::from(self.stored) * BODY_CHUNK_BYTES as u64,
            hash: Bytes::new(),
        };
        replies
            .send(proto::Reply {
                call: Some(reply::Call::Uploaded(acknowledged)),
            })
            .await
    }

    /// Waits for what was begun first. Cancel-safe.
    async fn settle(&mut self) -> Result<reply::Call, Status> {
        let task = self
            .under_way
            .front_mut()
            .ok_or_else(|| Status::internal("no chunk is under way"))?;
        let outcome = task.await;
        self.under_way.pop_front();
        outcome.map_err(|error| Status::internal(format!("a chunk was not stored: {error}")))?
    }
}
