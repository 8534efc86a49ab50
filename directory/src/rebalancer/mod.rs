//! Carries out the rebalance that is under way, for as long as this member leads the directory.
//!
//! What is next is decided by [`acts`] from the rows and from what nodes have said; each act is one change, and its row is what
//! the next leader goes on with. Nothing is known here that is not stored or said again.

mod automatic;
mod gather;
mod show;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rookery_proto::{Reason, Status};
use tokio::sync::Notify;

use crate::catalogue::{TRANSFERRED_BYTES, TRANSFERS, tell_rebalance};
use crate::clock::now_millis;
use crate::core::Core;
use crate::plan::rebalance::{self as changes, Limits, Scope};
use crate::rebalance::execute::{Act, Job, Seen, World, acts};
use crate::rebalance::stored::{JobState, LeadRow, Stage, TransferRow};
use crate::rebalance::{Plan, plan};
use crate::schema::read::ReadError;

pub(crate) use automatic::run as run_automatic;
pub(crate) use show::shown;

/// How long to wait for something new while a rebalance is under way.
const LOOK: Duration = Duration::from_millis(500);

/// The same while none is.
const REST: Duration = Duration::from_secs(10);

/// Rows that are stored, or forgotten, by one change.
const ROWS_AT_ONCE: usize = 500;

/// Where plans wait for the operator's consent, and what the rebalancer is told.
#[derive(Default)]
pub(crate) struct Desk {
    changed: Notify,
    /// The plan that was made last, and its number.
    plan: Mutex<Option<(u64, Plan)>>,
    /// The rebalance that is being stored by this leadership; 0: none.
    storing: AtomicU64,
    /// A rebalance is under way.
    is_busy: std::sync::atomic::AtomicBool,
    /// What nodes are told of how fast to fetch.
    fetch_rate_max: AtomicU64,
    /// Since when they are told that.
    told_since: Mutex<Option<Instant>>,
}

impl Desk {
    /// Something that a rebalance waits for may have happened.
    pub(crate) fn look(&self) {
        if self.is_busy.load(Ordering::Relaxed) {
            self.changed.notify_one();
        }
    }

    /// There may be a rebalance where there was none, or it is to go on otherwise.
    pub(crate) fn told(&self) {
        self.changed.notify_one();
    }

    /// Nodes are told so from now on.
    fn set_fetch_rate_max(&self, rate: u64) {
        if self.fetch_rate_max.swap(rate, Ordering::Relaxed) != rate {
            *self.told_since.lock() = Some(Instant::now());
        }
    }

    /// Bytes a second that a node fetches at most; 0: as its configuration says.
    pub(crate) fn fetch_rate_max(&self) -> u64 {
        self.fetch_rate_max.load(Ordering::Relaxed)
    }
}

/// A plan of how things are now.
async fn planned(core: &Core) -> Result<Plan, Status> {
    let state = gather::state(core).await?;
    tokio::task::spawn_blocking(move || plan(&state))
        .await
        .map_err(|_| Status::internal("the planner failed; see the log"))
}

/// Makes a plan of how things are now, and keeps it. Answers its number.
pub(crate) async fn make_plan(core: &Core) -> Result<(u64, Plan), Status> {
    let made = planned(core).await?;
    let mut kept = core.rebalance.plan.lock();
    // Another member's number would be another, and none comes twice here.
    let number = kept.as_ref().map_or(0, |(last, _)| last + 1).max(now_millis());
    *kept = Some((number, made.clone()));
    Ok((number, made))
}

/// Begins to carry out the plan of this number. Answers the number of the rebalance.
pub(crate) async fn apply_plan(core: &Core, number: u64, limits: Limits) -> Result<u64, Status> {
    let kept = core.rebalance.plan.lock().clone();
    let Some((_, plan)) = kept.filter(|(kept, _)| *kept == number) else {
        let message = "the plan is not the one that was made last, or another member leads the directory by now: make one anew";
        return Err(Status::new(Reason::FailedPrecondition, message));
    };
    if plan.is_empty() {
        let message = "the plan is empty: nothing is to be moved";
        return Err(Status::new(Reason::FailedPrecondition, message));
    }
    carry_out(core, &plan, limits, String::new()).await
}

/// Begins to carry out a plan, without an operator's word for the reason that is given. Answers the number of the rebalance.
async fn carry_out(core: &Core, plan: &Plan, limits: Limits, own_reason: String) -> Result<u64, Status> {
    let transfers: Vec<TransferRow> = plan.transfers.iter().map(TransferRow::from).collect();
    let leads: Vec<LeadRow> = plan.leads.iter().map(LeadRow::from).collect();
    let scope = Scope {
        placement: plan.state_version,
        transfers: count(transfers.len()),
        leads: count(leads.len()),
        own_reason,
    };
    begin_within(core, scope, transfers, leads, limits).await
}

