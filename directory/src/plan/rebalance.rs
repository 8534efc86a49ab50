//! Rebalances: beginning one, carrying out its transfers and changes of leads step by step, and ending it.
//!
//! Each step is a mutation of its own, which writes the placement and the transfer's row together, and is refused when the placement
//! is not the one that the step was made for: a late one changes nothing. What happens in between, the shard's leader does; it is
//! not seen from here, so who calls says what has been seen.

use rookery_proto::directory::v1::NodeRole;
use rookery_replication::{Batch, Column};

use super::{PlanError, Planned, shard};
use crate::events::{self, Kind};
use crate::rebalance::stored::{JobRow, JobState, LeadRow, Stage, TransferRow};
use crate::schema::read::Rows;
use crate::schema::row::{self, Row};
use crate::schema::{ShardId, key};

/// Transfers that a node may have a part in at one time, when nothing else is wished.
pub const TRANSFERS_USUAL: u32 = 2;

/// The most that may be wished.
const TRANSFERS_MAX: u32 = 64;

/// The slowest fetching that may be wished, in bytes a second: less would take for ever.
const BYTES_PER_SECOND_MIN: u64 = 64 * 1024;

/// What bounds a rebalance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Transfers that a node may have a part in at one time; 0: [`TRANSFERS_USUAL`].
    pub transfers_max: u32,
    /// Bytes a second that a node fetches at most; 0: as its configuration says.
    pub bytes_per_second: u64,
}

impl Limits {
    fn check(self) -> Result<(), PlanError> {
        if self.transfers_max > TRANSFERS_MAX {
            return Err(PlanError::Invalid(format!(
                "a node can have a part in {TRANSFERS_MAX} transfers at most at one time"
            )));
        }
        if (1..BYTES_PER_SECOND_MIN).contains(&self.bytes_per_second) {
            return Err(PlanError::Invalid(format!(
                "a node fetches {BYTES_PER_SECOND_MIN} bytes a second at least"
            )));
        }
        Ok(())
    }

    fn put(self, job: &mut JobRow) {
        job.transfers_max = match self.transfers_max {
            0 => TRANSFERS_USUAL,
            transfers => transfers,
        };
        job.bytes_per_second = self.bytes_per_second;
    }
}

/// What a rebalance is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The version of nodes and placements ([`row::Sequences::placement`]) from which its plan was made.
    pub placement: u64,
    /// How many transfers it has.
    pub transfers: u32,
    /// How many changes of leads.
    pub leads: u32,
    /// Why it is begun without an operator's word; empty when it is theirs.
    pub own_reason: String,
}

/// Begins a rebalance, whose rows are to be stored before it is [`start`]ed. Answers its row.
pub fn begin(rows: Rows<'_>, scope: &Scope, limits: Limits, now: u64) -> Result<Planned<JobRow>, PlanError> {
    limits.check()?;
    if let Some(job) = rows.job()?
        && job.state().is_under_way()
    {
        return Err(PlanError::Precondition(format!(
            "rebalance {} is under way: wait for its end, or abort it",
            job.id
        )));
    }
    let mut sequences = rows.sequences()?;
    if sequences.placement != scope.placement {
        return Err(PlanError::Precondition(
            "nodes or placements have changed since the plan was made: make one anew".to_owned(),
        ));
    }
    sequences.jobs += 1;
    let mut job = JobRow {
        id: sequences.jobs,
        state: JobState::Storing.into(),
        transfers: scope.transfers,
        leads: scope.leads,
        own_reason: scope.own_reason.clone(),
        began_at_millis: now,
        ..JobRow::default()
    };
    limits.put(&mut job);
    let mut batch = Batch::new();
    batch.put(Column::Rows, key::sequences(), sequences.to_stored());
    batch.put(Column::Rows, key::job(), job.to_stored());
    Ok(Planned::new(batch, job))
}

/// Stores some of the rows of a rebalance, each with its place.
pub fn store(
    rows: Rows<'_>,
    job: u64,
    transfers: Vec<(u32, TransferRow)>,
    leads: Vec<(u32, LeadRow)>,
) -> Result<Planned<()>, PlanError> {
    of_state(rows, job, JobState::Storing)?;
    let mut batch = Batch::new();
    for (place, transfer) in transfers {
        batch.put(Column::Rows, key::transfer(job, place), transfer.to_stored());
    }
    for (place, lead) in leads {
        batch.put(Column::Rows, key::lead_change(job, place), lead.to_stored());
    }
    Ok(Planned::new(batch, ()))
}

