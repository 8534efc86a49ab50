//! What could not be stored is kept, as hand-off rows, in a shard that stored the message for somebody else.
//!
//! Owns the rule under which `250` may be said without every recipient's shard: only when such rows are committed. And the
//! rule of who may become one: with one answer for all, everybody; with an answer for each recipient, who shares one with
//! somebody who has the message ([`Answers`]).

use std::time::{Duration, Instant};

use bytes::Bytes;
use rookery_mail::smtp::session::DeliveryOutcome;
use rookery_proto::Status;
use rookery_proto::mailstore::v1::{self as mailstore, NewBody, reply, request};

use super::Message;
use super::destination::{Destination, Group, batches};
use crate::route::Cluster;
use crate::smtp::measure;

/// Whom the client is answered for.
#[derive(Debug, Clone, Copy)]
pub(in crate::smtp) enum Answers<'a> {
    /// One answer for all.
    Together,
    /// One for each of these lists of places (RFC 2033 §4.2). A client asks again for a recipient as a whole: of an alias,
    /// those who have the message must be the last to be told that it was not stored.
    Each(&'a [&'a [u32]]),
}

impl Answers<'_> {
    /// The places that are not stored, and may be handed over.
    pub(super) fn left(self, outcomes: &[DeliveryOutcome]) -> Vec<usize> {
        let is_left = |place: &usize| outcomes[*place] != DeliveryOutcome::Stored;
        let is_stored = |place: &usize| outcomes[*place] == DeliveryOutcome::Stored;
        match self {
            Answers::Together if !(0..outcomes.len()).any(|place| is_stored(&place)) => Vec::new(),
            Answers::Together => (0..outcomes.len()).filter(is_left).collect(),
            Answers::Each(recipients) => {
                let mut left: Vec<usize> = Vec::new();
                for places in recipients {
                    let places = || {
                        let places = places.iter().map(|place| *place as usize);
                        places.filter(|place| *place < outcomes.len())
                    };
                    if places().any(|place| is_stored(&place)) {
                        left.extend(places().filter(is_left));
                    }
                }
                left.sort_unstable();
                left.dedup();
                left
            }
        }
    }
}

/// When what is not stored is handed over.
#[derive(Debug, Clone, Copy)]
pub(in crate::smtp) struct HandOffs<'a> {
    pub(in crate::smtp) answers: Answers<'a>,
    /// How long shards are waited for when all that they have not stored yet may be handed over.
    pub(in crate::smtp) stragglers_patience: Duration,
}

/// Hands over whoever is not stored and may be, if anybody is. Those count as stored once the rows are committed.
pub(super) async fn hand_over(
    cluster: &Cluster,
    message: &Message,
    destinations: &[Destination],
    groups: &[Group],
    bodies: &[Option<NewBody>],
    answers: Answers<'_>,
    outcomes: &mut [DeliveryOutcome],
) {
    let is_stored = |place: usize| outcomes[place] == DeliveryOutcome::Stored;
    let left = answers.left(outcomes);
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
