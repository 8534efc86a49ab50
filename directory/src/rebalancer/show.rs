//! A rebalance as operators are shown it.

use std::collections::HashMap;

use rookery_proto::admin::v1::{
    GetJobResponse, JobState as ShownState, LeadChange, Limits, Transfer as ShownTransfer, TransferState,
};

use crate::rebalance::Transfer;
use crate::rebalance::execute::Job;
use crate::rebalance::stored::{JobState, Stage};
use crate::reports::Report;

/// How far a rebalance is.
pub(crate) fn shown(job: Job, reports: &HashMap<String, Report>, now_millis: u64) -> GetJobResponse {
    let fetched = |shard: u32, node: &str| {
        let load = reports.get(node).and_then(|report| report.loads.get(&shard));
        load.map_or(0, |load| load.fetched)
    };
    let (mut bytes, mut copied) = (0u64, 0u64);
    let mut transfers = Vec::with_capacity(job.transfers.len());
    for row in job.transfers {
        let stage = row.stage();
        let fetched = match stage {
            Stage::Changing => fetched(row.shard, &row.to_node).min(row.bytes),
            Stage::Removing | Stage::Done => row.bytes,
            _ => 0,
        };
        if !matches!(stage, Stage::Skipped | Stage::Reverting | Stage::Reverted) {
            bytes = bytes.saturating_add(row.bytes);
            copied = copied.saturating_add(fetched);
        }
        transfers.push(ShownTransfer {
            shard: row.shard,
            from: row.from_node.clone(),
            to: row.to_node.clone(),
            bytes: row.bytes,
            state: state(stage).into(),
            fetched,
            why_not: row.why_not.clone(),
            began_at_millis: row.began_at_millis,
            ended_at_millis: row.ended_at_millis,
            // Of a row of a newer program it is not known.
            why: Transfer::try_from(row).map_or_else(|_| String::new(), |transfer| transfer.why.to_string()),
        });
    }
    let leads = job.leads.into_iter().map(|row| LeadChange {
        state: state(row.stage()).into(),
        shard: row.shard,
        from: row.from_node,
        to: row.to_node,
        why_not: row.why_not,
    });
    let until = match job.row.ended_at_millis {
        0 => now_millis,
        ended => ended,
    };
    let millis = until.saturating_sub(job.row.began_at_millis).max(1);
    let rate = u64::try_from(u128::from(copied) * 1_000 / u128::from(millis)).unwrap_or(u64::MAX);
    let left = bytes.saturating_sub(copied);
    GetJobResponse {
        job: job.row.id,
        state: job_state(job.row.state()).into(),
        limits: Some(Limits {
            transfers_max: job.row.transfers_max,
            bytes_per_second: job.row.bytes_per_second,
        }),
        began_at_millis: job.row.began_at_millis,
        ended_at_millis: job.row.ended_at_millis,
        transfers,
        leads: leads.collect(),
        bytes,
        bytes_copied: copied,
        bytes_per_second: rate,
        eta_seconds: (rate > 0).then(|| left.div_ceil(rate)),
    }
}

fn job_state(state: JobState) -> ShownState {
    match state {
        JobState::Storing | JobState::Running => ShownState::Running,
        JobState::Paused => ShownState::Paused,
        JobState::Aborting => ShownState::Aborting,
        JobState::Done => ShownState::Done,
        JobState::Aborted => ShownState::Aborted,
    }
}

fn state(stage: Stage) -> TransferState {
    match stage {
        Stage::Waiting => TransferState::Waiting,
        Stage::Changing => TransferState::Copying,
        Stage::Removing => TransferState::Removing,
        Stage::Done => TransferState::Done,
        Stage::Skipped => TransferState::Skipped,
        Stage::Reverting => TransferState::Reverting,
        Stage::Reverted => TransferState::Reverted,
    }
}

#[cfg(test)]
mod tests {
    use rookery_proto::directory::v1::ReplicaLoad;

    use super::*;
    use crate::rebalance::stored::{JobRow, TransferRow};

    #[test]
    fn progress_counts_what_is_copied_and_what_was_fetched() {
        let transfer = |stage: Stage| TransferRow {
            shard: 1,
            to_node: "d".to_owned(),
            bytes: 100,
            stage: stage.into(),
            reason: 12,
            ..TransferRow::default()
        };
        let stages = [Stage::Done, Stage::Changing, Stage::Waiting, Stage::Skipped];
        let job = Job {
            row: JobRow {
                state: JobState::Running.into(),
                began_at_millis: 1_000,
                ..JobRow::default()
            },
            transfers: stages.map(transfer).to_vec(),
            leads: Vec::new(),
        };
        let load = ReplicaLoad {
            shard: 1,
            fetched: 50,
            ..ReplicaLoad::default()
        };
        let report = Report {
            loads: HashMap::from([(1, load)]),
            ..Report::default()
        };
        let reports = HashMap::from([("d".to_owned(), report)]);
        let shown = shown(job, &reports, 4_000);
        assert_eq!((shown.bytes, shown.bytes_copied), (300, 150));
        assert_eq!((shown.bytes_per_second, shown.eta_seconds), (50, Some(3)));
        assert_eq!(shown.transfers[0].why, "the operator wishes it");
    }
}