/// All rows of a rebalance are stored: it begins to run.
pub fn start(rows: Rows<'_>, job: u64) -> Result<Planned<()>, PlanError> {
    let row = of_state(rows, job, JobState::Storing)?;
    let begun = events::begun(&row, &rows.transfers(job)?);
    Ok(in_state(row, JobState::Running).telling([begun]))
}

/// Removes some of the rows of rebalances before this one, at most so many. Answers whether there are more.
pub fn forget_older(rows: Rows<'_>, job: u64, most: usize) -> Result<Planned<bool>, PlanError> {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for range in key::rows_before_job(job) {
        rows.keys(&range, |key| {
            keys.push(key.to_vec());
            match keys.len() > most {
                true => std::ops::ControlFlow::Break(()),
                false => std::ops::ControlFlow::Continue(()),
            }
        })?;
    }
    let are_more = keys.len() > most;
    let mut batch = Batch::new();
    for key in keys.into_iter().take(most) {
        batch.delete(Column::Rows, key);
    }
    Ok(Planned::new(batch, are_more))
}

/// No transfer is begun any more.
pub fn pause(rows: Rows<'_>) -> Result<Planned<()>, PlanError> {
    let row = under_way(rows)?;
    match row.state() {
        JobState::Running => {
            let paused = events::of_job(Kind::RebalancePaused, row.id, "was paused");
            Ok(in_state(row, JobState::Paused).telling([paused]))
        }
        JobState::Paused => Ok(Planned::new(Batch::new(), ())),
        _ => Err(being_aborted(&row)),
    }
}

/// Transfers are begun again, within other limits if some are given.
pub fn resume(rows: Rows<'_>, limits: Option<Limits>) -> Result<Planned<()>, PlanError> {
    let mut row = under_way(rows)?;
    let before = row.clone();
    if let Some(limits) = limits {
        limits.check()?;
        limits.put(&mut row);
    }
    match row.state() {
        JobState::Running | JobState::Paused => {
            let is_other = row != before;
            let rest = if is_other {
                "goes on within other limits"
            } else {
                "goes on"
            };
            let resumed = events::of_job(Kind::RebalanceResumed, row.id, rest);
            let tells = is_other || row.state() == JobState::Paused;
            Ok(in_state(row, JobState::Running).telling(tells.then_some(resumed)))
        }
        _ => Err(being_aborted(&row)),
    }
}

/// What has been begun is taken back.
pub fn abort(rows: Rows<'_>) -> Result<Planned<()>, PlanError> {
    let row = under_way(rows)?;
    let tells = row.state() != JobState::Aborting;
    let aborting = events::of_job(Kind::RebalanceAborting, row.id, "is being aborted");
    Ok(in_state(row, JobState::Aborting).telling(tells.then_some(aborting)))
}

/// Nothing is left to be done.
pub fn end(rows: Rows<'_>, job: u64, now: u64) -> Result<Planned<JobState>, PlanError> {
    let mut row = of(rows, job)?;
    let state = match row.state() {
        JobState::Aborting | JobState::Storing => JobState::Aborted,
        _ => JobState::Done,
    };
    row.ended_at_millis = now;
    row.state = state.into();
    let mut batch = Batch::new();
    batch.put(Column::Rows, key::job(), row.to_stored());
    let ended = events::ended(&row, &rows.transfers(job)?);
    Ok(Planned::new(batch, state).telling([ended]))
}

/// Names the new replica of a transfer in place of the old one, or skips the transfer when the placement is not what it was made for.
/// Answers the transfer as it is then.
pub fn begin_transfer(
    rows: Rows<'_>,
    job: u64,
    place: u32,
    now: u64,
) -> Result<Planned<TransferRow>, PlanError> {
    of_state(rows, job, JobState::Running)?;
    let mut transfer = needed(rows, job, place)?;
    if transfer.stage() != Stage::Waiting {
        return Ok(Planned::new(Batch::new(), transfer));
    }
    let id = ShardId(transfer.shard);
    match next_placement(rows, id, &transfer)? {
        Ok(next) => {
            transfer.slot = next.slot;
            transfer.from_unopened = next.from_unopened;
            transfer.stage = Stage::Changing.into();
            transfer.began_at_millis = now;
            placed(rows, id, next.placement, true, job, place, transfer)
        }
        Err(why_not) => Ok(told(
            job,
            ended(job, place, transfer, Stage::Skipped, &why_not, now),
        )),
    }
}

