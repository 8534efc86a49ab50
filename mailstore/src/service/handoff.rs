//! Hand-offs: recipients of other shards, kept here until a proxy has delivered to them.

use std::sync::Arc;

use rookery_proto::mailstore::v1::{self as proto, reply};
use rookery_proto::{Incoming, MailstoreProtocol, Reason, Status};

use super::deliver::{NO_ACCOUNT, RECIPIENTS_MAX, check_prefix, transaction};
use super::reads::blocking;
use super::{Grant, HostedShard, MailstoreService};
use crate::plan::{Command, HandOff, Mutation};
use crate::schema::ReadError;

/// Rows of one lease.
const LEASE_ROWS_MAX: u32 = 100;

/// The largest body that is handed off: a row with its body must fit into one reply.
const HAND_OFF_BYTES_MAX: u64 = 30 * 1024 * 1024;

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
        if body.hash.size > HAND_OFF_BYTES_MAX {
            let message = format!("a message of more than {HAND_OFF_BYTES_MAX} bytes cannot be handed off");
            return Err(Status::new(Reason::LimitExceeded, message));
        }
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

    /// Leases rows that are due, then reads their bodies.
    pub(super) async fn lease_hand_offs(
        self: &Arc<Self>,
        incoming: &Incoming<MailstoreProtocol>,
        mut lease: proto::LeaseHandOffs,
    ) -> Result<reply::Call, Status> {
        let shard = self.shard(lease.shard, incoming.request.shard_generation)?;
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
        let snapshot = self.snapshot(&shard, NO_ACCOUNT);
        let bodies = Arc::clone(&self.bodies);
        blocking(&self.reads, move || {
            let mut rows = Vec::with_capacity(leased.rows.len());
            for mut row in leased.rows {
                let reader = snapshot.reader();
                let id = row
                    .id
                    .as_ref()
                    .try_into()
                    .map_err(|_| Status::internal("the id of a hand-off"))?;
                let record = reader
                    .hand_off(&id)
                    .map_err(|error: ReadError| Status::from(error))?;
                // Completed by another proxy meanwhile.
                let Some(record) = record else { continue };
                let body = bodies.open(&reader, &record.body)?;
                row.body = bodies.read_range(&reader, &body, 0..record.body.size)?;
                rows.push(row);
            }
            Ok(reply::Call::HandOffs(proto::HandOffs { rows }))
        })
        .await
    }
}
