//! The rows of an account that leaves a shard, and those of one that comes to it.

use std::sync::Arc;

use bytes::BytesMut;
use prost::Message;
use rookery_proto::mailstore::v1::{self as proto, MovedRows, Reply, reply};
use rookery_proto::{Incoming, MailstoreProtocol, REPLY_BYTES_MAX, Reason, ReplySink, Status};

use super::MailstoreService;
use super::reads::blocking;
use crate::plan::{Command, Mutation, TakeRows};
use crate::read::MovedCursor;
use crate::schema::AccountId;

impl MailstoreService {
    /// Takes rows in as one batch.
    pub(super) async fn take_rows(
        self: &Arc<Self>,
        mut incoming: Incoming<MailstoreProtocol>,
        take: proto::TakeRows,
    ) -> Result<reply::Call, Status> {
        let shard = self.shard(take.shard, incoming.request.shard_generation).await?;
        let mut body = incoming
            .body
            .take()
            .ok_or_else(|| Status::invalid("no rows come with the call"))?;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = body.chunk().await? {
            // They came in a reply.
            if bytes.len() + chunk.len() > REPLY_BYTES_MAX {
                let message = format!("the rows have more than {REPLY_BYTES_MAX} bytes");
                return Err(Status::new(Reason::LimitExceeded, message));
            }
            bytes.extend_from_slice(&chunk);
        }
        let rows = MovedRows::decode(bytes.freeze())
            .map_err(|error| Status::invalid(format!("the rows are unreadable: {error}")))?
            .rows;
        let account = AccountId(take.account);
        let command = Command::TakeRows(TakeRows {
            account,
            generation: take.generation,
            attempt: take.attempt,
            rows,
        });
        let mutation = Mutation {
            account,
            key: None,
            command,
        };
        self.to_completion(move |_| async move { shard.mutate(mutation).await })
            .await
    }

    pub(super) async fn export_account(
        &self,
        incoming: &Incoming<MailstoreProtocol>,
        export: proto::ExportAccount,
        replies: &ReplySink<MailstoreProtocol>,
    ) -> Result<(), Status> {
        let shard = self
            .shard(export.shard, incoming.request.shard_generation)
            .await?;
        shard.confirm().await?;
        let (view, id) = (shard.view(), shard.id());
        drop(shard);
        let account = AccountId(export.account);
        let mut cursor = blocking(&self.reads, move || {
            MovedCursor::new(view, id, account, export.generation, export.since)
        })
        .await?;
        loop {
            let (rest, piece) = blocking(&self.reads, move || {
                let piece = cursor.next_piece()?;
                Ok((cursor, piece))
            })
            .await?;
            cursor = rest;
            let is_last = piece.next.is_some();
            let call = Some(reply::Call::MovedRows(piece));
            replies.send(Reply { call }).await?;
            if is_last {
                return Ok(());
            }
        }
    }
}
