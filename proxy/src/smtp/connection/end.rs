//! Why a connection ends.

use std::{fmt, io};

use rookery_mail::smtp::reply::Reply;

/// Why a connection ends.
#[derive(Debug)]
pub(in crate::smtp) enum End {
    /// The client has gone.
    Closed,
    /// The connection closes with these last words.
    Say(Reply),
    /// The client takes nothing of what is sent.
    WriteTimeout,
    /// The stream broke.
    Io(io::Error),
}

/// What a loop that only ends by an [`End`] gives.
pub(super) enum Never {}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                End::Closed
            }
            _ => End::Io(error),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed => out.write_str("closed by the client"),
            End::Say(reply) => write!(out, "closed with {}", reply.code()),
            End::WriteTimeout => out.write_str("the client does not read"),
            End::Io(error) => write!(out, "broken: {error}"),
        }
    }
}
