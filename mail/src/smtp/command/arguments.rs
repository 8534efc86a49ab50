//! What stands behind a verb, one function or type for each command that has something there.

use std::fmt;

use crate::address::DOMAIN_OCTETS_MAX;

use super::parameter::parameters;
use super::{Command, CommandError, ForwardPath, ReversePath};

/// What a client calls itself. Printable ASCII without spaces, and nothing more is known about it:
/// RFC 5321 §4.1.4 forbids to refuse mail because the name is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientName(Box<str>);

impl ClientName {
    /// Takes the first word; some devices put their owner's words behind it.
    pub(super) fn parse(argument: &str) -> Result<ClientName, CommandError> {
        let name = argument.split(' ').next().unwrap_or_default();
        let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
        if name.is_empty() || name.len() > DOMAIN_OCTETS_MAX || !printable {
            return Err(CommandError::Argument);
        }
        Ok(ClientName(name.into()))
    }

    /// The name as the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `AUTH mechanism [initial-response]`, RFC 4954 §4. Its `Debug` hides the response.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthArguments {
    /// The mechanism, as the client wrote it.
    pub mechanism: Box<str>,
    /// In base64, or `=` for an empty one.
    pub initial_response: Option<Box<str>>,
}

impl AuthArguments {
    /// ```text
    /// auth-command = "AUTH" SP sasl-mech [SP initial-response]
    /// ```
    pub(super) fn parse(argument: &str) -> Result<AuthArguments, CommandError> {
        let mut words = argument.split(' ').filter(|word| !word.is_empty());
        let mechanism = words.next().ok_or(CommandError::Argument)?;
        let initial_response = words.next().map(Box::from);
        if words.next().is_some() {
            return Err(CommandError::Argument);
        }
        Ok(AuthArguments {
            mechanism: mechanism.into(),
            initial_response,
        })
    }
}

impl fmt::Debug for AuthArguments {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.initial_response.as_ref().map(|_| "…");
        out.debug_struct("AuthArguments")
            .field("mechanism", &self.mechanism)
            .field("initial_response", &hidden)
            .finish()
    }
}

/// ```text
/// mail = "MAIL FROM:" Reverse-path [SP Mail-parameters]
/// ```
pub(super) fn mail(argument: &str) -> Result<Command, CommandError> {
    let path = after_keyword(argument, "FROM:").ok_or(CommandError::Argument)?;
    let (sender, rest) = ReversePath::take(path).map_err(CommandError::Sender)?;
    Ok(Command::Mail {
        sender,
        parameters: parameters(rest)?,
    })
}

/// ```text
/// rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters]
/// ```
pub(super) fn rcpt(argument: &str) -> Result<Command, CommandError> {
    let path = after_keyword(argument, "TO:").ok_or(CommandError::Argument)?;
    let (recipient, rest) = ForwardPath::take(path).map_err(CommandError::Recipient)?;
    Ok(Command::Rcpt {
        recipient,
        parameters: parameters(rest)?,
    })
}

/// ```text
/// bdat-cmd   = "BDAT" SP chunk-size [ SP end-marker ]
/// chunk-size = 1*DIGIT
/// end-marker = "LAST"
/// ```
pub(super) fn bdat(argument: &str) -> Result<Command, CommandError> {
    let mut words = argument.split(' ').filter(|word| !word.is_empty());
    let size = words
        .next()
        .filter(|size| size.bytes().all(|byte| byte.is_ascii_digit()));
    let octets = size
        .and_then(|size| size.parse().ok())
        .ok_or(CommandError::ChunkSize)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(CommandError::ChunkSize),
    };
    if words.next().is_some() {
        return Err(CommandError::ChunkSize);
    }
    Ok(Command::Bdat { octets, last })
}

/// What follows `FROM:` or `TO:`. Outlook sends `MAIL FROM: <a@b>` with the space that RFC 5321
/// §3.3 forbids.
fn after_keyword<'a>(argument: &'a str, keyword: &str) -> Option<&'a str> {
    let (head, rest) = argument.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword)
        .then(|| rest.trim_start_matches(' '))
}
