//! Upload: the bytes of a large message, stored as they come.
//!
//! At most a few chunks are in memory: the next one is read from the caller only when there is room for it, so that
//! the caller is slowed to the speed of the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use rookery_proto::directory::v1::Rights;
use rookery_proto::mailstore::v1::{self as proto, reply};
use rookery_proto::{Incoming, MailstoreProtocol, Reason, Status};
use tokio::task::JoinHandle;

use super::reads::blocking;
use super::{Grant, HostedShard, MailstoreService};
use crate::body::ChunkWriter;
use crate::plan::{Command, FinishUpload, Mutation, UploadChunk};
use crate::schema::UploadId;
use crate::schema::body::BODY_CHUNK_BYTES;

/// Chunks of one upload that are on their way to the disk, while the next is compressed. They must be stored in order, so
/// two would need an order among their tasks.
const CHUNKS_UNDER_WAY_MAX: usize = 1;

impl MailstoreService {
    pub(super) async fn upload(
        self: &Arc<Self>,
        mut incoming: Incoming<MailstoreProtocol>,
        upload: proto::Upload,
    ) -> Result<reply::Call, Status> {
        let (shard, grant) = self.access(&incoming, Rights::Deliver).await?;
        let id = UploadId::from_slice(&upload.id)
            .ok_or_else(|| Status::invalid("the id of an upload is 16 bytes"))?;
        let mut body = incoming
            .body
            .take()
            .ok_or_else(|| Status::invalid("an upload has no body"))?;
        let mut writer = ChunkWriter::default();
        let mut sending = Sending {
            service: self,
            shard,
            grant,
            id,
            next: 0,
            under_way: VecDeque::new(),
        };
        while let Some(piece) = body.chunk().await? {
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
}

struct Sending<'a> {
    service: &'a Arc<MailstoreService>,
    shard: Arc<HostedShard>,
    grant: Grant,
    id: UploadId,
    next: u32,
    under_way: VecDeque<JoinHandle<Result<reply::Call, Status>>>,
}

impl Sending<'_> {
    async fn send(&mut self, stored: Bytes, raw_len: usize) -> Result<(), Status> {
        while self.under_way.len() >= CHUNKS_UNDER_WAY_MAX {
            self.settle_one().await?;
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
            self.settle_one().await?;
        }
        self.start(Command::FinishUpload(finish));
        self.settle_one().await
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

    async fn settle_one(&mut self) -> Result<reply::Call, Status> {
        let task = self
            .under_way
            .pop_front()
            .ok_or_else(|| Status::internal("no chunk is under way"))?;
        task.await
            .map_err(|error| Status::internal(format!("a chunk was not stored: {error}")))?
    }
}
