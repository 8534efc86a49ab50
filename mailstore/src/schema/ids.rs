//! Numbers that must not be mixed up.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A shard: a group of accounts.
    ShardId(u32)
}
number! {
    /// An account; never used again.
    AccountId(u64)
}
number! {
    /// A mailbox within its account; stable through renames, never used again. INBOX is 1.
    MailboxId(u32)
}
number! {
    /// A message within its mailbox, from 1, ascending, never used again (RFC 3501 §2.3.1.1).
    Uid(u32)
}
number! {
    /// Stamps the UIDs of a mailbox; never 0.
    UidValidity(u32)
}
number! {
    /// The account's change counter; each plan that changes the account takes the next.
    ModSeq(u64)
}
number! {
    /// A message within its account, ascending in order of arrival; its copies share it.
    MessageNumber(u64)
}

impl MailboxId {
    /// The id of every account's INBOX.
    pub const INBOX: MailboxId = MailboxId(1);
}

/// Names a body by its content: the first 16 bytes of its BLAKE3 hash, and its size.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct BodyHash {
    /// First half of the BLAKE3 hash of the raw bytes.
    pub blake3: [u8; 16],
    /// Size of the raw bytes.
    pub size: u64,
}

impl BodyHash {
    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::new(&blake3::hash(bytes), bytes.len() as u64)
    }

    /// The name of bytes that were hashed as they came.
    pub fn new(hash: &blake3::Hash, size: u64) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&hash.as_bytes()[..16]);
        Self { blake3: half, size }
    }
}

impl fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.blake3 {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "/{}", self.size)
    }
}

/// A message's bytes on their way in, named by who sends them: 16 random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct UploadId(pub [u8; 16]);

impl UploadId {
    /// From the wire; `None` unless it is 16 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}
