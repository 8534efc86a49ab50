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
    /// What is to stay free of it; none: a part of it.
    pub(crate) disk_kept: Option<u64>,
    /// How long a write takes that makes its log durable, in microseconds; 0: there was none lately.
    pub(crate) log_sync_micros: u64,
    /// When it said so; none in tests of what it says.
    pub(crate) at: Option<Instant>,
}

/// Busy accounts that are remembered of a node.
const ACCOUNTS_MAX: usize = 100;

/// What is kept free of a disk when mail is planned onto it, unless its node says otherwise: so many percent, and no more than so many bytes.
const KEPT_PERCENT: u64 = 10;
const KEPT_BYTES_MAX: u64 = 16 << 30;

/// With a part of that, a node gets nothing more.
const FULL_DIVISOR: u64 = 4;

impl Report {
    fn kept(&self) -> u64 {
        let part = || (self.disk_total / 100 * KEPT_PERCENT).min(KEPT_BYTES_MAX);
        self.disk_kept.unwrap_or_else(part)
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
    /// Calls a second on each shard, whoever leads it.
    rates: Mutex<HashMap<u32, Rate>>,
}

/// Calls a second on a shard, in thousandths. Who leads it since a moment knows little of it; then what the one before has said counts.
#[derive(Debug, Default)]
struct Rate {
    leader: String,
    /// What was known when it began to lead.
    before: Option<u64>,
    now: u64,
}

impl Rate {
    fn note(&mut self, leader: &str, load: &ReplicaLoad) {
        if self.leader != leader {
            self.before = (!self.leader.is_empty()).then_some(self.now);
            leader.clone_into(&mut self.leader);
        }
        let before = self.before.unwrap_or(load.operations_milli);
        let known = u128::from(load.led_percent.min(100));
        let mixed = u128::from(load.operations_milli) * known + u128::from(before) * (100 - known);
        self.now = u64::try_from(mixed / 100).unwrap_or(u64::MAX);
    }
}

impl Reports {
    /// Takes in what a node says. What it does not say of loads and its disk is as before.
    pub(crate) fn note(&self, node: &str, said: &RegisterNode) {
        let mut nodes = self.nodes.lock();
        let report = nodes.entry(node.to_owned()).or_default();
        report.held = said.held.iter().map(|held| (held.shard, held.replica)).collect();
        let mut rates = self.rates.lock();
        for load in said.loads.iter().filter(|load| load.led_percent > 0) {
            rates.entry(load.shard).or_default().note(node, load);
        }
        drop(rates);
        if !said.loads.is_empty() {
            report.loads = said.loads.iter().map(|load| (load.shard, *load)).collect();
            report.accounts = said.accounts.clone();
            report.accounts.truncate(ACCOUNTS_MAX);
        }
        if said.disk_total > 0 {
            report.disk_total = said.disk_total;
            report.disk_free = said.disk_free;
            report.disk_kept = said.disk_kept;
        }
        report.log_sync_micros = said.log_sync_micros;
        report.at = Some(Instant::now());
    }

    /// Calls a second that are made on each shard, in thousandths; of others nothing is known.
    pub(crate) fn rates(&self) -> HashMap<u32, u64> {
        let rates = self.rates.lock();
        rates.iter().map(|(shard, rate)| (*shard, rate.now)).collect()
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
    fn a_new_leader_is_believed_as_it_gets_to_know_the_shard() {
        let reports = Reports::default();
        let says = |node: &str, operations_milli, led_percent| {
            let load = ReplicaLoad {
                shard: 3,
                operations_milli,
                led_percent,
                ..ReplicaLoad::default()
            };
            let said = RegisterNode {
                loads: vec![load],
                ..RegisterNode::default()
            };
            reports.note(node, &said);
            reports.rates().get(&3).copied()
        };
        assert_eq!(says("a", 0, 0), None, "it does not lead");
        assert_eq!(says("a", 1_000, 10), Some(1_000), "nobody knows better");
        assert_eq!(says("a", 2_000, 90), Some(2_000));
        assert_eq!(says("b", 0, 0), Some(2_000));
        assert_eq!(says("b", 0, 10), Some(1_800));
        assert_eq!(says("b", 1_000, 50), Some(1_500));
        assert_eq!(says("b", 1_000, 100), Some(1_000));
        assert_eq!(says("a", 3_000, 10), Some(1_200), "it leads again");
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
        // A node may say what is to be kept.
        let keeps = |disk_kept, disk_free| Report {
            disk_kept: Some(disk_kept),
            ..report(2_000, disk_free)
        };
        assert_eq!(keeps(40, 100).bytes_max(), Some(660));
        assert!(!keeps(40, 10).is_full());
        assert!(keeps(40, 9).is_full());
        assert!(!keeps(0, 0).is_full());
    }
}
