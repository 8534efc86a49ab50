//! The way from a name to the shard that owns it.
//!
//! Owns what a proxy knows of the cluster: the directory's watch ([`watch`]), cached recipients ([`recipients`]), channels
//! to mailstore nodes ([`nodes`]), and calls on an account's shard that survive a change of its leader ([`account`]).
//! Never interprets mail.

pub mod account;
pub mod feed;
pub mod nodes;
pub mod recipients;
pub mod watch;

mod cluster;
#[cfg(test)]
mod tests;

pub use account::{Account, CallOptions};
pub use cluster::{Cluster, ClusterOptions};
pub use feed::Subscription;
pub use nodes::Connect;