/// What a transfer makes of a placement.
struct Next {
    /// Without the new replica's number.
    placement: row::Shard,
    /// Where the old replica was.
    slot: u32,
    /// That one was not open yet.
    from_unopened: bool,
}

/// The placement after a transfer; or why there is none.
fn next_placement(
    rows: Rows<'_>,
    id: ShardId,
    transfer: &TransferRow,
) -> Result<Result<Next, String>, PlanError> {
    let Some(mut placement) = rows.shard(id)? else {
        return Ok(Err("there is no such shard".to_owned()));
    };
    if !placement.formed {
        match formed_without(&placement, transfer.from_replica) {
            Some(formed) => placement.formed = formed,
            None => return Ok(Err("the shard is being formed".to_owned())),
        }
    }
    if placement.generation != transfer.generation {
        return Ok(Err(
            "the shard's placement has changed since the plan was made".to_owned()
        ));
    }
    let to = &transfer.to_node;
    match rows.node(to)? {
        Some(node) if node.role != i32::from(NodeRole::Mailstore) => {
            return Ok(Err(format!("{to} is no mailstore")));
        }
        Some(node) if node.draining => return Ok(Err(format!("{to} is being drained"))),
        Some(_) => {}
        None => return Ok(Err(format!("{to} is not known any more"))),
    }
    if placement.replicas.iter().any(|replica| replica.node == *to) {
        return Ok(Err(format!("{to} has a replica of the shard already")));
    }
    let new = row::Replica {
        id: 0,
        node: to.clone(),
        taken: false,
    };
    if transfer.from_node.is_empty() {
        placement.replicas.push(new);
        return Ok(Ok(Next {
            placement,
            slot: 0,
            from_unopened: false,
        }));
    }
    let slot = placement
        .replicas
        .iter()
        .position(|replica| replica.id == transfer.from_replica && replica.node == transfer.from_node);
    let Some(slot) = slot else {
        return Ok(Err(format!("{} has another replica by now", transfer.from_node)));
    };
    let old = placement.replicas.remove(slot);
    // Who is named first is to lead: one that stays and has all, until it is known what becomes of the new one.
    let at = match slot {
        0 => placement.replicas.len(),
        slot => slot,
    };
    placement.replicas.insert(at, new);
    Ok(Ok(Next {
        placement,
        slot: u32::try_from(slot).unwrap_or(0),
        from_unopened: !old.taken,
    }))
}

/// Whether a shard that is being formed is so with another in place of a replica that no node has opened; `None` when it cannot go
/// without that. Where most of the others are open they have formed the group, and the new one is taken in as into any other; an only
/// replica forms it anew. Nothing is acknowledged before a shard is formed.
fn formed_without(placement: &row::Shard, replica: u64) -> Option<bool> {
    let is_awaited = |one: &row::Replica| one.id == replica && !one.taken;
    placement.replicas.iter().find(|one| is_awaited(one))?;
    let all = placement.replicas.len();
    let taken = placement.replicas.iter().filter(|one| one.taken).count();
    if all == 1 {
        return Some(false);
    }
    (taken > all / 2).then_some(true)
}

/// Names the old replica of a transfer again. When the placement has changed since, there is nothing to be taken back.
pub fn revert_transfer(
    rows: Rows<'_>,
    job: u64,
    place: u32,
    why_not: &str,
    now: u64,
) -> Result<Planned<TransferRow>, PlanError> {
    of(rows, job)?;
    let mut transfer = needed(rows, job, place)?;
    match transfer.stage() {
        Stage::Waiting => return Ok(ended(job, place, transfer, Stage::Skipped, why_not, now)),
        Stage::Changing => {}
        _ => return Ok(Planned::new(Batch::new(), transfer)),
    }
    let id = ShardId(transfer.shard);
    let placement = rows.shard(id)?.filter(|placement| {
        placement
            .replicas
            .iter()
            .any(|replica| replica.node == transfer.to_node)
            && !placement
                .replicas
                .iter()
                .any(|replica| replica.node == transfer.from_node)
    });
    let Some(mut placement) = placement else {
        return Ok(told(
            job,
            ended(job, place, transfer, Stage::Reverted, why_not, now),
        ));
    };
    placement
        .replicas
        .retain(|replica| replica.node != transfer.to_node);
    if !transfer.from_node.is_empty() {
        let slot = (transfer.slot as usize).min(placement.replicas.len());
        let old = row::Replica {
            id: transfer.from_replica,
            node: transfer.from_node.clone(),
            taken: !transfer.from_unopened,
        };
        placement.replicas.insert(slot, old);
    }
    transfer.stage = Stage::Reverting.into();
    transfer.why_not = why_not.to_owned();
    placed(rows, id, placement, false, job, place, transfer)
}

