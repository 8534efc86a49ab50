//! What is legal now and what follows: the state of one client connection, for SMTP, submission and
//! LMTP alike. Lines go in, [`Action`]s come out, outcomes go in. No socket, no clock, no look-up.
//!
//! # How a connection drives a session
//!
//! ```text
//! let mut session = Session::new(config, tls_already);      // `true` on an implicit-TLS port
//! write session.greeting()
//! for each Line of the LineReader:
//!     let mut action = session.take_line(line);
//!     loop over actions, as the table says, until one needs no outcome
//!     if no complete line is buffered: flush
//! ```
//!
//! | action | what the connection does | what it calls then |
//! |---|---|---|
//! | [`Action::Reply`] | writes it | nothing: next line |
//! | [`Action::Abandon`] | drops all content it holds for the transaction, writes the replies in order | nothing |
//! | [`Action::ResolveRecipient`] | asks the directory | [`Session::recipient_resolved`], writes its reply |
//! | [`Action::ReceiveData`] | writes the reply and flushes; decodes with [`DataDecoder`] to the end | [`Session::content_received`] |
//! | [`Action::ReceiveChunk`] | takes exactly so many raw octets; keeps them if `keep` | [`Session::content_received`] |
//! | [`Action::Commit`] | stores the content for the recipients of [`Session::transaction`] | [`Session::delivered`], writes its replies |
//! | [`Action::Authenticate`] | checks the credentials | [`Session::authenticated`] |
//! | [`Action::StartTls`] | writes the reply and flushes, **drops every byte read so far** ([`LineReader::reset`] and its own buffer), shakes hands | [`Session::tls_started`], or closes |
//! | [`Action::Close`] | writes the reply, flushes, closes; whatever it holds is dropped | nothing |
//!
//! - An action is finished before the next line is given in: so answers keep the order of pipelined
//!   commands. A method called when it is not its turn panics: that is a bug of the connection, no
//!   input of a client leads there.
//! - [`Content`] describes the whole message so far. Of DATA the connection reads on to the real end
//!   also when the message is refused in the end, but passes nothing more on once
//!   [`SessionConfig::message_octets_max`] is exceeded, and gives up (with
//!   [`texts::endless_content`]) beyond
//!   [`SessionConfig::discarded_octets_max`].
//! - If storing fails while content still arrives, the connection reads on and says so in the outcomes
//!   of [`Session::delivered`].
//! - [`Session::transaction`] is `None` whenever there is nothing to hold content for.
//! - The type `R` is whatever the connection wants to keep with an accepted recipient: account, shard.
//! - Of BDAT chunks no line endings are checked; who relays stored content later has to.
//!
//! [`DataDecoder`]: super::data::DataDecoder
//! [`LineReader::reset`]: super::line::LineReader::reset

mod action;
mod config;
mod transaction;

use std::sync::Arc;

pub use action::{Action, AuthOutcome, Chunk, Content, DeliveryOutcome, RecipientOutcome};
pub use config::{ERRORS_MAX, FAILED_LOGINS_MAX, Kind, RECIPIENTS_MAX, SessionConfig};
pub use transaction::{Body, Recipient, Transaction};

use super::command::{self, ClientName, Command, CommandError};
use super::data::DataFault;
use super::line::Line;
use super::path::ForwardPath;
use super::reply::{Capabilities, Reply, texts};
use super::trace::Protocol;
use crate::sasl::Exchange;

/// The state of one connection. Its files under `cmd/` hold one command each.
#[derive(Debug)]
pub struct Session<R> {
    pub(in crate::smtp) config: Arc<SessionConfig>,
    pub(in crate::smtp) tls: bool,
    pub(in crate::smtp) hello: Option<Hello>,
    pub(in crate::smtp) user: Option<String>,
    pub(in crate::smtp) transaction: Option<Transaction<R>>,
    pub(in crate::smtp) phase: Phase,
    pub(in crate::smtp) failed_logins: u32,
    errors: u32,
}

