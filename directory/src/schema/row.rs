//! The values: one version byte, then a protobuf message, whose fields may be added to without a new version.
//!
//! A new version is needed only when old bytes would be misread; then the old one is read here and turned into the new.

use prost::Message;

/// The version that is written.
const VERSION: u8 = 1;

/// A value that is not what its key says it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Written by a newer program.
    #[error("a stored {what} has format {version}, which this version does not know: run a newer one")]
    Version {
        /// What was read.
        what: &'static str,
        /// Its version byte.
        version: u8,
    },
    /// Not a row at all.
    #[error("a stored {0} is damaged: restore the directory from a backup")]
    Damaged(&'static str),
}

/// A stored value.
pub trait Row: Message + Default {
    /// Its name in errors.
    const WHAT: &'static str;

    /// The bytes to store.
    fn to_stored(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.encoded_len());
        bytes.push(VERSION);
        // A Vec grows as needed, so there is always room.
        self.encode_raw(&mut bytes);
        bytes
    }

    /// Reads stored bytes of this or an older version.
    fn from_stored(bytes: &[u8]) -> Result<Self, RowError> {
        match bytes.split_first() {
            Some((&VERSION, message)) => Self::decode(message).map_err(|_| RowError::Damaged(Self::WHAT)),
            Some((&version, _)) => Err(RowError::Version {
                what: Self::WHAT,
                version,
            }),
            None => Err(RowError::Damaged(Self::WHAT)),
        }
    }
}

/// Numbers that only ascend.
#[derive(Clone, PartialEq, Message)]
pub struct Sequences {
    /// Changes made so far.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// Accounts ever made; the last one's id.
    #[prost(uint64, tag = "2")]
    pub accounts: u64,
    /// Domains ever added.
    #[prost(uint64, tag = "3")]
    pub domains: u64,
    /// Signing keys ever made.
    #[prost(uint32, tag = "4")]
    pub keys: u32,
    /// Replicas ever placed; the last one's id.
    #[prost(uint64, tag = "5")]
    pub replicas: u64,
    /// Grows with every change of a node or a placement, from which plans of rebalances are made.
    #[prost(uint64, tag = "6")]
    pub placement: u64,
    /// Rebalances ever begun; the last one's number.
    #[prost(uint64, tag = "7")]
    pub jobs: u64,
    /// Events ever written; the last one's number.
    #[prost(uint64, tag = "8")]
    pub events: u64,
    /// Splits of shards ever begun; the last one's number.
    #[prost(uint64, tag = "9")]
    pub splits: u64,
}

impl Row for Sequences {
    const WHAT: &'static str = "row of sequences";
}

/// A domain that is served.
#[derive(Clone, PartialEq, Message)]
pub struct Domain {
    /// Its place in the order in which domains were added.
    #[prost(uint64, tag = "1")]
    pub ordinal: u64,
    /// When it was added, unix milliseconds.
    #[prost(uint64, tag = "2")]
    pub created_at_millis: u64,
}

impl Row for Domain {
    const WHAT: &'static str = "domain";
}

/// Which domain has a place in the order.
#[derive(Clone, PartialEq, Message)]
pub struct DomainOrder {
    /// The domain's name.
    #[prost(string, tag = "1")]
    pub name: String,
}

impl Row for DomainOrder {
    const WHAT: &'static str = "domain order";
}

/// Which account has an address.
#[derive(Clone, PartialEq, Message)]
pub struct AddressOwner {
    /// The account's id.
    #[prost(uint64, tag = "1")]
    pub account: u64,
}

impl Row for AddressOwner {
    const WHAT: &'static str = "address";
}

/// Where an alias leads.
#[derive(Clone, PartialEq, Message)]
pub struct Alias {
    /// Addresses, ascending, each once.
    #[prost(string, repeated, tag = "1")]
    pub targets: Vec<String>,
}

impl Row for Alias {
    const WHAT: &'static str = "alias";
}

/// Where an account is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Life {
    /// Never stored.
    Unknown = 0,
    /// Its shard does not have it yet.
    Creating = 1,
    /// Can get mail.
    Live = 2,
    /// Its address is free, its mail goes when the grace time is over.
    Deleted = 3,
}

