//! The replicated state machine which directory and mailstore share.
//!
//! A *group* (a shard, or the directory) is a key range of the node's store and a sequence of entries. An entry is what
//! a group's single writer gathered: the writes of its plans, fixed byte for byte when they were planned, so that every
//! replica that applies the entry holds the same bytes. Planners see neither this crate's store nor the consensus behind
//! it: they read a [`View`] and make a [`Batch`].
//!
//! Never reads or interprets a value, never decides what is written.

pub mod batch;
pub mod entry;
pub mod memory;
pub mod overlay;
pub mod view;

#[cfg(feature = "store")]
mod applied;
#[cfg(feature = "store")]
mod applier;
#[cfg(feature = "store")]
mod aside;
#[cfg(feature = "store")]
pub mod catalogue;
#[cfg(feature = "store")]
pub mod damage;
#[cfg(feature = "store")]
pub mod digest;
#[cfg(feature = "store")]
pub mod group;
#[cfg(feature = "store")]
pub mod log;
#[cfg(feature = "store")]
mod raft;
#[cfg(feature = "store")]
mod recent;
#[cfg(feature = "store")]
pub mod scrub;
#[cfg(feature = "store")]
mod snapshot;
#[cfg(feature = "store")]
pub mod store;
#[cfg(feature = "store")]
mod strain;
#[cfg(feature = "store")]
pub mod transport;

pub use batch::{Batch, Column, Write};
pub use entry::{Entry, GroupId, LeaderId};
pub use memory::MemoryStore;
pub use overlay::Overlay;
pub use view::{Damage, View, ViewError};
