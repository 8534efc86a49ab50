//! What the directory keeps: keys and values, byte for byte.
//!
//! All keys are built in [`key`]; all values are read and written as [`row`] says, where each begins with its version. Nothing
//! here decides anything or touches a store; [`read::Rows`] reads rows out of any view.

pub mod key;
pub mod portable;
pub mod read;
pub mod row;
pub mod split;

use std::fmt;

/// Names an account for ever: never used again, not even when the account has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub u64);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a shard: a group of accounts, the unit of replication and placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u32);
