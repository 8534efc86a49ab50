//! What APPEND brings. RFC 3501 §6.3.11, RFC 3502.

use bytes::Bytes;

use super::{DateTime, Flag};

/// One message of an APPEND, without its octets when they were streamed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppendMessage {
    /// The flags it gets; all of them storable.
    pub flags: Vec<Flag>,
    /// Its INTERNALDATE; `None` for now.
    pub date: Option<DateTime>,
    /// Its octets.
    pub data: MessageData,
}

/// The octets of an appended message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MessageData {
    /// The connection took them while they arrived: this many.
    Streamed {
        /// Their number.
        size: u64,
    },
    /// They were collected with the command.
    Collected(Bytes),
}

impl MessageData {
    /// How many octets; 0 cancels the APPEND (RFC 3502 §6.3.11).
    pub fn size(&self) -> u64 {
        match self {
            Self::Streamed { size } => *size,
            Self::Collected(octets) => octets.len() as u64,
        }
    }
}
