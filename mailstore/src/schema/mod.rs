//! The key schema: every key and every value that a shard stores.
//!
//! Keys are built in [`keys`] alone. Values carry a version byte first; an older version is migrated when it is read,
//! a newer or damaged one is an error, never a panic and never an allocation beyond its own length's order. The layout
//! is described in `docs/key-schema.md`. Never touches a disk: it reads through a [`View`].
//!
//! [`View`]: rookery_replication::View

pub mod account;
pub mod body;
pub mod change;
pub mod codec;
pub mod described;
pub mod flags;
pub mod garbage;
pub mod handoff;
pub mod ids;
pub mod keys;
pub mod leaving;
pub mod mailbox;
pub mod message;
pub mod named;
pub mod read;
pub mod reply;
pub mod uid_ranges;

pub use account::{AccountCounters, AccountRecord, AccountState};
pub use body::{BodyLocation, BodyRecord, UploadRecord};
pub use change::Change;
pub use codec::{DecodeError, Value};
pub use flags::{FlagBits, FlagBlock, FlagEntry};
pub use garbage::Garbage;
pub use handoff::HandOffRecord;
pub use ids::{AccountId, BodyHash, MailboxId, MessageNumber, ModSeq, ShardId, Uid, UidValidity, UploadId};
pub use leaving::{Leaving, LeavingAccount, Touched, TouchedKey};
pub use mailbox::MailboxRecord;
pub use message::{InternalDate, MessageRecord, MessageRow, SentDay};
pub use read::{ReadError, Reader, unread};
pub use reply::ReplyRecord;
pub use uid_ranges::UidRanges;

#[cfg(test)]
mod golden_tests;
