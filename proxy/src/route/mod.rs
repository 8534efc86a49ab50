//! The way from a name to the shard that owns it.
//!
//! Owns what a proxy knows of the cluster: the directory's watch ([`watch`]), cached recipients ([`recipients`]), channels
//! to mailstore nodes ([`nodes`]), who of them leads ([`leaders`]), and calls on an account's shard that survive a change of
//! its leader ([`ask`], [`account`], [`upload`]); and, while the directory is away, who has logged in lately ([`logins`]).
//! Never interprets mail.

pub mod account;
pub mod feed;
pub mod nodes;
pub mod recipients;
pub mod watch;

mod ask;
mod cluster;
mod leaders;
mod logins;
#[cfg(test)]
mod tests;
mod tour;
mod upload;

pub use account::{Account, CallOptions};
pub(crate) use ask::{Bearer, LeaderStream};
pub use cluster::{Cluster, ClusterOptions};
pub use feed::Subscription;
pub use nodes::Connect;
pub(crate) use upload::{Holder, Upload};
