//! Domains, accounts, addresses, credentials, nodes and the shard map.
//!
//! Pure parts: [`schema`] (keys and values), [`plan`] (mutations), [`resolve`] (who gets mail), [`placement`] (which node
//! has which shard), [`rebalance`] (what is to move), [`events`] (what operators are told of). Around them [`state`] (the one writer), [`watch`] (who is told), [`credentials`], [`tokens`],
//! [`provision`] (what shards are told), [`service`] (calls of proxies and mailstores) and [`admin`] (the operator's calls),
//! put together for each leadership and by [`Directory`] around them. Never sees a message, never depends on another role.

pub mod address;
pub mod admin;
pub mod catalogue;
pub mod config;
pub mod credentials;
pub mod events;
pub mod placement;
pub mod plan;
pub mod provision;
pub mod rebalance;
pub mod resolve;
pub mod schema;
pub mod service;
pub mod state;
pub mod tokens;
pub mod watch;

mod clock;
mod core;
mod follow;
mod handle;
mod instances;
mod lead;
mod lookup;
mod members;
mod mover;
mod opening;
mod post;
mod rebalancer;
mod reports;
mod silence;
mod splitter;

pub use config::{Config, MemberConfig};
pub use handle::{Directory, Host, StartError};
pub use members::{Directories, NoDirectories};
pub use provision::Mailstores;
