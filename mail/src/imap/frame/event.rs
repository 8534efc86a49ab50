//! What the reader says to the connection.

use bytes::Bytes;

use super::RawCommand;
use crate::imap::parse::{AppendHead, CommandError};
use crate::imap::types::Tag;

/// What the connection does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Read more bytes.
    NeedMore,
    /// Send a continuation request (`+ …`); the client waits to send a literal of this size.
    Continue {
        /// Bytes that will follow.
        size: usize,
    },
    /// The message of an APPEND comes next. Answer by [`super::CommandReader::accept_append`] or
    /// [`super::CommandReader::refuse_append`]; after `accept_append` send a continuation request if the literal is
    /// synchronising, and take the octets from [`Event::AppendChunk`].
    AppendLiteral(Box<AppendHead>),
    /// Octets of the message of an APPEND. After `size` of them (perhaps none) the rest of the command follows:
    /// another `AppendLiteral`, the `Command`, or a `Rejected`, upon which nothing must be stored.
    AppendChunk(Bytes),
    /// A whole command.
    Command(RawCommand),
    /// What the client sent cannot be a command. Answer with BAD or NO, and act on `recovery`.
    Rejected(Rejection),
}

/// A line outside the grammar of commands: an answer to AUTHENTICATE, or IDLE's DONE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LineEvent {
    /// Read more bytes.
    NeedMore,
    /// The line, without its end.
    Line(Bytes),
    /// It is longer than `line_bytes_max`; the rest of it will be skipped. Close when it comes twice in a row.
    TooLong,
}

/// Why a command was not read to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// The command's tag, when it could be read; else the answer is untagged.
    pub tag: Option<Tag>,
    /// What is wrong.
    pub reason: RejectReason,
    /// What follows.
    pub recovery: Recovery,
}

/// What is wrong with a command that was not read to its end.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RejectReason {
    /// A line is too long.
    #[error("line longer than {max} bytes")]
    LineTooLong {
        /// The limit.
        max: usize,
    },
    /// A literal that is no message is too large.
    #[error("literal of {size} bytes is larger than {max}")]
    LiteralTooLarge {
        /// As announced; `u64::MAX` for every larger number.
        size: u64,
        /// The limit.
        max: usize,
    },
    /// An appended message is too large: answer NO with TOOBIG (RFC 4469).
    #[error("message of {size} bytes is larger than {max}")]
    MessageTooLarge {
        /// As announced; `u64::MAX` for every larger number.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// All lines and literals together are too large.
    #[error("command longer than {max} bytes")]
    CommandTooLong {
        /// The limit.
        max: usize,
    },
    /// More than `discard_bytes_max` came after a refusal.
    #[error("too much data after a refused command")]
    DiscardTooLarge,
    /// The line before an APPEND's message is wrong; the client need not send the message.
    #[error(transparent)]
    Append(CommandError),
}

/// What follows a rejected command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recovery {
    /// The next command can be read at once.
    Ready,
    /// The rest of the command is already on its way; the reader skips it, up to `discard_bytes_max`. The connection
    /// may close instead.
    Discarding,
    /// The rest of the command cannot be skipped: close the connection.
    Close,
}