/// Begins one transfer that the operator wishes, of a placement of this version.
pub(crate) async fn begin_one(
    core: &Core,
    placement: u64,
    transfer: TransferRow,
    limits: Limits,
) -> Result<u64, Status> {
    let scope = Scope {
        placement,
        transfers: 1,
        leads: 0,
        own_reason: String::new(),
    };
    begin_within(core, scope, vec![transfer], Vec::new(), limits).await
}

fn count(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}

/// Stores a rebalance and has it begun.
async fn begin_within(
    core: &Core,
    scope: Scope,
    transfers: Vec<TransferRow>,
    leads: Vec<LeadRow>,
    limits: Limits,
) -> Result<u64, Status> {
    let now = now_millis();
    let row = core
        .state
        .change(move |rows| changes::begin(rows, &scope, limits, now))
        .await?;
    let job = row.id;
    core.rebalance.storing.store(job, Ordering::Relaxed);
    let stored = store(core, job, transfers, leads).await;
    core.rebalance.storing.store(0, Ordering::Relaxed);
    core.rebalance.told();
    stored?;
    tracing::info!(
        job,
        transfers = row.transfers,
        leads = row.leads,
        "a rebalance begins"
    );
    Ok(job)
}

async fn store(
    core: &Core,
    job: u64,
    transfers: Vec<TransferRow>,
    leads: Vec<LeadRow>,
) -> Result<(), Status> {
    let transfers: Vec<(u32, TransferRow)> = (0..).zip(transfers).collect();
    for some in transfers.chunks(ROWS_AT_ONCE) {
        let some = some.to_vec();
        core.state
            .change(move |rows| changes::store(rows, job, some, Vec::new()))
            .await?;
    }
    let leads: Vec<(u32, LeadRow)> = (0..).zip(leads).collect();
    for some in leads.chunks(ROWS_AT_ONCE) {
        let some = some.to_vec();
        core.state
            .change(move |rows| changes::store(rows, job, Vec::new(), some))
            .await?;
    }
    core.state.change(move |rows| changes::start(rows, job)).await
}

/// Whether a rebalance is under way.
async fn is_under_way(core: &Core) -> Result<bool, Status> {
    let row = core.state.read(|rows| rows.job()).await??;
    Ok(row.is_some_and(|row| row.state().is_under_way()))
}

/// The last rebalance with its rows.
pub(crate) async fn last_job(core: &Core) -> Result<Option<Job>, Status> {
    let job = core.state.read(|rows| {
        let Some(row) = rows.job()? else { return Ok(None) };
        Ok::<_, ReadError>(Some(Job {
            transfers: rows.transfers(row.id)?,
            leads: rows.lead_changes(row.id)?,
            row,
        }))
    });
    Ok(job.await??)
}

/// Carries out what is under way, until cancelled.
pub(crate) async fn run(core: Arc<Core>) {
    let mut held: Option<Job> = None;
    // Of the last rebalance nothing has been told yet, or not how it ended.
    let mut is_told = false;
    loop {
        match look(&core, &mut held).await {
            Ok(()) => {}
            Err(status) if status.is_retryable() => {
                tracing::debug!(%status, "the rebalance waits");
                held = None;
            }
            Err(status) => {
                tracing::warn!(%status, "a step of the rebalance failed; trying again");
                held = None;
            }
        }
        let is_busy = held.is_some();
        core.rebalance.is_busy.store(is_busy, Ordering::Relaxed);
        if !is_busy {
            core.rebalance.set_fetch_rate_max(0);
        }
        is_told = match &held {
            Some(job) => {
                tell_rebalance(job);
                false
            }
            None => is_told || tell_last(&core).await,
        };
        let pause = if is_busy { LOOK } else { REST };
        let woken = tokio::time::timeout(pause, core.rebalance.changed.notified()).await;
        // Either way it is time to look. A short one may begin and end within a look.
        is_told = is_told && woken.is_err();
    }
}

/// Tells how the last rebalance ended; whether it could be read.
async fn tell_last(core: &Core) -> bool {
    match last_job(core).await {
        Ok(last) => {
            last.iter().for_each(tell_rebalance);
            true
        }
        Err(status) => {
            tracing::debug!(%status, "the last rebalance cannot be read");
            false
        }
    }
}

