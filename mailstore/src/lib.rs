//! Shards of mailboxes: planners, commit, bodies, fetch, search, change feed.
//!
//! Without the feature `store` the crate is its key schema and planners: pure, and without RocksDB.

pub mod plan;
pub mod schema;

#[cfg(feature = "store")]
pub mod analysis;
#[cfg(feature = "store")]
pub mod body;
#[cfg(feature = "store")]
pub mod catalogue;
#[cfg(feature = "store")]
pub mod config;
#[cfg(feature = "store")]
pub mod node;
#[cfg(feature = "store")]
pub mod read;
#[cfg(feature = "store")]
pub mod service;
#[cfg(feature = "store")]
pub mod shard;
#[cfg(feature = "store")]
mod store;

#[cfg(feature = "store")]
pub use config::Config;
#[cfg(feature = "store")]
pub use store::{
    NodeStore, PeerConnect, Peers, ReplicationService, STORE_CATALOGUE, ScrubOptions, StoreError,
    measure_store, open_store,
};