/// Notes that the voters of a transfer's shard are those that its placement names: the new replica's files may go, or the old one's.
pub fn settle_transfer(
    rows: Rows<'_>,
    job: u64,
    place: u32,
    now: u64,
) -> Result<Planned<TransferRow>, PlanError> {
    of(rows, job)?;
    let transfer = needed(rows, job, place)?;
    match transfer.stage() {
        Stage::Changing if transfer.from_node.is_empty() => {
            Ok(told(job, ended(job, place, transfer, Stage::Done, "", now)))
        }
        Stage::Changing => {
            let mut transfer = transfer;
            transfer.stage = Stage::Removing.into();
            Ok(noted(job, place, transfer))
        }
        Stage::Reverting => {
            let why_not = transfer.why_not.clone();
            Ok(told(
                job,
                ended(job, place, transfer, Stage::Reverted, &why_not, now),
            ))
        }
        _ => Ok(Planned::new(Batch::new(), transfer)),
    }
}

/// Notes that the old replica's files are gone.
pub fn finish_transfer(
    rows: Rows<'_>,
    job: u64,
    place: u32,
    now: u64,
) -> Result<Planned<TransferRow>, PlanError> {
    of(rows, job)?;
    let transfer = needed(rows, job, place)?;
    match transfer.stage() {
        Stage::Removing => Ok(told(job, ended(job, place, transfer, Stage::Done, "", now))),
        _ => Ok(Planned::new(Batch::new(), transfer)),
    }
}

/// Names another replica first, so that it leads; or skips that when the placement is not the one that it was made for.
pub fn begin_lead(rows: Rows<'_>, job: u64, place: u32, now: u64) -> Result<Planned<LeadRow>, PlanError> {
    of_state(rows, job, JobState::Running)?;
    let mut lead = needed_lead(rows, job, place)?;
    if lead.stage() != Stage::Waiting {
        return Ok(Planned::new(Batch::new(), lead));
    }
    let id = ShardId(lead.shard);
    let placement = rows
        .shard(id)?
        .filter(|placement| placement.generation == lead.generation);
    let Some(mut placement) = placement else {
        let why_not = "the shard's placement has changed since the plan was made";
        return end_lead(rows, job, place, why_not);
    };
    let Some(slot) = placement
        .replicas
        .iter()
        .position(|replica| replica.node == lead.to_node)
    else {
        let why_not = format!("{} has no replica of the shard", lead.to_node);
        return end_lead(rows, job, place, &why_not);
    };
    lead.stage = Stage::Changing.into();
    lead.began_at_millis = now;
    let mut batch = Batch::new();
    batch.put(Column::Rows, key::lead_change(job, place), lead.to_stored());
    let mut planned = Planned::new(batch, lead);
    if slot > 0 {
        let first = placement.replicas.remove(slot);
        placement.replicas.insert(0, first);
        placement.generation += 1;
        put_placement(&mut planned, &mut rows.sequences()?, id, placement);
    }
    Ok(planned)
}

/// Notes that a change of a lead is over: done, or for a reason not.
pub fn end_lead(rows: Rows<'_>, job: u64, place: u32, why_not: &str) -> Result<Planned<LeadRow>, PlanError> {
    of(rows, job)?;
    let mut lead = needed_lead(rows, job, place)?;
    if lead.stage().is_over() {
        return Ok(Planned::new(Batch::new(), lead));
    }
    let stage = match why_not {
        "" => Stage::Done,
        _ => Stage::Skipped,
    };
    lead.stage = stage.into();
    lead.why_not = why_not.to_owned();
    let mut batch = Batch::new();
    batch.put(Column::Rows, key::lead_change(job, place), lead.to_stored());
    Ok(Planned::new(batch, lead))
}

