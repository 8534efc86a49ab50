//! The dialogue of one authentication: challenges out, responses in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Credentials, Mechanism, RESPONSE_OCTETS_MAX, SaslError, plain};

/// What to do after a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this challenge, already in base64 (possibly empty), and wait for the next line.
    Challenge(&'static str),
    /// The exchange is over; check these.
    Finished(Credentials),
}

/// An authentication in progress.
#[derive(Clone)]
pub struct Exchange(State);

#[derive(Clone)]
enum State {
    Plain,
    LoginUsername,
    LoginPassword { username: String },
}

/// `Username:` in base64, as every client of LOGIN expects it.
const LOGIN_USERNAME: &str = "VXNlcm5hbWU6";
/// `Password:` in base64.
const LOGIN_PASSWORD: &str = "UGFzc3dvcmQ6";

impl Exchange {
    /// Starts an exchange. The initial response is in base64, or `=` for an empty one (RFC 4954 §4,
    /// RFC 9051 §6.2.2); `None` when the client sent none.
    pub fn start(mechanism: Mechanism, initial: Option<&[u8]>) -> Result<(Exchange, Step), SaslError> {
        let mut exchange = Exchange(match mechanism {
            Mechanism::Plain => State::Plain,
            Mechanism::Login => State::LoginUsername,
        });
        let step = match initial {
            None => exchange.challenge(),
            Some(b"=") => exchange.take(&[])?,
            Some(response) => exchange.respond(response)?,
        };
        Ok((exchange, step))
    }

    /// Takes the client's next line, without its line ending.
    pub fn respond(&mut self, line: &[u8]) -> Result<Step, SaslError> {
        // RFC 4954 §4, RFC 9051 §6.2.2: a single asterisk cancels.
        if line == b"*" {
            return Err(SaslError::Cancelled);
        }
        if line.len() > RESPONSE_OCTETS_MAX.div_ceil(3) * 4 {
            return Err(SaslError::TooLong);
        }
        let decoded = STANDARD.decode(line).map_err(|_| SaslError::Base64)?;
        self.take(&decoded)
    }

    fn challenge(&self) -> Step {
        Step::Challenge(match self.0 {
            // RFC 4616 §2: the client speaks first, so the challenge is empty.
            State::Plain => "",
            State::LoginUsername => LOGIN_USERNAME,
            State::LoginPassword { .. } => LOGIN_PASSWORD,
        })
    }

    fn take(&mut self, response: &[u8]) -> Result<Step, SaslError> {
        match &self.0 {
            State::Plain => plain::decode(response).map(Step::Finished),
            State::LoginUsername => {
                let username = utf8(response)?.to_owned();
                if username.is_empty() {
                    return Err(SaslError::Malformed);
                }
                self.0 = State::LoginPassword { username };
                Ok(self.challenge())
            }
            State::LoginPassword { username } => {
                Credentials::new(username, utf8(response)?).map(Step::Finished)
            }
        }
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self.0 {
            State::Plain => "Exchange(PLAIN)",
            State::LoginUsername => "Exchange(LOGIN, username)",
            State::LoginPassword { .. } => "Exchange(LOGIN, password)",
        })
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, SaslError> {
    std::str::from_utf8(bytes).map_err(|_| SaslError::Malformed)
}