/// How the client introduced itself.
#[derive(Debug)]
pub(in crate::smtp) struct Hello {
    pub(in crate::smtp) name: ClientName,
    /// By EHLO or LHLO.
    pub(in crate::smtp) extended: bool,
}

/// What the session waits for.
#[derive(Debug)]
pub(in crate::smtp) enum Phase {
    /// A command line.
    Command,
    /// A line of an authentication dialogue.
    Sasl(Exchange),
    /// The outcome of [`Action::Authenticate`] for this name.
    Checking(String),
    /// The outcome of [`Action::ResolveRecipient`].
    Resolving(ForwardPath),
    /// The content of DATA.
    Data,
    /// A chunk of BDAT, and what it is answered with where that is decided already.
    Chunk(Chunk, Option<Vec<Reply>>),
    /// The outcome of [`Action::Commit`].
    Committing,
    /// The outcome of [`Action::StartTls`].
    Handshake,
    /// Nothing: [`Action::Close`] was given.
    Closed,
}

impl<R> Session<R> {
    /// A session at its beginning; `tls` where the port speaks TLS from the first byte.
    pub fn new(config: Arc<SessionConfig>, tls: bool) -> Session<R> {
        Session {
            config,
            tls,
            hello: None,
            user: None,
            transaction: None,
            phase: Phase::Command,
            failed_logins: 0,
            errors: 0,
        }
    }

    /// The first thing to write.
    pub fn greeting(&self) -> Reply {
        texts::greeting(&self.config.host, self.config.kind.greeting_protocol())
    }

