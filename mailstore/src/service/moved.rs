//! The rows of an account that leaves, for the shard that gets it.

use rookery_proto::mailstore::v1::{self as proto, Reply, reply};
use rookery_proto::{Incoming, MailstoreProtocol, ReplySink, Status};

use super::MailstoreService;
use super::reads::blocking;
use crate::read::MovedCursor;
use crate::schema::AccountId;

impl MailstoreService {
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
