//! How far the replicas of a node are behind: what followers lack, what is not applied, what is being fetched.

use openraft::async_runtime::WatchReceiver;

use super::member::Member;
use super::replica::Group;
use crate::catalogue::{
    LAG, LAG_SUM, LOG_ENTRIES, REPLICAS, SCRUB_AGE, SCRUB_COMPLETED, SNAPSHOT_FETCHED, UNAPPLIED,
};
use crate::scrub;

/// How far a replica is behind, in entries.
#[derive(Debug, Default, PartialEq, Eq)]
struct Backlog {
    /// In the log.
    log: u64,
    /// Of them, not applied here yet.
    unapplied: u64,
    /// What the follower lacks that is furthest behind, when this replica leads.
    lag_max: u64,
    /// What all of them lack.
    lag_sum: u64,
}

impl Group {
    fn backlog(&self) -> Backlog {
        let applied = self.applied().map_or(0, |applied| applied.index);
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        let last = now.last_log_index.unwrap_or(0);
        let purged = now.purged.as_ref().map_or(0, |purged| purged.index);
        let followers = now.replication.iter().flatten();
        let lags = followers.map(|(_, matched)| {
            let matched = matched.as_ref().map_or(0, |matched| matched.index);
            last.saturating_sub(matched)
        });
        let (lag_max, lag_sum) = lags.fold((0, 0), |(max, sum), lag| (lag.max(max), sum + lag));
        Backlog {
            log: last.saturating_sub(purged),
            unapplied: last.saturating_sub(applied),
            lag_max,
            lag_sum,
        }
    }
}

impl Member {
    /// Tells how its replicas stand.
    pub(crate) fn look(&self) {
        let groups = self.groups();
        let mut all = Backlog::default();
        let mut fetched = 0;
        for group in &groups {
            let backlog = group.backlog();
            all.log += backlog.log;
            all.unapplied += backlog.unapplied;
            all.lag_max = all.lag_max.max(backlog.lag_max);
            all.lag_sum += backlog.lag_sum;
            fetched += group.fetched();
        }
        REPLICAS.set(groups.len() as f64);
        LAG.set(all.lag_max as f64);
        LAG_SUM.set(all.lag_sum as f64);
        LOG_ENTRIES.set(all.log as f64);
        UNAPPLIED.set(all.unapplied as f64);
        SNAPSHOT_FETCHED.set(fetched as f64);
        if let Some(completed) = self.scrubbed_at() {
            SCRUB_COMPLETED.set(completed as f64);
            SCRUB_AGE.set(scrub::now().saturating_sub(completed) as f64);
        }
    }
}
