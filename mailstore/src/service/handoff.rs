//! Hand-offs: recipients of other shards, kept here until a proxy has delivered to them.

use std::collections::VecDeque;
use std::sync::Arc;

use rookery_proto::mailstore::v1::{self as proto, HandOffRow, Reply, reply};
use rookery_proto::{Incoming, MailstoreProtocol, ReplySink, Status};

use super::deliver::{NO_ACCOUNT, RECIPIENTS_MAX, check_prefix, transaction};
use super::reads::blocking;
use super::{Grant, HostedShard, MailstoreService};
use crate::body::OpenBody;
use crate::plan::{Command, HandOff, Mutation};
use crate::read::Snapshot;

/// Rows of one lease.
const LEASE_ROWS_MAX: u32 = 100;

/// Bytes of bodies in one reply.
const PIECE_BYTES: u64 = 1024 * 1024;

/// What a row takes of a reply beside its body, at most: a recipient's header lines above all.
const ROW_OVERHEAD_BYTES: u64 = 64 * 1024;

impl MailstoreService {
    pub(super) async fn hand_off(
        self: Arc<Self>,
        shard: Arc<HostedShard>,
        grant: Grant,
        hand_off: proto::HandOff,
    ) -> Result<reply::Call, Status> {
        let delivery = hand_off
            .delivery
            .ok_or_else(|| Status::invalid("a hand-off has no delivery"))?;
        if hand_off.recipients.is_empty() || hand_off.recipients.len() > RECIPIENTS_MAX {
            return Err(Status::invalid(format!(
                "a hand-off has 1 to {RECIPIENTS_MAX} recipients"
            )));
        }
        hand_off
            .recipients
            .iter()
            .try_for_each(|recipient| check_prefix(&recipient.prefix))?;
        let body = self.prepare_body(&shard, grant.account, delivery.body).await?;
        let command = Command::HandOff(HandOff {
            transaction: transaction(&delivery.transaction)?,
            issued_at_millis: delivery.issued_at_millis,
            sender: delivery.sender,
            body,
            recipients: hand_off.recipients,
        });
        shard
            .mutate(Mutation {
                account: grant.account,
                key: None,
                command,
            })
            .await
    }

    /// Leases rows that are due, then sends them with their bodies, in pieces.
    pub(super) async fn lease_hand_offs(
        self: &Arc<Self>,
        incoming: &Incoming<MailstoreProtocol>,
        mut lease: proto::LeaseHandOffs,
        replies: &ReplySink<MailstoreProtocol>,
    ) -> Result<(), Status> {
        let shard = self.shard(lease.shard, incoming.request.shard_generation).await?;
        shard.confirm().await?;
        lease.limit = lease.limit.clamp(1, LEASE_ROWS_MAX);
        let leasing = {
            let shard = Arc::clone(&shard);
            let mutation = Mutation {
                account: NO_ACCOUNT,
                key: None,
                command: Command::LeaseHandOffs(lease),
            };
            self.to_completion(move |_| async move { shard.mutate(mutation).await })
                .await?
        };
        let reply::Call::HandOffs(leased) = leasing else {
            return Err(Status::internal(
                "the writer answered a lease with something else",
            ));
        };
        let mut rows = RowCursor {
            snapshot: self.snapshot(&shard, NO_ACCOUNT),
            rows: leased.rows.into(),
            body: None,
        };
        loop {
            let (rest, piece) = blocking(&self.reads, move || {
                let piece = rows.next()?;
                Ok((rows, piece))
            })
            .await?;
            rows = rest;
            let is_last = rows.rows.is_empty();
            replies
                .send(Reply {
                    call: Some(reply::Call::HandOffs(piece)),
                })
                .await?;
            if is_last {
                return Ok(());
            }
        }
    }
}

/// Leased rows on their way out. Holds no more of their bodies than it gives at once.
struct RowCursor {
    snapshot: Snapshot,
    /// Not sent yet, or not wholly.
    rows: VecDeque<HandOffRow>,
    /// The first row's body, once it is begun, and how much of it was sent.
    body: Option<(OpenBody, u64)>,
}

impl RowCursor {
    /// The next rows, or the next piece of a large one.
    fn next(&mut self) -> Result<proto::HandOffs, Status> {
        let mut rows = Vec::new();
        let mut room = PIECE_BYTES;
        while room > 0
            && let Some(row) = self.rows.front()
        {
            let reader = self.snapshot.reader();
            let (body, offset) = match self.body {
                Some(begun) => begun,
                None => {
                    let id = row.id.as_ref().try_into();
                    let id = id.map_err(|_| Status::internal("the id of a hand-off"))?;
                    let record = reader.hand_off(&id).map_err(Status::from)?;
                    // Completed by another proxy meanwhile.
                    let Some(record) = record else {
                        self.rows.pop_front();
                        continue;
                    };
                    (OpenBody::of(record.body), 0)
                }
            };
            let end = body.hash.size.min(offset.saturating_add(room));
            let piece = self.snapshot.bodies.read_range(&reader, &body, offset..end)?;
            if piece.len() as u64 != end - offset {
                return Err(Status::internal(format!(
                    "the body of a hand-off ends at {} instead of {end}",
                    offset + piece.len() as u64
                )));
            }
            rows.push(HandOffRow {
                body: piece,
                ..row.clone()
            });
            // Each row takes some room, so that many without a body are sent in steps as well.
            room = room.saturating_sub(end - offset + ROW_OVERHEAD_BYTES);
            if end == body.hash.size {
                self.rows.pop_front();
                self.body = None;
            } else {
                self.body = Some((body, end));
            }
        }
        Ok(proto::HandOffs { rows })
    }
}
