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

/// How long to wait before it is looked again where an account has moved.
const MOVED_PAUSE: Duration = Duration::from_millis(20);

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
        let (mut again, mut moved) = (Vec::new(), Vec::new());
        for (&at, answer) in pending.iter().zip(answers) {
            let status = answer.error.map(Status::from);
            outcomes[at] = status.as_ref().map_or(DeliveryOutcome::Stored, outcome);
            if let Some(status) = status {
                let account = destinations[batch[at]].account;
                tracing::info!(shard = group.shard, account, id = message.id(), %status, "not delivered");
                if status.is_retryable() {
                    again.push(at);
                }
                if status.reason == Reason::Moved {
                    moved.push(at);
                }
            }
        }
        for at in moved {
            let gone = &destinations[batch[at]];
            outcomes[at] = follow(cluster, message, gone, body, deadline).await;
        }
        if again.is_empty() || Instant::now() + RETRY_WAIT >= deadline {
            return outcomes;
        }
        pending = again;
        cluster.changed_or(RETRY_WAIT).await;
    }
}

/// Delivers to an account that has moved to another shard. A body that its old shard alone has is not delivered.
async fn follow(
    cluster: &Cluster,
    message: &Message,
    gone: &Destination,
    body: &NewBody,
    deadline: Instant,
) -> DeliveryOutcome {
    let mut last = DeliveryOutcome::TemporarilyUnavailable;
    if !matches!(body.source, Some(mailstore::new_body::Source::Inline(_))) {
        return last;
    }
    loop {
        let found = cluster.resolve_anew(gone.address(), deadline).await;
        let found = found.ok().and_then(|resolved| {
            let mut found = resolved.destinations.into_iter();
            found.find(|found| found.account == gone.account)
        });
        if let Some(here) = found.map(|found| gone.at(found)) {
            let call = request::Call::Deliver(mailstore::Deliver {
                transaction: Bytes::copy_from_slice(&message.transaction),
                sender: message.sender.clone(),
                body: Some(body.clone()),
                recipients: vec![here.recipient()],
                issued_at_millis: message.issued_at_millis,
            });
            let asked = cluster.call_shard(here.shard, here.token.clone(), call, deadline);
            let status = match asked.await {
                Ok(reply::Call::Delivered(delivered)) => {
                    let mut outcomes = delivered.outcomes.into_iter();
                    outcomes
                        .next()
                        .and_then(|outcome| outcome.error)
                        .map(Status::from)
                }
                Ok(_) => Some(Status::internal(
                    "the mailstore answered a delivery with something else",
                )),
                Err(status) => Some(status),
            };
            let Some(status) = status else {
                return DeliveryOutcome::Stored;
            };
            last = outcome(&status);
            if !status.is_retryable() && status.reason != Reason::Moved {
                break;
            }
        }
        if Instant::now() + MOVED_PAUSE >= deadline {
            break;
        }
        tokio::time::sleep(MOVED_PAUSE).await;
    }
    last
}

/// An account that is gone is told as a passing failure: the directory says at the next RCPT what it is.
fn outcome(status: &Status) -> DeliveryOutcome {
    match status.reason {
        Reason::OverQuota => DeliveryOutcome::OverQuota,
        Reason::Suspended => DeliveryOutcome::Suspended,
        _ => DeliveryOutcome::TemporarilyUnavailable,
    }
}