    /// What a line that has not been taken yet is about: one of the known verbs, also when it goes on a dialogue that such a
    /// one began; else `other`.
    pub fn verb(&self, line: &Line<'_>) -> &'static str {
        match (&self.phase, line) {
            (Phase::Sasl(_), _) => "AUTH",
            (_, Line::Complete(line)) => command::verb(line).unwrap_or("other"),
            (_, Line::BrokenChunk) => "BDAT",
            (_, Line::TooLong | Line::BareLf) => "other",
        }
    }

    /// Takes a line, whatever is waited for: a command or an authentication response.
    pub fn take_line(&mut self, line: Line<'_>) -> Action {
        let phase = std::mem::replace(&mut self.phase, Phase::Command);
        let action = match (phase, line) {
            (Phase::Command, Line::Complete(line)) => self.take_command(Command::parse(line)),
            (Phase::Command, Line::TooLong) => Action::Reply(texts::line_too_long()),
            (Phase::Sasl(exchange), Line::Complete(line)) => self.take_sasl_response(exchange, line),
            (Phase::Sasl(_), Line::TooLong) => Action::Reply(texts::sasl_response_too_long()),
            (Phase::Command | Phase::Sasl(_), Line::BareLf) => Action::Reply(texts::bare_line_feed()),
            // No response of SASL looks like that either.
            (Phase::Command | Phase::Sasl(_), Line::BrokenChunk) => self.refuse(CommandError::ChunkSize),
            (phase, _) => {
                self.phase = phase;
                self.out_of_turn("take_line")
            }
        };
        self.count_errors(action)
    }

    /// Takes the outcome of [`Action::StartTls`], once the handshake has succeeded.
    pub fn tls_started(&mut self) {
        let Phase::Handshake = self.phase else {
            self.out_of_turn("tls_started")
        };
        // RFC 3207 §4.2: everything learnt before is forgotten, the client introduces itself again.
        self.phase = Phase::Command;
        self.tls = true;
        self.hello = None;
        self.user = None;
        self.transaction = None;
    }

    /// The transaction, from an accepted MAIL to its end.
    pub fn transaction(&self) -> Option<&Transaction<R>> {
        self.transaction.as_ref()
    }

    /// What the client called itself; only known after its hello.
    pub fn client_name(&self) -> Option<&str> {
        self.hello.as_ref().map(|hello| hello.name.as_str())
    }

    /// The name with which the client has authenticated, as it wrote it.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The limits and the kind.
    pub fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// What the `with` clause of a `Received:` line says about this transaction.
    pub fn protocol(&self) -> Protocol {
        Protocol {
            lmtp: self.config.kind == Kind::Lmtp,
            extended: self.hello.as_ref().is_some_and(|hello| hello.extended),
            utf8: self
                .transaction
                .as_ref()
                .is_some_and(|transaction| transaction.smtputf8),
            tls: self.tls,
            authenticated: self.user.is_some(),
        }
    }

    /// What is offered now.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            message_octets_max: self.config.message_octets_max,
            starttls: self.config.starttls && !self.tls,
            auth: self.config.kind == Kind::Submission && (self.tls || self.config.plaintext_auth),
        }
    }

    fn take_command(&mut self, command: Result<Command, CommandError>) -> Action {
        match command {
            Ok(Command::Ehlo(name)) => self.ehlo(name),
            Ok(Command::Helo(name)) => self.helo(name),
            Ok(Command::Lhlo(name)) => self.lhlo(name),
            Ok(Command::Mail { sender, parameters }) => self.mail(sender, &parameters),
            Ok(Command::Rcpt {
                recipient,
                parameters,
            }) => self.rcpt(recipient, &parameters),
            Ok(Command::Data) => self.data(),
            Ok(Command::Bdat { octets, last }) => self.bdat(octets, last),
            Ok(Command::Rset) => self.rset(),
            Ok(Command::Noop) => Action::Reply(texts::ok()),
            Ok(Command::Help) => Action::Reply(texts::help()),
            Ok(Command::Vrfy) => Action::Reply(texts::will_not_verify()),
            Ok(Command::Expn) => Action::Reply(texts::not_implemented()),
            Ok(Command::Quit) => self.close(texts::goodbye()),
            Ok(Command::StartTls) => self.starttls(),
            Ok(Command::Auth(arguments)) => self.auth(&arguments),
            Err(error) => self.refuse(error),
        }
    }

    fn refuse(&mut self, error: CommandError) -> Action {
        match error {
            CommandError::Syntax => Action::Reply(texts::syntax_error()),
            CommandError::Unknown => Action::Reply(texts::unknown_command()),
            CommandError::Argument | CommandError::Parameter => Action::Reply(texts::bad_argument()),
            CommandError::Sender(_) => Action::Reply(texts::bad_sender()),
            CommandError::Recipient(_) => Action::Reply(texts::bad_recipient()),
            CommandError::OtherProtocol => self.close(texts::other_protocol()),
            // What follows may be content; to read it as commands would be to run a stranger's.
            CommandError::ChunkSize => self.close(texts::bad_argument()),
        }
    }

    /// Ends the session with this reply.
    pub(in crate::smtp) fn close(&mut self, reply: Reply) -> Action {
        self.phase = Phase::Closed;
        self.transaction = None;
        Action::Close(reply)
    }

    /// Drops the transaction, if there is one, and answers.
    pub(in crate::smtp) fn reset(&mut self, reply: Reply) -> Action {
        match self.transaction.take() {
            Some(_) => Action::Abandon(vec![reply]),
            None => Action::Reply(reply),
        }
    }

    /// Counts what only a broken or hostile client is answered, and closes when it is too much.
    /// Refused recipients are none of it.
    fn count_errors(&mut self, action: Action) -> Action {
        let Action::Reply(reply) = &action else {
            return action;
        };
        if matches!(reply.code(), 500..=509) {
            self.errors += 1;
            if self.errors >= self.config.errors_max {
                return self.close(texts::too_many_errors());
            }
        }
        action
    }

    #[track_caller]
    pub(in crate::smtp) fn out_of_turn(&self, method: &str) -> ! {
        panic!("Session::{method} called in phase {:?}", self.phase)
    }
}

impl Content {
    /// Why the message must be refused, the gravest reason first.
    pub(in crate::smtp) fn refusal(&self, config: &SessionConfig) -> Option<Reply> {
        if self.octets > config.message_octets_max {
            return Some(texts::message_too_large());
        }
        if matches!(self.fault, Some(DataFault::BareCr | DataFault::BareLf)) {
            return Some(texts::bare_line_ending_in_content());
        }
        (self.hops > super::hops::HOPS_MAX).then(texts::too_many_hops)
    }
}
