//! A split of a shard as it is kept while it is carried out: one row for the whole, and one for each account that is on its way, is to be
//! tried again, or was left behind. There is none for an account that is not looked at yet, however many the shard has.

use prost::Message;

use super::row::Row;

/// A split: the last one that was begun.
#[derive(Clone, PartialEq, Message)]
pub struct SplitRow {
    /// Its number; above that of every one before.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// The shard that gives.
    #[prost(uint32, tag = "2")]
    pub from: u32,
    /// The shard that was made for it.
    #[prost(uint32, tag = "3")]
    pub to: u32,
    /// How it stands.
    #[prost(enumeration = "SplitState", tag = "4")]
    pub state: i32,
    /// When it was begun, unix milliseconds.
    #[prost(uint64, tag = "5")]
    pub began_at_millis: u64,
    /// When it ended, unix milliseconds; 0 while it is under way.
    #[prost(uint64, tag = "6")]
    pub ended_at_millis: u64,
    /// Accounts up to this one are decided on: each stays, or has a row of its own until it has gone.
    #[prost(uint64, tag = "7")]
    pub after: u64,
    /// Accounts above this one are younger than the split, and stay where they were put.
    #[prost(uint64, tag = "8")]
    pub last: u64,
    /// How many were to go at the beginning.
    #[prost(uint64, tag = "9")]
    pub expected: u64,
    /// How many have gone.
    #[prost(uint64, tag = "10")]
    pub moved: u64,
    /// How many were to go, could not, and are not tried any more.
    #[prost(uint64, tag = "11")]
    pub left: u64,
    /// How many stay by what is decided so far.
    #[prost(uint64, tag = "12")]
    pub staying: u64,
    /// How many go.
    #[prost(uint64, tag = "13")]
    pub going: u64,
    /// Those of the busiest that stay.
    #[prost(uint64, repeated, tag = "14")]
    pub busy_staying: Vec<u64>,
    /// Those of the busiest that go.
    #[prost(uint64, repeated, tag = "15")]
    pub busy_going: Vec<u64>,
}

impl Row for SplitRow {
    const WHAT: &'static str = "split";
}

/// How a split stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum SplitState {
    /// The new shard is not served yet.
    Forming = 0,
    /// Accounts go.
    Running = 1,
    /// None sets out any more; those that are on their way arrive.
    Aborting = 2,
    /// All that could go have gone.
    Done = 3,
    /// It was broken off.
    Aborted = 4,
}

impl SplitState {
    /// Whether something is to be done still.
    pub fn is_under_way(self) -> bool {
        !matches!(self, Self::Done | Self::Aborted)
    }
}

/// An account that is to go and has not gone yet.
#[derive(Clone, PartialEq, Message)]
pub struct SplitMove {
    /// Of its move that is under way; 0: it waits to be tried again, or is left behind.
    #[prost(uint64, tag = "1")]
    pub generation: u64,
    /// How often it could not go.
    #[prost(uint32, tag = "2")]
    pub tries: u32,
    /// It is tried again no sooner, unix milliseconds.
    #[prost(uint64, tag = "3")]
    pub not_before_millis: u64,
    /// Why it could not go last.
    #[prost(string, tag = "4")]
    pub why_not: String,
    /// It is not tried any more.
    #[prost(bool, tag = "5")]
    pub is_left: bool,
}

impl Row for SplitMove {
    const WHAT: &'static str = "account of a split";
}
