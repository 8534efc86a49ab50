//! Shards of mailboxes: planners, commit, bodies, fetch, search, change feed.
//!
//! Without the feature `store` the crate is its key schema and planners: pure, and without RocksDB.

pub mod plan;
pub mod schema;

#[cfg(feature = "store")]
pub mod shard;
