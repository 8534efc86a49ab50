//! The way of a message to the shards of its recipients.
//!
//! Owns what is held for a transaction: the accounts behind its recipients, each once ([`Destination`]), its content (in
//! memory while it is small, in one upload for each shard beyond that: [`intake`]), and what became of it for each
//! account ([`Verdict`]). Never says that a message is stored before a shard has said so.

mod destination;
mod hand_over;
mod intake;
mod shard;
mod spread;

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rookery_mail::smtp::hops::HopCounter;
use rookery_mail::smtp::path::ForwardPath;
use rookery_mail::smtp::session::DeliveryOutcome;
use rookery_proto::directory::v1 as directory;

pub(in crate::smtp) use destination::{Destination, Trace, asked, leads};
pub(in crate::smtp) use hand_over::{Answers, HandOffs};
pub(in crate::smtp) use intake::Intake;
pub(in crate::smtp) use spread::spread;

use crate::route::Cluster;

/// Accounts that one transaction may reach. The directory expands an alias to 1,000 at most, so each alone fits.
const DESTINATIONS_MAX: usize = 2_000;

/// Places that the recipients of one transaction may name in all, one account counted each time.
const PLACES_MAX: usize = 10_000;

/// What is said of a message beside its bytes and recipients.
#[derive(Debug, Clone)]
pub(in crate::smtp) struct Message {
    /// Names the message in the log, and makes its delivery to an account happen once.
    pub(in crate::smtp) transaction: [u8; 16],
    /// Reverse path without brackets, empty for bounces.
    pub(in crate::smtp) sender: String,
    /// When the transaction began, unix milliseconds.
    pub(in crate::smtp) issued_at_millis: u64,
    /// The protocol by which it came, for the log.
    pub(in crate::smtp) protocol: &'static str,
    /// The account that submitted it.
    pub(in crate::smtp) submitter: Option<u64>,
}

impl Message {
    /// The transaction's id as it is logged and told to clients.
    pub(in crate::smtp) fn id(&self) -> String {
        let mut id = String::with_capacity(32);
        for byte in self.transaction {
            let _ = write!(id, "{byte:02x}");
        }
        id
    }
}

/// A new random transaction id.
pub(in crate::smtp) fn new_transaction() -> [u8; 16] {
    rand::rng().random()
}

/// What is held for a transaction from its first accepted recipient to its end. Dropped, it cancels its uploads.
#[derive(Default)]
pub(in crate::smtp) struct Open {
    destinations: Vec<Destination>,
    by_account: HashMap<u64, u32>,
    places: usize,
    content: Option<Content>,
}

struct Content {
    message: Message,
    intake: Intake,
    hops: HopCounter,
}

impl Open {
    /// Adds the accounts behind a recipient; an account that is there already stays there once. Gives their places, or
    /// `None` when they are too many.
    pub(in crate::smtp) fn add(
        &mut self,
        path: ForwardPath,
        found: Vec<directory::Destination>,
    ) -> Option<Vec<u32>> {
        let new = found
            .iter()
            .filter(|one| !self.by_account.contains_key(&one.account))
            .count();
        if self.destinations.len() + new > DESTINATIONS_MAX || self.places + found.len() > PLACES_MAX {
            return None;
        }
        self.places += found.len();
        let path = Arc::new(path);
        let mut places = Vec::with_capacity(found.len());
        for one in found {
            let next = self.destinations.len() as u32;
            let place = *self.by_account.entry(one.account).or_insert(next);
            if place == next {
                self.destinations.push(Destination::new(Arc::clone(&path), one));
            }
            places.push(place);
        }
        Some(places)
    }

    /// Makes ready for the content; nothing when that has begun already.
    pub(in crate::smtp) fn begin(
        &mut self,
        cluster: &Arc<Cluster>,
        message: Message,
        trace: &Trace<'_>,
        content_duration_max: Duration,
    ) {
        if self.content.is_some() {
            return;
        }
        let id = message.id();
        for destination in &mut self.destinations {
            destination.write_prefix(trace, &id);
        }
        let leads = leads(&self.destinations);
        let intake = Intake::new(
            Arc::clone(cluster),
            message.transaction,
            leads,
            content_duration_max,
        );
        self.content = Some(Content {
            message,
            intake,
            hops: HopCounter::new(),
        });
    }

    /// Takes a piece of content; [`Open::advance`] must follow before much more.
    pub(in crate::smtp) fn stage(&mut self, piece: &[u8]) {
        let Some(content) = &mut self.content else { return };
        if !content.hops.header_ended() {
            content.hops.take(piece);
        }
        content.intake.stage(piece);
    }

    /// Sends on what was staged, as far as it is much. Never fails: what a shard cannot take is told in the end.
    pub(in crate::smtp) async fn advance(&mut self) {
        if let Some(content) = &mut self.content {
            content.intake.advance().await;
        }
    }

    /// Keeps nothing of the content: the message will be refused.
    pub(in crate::smtp) fn discard(&mut self) {
        if let Some(content) = &mut self.content {
            content.intake.discard();
        }
    }

    /// Octets so far.
    pub(in crate::smtp) fn octets(&self) -> u64 {
        self.content.as_ref().map_or(0, |content| content.intake.octets())
    }

    /// `Received:` lines so far.
    pub(in crate::smtp) fn hops(&self) -> u32 {
        self.content.as_ref().map_or(0, |content| content.hops.hops())
    }

    /// The transaction's id as it is told to clients.
    pub(in crate::smtp) fn id(&self) -> String {
        self.content
            .as_ref()
            .map(|content| content.message.id())
            .unwrap_or_default()
    }

    /// Stores the message for each account. Accounts for which it could not be stored become hand-offs in a shard that
    /// stored it where they may, and count as stored.
    pub(in crate::smtp) async fn deliver(self, cluster: &Arc<Cluster>, hand_offs: HandOffs<'_>) -> Verdict {
        let Some(Content { message, intake, .. }) = self.content else {
            return Verdict { outcomes: Vec::new() };
        };
        let outcomes = spread(cluster, &message, &self.destinations, intake, Some(hand_offs)).await;
        Verdict { outcomes }
    }
}

/// What became of a message for each account.
#[derive(Debug)]
pub(in crate::smtp) struct Verdict {
    outcomes: Vec<DeliveryOutcome>,
}

impl Verdict {
    /// For the accounts behind one recipient together.
    pub(in crate::smtp) fn of(&self, places: &[u32]) -> DeliveryOutcome {
        let outcomes = places
            .iter()
            .map(|place| self.outcomes.get(*place as usize).copied());
        worst(outcomes.map(|outcome| outcome.unwrap_or(DeliveryOutcome::TemporarilyUnavailable)))
    }

    /// For all accounts together.
    pub(in crate::smtp) fn of_all(&self) -> DeliveryOutcome {
        worst(self.outcomes.iter().copied())
    }
}

/// The outcome that is told for several: whatever is not stored counts, and what passes soonest is told first.
fn worst(outcomes: impl Iterator<Item = DeliveryOutcome>) -> DeliveryOutcome {
    let rank = |outcome: DeliveryOutcome| match outcome {
        DeliveryOutcome::Stored => 0,
        DeliveryOutcome::Unknown => 1,
        DeliveryOutcome::Suspended => 2,
        DeliveryOutcome::OverQuota => 3,
        DeliveryOutcome::TemporarilyUnavailable => 4,
    };
    outcomes
        .max_by_key(|outcome| rank(*outcome))
        .unwrap_or(DeliveryOutcome::TemporarilyUnavailable)
}
