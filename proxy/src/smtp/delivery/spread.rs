//! One message to all its shards at once, and what becomes of those that do not answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rookery_mail::smtp::session::DeliveryOutcome;
use rookery_proto::mailstore::v1::NewBody;

use super::destination::{Destination, Group, groups};
use super::hand_over::{HandOffs, hand_over};
use super::intake::{Intake, Source};
use super::{Message, shard};
use crate::route::Cluster;
use crate::smtp::measure;

/// Accounts of one shard that a log line names.
const ACCOUNTS_LOGGED_MAX: usize = 100;

/// A shard's part of the work, done.
struct Done {
    group: usize,
    outcomes: Vec<DeliveryOutcome>,
    /// How the shard finds the body; `None` when it never came to be there whole.
    body: Option<NewBody>,
}

/// Stores the message for each destination. With `hand_offs`, those for which it could not be stored become hand-offs in
/// a shard that stored it where they may, and count as stored.
pub(in crate::smtp) async fn spread(
    cluster: &Arc<Cluster>,
    message: &Message,
    destinations: &[Destination],
    intake: Intake,
    hand_offs: Option<HandOffs<'_>>,
) -> Vec<DeliveryOutcome> {
    let began = Instant::now();
    let groups = groups(destinations);
    let octets = intake.octets();
    let mut outcomes = vec![DeliveryOutcome::TemporarilyUnavailable; destinations.len()];
    let mut bodies: Vec<Option<NewBody>> = vec![None; groups.len()];
    let mut answered = vec![false; groups.len()];
    {
        let sources = intake.finish().await;
        // From here on, since until here it was the client's time, or that of a shard which was waited for.
        let deadline = Instant::now() + cluster.options().patience;
        let mut running: FuturesUnordered<_> = sources
            .into_iter()
            .enumerate()
            .map(|(index, source)| {
                Box::pin(one_shard(
                    cluster,
                    message,
                    destinations,
                    &groups,
                    index,
                    source,
                    deadline,
                ))
            })
            .collect();
        // Once all that is missing may be handed over, nobody is kept waiting for long by it.
        let mut stragglers_deadline: Option<Instant> = None;
        loop {
            let left = stragglers_deadline.unwrap_or(deadline + cluster.options().patience);
            let done = tokio::select! {
                done = running.next() => done,
                () = tokio::time::sleep_until(left.into()) => None,
            };
            let Some(Done {
                group,
                outcomes: of_shard,
                body,
            }) = done
            else {
                break;
            };
            log(
                message,
                destinations,
                &groups[group],
                &of_shard,
                octets,
                began.elapsed(),
            );
            answered[group] = true;
            bodies[group] = body;
            for (&place, outcome) in groups[group].places.iter().zip(of_shard) {
                outcomes[place] = outcome;
            }
            if stragglers_deadline.is_none()
                && let Some(hand_offs) = hand_offs
            {
                let left = hand_offs.answers.left(&outcomes);
                let mut missing = groups.iter().zip(&answered).filter(|(_, answered)| !**answered);
                if missing
                    .all(|(group, _)| group.places.iter().all(|place| left.binary_search(place).is_ok()))
                {
                    stragglers_deadline = Some(Instant::now() + hand_offs.stragglers_patience);
                }
            }
        }
    }
    for (group, _) in groups.iter().zip(&answered).filter(|(_, answered)| !**answered) {
        let unavailable = vec![DeliveryOutcome::TemporarilyUnavailable; group.places.len()];
        log(
            message,
            destinations,
            group,
            &unavailable,
            octets,
            began.elapsed(),
        );
    }
    if let Some(HandOffs { answers, .. }) = hand_offs {
        hand_over(
            cluster,
            message,
            destinations,
            &groups,
            &bodies,
            answers,
            &mut outcomes,
        )
        .await;
    }
    outcomes
}

async fn one_shard(
    cluster: &Cluster,
    message: &Message,
    destinations: &[Destination],
    groups: &[Group],
    index: usize,
    source: Source,
    deadline: Instant,
) -> Done {
    let group = &groups[index];
    let body = match source.settle(deadline).await {
        Ok(body) => body,
        Err(status) => {
            tracing::warn!(shard = group.shard, id = message.id(), %status, "an upload failed");
            let outcomes = vec![DeliveryOutcome::TemporarilyUnavailable; group.places.len()];
            return Done {
                group: index,
                outcomes,
                body: None,
            };
        }
    };
    let outcomes = shard::deliver(cluster, message, destinations, group, &body, deadline).await;
    Done {
        group: index,
        outcomes,
        body: Some(body),
    }
}

/// The one line that tells of a delivery; nothing of the content.
fn log(
    message: &Message,
    destinations: &[Destination],
    group: &Group,
    outcomes: &[DeliveryOutcome],
    octets: u64,
    took: Duration,
) {
    let stored = outcomes
        .iter()
        .filter(|outcome| **outcome == DeliveryOutcome::Stored)
        .count();
    let refused = outcomes
        .iter()
        .find(|outcome| **outcome != DeliveryOutcome::Stored);
    let result = measure::outcome(refused.copied().unwrap_or(DeliveryOutcome::Stored));
    let accounts: Vec<u64> = group
        .places
        .iter()
        .take(ACCOUNTS_LOGGED_MAX)
        .map(|&place| destinations[place].account)
        .collect();
    tracing::info!(
        id = message.id(),
        protocol = message.protocol,
        sender = %message.sender,
        submitter = message.submitter,
        shard = group.shard,
        accounts = ?accounts,
        recipients = outcomes.len(),
        stored,
        result,
        bytes = octets,
        seconds = took.as_secs_f64(),
        "delivery"
    );
}
