//! Backup: the rows of a shard as they are, and rows that come back.

use std::sync::Arc;

use rookery_proto::mailstore::v1::{self as proto, Reply, reply};
use rookery_proto::rows::{Row, RowDecoder};
use rookery_proto::{Incoming, MailstoreProtocol, ReplySink, Status};

use super::reads::blocking;
use super::{HostedShard, MailstoreService};
use crate::plan::{Command, Mutation};
use crate::read::ExportCursor;
use crate::schema::AccountId;

/// Bytes of rows that are imported in one batch, unless one row alone has more.
const IMPORT_BYTES: usize = 1024 * 1024;

impl MailstoreService {
    pub(super) async fn export_shard(
        &self,
        incoming: &Incoming<MailstoreProtocol>,
        export: proto::ExportShard,
        replies: &ReplySink<MailstoreProtocol>,
    ) -> Result<(), Status> {
        let shard = self
            .shard(export.shard, incoming.request.shard_generation)
            .await?;
        shard.confirm().await?;
        let (view, id) = (shard.view(), shard.id());
        drop(shard);
        let mut cursor = if export.hand_offs_only {
            ExportCursor::hand_offs(view, id)
        } else {
            ExportCursor::all(view, id)
        };
        loop {
            let (rest, piece) = blocking(&self.reads, move || {
                let piece = cursor.next_piece()?;
                Ok((cursor, piece))
            })
            .await?;
            let Some(frames) = piece else { return Ok(()) };
            cursor = rest;
            replies
                .send(Reply {
                    call: Some(reply::Call::ExportedRows(proto::ExportedRows { frames })),
                })
                .await?;
        }
    }

    /// Takes rows as they come: the next batch is read only when the last is durable.
    pub(super) async fn import_rows(
        self: &Arc<Self>,
        mut incoming: Incoming<MailstoreProtocol>,
        import: proto::ImportRows,
    ) -> Result<reply::Call, Status> {
        let shard = self
            .shard(import.shard, incoming.request.shard_generation)
            .await?;
        let mut body = incoming
            .body
            .take()
            .ok_or_else(|| Status::invalid("an import has no body"))?;
        let mut decoder = RowDecoder::default();
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(piece) = body.chunk().await? {
            decoder.push(&piece);
            while let Some(row) = decoder
                .next_row()
                .map_err(|error| Status::invalid(error.to_string()))?
            {
                bytes += row.frame_bytes();
                rows.push(row);
                if bytes >= IMPORT_BYTES {
                    self.import_batch(&shard, std::mem::take(&mut rows)).await?;
                    bytes = 0;
                }
            }
        }
        decoder
            .finish()
            .map_err(|error| Status::invalid(error.to_string()))?;
        self.import_batch(&shard, rows).await
    }

    async fn import_batch(
        self: &Arc<Self>,
        shard: &Arc<HostedShard>,
        rows: Vec<Row>,
    ) -> Result<reply::Call, Status> {
        let mutation = Mutation {
            account: AccountId(0),
            key: None,
            command: Command::ImportRows(rows),
        };
        let shard = Arc::clone(shard);
        self.to_completion(move |_| async move { shard.mutate(mutation).await })
            .await
    }
}
