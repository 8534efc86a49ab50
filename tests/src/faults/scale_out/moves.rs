//! A rebalance from its plan to its end: what was moved, what had to be, how long it took, how even nodes are then.

use std::fmt;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::super::stage::Stage;

/// What a mailstore counts of the states that it fetches.
const RECEIVED: &str = "rookery_replication_snapshot_received_bytes_total ";

/// What one rebalance came to.
#[derive(Debug, Clone)]
pub struct Move {
    /// What was wished.
    pub what: &'static str,
    /// Transfers that were done.
    pub transfers: u64,
    /// Bytes that were to be copied, as far as the plan knew.
    pub bytes: u64,
    /// The least that had to be, as far as it knew.
    pub bytes_least: u64,
    /// Bytes of rows that mailstores have fetched meanwhile.
    pub received: u64,
    /// From its beginning to its end.
    pub seconds: f64,
    /// The most loaded node's load as a part of its share, in millionths.
    pub load_most_ppm: u64,
    /// The least loaded one's.
    pub load_least_ppm: u64,
    /// The same as the plan foresaw it.
    pub foreseen_most_ppm: u64,
    /// The mailstore with the most bytes for its share, in millionths.
    pub bytes_most_ppm: u64,
    /// The one with the most leads.
    pub leads_most_ppm: u64,
}

impl Move {
    /// Has the cluster rebalanced, and waits until that has ended.
    pub(super) fn make(stage: &Stage, what: &'static str, limits: &[&str]) -> Result<Self> {
        let received_before = stage.counted(RECEIVED);
        let plan = asked(stage, &["--json", "rebalance", "plan"])?;
        let begin = ["rebalance", "apply", "--yes"];
        stage.operate(&[&begin[..], limits].concat())?;
        let watched = stage.operate(&["--json", "rebalance", "watch"])?;
        let last = watched.lines().last().context("a job says how it ended")?;
        let job: Value = serde_json::from_str(last)?;
        ensure!(job["state"] == "done", "the rebalance ended so: {job}");
        let after = asked(stage, &["--json", "rebalance", "plan"])?;
        let number = |held: &Value| held.as_u64().context("a number");
        let millis = number(&job["ended_at_millis"])? - number(&job["began_at_millis"])?;
        let stands = |what: &str| number(&after["before"]["balance"][what]);
        Ok(Self {
            what,
            transfers: number(&job["transfers"]["done"])?,
            bytes: number(&job["bytes_copied"])?,
            bytes_least: number(&plan["bytes_least"])?,
            received: stage.counted(RECEIVED) - received_before,
            seconds: millis as f64 / 1e3,
            load_most_ppm: stands("load_most_ppm")?,
            load_least_ppm: stands("load_least_ppm")?,
            foreseen_most_ppm: number(&plan["after"]["balance"]["load_most_ppm"])?,
            bytes_most_ppm: stands("bytes_most_ppm")?,
            leads_most_ppm: stands("leads_most_ppm")?,
        })
    }
}

fn asked(stage: &Stage, arguments: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&stage.operate(arguments)?)?)
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mega = |bytes: u64| bytes as f64 / 1e6;
        let part = |ppm: u64| ppm as f64 / 1e6;
        write!(
            f,
            "{}: {} transfers, {:.0} MB (at least {:.0}), {:.0} MB fetched, {:.1} s, {:.0} MB/s; the most loaded mailstore has {:.3} of its \
             share ({:.3} foreseen; bytes alone {:.3}, leads {:.3}), the least loaded {:.3}",
            self.what,
            self.transfers,
            mega(self.bytes),
            mega(self.bytes_least),
            mega(self.received),
            self.seconds,
            mega(self.received) / self.seconds.max(0.001),
            part(self.load_most_ppm),
            part(self.foreseen_most_ppm),
            part(self.bytes_most_ppm),
            part(self.leads_most_ppm),
            part(self.load_least_ppm),
        )
    }
}
