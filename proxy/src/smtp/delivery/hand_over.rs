//! What could not be stored is kept, as hand-off rows, in a shard that stored the message for somebody else.
//!
//! Owns the rule under which `250` may be said without every recipient's shard: only when such rows are committed.

use std::time::Instant;

use bytes::Bytes;
use rookery_mail::smtp::session::DeliveryOutcome;
use rookery_proto::Status;
use rookery_proto::mailstore::v1::{self as mailstore, NewBody, reply, request};

use super::Message;
use super::destination::{Destination, Group, batches};
use crate::route::Cluster;
use crate::smtp::measure;

/// Hands over whoever is not stored, if anybody is. Those count as stored once the rows are committed.
pub(super) async fn hand_over(
    cluster: &Cluster,
    message: &Message,
    destinations: &[Destination],
    groups: &[Group],
    bodies: &[Option<NewBody>],
    outcomes: &mut [DeliveryOutcome],
) {
    let is_stored = |place: usize| outcomes[place] == DeliveryOutcome::Stored;
    let left: Vec<usize> = (0..outcomes.len()).filter(|&place| !is_stored(place)).collect();
    if left.is_empty() {
        return;
    }
    let deadline = Instant::now() + cluster.options().patience;
    for (group, body) in groups.iter().zip(bodies) {
        let Some(body) = body else { continue };
        let Some(&stored) = group.places.iter().find(|&&place| is_stored(place)) else {
            continue;
        };
        // An upload belongs to the account by whose token it came, so it is referred to with that token.
        let token = match body.source {
            Some(mailstore::new_body::Source::Upload(_)) => group.token.clone(),
            _ => destinations[stored].token.clone(),
        };
        let keeper = Keeper {
            shard: group.shard,
            token,
            body,
        };
        match keep(cluster, message, destinations, keeper, &left, deadline).await {
            Ok(()) => {
                let accounts: Vec<u64> = left.iter().map(|&place| destinations[place].account).collect();
                tracing::info!(
                    id = message.id(),
                    shard = group.shard,
                    ?accounts,
                    "handed over, to be delivered later"
                );
                measure::hand_offs("kept", left.len());
                for place in left {
                    outcomes[place] = DeliveryOutcome::Stored;
                }
                return;
            }
            Err(status) => {
                tracing::warn!(id = message.id(), shard = group.shard, %status, "a shard could not keep hand-offs");
            }
        }
    }
}

/// A shard that stored the message, and how it is called for that.
struct Keeper<'a> {
    shard: u32,
    token: Bytes,
    body: &'a NewBody,
}

async fn keep(
    cluster: &Cluster,
    message: &Message,
    destinations: &[Destination],
    keeper: Keeper<'_>,
    left: &[usize],
    deadline: Instant,
) -> Result<(), Status> {
    let Keeper { shard, token, body } = keeper;
    // A row's id follows from its transaction, account and address: committed twice it is there once.
    for batch in batches(destinations, left) {
        let call = request::Call::HandOff(mailstore::HandOff {
            delivery: Some(mailstore::Deliver {
                transaction: Bytes::copy_from_slice(&message.transaction),
                sender: message.sender.clone(),
                body: Some(body.clone()),
                recipients: Vec::new(),
                issued_at_millis: message.issued_at_millis,
            }),
            recipients: batch
                .iter()
                .map(|&place| destinations[place].hand_off())
                .collect(),
        });
        match cluster.call_shard(shard, token.clone(), call, deadline).await? {
            reply::Call::Done(_) => {}
            _ => {
                return Err(Status::internal(
                    "the mailstore answered a hand-off with something else",
                ));
            }
        }
    }
    Ok(())
}
