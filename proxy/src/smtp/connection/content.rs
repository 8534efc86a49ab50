//! DATA and BDAT: content on its way from the client to the shards, and the answer to it.
//!
//! Reads to the content's real end whatever becomes of it, so that none of it is ever read as commands, but passes
//! nothing on beyond the largest message.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Buf;
use rookery_mail::smtp::data::DataDecoder;
use rookery_mail::smtp::path::ReversePath;
use rookery_mail::smtp::reply::texts;
use rookery_mail::smtp::session::{Action, Chunk, Content, DeliveryOutcome, Kind};

use super::{Connection, End};
use crate::route::account::now_millis;
use crate::smtp::delivery::{Answers, HandOffs, Message, Open, Trace, new_transaction};
use crate::smtp::measure;

impl Connection {
    /// Takes the content of DATA, RFC 5321 §4.1.1.4.
    pub(super) async fn receive_data(&mut self) -> Result<Action, End> {
        self.begin_content();
        let octets_max = self.session.config().message_octets_max;
        let discarded_octets_max = self.session.config().discarded_octets_max();
        let began = Instant::now();
        let mut decoder = DataDecoder::new();
        let mut finished = false;
        while !finished {
            self.more_content(began).await?;
            let Connection { wire, open, .. } = self;
            let decoded = match open {
                Some(open) => decoder.decode(&wire.input, |piece| open.stage(piece)),
                None => decoder.decode(&wire.input, |_| ()),
            };
            wire.input.advance(decoded.consumed);
            finished = decoded.finished;
            if decoder.octets() > discarded_octets_max {
                return Err(End::Say(texts::endless_content()));
            }
            if let Some(open) = open {
                if decoder.octets() > octets_max || decoder.fault().is_some() {
                    open.discard();
                }
                open.advance().await;
            }
        }
        let hops = self.open.as_ref().map_or(0, |open| open.hops());
        let content = Content {
            octets: decoder.octets(),
            hops,
            fault: decoder.fault(),
        };
        Ok(self.session.content_received(content))
    }

    /// Takes a chunk of BDAT, RFC 3030 §2.
    pub(super) async fn receive_chunk(&mut self, chunk: Chunk) -> Result<Action, End> {
        if chunk.keep {
            self.begin_content();
        }
        let began = Instant::now();
        let mut left = chunk.octets;
        while left > 0 {
            self.more_content(began).await?;
            let Connection { wire, open, .. } = self;
            let taken = wire.input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if let Some(open) = open
                && chunk.keep
            {
                open.stage(&wire.input[..taken]);
                open.advance().await;
            }
            wire.input.advance(taken);
            left -= taken as u64;
        }
        let (octets, hops) = self
            .open
            .as_ref()
            .map_or((0, 0), |open| (open.octets(), open.hops()));
        Ok(self.session.content_received(Content {
            octets,
            hops,
            fault: None,
        }))
    }

    /// Stores the message and answers.
    pub(super) async fn commit(&mut self) -> Result<(), End> {
        self.wire.flush().await?;
        let began = Instant::now();
        let protocol = measure::kind(self.context.options.kind);
        let octets = self.open.as_ref().map_or(0, |open| open.octets());
        // Once more, for the content may have taken an hour since the recipients were named.
        let may_send = self.may_send().await?;
        let (outcomes, id) = match self.open.take() {
            Some(open) if may_send => self.deliver(*open).await,
            Some(_) => (vec![DeliveryOutcome::TemporarilyUnavailable], String::new()),
            None => (Vec::new(), String::new()),
        };
        let worst = outcomes
            .iter()
            .find(|outcome| **outcome != DeliveryOutcome::Stored);
        let worst = measure::outcome(worst.copied().unwrap_or(DeliveryOutcome::Stored));
        measure::message(protocol, worst, octets, began.elapsed());
        if let Some(transaction) = self.transaction.as_ref().filter(|one| one.is_traced()) {
            transaction.set("rookery.message", id.clone());
            transaction.count("rookery.bytes", octets);
            transaction.outcome(worst);
        }
        for reply in self.session.delivered(&outcomes, &id) {
            self.wire.reply(&reply);
        }
        Ok(())
    }

    async fn deliver(&mut self, open: Open) -> (Vec<DeliveryOutcome>, String) {
        let options = &self.context.options;
        let id = open.id();
        // RFC 2033 §4.2: LMTP has one answer for each RCPT that was taken.
        let recipients: Vec<&[u32]> = match self.session.transaction() {
            Some(transaction) if options.kind == Kind::Lmtp => transaction
                .recipients()
                .iter()
                .map(|recipient| recipient.target.as_slice())
                .collect(),
            _ => Vec::new(),
        };
        let hand_offs = HandOffs {
            answers: if options.kind == Kind::Lmtp {
                Answers::Each(&recipients)
            } else {
                Answers::Together
            },
            stragglers_patience: options.stragglers_patience,
        };
        let verdict = Box::pin(open.deliver(&self.context.cluster, hand_offs)).await;
        if options.kind == Kind::Lmtp {
            (recipients.iter().map(|places| verdict.of(places)).collect(), id)
        } else {
            (vec![verdict.of_all()], id)
        }
    }

    /// Makes ready for a message's content, once.
    fn begin_content(&mut self) {
        let Some(transaction) = self.session.transaction() else {
            return;
        };
        let Some(open) = &mut self.open else { return };
        let sender = transaction.sender();
        let trace = Trace {
            sender,
            client_name: self.session.client_name(),
            client: self.client.ip(),
            host: &self.context.options.hostname,
            protocol: self.session.protocol(),
            unix_seconds: unix_seconds(),
        };
        let message = Message {
            transaction: new_transaction(),
            sender: match sender {
                ReversePath::Null => String::new(),
                ReversePath::Address(address) => address.to_string(),
            },
            issued_at_millis: now_millis(),
            protocol: measure::kind(self.context.options.kind),
            submitter: self.login.as_ref().map(|login| login.account()),
        };
        open.begin(
            &self.context.cluster,
            message,
            &trace,
            self.context.options.content_duration_max,
        );
    }

    /// Waits until some content is there.
    async fn more_content(&mut self, began: Instant) -> Result<(), End> {
        if !self.wire.input.is_empty() {
            return Ok(());
        }
        let left = self
            .context
            .options
            .content_duration_max
            .saturating_sub(began.elapsed());
        let limit = left
            .min(self.context.options.content_timeout)
            .max(Duration::from_millis(1));
        self.fill(limit, false).await
    }
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