/// Takes the next steps of the rebalance that is under way; none is held afterwards when there is none.
async fn look(core: &Core, held: &mut Option<Job>) -> Result<(), Status> {
    let row = core.state.read(|rows| rows.job()).await??;
    let Some(row) = row.filter(|row| row.state().is_under_way()) else {
        *held = None;
        return Ok(());
    };
    if row.state() == JobState::Storing && core.rebalance.storing.load(Ordering::Relaxed) == row.id {
        return Ok(());
    }
    if held.as_ref().is_none_or(|job| job.row.id != row.id) {
        *held = last_job(core).await?;
    }
    let Some(job) = held else { return Ok(()) };
    job.row = row;
    core.rebalance.set_fetch_rate_max(job.row.bytes_per_second);
    let world = seen(core);
    for act in acts(job, &world, now_millis()) {
        let is_end = act == Act::End;
        match take(core, job, act).await {
            Ok(()) if is_end => {
                *held = None;
                return Ok(());
            }
            Ok(()) => {}
            // The operator has said otherwise meanwhile.
            Err(status) if status.reason == Reason::FailedPrecondition => break,
            Err(status) => return Err(status),
        }
    }
    Ok(())
}

/// What nodes have said.
fn seen(core: &Core) -> World {
    let shards = core.picture.shards().into_iter().map(|shard| {
        let members = shard.members.into_iter().map(|member| (member.id, member.node));
        let seen = Seen {
            generation: shard.generation,
            members: members.collect(),
            voters: shard.voters,
            leader: shard.leader,
        };
        (shard.id, seen)
    });
    let silent = core.picture.silent(Instant::now()).into_iter();
    let millis = |silence: Duration| u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
    let reports = core.reports.all();
    let full = reports.iter().filter(|(_, report)| report.is_full());
    let told_since = *core.rebalance.told_since.lock();
    let untold = reports.iter().filter(|(_, report)| report.at < told_since);
    World {
        untold: untold.map(|(node, _)| node.clone()).collect(),
        full: full.map(|(node, _)| node.clone()).collect(),
        shards: shards.collect(),
        silent: silent.map(|(node, silence)| (node, millis(silence))).collect(),
        held: reports
            .into_iter()
            .map(|(node, report)| (node, report.held))
            .collect(),
    }
}

/// Takes one step, and notes what it has come to.
async fn take(core: &Core, job: &mut Job, act: Act) -> Result<(), Status> {
    let (id, now) = (job.row.id, now_millis());
    let state = &core.state;
    match act {
        Act::Begin(place) => {
            let begun = state.change(move |rows| changes::begin_transfer(rows, id, place, now));
            note(job, place, begun.await?);
        }
        Act::Revert(place, why_not) => {
            let reverted = state.change(move |rows| changes::revert_transfer(rows, id, place, &why_not, now));
            note(job, place, reverted.await?);
        }
        Act::Settle(place) => {
            let settled = state.change(move |rows| changes::settle_transfer(rows, id, place, now));
            note(job, place, settled.await?);
        }
        Act::Finish(place) => {
            let finished = state.change(move |rows| changes::finish_transfer(rows, id, place, now));
            note(job, place, finished.await?);
        }
        Act::BeginLead(place) => {
            let begun = state.change(move |rows| changes::begin_lead(rows, id, place, now));
            note_lead(job, place, begun.await?);
        }
        Act::EndLead(place, why_not) => {
            let ended = state.change(move |rows| changes::end_lead(rows, id, place, &why_not));
            note_lead(job, place, ended.await?);
        }
        Act::End => {
            let ended = state.change(move |rows| changes::end(rows, id, now)).await?;
            let seconds = now.saturating_sub(job.row.began_at_millis) / 1_000;
            tracing::info!(job = id, state = ?ended, seconds, "the rebalance has ended");
            while state
                .change(move |rows| changes::forget_older(rows, id, ROWS_AT_ONCE))
                .await?
            {}
        }
    }
    Ok(())
}

fn note(job: &mut Job, place: u32, row: TransferRow) {
    let stage = row.stage();
    tracing::info!(
        job = job.row.id,
        shard = row.shard,
        from = row.from_node,
        to = row.to_node,
        ?stage,
        why_not = row.why_not,
        "a transfer goes on"
    );
    if stage == Stage::Done {
        TRANSFERS.increment(1);
        TRANSFERRED_BYTES.increment(row.bytes);
    }
    if let Some(held) = job.transfers.get_mut(place as usize) {
        *held = row;
    }
}

fn note_lead(job: &mut Job, place: u32, row: LeadRow) {
    let stage = row.stage();
    tracing::info!(
        job = job.row.id,
        shard = row.shard,
        to = row.to_node,
        ?stage,
        why_not = row.why_not,
        "a change of a lead goes on"
    );
    if let Some(held) = job.leads.get_mut(place as usize) {
        *held = row;
    }
}