fn of(rows: Rows<'_>, job: u64) -> Result<JobRow, PlanError> {
    rows.job()?
        .filter(|row| row.id == job)
        .ok_or_else(|| PlanError::NotFound(format!("rebalance {job} is over")))
}

fn of_state(rows: Rows<'_>, job: u64, state: JobState) -> Result<JobRow, PlanError> {
    let row = of(rows, job)?;
    if row.state() == state {
        return Ok(row);
    }
    let message = format!("rebalance {job} is {}", state_name(row.state()));
    Err(PlanError::Precondition(message))
}

fn under_way(rows: Rows<'_>) -> Result<JobRow, PlanError> {
    rows.job()?
        .filter(|row| row.state().is_under_way())
        .ok_or_else(|| PlanError::Precondition("no rebalance is under way".to_owned()))
}

fn being_aborted(row: &JobRow) -> PlanError {
    PlanError::Precondition(format!("rebalance {} is {}", row.id, state_name(row.state())))
}

fn state_name(state: JobState) -> &'static str {
    match state {
        JobState::Storing => "being stored",
        JobState::Running => "running",
        JobState::Paused => "paused",
        JobState::Aborting => "being aborted",
        JobState::Done => "done",
        JobState::Aborted => "aborted",
    }
}

fn in_state(mut row: JobRow, state: JobState) -> Planned<()> {
    row.state = state.into();
    let mut batch = Batch::new();
    batch.put(Column::Rows, key::job(), row.to_stored());
    Planned::new(batch, ())
}

fn needed(rows: Rows<'_>, job: u64, place: u32) -> Result<TransferRow, PlanError> {
    rows.transfer(job, place)?
        .ok_or_else(|| PlanError::NotFound(format!("rebalance {job} has no transfer {place}")))
}

fn needed_lead(rows: Rows<'_>, job: u64, place: u32) -> Result<LeadRow, PlanError> {
    rows.lead_change(job, place)?
        .ok_or_else(|| PlanError::NotFound(format!("rebalance {job} has no change {place} of a lead")))
}

fn noted(job: u64, place: u32, transfer: TransferRow) -> Planned<TransferRow> {
    let mut batch = Batch::new();
    batch.put(Column::Rows, key::transfer(job, place), transfer.to_stored());
    Planned::new(batch, transfer)
}

fn ended(
    job: u64,
    place: u32,
    mut transfer: TransferRow,
    stage: Stage,
    why_not: &str,
    now: u64,
) -> Planned<TransferRow> {
    transfer.stage = stage.into();
    transfer.why_not = why_not.to_owned();
    transfer.ended_at_millis = now;
    noted(job, place, transfer)
}

/// Operators are told how the transfer has ended.
fn told(job: u64, planned: Planned<TransferRow>) -> Planned<TransferRow> {
    let over = events::over(&planned.reply, job);
    planned.telling(over)
}

/// Writes a placement with the transfer that changes it; the replica without a number gets a new one.
fn placed(
    rows: Rows<'_>,
    id: ShardId,
    mut placement: row::Shard,
    is_new: bool,
    job: u64,
    place: u32,
    transfer: TransferRow,
) -> Result<Planned<TransferRow>, PlanError> {
    let mut sequences = rows.sequences()?;
    if is_new {
        sequences.replicas += 1;
        for replica in placement.replicas.iter_mut().filter(|replica| replica.id == 0) {
            replica.id = sequences.replicas;
        }
    }
    placement.generation += 1;
    let moved = events::moved(&transfer, job);
    let mut planned = noted(job, place, transfer).telling([moved]);
    put_placement(&mut planned, &mut sequences, id, placement);
    Ok(planned)
}

fn put_placement<T>(
    planned: &mut Planned<T>,
    sequences: &mut row::Sequences,
    id: ShardId,
    placement: row::Shard,
) {
    sequences.placement += 1;
    planned
        .batch
        .put(Column::Rows, key::sequences(), sequences.to_stored());
    planned
        .batch
        .put(Column::Rows, key::shard(id), placement.to_stored());
    planned.event.shards.push(shard::to_proto(id, placement));
}

#[cfg(test)]
mod tests;
