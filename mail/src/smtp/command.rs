//! Command lines, RFC 5321 §4.1.1 and the extensions that the server speaks.
//!
//! Owns the grammar: a line in, a [`Command`] or a [`CommandError`] out. It must never decide
//! whether a command is legal now, nor what it means: that is the session's work.

use crate::address::AddressError;

use super::path::{ForwardPath, ReversePath};

mod arguments;
mod parameter;

pub use arguments::{AuthArguments, ClientName};
pub use parameter::{PARAMETERS_MAX, Parameter};

/// A command, read but not judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// RFC 5321 §4.1.1.1
    Ehlo(ClientName),
    /// RFC 5321 §4.1.1.1
    Helo(ClientName),
    /// RFC 2033 §4.1
    Lhlo(ClientName),
    /// RFC 5321 §4.1.1.2
    Mail {
        /// Whom the message comes from.
        sender: ReversePath,
        /// Parameters as they came.
        parameters: Vec<Parameter>,
    },
    /// RFC 5321 §4.1.1.3
    Rcpt {
        /// Whom the message goes to.
        recipient: ForwardPath,
        /// Parameters as they came.
        parameters: Vec<Parameter>,
    },
    /// RFC 5321 §4.1.1.4
    Data,
    /// RFC 3030 §2
    Bdat {
        /// Octets that follow the line.
        octets: u64,
        /// The message ends with them.
        last: bool,
    },
    /// RFC 5321 §4.1.1.5
    Rset,
    /// RFC 5321 §4.1.1.6
    Vrfy,
    /// RFC 5321 §4.1.1.7
    Expn,
    /// RFC 5321 §4.1.1.8
    Help,
    /// RFC 5321 §4.1.1.9
    Noop,
    /// RFC 5321 §4.1.1.10
    Quit,
    /// RFC 3207 §4
    StartTls,
    /// RFC 4954 §4
    Auth(AuthArguments),
}

/// Why a line is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Empty, not UTF-8, or with a control character (NUL and bare CR among them).
    #[error("the line is no command")]
    Syntax,
    /// A verb that the server does not know.
    #[error("the command is not known")]
    Unknown,
    /// The verb of another protocol: a browser was made to speak to us.
    #[error("the line belongs to another protocol")]
    OtherProtocol,
    /// The argument of a known command is missing, superfluous or malformed.
    #[error("the argument is not well formed")]
    Argument,
    /// A parameter of MAIL or RCPT is malformed, or there are too many.
    #[error("a parameter is not well formed")]
    Parameter,
    /// The sender's path is malformed.
    #[error("the sender is not well formed")]
    Sender(AddressError),
    /// The recipient's path is malformed.
    #[error("the recipient is not well formed")]
    Recipient(AddressError),
    /// The size of a chunk cannot be read: where the next command begins is unknown.
    #[error("the chunk size is not well formed")]
    ChunkSize,
}

impl Command {
    /// Reads a line without its line ending.
    pub fn parse(line: &[u8]) -> Result<Command, CommandError> {
        // A client that means a chunk sends it whatever it is answered.
        let malformed = if announces_chunk(line) {
            CommandError::ChunkSize
        } else {
            CommandError::Syntax
        };
        let line = std::str::from_utf8(line).map_err(|_| malformed)?;
        if line.chars().any(char::is_control) {
            return Err(malformed);
        }
        let line = line.trim_end_matches(' ');
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let argument = argument.trim_start_matches(' ');
        let mut upper = [0; VERB_OCTETS_MAX];
        match upper_verb(verb, &mut upper)? {
            b"EHLO" => ClientName::parse(argument).map(Command::Ehlo),
            b"HELO" => ClientName::parse(argument).map(Command::Helo),
            b"LHLO" => ClientName::parse(argument).map(Command::Lhlo),
            b"MAIL" => arguments::mail(argument),
            b"RCPT" => arguments::rcpt(argument),
            b"DATA" => no_argument(argument, Command::Data),
            b"BDAT" => arguments::bdat(argument),
            b"RSET" => no_argument(argument, Command::Rset),
            b"VRFY" => some_argument(argument, Command::Vrfy),
            b"EXPN" => some_argument(argument, Command::Expn),
            b"HELP" => Ok(Command::Help),
            b"NOOP" => Ok(Command::Noop),
            b"QUIT" => no_argument(argument, Command::Quit),
            b"STARTTLS" => no_argument(argument, Command::StartTls),
            b"AUTH" => AuthArguments::parse(argument).map(Command::Auth),
            b"GET" | b"POST" | b"PUT" | b"HEAD" | b"OPTIONS" | b"CONNECT" => Err(CommandError::OtherProtocol),
            _ => Err(CommandError::Unknown),
        }
    }
}

/// The verbs that are known.
const VERBS: [&str; 15] = [
    "AUTH", "BDAT", "DATA", "EHLO", "EXPN", "HELO", "HELP", "LHLO", "MAIL", "NOOP", "QUIT", "RCPT", "RSET",
    "STARTTLS", "VRFY",
];

/// The verb that a line begins with, when it is a known one, whatever follows it.
pub(super) fn verb(line: &[u8]) -> Option<&'static str> {
    let word = line.split(|octet| *octet == b' ').next()?;
    VERBS
        .into_iter()
        .find(|verb| verb.as_bytes().eq_ignore_ascii_case(word))
}

/// Whether a line, or its beginning, is meant as a BDAT with a size, well formed or not.
pub(super) fn announces_chunk(line: &[u8]) -> bool {
    line.split_at_checked(CHUNK_WORD_OCTETS - 1)
        .is_some_and(|(verb, rest)| {
            verb.eq_ignore_ascii_case(b"BDAT") && matches!(rest.first(), Some(b' ' | b'\t'))
        })
}

/// Octets at the beginning of a line by which [`announces_chunk`] decides.
pub(super) const CHUNK_WORD_OCTETS: usize = 5;

/// Octets of the longest verb that is known.
const VERB_OCTETS_MAX: usize = 8;

/// RFC 5321 §2.4: verbs are not case sensitive.
fn upper_verb<'a>(verb: &str, upper: &'a mut [u8; VERB_OCTETS_MAX]) -> Result<&'a [u8], CommandError> {
    if verb.is_empty() {
        return Err(CommandError::Syntax);
    }
    let upper = upper.get_mut(..verb.len()).ok_or(CommandError::Unknown)?;
    upper.copy_from_slice(verb.as_bytes());
    upper.make_ascii_uppercase();
    Ok(upper)
}

fn no_argument(argument: &str, command: Command) -> Result<Command, CommandError> {
    if argument.is_empty() {
        Ok(command)
    } else {
        Err(CommandError::Argument)
    }
}

fn some_argument(argument: &str, command: Command) -> Result<Command, CommandError> {
    if argument.is_empty() {
        Err(CommandError::Argument)
    } else {
        Ok(command)
    }
}

#[cfg(test)]
mod tests;