/// An account.
#[derive(Clone, PartialEq, Message)]
pub struct Account {
    /// Its primary address.
    #[prost(string, tag = "1")]
    pub address: String,
    /// Where it is in its life.
    #[prost(enumeration = "Life", tag = "2")]
    pub life: i32,
    /// No login, no mail.
    #[prost(bool, tag = "3")]
    pub suspended: bool,
    /// The shard that has its mail.
    #[prost(uint32, tag = "4")]
    pub shard: u32,
    /// Grows with every move to another shard.
    #[prost(uint64, tag = "5")]
    pub generation: u64,
    /// Bytes it may store; 0: no limit.
    #[prost(uint64, tag = "6")]
    pub quota_bytes: u64,
    /// Grows when the password changes, and when the account is suspended or deleted.
    #[prost(uint64, tag = "7")]
    pub credential_generation: u64,
    /// The password's hash with its parameters and salt, in PHC form.
    #[prost(string, tag = "8")]
    pub secret: String,
    /// When it was made, unix milliseconds.
    #[prost(uint64, tag = "9")]
    pub created_at_millis: u64,
    /// When its mail goes, unix milliseconds; 0 unless deleted.
    #[prost(uint64, tag = "10")]
    pub purge_at_millis: u64,
}

impl Row for Account {
    const WHAT: &'static str = "account";
}

/// A node that has registered.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    /// `directory.v1.NodeRole`.
    #[prost(int32, tag = "1")]
    pub role: i32,
    /// host:port of its gRPC listener.
    #[prost(string, tag = "2")]
    pub address: String,
    /// host:port of its HTTP listener.
    #[prost(string, tag = "3")]
    pub http: String,
    /// Relative capacity.
    #[prost(uint32, tag = "4")]
    pub weight: u32,
    /// What fails as one with it; empty: nothing but itself.
    #[prost(string, tag = "5")]
    pub zone: String,
    /// It is to be emptied.
    #[prost(bool, tag = "6")]
    pub draining: bool,
    /// Operators have been told that nothing is heard of it.
    #[prost(bool, tag = "7")]
    pub silent: bool,
}

impl Row for Node {
    const WHAT: &'static str = "node";
}

/// A join secret, with which one machine becomes a node. Kept until it has expired and is swept away.
#[derive(Clone, PartialEq, Message)]
pub struct Join {
    /// The new node's id.
    #[prost(string, tag = "1")]
    pub node: String,
    /// `directory.v1.NodeRole`.
    #[prost(int32, tag = "2")]
    pub role: i32,
    /// Names and addresses under which it is reached.
    #[prost(string, repeated, tag = "3")]
    pub hosts: Vec<String>,
    /// HMAC-SHA-256 keyed by the secret, of what it is for.
    #[prost(bytes = "vec", tag = "4")]
    pub tag: Vec<u8>,
    /// From when on it is void, unix milliseconds.
    #[prost(uint64, tag = "5")]
    pub expires_at_millis: u64,
    /// SHA-256 of the public key that has used it; empty: none.
    #[prost(bytes = "vec", tag = "6")]
    pub used_by: Vec<u8>,
    /// How often a wrong secret was presented for it.
    #[prost(uint32, tag = "7")]
    pub wrong: u32,
}

impl Row for Join {
    const WHAT: &'static str = "join secret";
}

/// What is known of a node's id when there is no node: that it was given out by a join, or that its node was removed.
#[derive(Clone, PartialEq, Message)]
pub struct Identity {
    /// `directory.v1.NodeRole`.
    #[prost(int32, tag = "1")]
    pub role: i32,
    /// When a certificate was issued for it, unix milliseconds; 0: never by a join.
    #[prost(uint64, tag = "2")]
    pub issued_at_millis: u64,
    /// When its node was removed, unix milliseconds: nobody registers under it. 0: it was not.
    #[prost(uint64, tag = "3")]
    pub removed_at_millis: u64,
}

impl Row for Identity {
    const WHAT: &'static str = "node id";
}

/// Where a shard is.
#[derive(Clone, PartialEq, Message)]
pub struct Shard {
    /// Grows with every change of its placement.
    #[prost(uint64, tag = "1")]
    pub generation: u64,
    /// The first leads when nothing else is known.
    #[prost(message, repeated, tag = "3")]
    pub replicas: Vec<Replica>,
    /// Every first replica has been taken by its node.
    #[prost(bool, tag = "4")]
    pub formed: bool,
    /// It was made by a split, and not by the first placement.
    #[prost(bool, tag = "5")]
    pub added: bool,
}

/// A replica of a shard.
#[derive(Clone, PartialEq, Message)]
pub struct Replica {
    /// New for every placement, never used again.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Where it is.
    #[prost(string, tag = "2")]
    pub node: String,
    /// The node has said that it holds it: when it is no longer found there, it is lost.
    #[prost(bool, tag = "3")]
    pub taken: bool,
}

impl Row for Shard {
    const WHAT: &'static str = "shard";
}

/// A key pair that signs tokens.
#[derive(Clone, PartialEq, Message)]
pub struct SigningKey {
    /// PKCS#8 v2, secret.
    #[prost(bytes = "vec", tag = "1")]
    pub private: Vec<u8>,
    /// Ed25519 public key, 32 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub public: Vec<u8>,
    /// When it was made, unix milliseconds.
    #[prost(uint64, tag = "3")]
    pub created_at_millis: u64,
}

