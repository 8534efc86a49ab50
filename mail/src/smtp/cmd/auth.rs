//! AUTH, RFC 4954 §4.

use crate::sasl::{Credentials, Exchange, Mechanism, SaslError, Step};
use crate::smtp::command::AuthArguments;
use crate::smtp::reply::texts;
use crate::smtp::session::{Action, AuthOutcome, Kind, Phase, Session};

impl<R> Session<R> {
    pub(in crate::smtp) fn auth(&mut self, arguments: &AuthArguments) -> Action {
        if self.config.kind != Kind::Submission {
            return Action::Reply(texts::not_implemented());
        }
        // RFC 4954 §4: after EHLO, once, and not inside a transaction.
        if !self.hello.as_ref().is_some_and(|hello| hello.extended) {
            return Action::Reply(texts::bad_sequence("Send EHLO first"));
        }
        if self.user.is_some() {
            return Action::Reply(texts::bad_sequence("Already authenticated"));
        }
        if self.transaction.is_some() {
            return Action::Reply(texts::bad_sequence("Mail transaction in progress"));
        }
        if !self.tls && !self.config.plaintext_auth {
            return Action::Reply(texts::encryption_required());
        }
        let Some(mechanism) = Mechanism::from_name(&arguments.mechanism) else {
            return Action::Reply(texts::unknown_mechanism());
        };
        let initial = arguments.initial_response.as_deref().map(str::as_bytes);
        match Exchange::start(mechanism, initial) {
            Ok((exchange, step)) => self.sasl_step(exchange, step),
            Err(error) => self.sasl_failed(error),
        }
    }

    pub(in crate::smtp) fn take_sasl_response(&mut self, mut exchange: Exchange, line: &[u8]) -> Action {
        match exchange.respond(line) {
            Ok(step) => self.sasl_step(exchange, step),
            Err(error) => self.sasl_failed(error),
        }
    }

    /// Takes the outcome of [`Action::Authenticate`].
    pub fn authenticated(&mut self, outcome: AuthOutcome) -> Action {
        let user = match std::mem::replace(&mut self.phase, Phase::Command) {
            Phase::Checking(user) => user,
            phase => {
                self.phase = phase;
                self.out_of_turn("authenticated")
            }
        };
        match outcome {
            AuthOutcome::Accepted => {
                self.user = Some(user);
                Action::Reply(texts::authenticated())
            }
            AuthOutcome::Refused => self.login_failed(),
            AuthOutcome::Unavailable => Action::Reply(texts::authentication_unavailable()),
        }
    }

    fn sasl_step(&mut self, exchange: Exchange, step: Step) -> Action {
        match step {
            Step::Challenge(challenge) => {
                self.phase = Phase::Sasl(exchange);
                Action::Reply(texts::sasl_challenge(challenge))
            }
            Step::Finished(credentials) => self.check(credentials),
        }
    }

    fn check(&mut self, credentials: Credentials) -> Action {
        self.phase = Phase::Checking(credentials.username().to_owned());
        Action::Authenticate(credentials)
    }

    fn sasl_failed(&mut self, error: SaslError) -> Action {
        match error {
            SaslError::Cancelled => Action::Reply(texts::authentication_cancelled()),
            SaslError::Base64 | SaslError::Malformed => Action::Reply(texts::bad_sasl_response()),
            SaslError::TooLong => Action::Reply(texts::sasl_response_too_long()),
            SaslError::OtherIdentity => self.login_failed(),
        }
    }

    fn login_failed(&mut self) -> Action {
        self.failed_logins += 1;
        if self.failed_logins >= self.config.failed_logins_max {
            return self.close(texts::too_many_errors());
        }
        Action::Reply(texts::authentication_failed())
    }
}
