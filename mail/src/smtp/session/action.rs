//! What a session tells its connection to do, and what the connection tells back.

use super::super::data::DataFault;
use super::super::path::ForwardPath;
use super::super::reply::Reply;
use crate::sasl::Credentials;

/// The next thing to do; the table in [`super`] says how.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Action {
    /// Write this.
    Reply(Reply),
    /// The transaction is over: drop its content, write these in order.
    Abandon(Vec<Reply>),
    /// Find out whether mail for this recipient is taken.
    ResolveRecipient(ForwardPath),
    /// Write this, then read content to CRLF.CRLF.
    ReceiveData(Reply),
    /// Read a chunk.
    ReceiveChunk(Chunk),
    /// All content is there and nothing is wrong with it: store it.
    Commit,
    /// Check these.
    Authenticate(Credentials),
    /// Write this, drop all bytes read, shake hands.
    StartTls(Reply),
    /// Write this and close.
    Close(Reply),
}

/// A chunk of BDAT, RFC 3030 §2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Raw octets that follow the command line.
    pub octets: u64,
    /// The message ends with it.
    pub last: bool,
    /// Whether it belongs to a message; otherwise it is read and dropped.
    pub keep: bool,
}

/// What is known about the content received so far, in all chunks together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Content {
    /// Octets, decoded.
    pub octets: u64,
    /// `Received:` lines, from a [`HopCounter`](crate::smtp::hops::HopCounter).
    pub hops: u32,
    /// From the [`DataDecoder`](crate::smtp::data::DataDecoder); `None` for BDAT.
    pub fault: Option<DataFault>,
}

/// What became of a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecipientOutcome<R> {
    /// Taken; the value is kept with the recipient.
    Accepted(R),
    /// The domain is ours, the address is nobody's. Confirmed by the directory's leader.
    Unknown,
    /// The domain is not ours.
    NotLocal,
    /// The account is suspended.
    Suspended,
    /// The directory or the shard cannot answer.
    TemporarilyUnavailable,
    /// The alias leads back to itself.
    AliasLoop,
    /// The quota is used up.
    OverQuota,
    /// An alias leads to more accounts than there is room for.
    TooMany,
}

/// What became of a message, for all recipients of SMTP or for one of LMTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// Stored durably.
    Stored,
    /// Not stored now; the client keeps it and tries again.
    TemporarilyUnavailable,
    /// The quota is used up.
    OverQuota,
    /// The account is suspended since.
    Suspended,
    /// The account is gone since.
    Unknown,
}

/// What became of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthOutcome {
    /// Name and password belong together, and the account may log in.
    Accepted,
    /// Wrong name or password, or no login allowed.
    Refused,
    /// Nobody can tell now.
    Unavailable,
}
