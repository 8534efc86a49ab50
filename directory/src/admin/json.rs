//! The operator's answers as JSON: what commands print with `--json`, and what the HTTP API says. One form for both.

use rookery_proto::admin::v1::{
    Event, GetJobResponse, GetStatusResponse, JobState, LeadChange, Node, PendingJoin, Shard, Transfer,
    TransferState,
};
use serde_json::{Value, json};

/// The cluster at a glance.
pub fn status(status: &GetStatusResponse) -> Value {
    json!({
        "cluster_id": status.cluster_id, "version": status.version, "domains": status.domains,
        "accounts": status.accounts, "shards": status.shards, "nodes": nodes(&status.nodes),
    })
}

/// Nodes.
pub fn nodes(nodes: &[Node]) -> Vec<Value> {
    nodes
        .iter()
        .map(|node| {
            json!({
                "id": node.id, "role": node.role, "address": node.address, "http": node.http,
                "weight": node.weight, "alive": node.alive, "shards": node.shards, "leads": node.leads,
                "zone": node.zone, "draining": node.draining, "disk_total": node.disk_total,
                "disk_free": node.disk_free, "leaders": node.leaders, "bytes": node.bytes,
                "operations_milli": node.operations_milli, "log_sync_micros": node.log_sync_micros,
            })
        })
        .collect()
}

/// Nodes that may join.
pub fn joins(joins: &[PendingJoin]) -> Vec<Value> {
    joins
        .iter()
        .map(|join| {
            json!({
                "id": join.id, "role": join.role, "expires_at_millis": join.expires_at_millis,
                "redeemed": join.redeemed,
            })
        })
        .collect()
}

/// Shards.
pub fn shards(shards: &[Shard]) -> Vec<Value> {
    shards
        .iter()
        .map(|shard| {
            json!({
                "id": shard.id, "generation": shard.generation, "replicas": shard.replicas,
                "accounts": shard.accounts, "leader": shard.leader, "members": shard.members,
                "voters": shard.voters, "bytes": shard.bytes, "operations_milli": shard.operations_milli,
                "cpu_ppm": shard.cpu_ppm,
            })
        })
        .collect()
}

/// An event.
pub fn event(event: &Event) -> Value {
    json!({
        "number": event.number, "at_millis": event.at_millis, "kind": event.kind, "subject": event.subject,
        "text": event.text,
    })
}

/// A job for programs: figures, and the steps that are under way or were given up.
pub fn job(job: &GetJobResponse) -> Value {
    let limits = job.limits.unwrap_or_default();
    let tells = |state| !matches!(state, TransferState::Waiting | TransferState::Done);
    let transfers = job.transfers.iter().filter(|one| tells(one.state())).map(|one| {
        json!({
            "shard": one.shard, "from": one.from, "to": one.to, "bytes": one.bytes, "fetched": one.fetched,
            "state": step_word(one.state()), "why": one.why, "why_not": one.why_not,
            "began_at_millis": one.began_at_millis, "ended_at_millis": one.ended_at_millis,
        })
    });
    let leads = job.leads.iter().filter(|one| tells(one.state())).map(|one| {
        json!({
            "shard": one.shard, "from": one.from, "to": one.to, "state": step_word(one.state()), "why_not": one.why_not,
        })
    });
    json!({
        "job": job.job,
        "state": word(job.state()),
        "limits": { "transfers_max": limits.transfers_max, "bytes_per_second": limits.bytes_per_second },
        "began_at_millis": job.began_at_millis,
        "ended_at_millis": job.ended_at_millis,
        "percent": percent(job),
        "bytes": job.bytes,
        "bytes_copied": job.bytes_copied,
        "bytes_per_second": job.bytes_per_second,
        "eta_seconds": job.eta_seconds,
        "transfers": Counts::transfers(job).json(),
        "leads": Counts::leads(job).json(),
        "open_transfers": transfers.collect::<Vec<_>>(),
        "open_leads": leads.collect::<Vec<_>>(),
    })
}

/// How many of a job's steps are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub all: usize,
    /// Done.
    pub done: usize,
    /// Begun and not ended.
    pub under_way: usize,
    /// Not begun, and not to be.
    pub skipped: usize,
    /// Taken back.
    pub reverted: usize,
}

impl Counts {
    fn of(states: impl Iterator<Item = TransferState>) -> Self {
        let mut counts = Self::default();
        for state in states {
            counts.all += 1;
            match state {
                TransferState::Unspecified | TransferState::Waiting => {}
                TransferState::Copying | TransferState::Removing | TransferState::Reverting => {
                    counts.under_way += 1;
                }
                TransferState::Done => counts.done += 1,
                TransferState::Skipped => counts.skipped += 1,
                TransferState::Reverted => counts.reverted += 1,
            }
        }
        counts
    }

    /// Of a job's transfers.
    pub fn transfers(job: &GetJobResponse) -> Self {
        Self::of(job.transfers.iter().map(Transfer::state))
    }

    /// Of its changes of leads.
    pub fn leads(job: &GetJobResponse) -> Self {
        Self::of(job.leads.iter().map(LeadChange::state))
    }

    /// Whether nothing more comes of any.
    pub fn are_settled(self) -> bool {
        self.done + self.skipped + self.reverted == self.all
    }

    fn json(self) -> Value {
        json!({
            "all": self.all, "done": self.done, "under_way": self.under_way,
            "skipped": self.skipped, "reverted": self.reverted,
        })
    }
}

/// The state in a word.
pub fn word(state: JobState) -> &'static str {
    match state {
        JobState::Unspecified => "unknown",
        JobState::Running => "running",
        JobState::Paused => "paused",
        JobState::Aborting => "aborting",
        JobState::Done => "done",
        JobState::Aborted => "aborted",
    }
}

/// The state of a transfer, or of a change of a lead, in a word.
pub fn step_word(state: TransferState) -> &'static str {
    match state {
        TransferState::Unspecified => "unknown",
        TransferState::Waiting => "waiting",
        TransferState::Copying => "copying",
        TransferState::Removing => "removing",
        TransferState::Done => "done",
        TransferState::Skipped => "skipped",
        TransferState::Reverting => "reverting",
        TransferState::Reverted => "reverted",
    }
}

/// How much of a job is done: by bytes, or by steps when there are none to copy; 100 only for what has ended.
pub fn percent(job: &GetJobResponse) -> u64 {
    let (transfers, leads) = (Counts::transfers(job), Counts::leads(job));
    let (part, whole) = if job.bytes > 0 {
        (job.bytes_copied, job.bytes)
    } else {
        (
            (transfers.done + leads.done) as u64,
            (transfers.all + leads.all) as u64,
        )
    };
    let most = if job.state() == JobState::Done { 100 } else { 99 };
    if whole == 0 || job.state() == JobState::Done {
        return most;
    }
    let percent = u128::from(part) * 100 / u128::from(whole);
    u64::try_from(percent).unwrap_or(most).min(most)
}
