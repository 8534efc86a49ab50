//! What nodes have said last of what they hold and what that costs. In memory, for one leadership: nodes say it again every two
//! seconds.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use parking_lot::Mutex;
use rookery_proto::directory::v1::{AccountLoad, RegisterNode, ReplicaLoad};

/// What one node has said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// Replicas that it holds, by shard.
    pub(crate) held: HashSet<(u32, u64)>,
    /// What each costs, by shard.
    pub(crate) loads: HashMap<u32, ReplicaLoad>,
    /// The accounts that it works for most, the busiest first.
    pub(crate) accounts: Vec<AccountLoad>,
    /// Of the disk that holds its store, in bytes; 0: not known.
    pub(crate) disk_total: u64,
    /// What is free of it.
    pub(crate) disk_free: u64,
    /// How long a write takes that makes its log durable, in microseconds; 0: there was none lately.
    pub(crate) log_sync_micros: u64,
    /// When it said so; none in tests of what it says.
    pub(crate) at: Option<Instant>,
}

/// Busy accounts that are remembered of a node.
const ACCOUNTS_MAX: usize = 100;

/// What is kept free of a disk when mail is planned onto it: so many percent, and no more than so many bytes.
const KEPT_PERCENT: u64 = 10;
const KEPT_BYTES_MAX: u64 = 16 << 30;

/// With a part of that, a node gets nothing more.
const FULL_DIVISOR: u64 = 4;

impl Report {
    fn kept(&self) -> u64 {
        (self.disk_total / 100 * KEPT_PERCENT).min(KEPT_BYTES_MAX)
    }

    /// Bytes of replicas that it may hold: what it holds and what is free, but for what is to stay free. `None`: not known.
    pub(crate) fn bytes_max(&self) -> Option<u64> {
        let held: u64 = self.loads.values().map(|load| load.bytes).sum();
        let room = held.saturating_add(self.disk_free).saturating_sub(self.kept());
        (self.disk_total > 0).then_some(room)
    }

    /// Whether its disk has no room for more.
    pub(crate) fn is_full(&self) -> bool {
        self.disk_total > 0 && self.disk_free < self.kept() / FULL_DIVISOR
    }
}

/// What all nodes have said.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    nodes: Mutex<HashMap<String, Report>>,
}

impl Reports {
    /// Takes in what a node says. What it does not say of loads and its disk is as before.
    pub(crate) fn note(&self, node: &str, said: &RegisterNode) {
        let mut nodes = self.nodes.lock();
        let report = nodes.entry(node.to_owned()).or_default();
        report.held = said.held.iter().map(|held| (held.shard, held.replica)).collect();
        if !said.loads.is_empty() {
            report.loads = said.loads.iter().map(|load| (load.shard, *load)).collect();
            report.accounts = said.accounts.clone();
            report.accounts.truncate(ACCOUNTS_MAX);
        }
        if said.disk_total > 0 {
            report.disk_total = said.disk_total;
            report.disk_free = said.disk_free;
        }
        report.log_sync_micros = said.log_sync_micros;
        report.at = Some(Instant::now());
    }

    /// What each has said; of others nothing is known.
    pub(crate) fn all(&self) -> HashMap<String, Report> {
        self.nodes.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_again_is_as_before() {
        let reports = Reports::default();
        let full = RegisterNode {
            loads: vec![ReplicaLoad {
                shard: 3,
                bytes: 7,
                ..ReplicaLoad::default()
            }],
            disk_total: 10,
            disk_free: 5,
            ..RegisterNode::default()
        };
        reports.note("a", &full);
        reports.note("a", &RegisterNode::default());
        let report = reports.all()["a"].clone();
        assert_eq!(report.loads[&3].bytes, 7);
        assert_eq!((report.disk_total, report.disk_free), (10, 5));
    }

    #[test]
    fn a_disk_holds_what_it_has_and_what_is_free_but_for_a_part() {
        let load = ReplicaLoad {
            bytes: 300,
            ..ReplicaLoad::default()
        };
        let report = |disk_total, disk_free| Report {
            loads: HashMap::from([(1, load), (2, load)]),
            disk_total,
            disk_free,
            ..Report::default()
        };
        assert_eq!(report(2_000, 1_000).bytes_max(), Some(1_400));
        assert_eq!(report(2_000, 100).bytes_max(), Some(500));
        assert_eq!(report(0, 0).bytes_max(), None);
        // Of a large disk no more than so much is kept.
        let large = report(1 << 50, 1 << 40);
        assert_eq!(large.bytes_max(), Some((1 << 40) + 600 - KEPT_BYTES_MAX));
        assert!(!report(2_000, 50).is_full());
        assert!(report(2_000, 49).is_full());
        assert!(!report(0, 0).is_full(), "nothing is known of it");
    }
}
