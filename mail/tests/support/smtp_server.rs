//! A connection without a socket: it drives a session as the documentation of
//! `rookery_mail::smtp::session` says, over bytes in memory, with a directory of a few made-up
//! recipients. It never waits and never fails but by an assertion.

use std::sync::Arc;

use rookery_mail::smtp::data::DataDecoder;
use rookery_mail::smtp::hops::HopCounter;
use rookery_mail::smtp::line::LineReader;
use rookery_mail::smtp::path::ForwardPath;
use rookery_mail::smtp::session::{
    Action, AuthOutcome, Content, DeliveryOutcome, Kind, RecipientOutcome, Session, SessionConfig,
};

/// A message that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) sender: String,
    pub(crate) recipients: Vec<String>,
    pub(crate) content: Vec<u8>,
}

pub(crate) struct Server {
    pub(crate) session: Session<String>,
    pub(crate) stored: Vec<Stored>,
    pub(crate) output: Vec<u8>,
    pub(crate) closed: bool,
    lines: LineReader,
    mode: Mode,
    content: Vec<u8>,
    hops: HopCounter,
}

enum Mode {
    Lines,
    Data(DataDecoder),
    Chunk { left: u64, keep: bool },
}

impl Server {
    pub(crate) fn new(config: SessionConfig) -> Server {
        let session = Session::new(Arc::new(config), false);
        let output = session.greeting().to_bytes();
        Server {
            session,
            stored: Vec::new(),
            output,
            closed: false,
            lines: LineReader::new(),
            mode: Mode::Lines,
            content: Vec::new(),
            hops: HopCounter::new(),
        }
    }

    /// Takes what a client sends, in one piece.
    pub(crate) fn take(&mut self, mut input: &[u8]) {
        while !self.closed {
            let action = match &mut self.mode {
                Mode::Lines => match self.lines.next_line(&mut input) {
                    Some(line) => self.session.take_line(line),
                    None => return,
                },
                Mode::Data(decoder) => {
                    let (content, hops) = (&mut self.content, &mut self.hops);
                    let decoded = decoder.decode(input, |slice| {
                        hops.take(slice);
                        content.extend_from_slice(slice);
                    });
                    input = &input[decoded.consumed..];
                    if !decoded.finished {
                        return;
                    }
                    let (octets, fault) = (decoder.octets(), decoder.fault());
                    self.mode = Mode::Lines;
                    self.session.content_received(Content {
                        octets,
                        hops: self.hops.hops(),
                        fault,
                    })
                }
                Mode::Chunk { left, keep } => {
                    let (chunk, rest) =
                        input.split_at(input.len().min(usize::try_from(*left).unwrap_or(usize::MAX)));
                    input = rest;
                    *left -= chunk.len() as u64;
                    if *keep {
                        self.hops.take(chunk);
                        self.content.extend_from_slice(chunk);
                    }
                    if *left > 0 {
                        return;
                    }
                    self.mode = Mode::Lines;
                    let octets = self.content.len() as u64;
                    self.session.content_received(Content {
                        octets,
                        hops: self.hops.hops(),
                        fault: None,
                    })
                }
            };
            if !self.act(action) {
                input = &[];
            }
        }
    }

    /// Does an action to its end; false when what has been read must be dropped.
    fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Reply(reply) => reply.encode(&mut self.output),
            Action::Abandon(replies) => {
                assert!(self.session.transaction().is_none());
                self.drop_content();
                replies.iter().for_each(|reply| reply.encode(&mut self.output));
            }
            Action::ResolveRecipient(path) => {
                let reply = self.session.recipient_resolved(resolve(&path));
                reply.encode(&mut self.output);
            }
            Action::ReceiveData(reply) => {
                assert!(self.content.is_empty());
                reply.encode(&mut self.output);
                self.mode = Mode::Data(DataDecoder::new());
            }
            Action::ReceiveChunk(chunk) => {
                self.mode = Mode::Chunk {
                    left: chunk.octets,
                    keep: chunk.keep,
                }
            }
            Action::Commit => {
                let outcomes = self.store();
                for reply in self.session.delivered(&outcomes, "1") {
                    reply.encode(&mut self.output);
                }
            }
            Action::Authenticate(credentials) => {
                let outcome = match (credentials.username(), credentials.password()) {
                    ("down@example.test", _) => AuthOutcome::Unavailable,
                    ("user1@example.test", "secret") => AuthOutcome::Accepted,
                    _ => AuthOutcome::Refused,
                };
                let action = self.session.authenticated(outcome);
                return self.act(action);
            }
            Action::StartTls(reply) => {
                reply.encode(&mut self.output);
                self.lines.reset();
                self.session.tls_started();
                return false;
            }
            Action::Close(reply) => {
                reply.encode(&mut self.output);
                self.drop_content();
                self.closed = true;
            }
        }
        true
    }

    fn store(&mut self) -> Vec<DeliveryOutcome> {
        let transaction = self.session.transaction().expect("there is something to store");
        assert!(!transaction.recipients().is_empty());
        let outcome = |target: &str| match target {
            "late@example.test" => DeliveryOutcome::TemporarilyUnavailable,
            "fat@example.test" => DeliveryOutcome::OverQuota,
            _ => DeliveryOutcome::Stored,
        };
        let each: Vec<_> = transaction
            .recipients()
            .iter()
            .map(|one| outcome(&one.target))
            .collect();
        self.stored.push(Stored {
            sender: transaction.sender().to_string(),
            recipients: transaction
                .recipients()
                .iter()
                .map(|one| one.path.to_string())
                .collect(),
            content: std::mem::take(&mut self.content),
        });
        self.drop_content();
        if self.session.config().kind == Kind::Lmtp {
            return each;
        }
        let failed = each.iter().find(|outcome| **outcome != DeliveryOutcome::Stored);
        vec![*failed.unwrap_or(&DeliveryOutcome::Stored)]
    }

    fn drop_content(&mut self) {
        self.content.clear();
        self.hops = HopCounter::new();
    }
}

fn resolve(path: &ForwardPath) -> RecipientOutcome<String> {
    let Some(address) = path.address() else {
        return RecipientOutcome::Accepted("postmaster@example.test".to_owned());
    };
    if address.domain().to_string() != "example.test" {
        return RecipientOutcome::NotLocal;
    }
    match &*address.folded_local() {
        "nobody" => RecipientOutcome::Unknown,
        "suspended" => RecipientOutcome::Suspended,
        "down" => RecipientOutcome::TemporarilyUnavailable,
        "loop" => RecipientOutcome::AliasLoop,
        "full" => RecipientOutcome::OverQuota,
        "everybody" => RecipientOutcome::TooMany,
        _ => RecipientOutcome::Accepted(address.lookup_key()),
    }
}
