//! What nodes have said last of what they hold and what that costs. In memory, for one leadership: nodes say it again every two
//! seconds.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use rookery_proto::directory::v1::{RegisterNode, ReplicaLoad};

/// What one node has said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// Replicas that it holds, by shard.
    pub(crate) held: HashSet<(u32, u64)>,
    /// What each costs, by shard.
    pub(crate) loads: HashMap<u32, ReplicaLoad>,
    /// Of the disk that holds its store, in bytes; 0: not known.
    pub(crate) disk_total: u64,
    /// What is free of it.
    pub(crate) disk_free: u64,
}

/// Part of a disk that has to be free, in percent: with less a node gets nothing.
const FREE_MIN_PERCENT: u64 = 3;

impl Report {
    /// Whether its disk has no room for more.
    pub(crate) fn is_full(&self) -> bool {
        self.disk_total > 0 && self.disk_free < self.disk_total / 100 * FREE_MIN_PERCENT
    }
}

/// What all nodes have said.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    nodes: Mutex<HashMap<String, Report>>,
}

impl Reports {
    /// Takes in what a node says.
    pub(crate) fn note(&self, node: &str, said: &RegisterNode) {
        let report = Report {
            held: said.held.iter().map(|held| (held.shard, held.replica)).collect(),
            loads: said.loads.iter().map(|load| (load.shard, *load)).collect(),
            disk_total: said.disk_total,
            disk_free: said.disk_free,
        };
        self.nodes.lock().insert(node.to_owned(), report);
    }

    /// What each has said; of others nothing is known.
    pub(crate) fn all(&self) -> HashMap<String, Report> {
        self.nodes.lock().clone()
    }
}
