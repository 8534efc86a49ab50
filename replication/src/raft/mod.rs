//! How a group's consensus is run: openraft with this crate's log, state machine and network.
//!
//! Nothing outside [`crate::group`] sees these types.

pub(crate) mod convert;
pub(crate) mod log_store;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod types;

pub(crate) use types::{Host, Outcome, Raft, Types};