impl Row for SigningKey {
    const WHAT: &'static str = "signing key";
}

/// The members of the directory's group. None while the directory is one node without members in its configuration.
#[derive(Clone, PartialEq, Message)]
pub struct Members {
    /// Who they are to be, ascending by node.
    #[prost(message, repeated, tag = "1")]
    pub members: Vec<Member>,
    /// The number of the next replica; above all that there ever were.
    #[prost(uint64, tag = "2")]
    pub next_replica: u64,
}

/// A member of the directory's group.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Member {
    /// Its node.
    #[prost(string, tag = "1")]
    pub node: String,
    /// The replica that it holds or is to hold.
    #[prost(uint64, tag = "2")]
    pub replica: u64,
}

impl Row for Members {
    const WHAT: &'static str = "row of members";
}

/// A restore that is under way.
#[derive(Clone, PartialEq, Message)]
pub struct Restore {
    /// Of which backup.
    #[prost(string, tag = "1")]
    pub backup_id: String,
}

impl Row for Restore {
    const WHAT: &'static str = "restore";
}

/// A restored account that is not on its shard yet.
#[derive(Clone, PartialEq, Message)]
pub struct Awaited {
    /// What it was.
    #[prost(enumeration = "Life", tag = "1")]
    pub life: i32,
    /// Its shard in the backup.
    #[prost(uint32, tag = "2")]
    pub shard: u32,
}

impl Row for Awaited {
    const WHAT: &'static str = "awaited account";
}

/// A move of an account to another shard: the last one of the account.
#[derive(Clone, PartialEq, Message)]
pub struct AccountMove {
    /// The shard that it leaves.
    #[prost(uint32, tag = "1")]
    pub from: u32,
    /// The shard that gets it.
    #[prost(uint32, tag = "2")]
    pub to: u32,
    /// The account's generation once it has moved; one more when the move is taken back.
    #[prost(uint64, tag = "3")]
    pub generation: u64,
    /// How it stands.
    #[prost(enumeration = "MoveStage", tag = "4")]
    pub stage: i32,
    /// Tells tries to copy it apart.
    #[prost(uint32, tag = "5")]
    pub attempt: u32,
    /// When it was begun, unix milliseconds.
    #[prost(uint64, tag = "6")]
    pub began_at_millis: u64,
    /// When it ended, unix milliseconds; 0 while it is under way.
    #[prost(uint64, tag = "7")]
    pub ended_at_millis: u64,
    /// Why it was taken back.
    #[prost(string, tag = "8")]
    pub why_not: String,
}

impl Row for AccountMove {
    const WHAT: &'static str = "move of an account";
}

/// That no account begins to move, so that shards which are read one after the other fit together.
#[derive(Clone, PartialEq, Message)]
pub struct MoveHold {
    /// Until when, unix milliseconds.
    #[prost(uint64, tag = "1")]
    pub until_millis: u64,
}

impl Row for MoveHold {
    const WHAT: &'static str = "hold of moves";
}

/// How a move of an account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum MoveStage {
    /// Its rows are copied while it is live where it was.
    Copying = 0,
    /// All but the last rows are copied: it is frozen, if it can be.
    Freezing = 1,
    /// It belongs to the other shard, and is to be live there.
    Switching = 2,
    /// It is to be live where it was.
    Reverting = 3,
    /// It has moved.
    Done = 4,
    /// It is where it was.
    Reverted = 5,
}

impl MoveStage {
    /// Whether something is to be done still.
    pub fn is_under_way(self) -> bool {
        !matches!(self, Self::Done | Self::Reverted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_carry_a_version() {
        let row = Domain {
            ordinal: 3,
            created_at_millis: 4,
        };
        let stored = row.to_stored();
        assert_eq!(stored[0], VERSION);
        assert_eq!(Domain::from_stored(&stored), Ok(row));
        assert_eq!(
            Domain::from_stored(&[9, 1]),
            Err(RowError::Version {
                what: "domain",
                version: 9
            })
        );
        assert_eq!(Domain::from_stored(&[]), Err(RowError::Damaged("domain")));
        assert_eq!(
            Domain::from_stored(&[VERSION, 0xff]),
            Err(RowError::Damaged("domain"))
        );
    }

    #[test]
    fn the_stored_form_stays() {
        // Bytes as version 1 wrote them: a change here needs a new version that reads the old one.
        let row = Alias {
            targets: vec!["a@b".to_owned()],
        };
        assert_eq!(row.to_stored(), b"\x01\x0a\x03a@b");
    }
}
