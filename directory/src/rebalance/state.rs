//! What a plan is made from: the nodes, the shards with their measured loads, and what each kind of load counts.
//!
//! Nothing here is trusted: ids may be double or unknown, and numbers may be 0. The planner says what it made of that.

use crate::schema::ShardId;

/// All that the planner looks at. The order of nodes and shards does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Version of the directory's state that this was read from; the plan carries it.
    pub version: u64,
    /// Replicas that each shard is to have; 1 to [`REPLICAS_MAX`](super::REPLICAS_MAX).
    pub replicas: u32,
    /// The mailstores.
    pub nodes: Vec<Node>,
    /// The shards.
    pub shards: Vec<Shard>,
    /// What each kind of load counts.
    pub shares: Shares,
    /// How fast transfers have been.
    pub rates: Rates,
}

/// A mailstore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// What fails as one with it: a rack, a room, a site. Empty: nothing but itself.
    pub zone: String,
    /// Relative capacity; 100 is the usual one, 0 takes no shards.
    pub weight: u32,
    /// Whether it may have replicas.
    pub condition: Condition,
    /// Bytes of shards that it may hold before it counts as full. `None`: not known, so never full; 0 takes no shards.
    pub bytes_max: Option<u64>,
}

/// Whether a node may have replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It may.
    Active,
    /// It answers, and is to be emptied by the operator's wish.
    Draining,
    /// It answers, but its disk, clock or network is not to be relied on.
    Sick,
    /// It does not answer: its replicas do not vote, and nothing can be read from them.
    Gone,
}

/// A shard, where it is and what it costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: ShardId,
    /// The generation of its placement: a transfer holds for this one only.
    pub generation: u64,
    /// Where it is.
    pub replicas: Vec<Replica>,
    /// The node that leads it, as far as is known; otherwise the first replica's counts as leading.
    pub leader: Option<String>,
    /// Bytes that one replica takes on disk.
    pub bytes: u64,
    /// Accounts in it.
    pub accounts: u64,
    /// Operations a second that its leader answers, in thousandths.
    pub operations_milli: u64,
}

/// A replica of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its number.
    pub id: u64,
    /// The node that has it.
    pub node: String,
}

/// What each kind of load counts beside the others, on any scale: measured as the part of a node's time and disk that goes to it.
/// The part of a kind of which there is nothing goes to replicas, or to leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Bytes, on each replica.
    pub bytes: u32,
    /// Accounts, on each replica.
    pub accounts: u32,
    /// What a replica costs though it is empty. Counts as 1 at least.
    pub replicas: u32,
    /// Operations, on the leader.
    pub operations: u32,
    /// What it costs to lead a shard that nobody uses.
    pub leaders: u32,
}

impl Default for Shares {
    /// Until something else is measured.
    fn default() -> Self {
        Self {
            bytes: 40,
            accounts: 10,
            replicas: 5,
            operations: 35,
            leaders: 10,
        }
    }
}

/// Measured speeds of transfers. 0: not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Bytes a second that one node sends, or receives.
    pub node_bytes_per_second: u64,
    /// Bytes a second of all transfers together; 0 also when nothing but the nodes bounds them.
    pub all_bytes_per_second: u64,
}
