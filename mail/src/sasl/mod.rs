//! The server's side of SASL (RFC 4422): PLAIN (RFC 4616) and LOGIN, for SMTP's AUTH and IMAP's
//! AUTHENTICATE alike.
//!
//! Owns the decoding of what a client sends into [`Credentials`]. It must never check a password,
//! and never show one: no `Debug`, error or display in here contains a secret.
//!
//! A protocol drives it so: [`Exchange::start`] with the initial response, if there was one, then
//! [`Exchange::respond`] with each further line, until it gives [`Step::Finished`] or an error. An
//! error ends the exchange; the protocol answers it in its own words.

mod exchange;
mod plain;

use std::fmt;

pub use exchange::{Exchange, Step};

/// Octets of a decoded response; a longer one is refused before it is decoded.
pub const RESPONSE_OCTETS_MAX: usize = 3_072;
/// Octets of a user name.
pub const USERNAME_OCTETS_MAX: usize = 320;
/// Octets of a password.
pub const PASSWORD_OCTETS_MAX: usize = 1_024;

/// A mechanism that the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Never standardised (draft-murchison-sasl-login), wanted by Outlook.
    Login,
}

impl Mechanism {
    /// All mechanisms, in the order in which they are advertised.
    pub const ALL: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

    /// The mechanism of a name, in any case.
    pub fn from_name(name: &str) -> Option<Mechanism> {
        Mechanism::ALL
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
        }
    }
}

/// Why an exchange ended without credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// The client sent `*`.
    #[error("the client cancelled the authentication")]
    Cancelled,
    /// Not base64.
    #[error("the response is not valid base64")]
    Base64,
    /// Decoded, but not what the mechanism's grammar says.
    #[error("the response is not well formed")]
    Malformed,
    /// Longer than a named limit.
    #[error("the response is too long")]
    TooLong,
    /// The client wants to act as somebody else than the one whose password it has.
    #[error("the authorization identity differs from the authentication identity")]
    OtherIdentity,
}

/// A user name with its password, neither checked yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    username: String,
    password: String,
}

impl Credentials {
    /// Takes a name and a password within their limits; both without NUL and neither empty.
    pub fn new(username: &str, password: &str) -> Result<Credentials, SaslError> {
        if username.len() > USERNAME_OCTETS_MAX || password.len() > PASSWORD_OCTETS_MAX {
            return Err(SaslError::TooLong);
        }
        if [username, password]
            .iter()
            .any(|text| text.is_empty() || text.contains('\0'))
        {
            return Err(SaslError::Malformed);
        }
        Ok(Credentials {
            username: username.to_owned(),
            password: password.to_owned(),
        })
    }

    /// The name, as the client wrote it. It may hold anything but NUL: escape it before logging.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password.
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credentials")
            .field("username", &self.username)
            .field("password", &"…")
            .finish()
    }
}

#[cfg(test)]
mod tests;
