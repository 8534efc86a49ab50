//! `Deliver` to one shard, tried again until its deadline, always with the same transaction id, so that no account gets
//! the message twice.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rookery_mail::smtp::session::DeliveryOutcome;
use rookery_proto::mailstore::v1::{self as mailstore, NewBody, reply, request};
use rookery_proto::{Reason, Status};

use super::Message;
use super::destination::{Destination, Group, batches};
use crate::route::Cluster;

/// How long to wait before accounts that a shard could not serve are tried again there.
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// What became of each account of the group, in its order.
pub(super) async fn deliver(
    cluster: &Cluster,
    message: &Message,
    destinations: &[Destination],
    group: &Group,
    body: &NewBody,
    deadline: Instant,
) -> Vec<DeliveryOutcome> {
    let mut outcomes = Vec::with_capacity(group.places.len());
    for batch in batches(destinations, &group.places) {
        outcomes.extend(deliver_batch(cluster, message, destinations, group, body, &batch, deadline).await);
    }
    outcomes
}

async fn deliver_batch(
    cluster: &Cluster,
    message: &Message,
    destinations: &[Destination],
    group: &Group,
    body: &NewBody,
    batch: &[usize],
    deadline: Instant,
) -> Vec<DeliveryOutcome> {
    let mut outcomes = vec![DeliveryOutcome::TemporarilyUnavailable; batch.len()];
    // Positions in the batch that have no outcome for good yet.
    let mut pending: Vec<usize> = (0..batch.len()).collect();
    loop {
        let call = request::Call::Deliver(mailstore::Deliver {
            transaction: Bytes::copy_from_slice(&message.transaction),
            sender: message.sender.clone(),
            body: Some(body.clone()),
            recipients: pending
                .iter()
                .map(|&at| destinations[batch[at]].recipient())
                .collect(),
            issued_at_millis: message.issued_at_millis,
        });
        let answers = match cluster
            .call_shard(group.shard, group.token.clone(), call, deadline)
            .await
        {
            Ok(reply::Call::Delivered(delivered)) if delivered.outcomes.len() == pending.len() => {
                delivered.outcomes
            }
            Ok(_) => {
                tracing::error!(
                    shard = group.shard,
                    id = message.id(),
                    "a mailstore answered a delivery with nonsense"
                );
                return outcomes;
            }
            Err(status) => {
                for &at in &pending {
                    outcomes[at] = outcome(&status);
                }
                tracing::warn!(shard = group.shard, id = message.id(), %status, "a delivery failed");
                return outcomes;
            }
        };
        let mut again = Vec::new();
        for (&at, answer) in pending.iter().zip(answers) {
            let status = answer.error.map(Status::from);
            outcomes[at] = status.as_ref().map_or(DeliveryOutcome::Stored, outcome);
            if let Some(status) = status {
                let account = destinations[batch[at]].account;
                tracing::info!(shard = group.shard, account, id = message.id(), %status, "not delivered");
                if status.is_retryable() {
                    again.push(at);
                }
            }
        }
        if again.is_empty() || Instant::now() + RETRY_WAIT >= deadline {
            return outcomes;
        }
        pending = again;
        cluster.changed_or(RETRY_WAIT).await;
    }
}

/// An account that is gone is told as a passing failure: the directory says at the next RCPT what it is.
fn outcome(status: &Status) -> DeliveryOutcome {
    match status.reason {
        Reason::OverQuota => DeliveryOutcome::OverQuota,
        Reason::Suspended => DeliveryOutcome::Suspended,
        _ => DeliveryOutcome::TemporarilyUnavailable,
    }
}
