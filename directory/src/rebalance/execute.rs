//! What is to be done next of a rebalance that is under way: from the rows and what nodes have said to a list of acts. Pure.
//!
//! An act is one mutation of the directory ([`crate::plan::rebalance`]) and may be done twice, or too late: it is refused or changes
//! nothing then. So whoever leads the directory needs no more than the rows to go on.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::stored::{JobRow, JobState, LeadRow, Stage, TransferRow};

/// A new replica whose node is silent for so long is given up, in milliseconds.
pub const SILENCE_MAX_MILLIS: u64 = 60_000;

/// A replica that is to lead and does not for so long is not waited for any longer, in milliseconds; it leads when it can.
pub const LEAD_MAX_MILLIS: u64 = 30_000;

/// A rebalance with its rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Job {
    /// The whole.
    pub row: JobRow,
    /// Transfers by their places.
    pub transfers: Vec<TransferRow>,
    /// Changes of leads by their places.
    pub leads: Vec<LeadRow>,
}

/// What nodes have said, as far as it matters here.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Shards by their numbers.
    pub shards: HashMap<u32, Seen>,
    /// For how long each node that does not answer has been silent, in milliseconds; those that answer are not named.
    pub silent: HashMap<String, u64>,
    /// Nodes whose disks have no room for what they are to get.
    pub full: HashSet<String>,
    /// Nodes that have not heard yet how fast they are to fetch.
    pub untold: HashSet<String>,
    /// The replicas that each node has said it holds; of those that are not named nothing is known.
    pub held: HashMap<String, HashSet<(u32, u64)>>,
}

/// A shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Of its placement.
    pub generation: u64,
    /// Replicas that the placement names, with their nodes.
    pub members: Vec<(u64, String)>,
    /// Those that vote, as the leader says; none while that is not known or changes.
    pub voters: Vec<u64>,
    /// The node that leads; empty when that is not known.
    pub leader: String,
}

impl Seen {
    /// Whether those that vote are those that the placement names.
    fn is_settled(&self) -> bool {
        self.voters.len() == self.members.len()
            && self
                .members
                .iter()
                .all(|(replica, _)| self.voters.contains(replica))
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Name the new replica of a transfer.
    Begin(u32),
    /// Name the old replica of a transfer again, or skip one that has not been begun.
    Revert(u32, String),
    /// The voters of a transfer's shard are those that are named.
    Settle(u32),
    /// The old replica's files are gone.
    Finish(u32),
    /// Name another replica first.
    BeginLead(u32),
    /// A change of a lead is over, or for a reason not.
    EndLead(u32, String),
    /// Nothing is left.
    End,
}

/// What is to be done next.
pub fn acts(job: &Job, world: &World, now_millis: u64) -> Vec<Act> {
    match job.row.state() {
        JobState::Done | JobState::Aborted => Vec::new(),
        // Whoever was storing it has gone.
        JobState::Storing => vec![Act::End],
        state => {
            let mut acts = Vec::new();
            for (place, transfer) in (0u32..).zip(&job.transfers) {
                acts.extend(of_transfer(state, place, transfer, world));
            }
            let unsettled = unsettled(job);
            for (place, lead) in (0u32..).zip(&job.leads) {
                acts.extend(of_lead(state, place, lead, &unsettled, world, now_millis));
            }
            if state == JobState::Running {
                begin(job, world, &mut acts);
            }
            let is_over = job.transfers.iter().all(|transfer| transfer.stage().is_over())
                && job.leads.iter().all(|lead| lead.stage().is_over());
            if is_over {
                acts.push(Act::End);
            }
            acts
        }
    }
}

fn of_transfer(state: JobState, place: u32, transfer: &TransferRow, world: &World) -> Option<Act> {
    let shard = world.shards.get(&transfer.shard);
    match transfer.stage() {
        Stage::Waiting if state == JobState::Aborting => {
            Some(Act::Revert(place, "the rebalance was aborted".to_owned()))
        }
        Stage::Changing => {
            // Once it votes it has all: it is done sooner than taken back.
            if shard.is_some_and(Seen::is_settled) {
                return Some(Act::Settle(place));
            }
            if state == JobState::Aborting {
                return Some(Act::Revert(place, "the rebalance was aborted".to_owned()));
            }
            let to = &transfer.to_node;
            let silence = world.silent.get(to).copied().unwrap_or(0);
            if silence >= SILENCE_MAX_MILLIS {
                return Some(Act::Revert(place, format!("{to} does not answer")));
            }
            let is_full = world.full.contains(to);
            is_full.then(|| Act::Revert(place, format!("the disk of {to} is full")))
        }
        Stage::Reverting => shard.is_some_and(Seen::is_settled).then_some(Act::Settle(place)),
        Stage::Removing => {
            let held = world.held.get(&transfer.from_node);
            let is_gone = held.is_some_and(|held| !held.contains(&(transfer.shard, transfer.from_replica)));
            // One that does not answer removes it when it is back.
            (is_gone || world.silent.contains_key(&transfer.from_node)).then_some(Act::Finish(place))
        }
        _ => None,
    }
}

/// Shards with a transfer that is to change their voters still.
fn unsettled(job: &Job) -> HashSet<u32> {
    let changes = |stage: Stage| !stage.is_over() && stage != Stage::Removing;
    let transfers = job.transfers.iter();
    transfers
        .filter(|transfer| changes(transfer.stage()))
        .map(|transfer| transfer.shard)
        .collect()
}

fn of_lead(
    state: JobState,
    place: u32,
    lead: &LeadRow,
    unsettled: &HashSet<u32>,
    world: &World,
    now_millis: u64,
) -> Option<Act> {
    let shard = world.shards.get(&lead.shard);
    match lead.stage() {
        Stage::Waiting if state == JobState::Aborting => {
            Some(Act::EndLead(place, "the rebalance was aborted".to_owned()))
        }
        Stage::Waiting if state == JobState::Running => {
            (!unsettled.contains(&lead.shard)).then_some(Act::BeginLead(place))
        }
        Stage::Changing => {
            if shard.is_some_and(|shard| shard.leader == lead.to_node) {
                return Some(Act::EndLead(place, String::new()));
            }
            let waited = now_millis.saturating_sub(lead.began_at_millis);
            (waited >= LEAD_MAX_MILLIS || state == JobState::Aborting).then(|| {
                let why_not = format!("{} has not taken the lead yet; it will when it can", lead.to_node);
                Act::EndLead(place, why_not)
            })
        }
        _ => None,
    }
}

/// Begins as many transfers as there is room for: in the plan's order, each shard's one after the other, and no node with a part in
/// more of them than it may.
fn begin(job: &Job, world: &World, acts: &mut Vec<Act>) {
    let mut parts: BTreeMap<&str, u32> = BTreeMap::new();
    let mut busy: HashSet<u32> = HashSet::new();
    for transfer in &job.transfers {
        if transfer.stage().is_under_way() {
            busy.insert(transfer.shard);
        }
        if matches!(transfer.stage(), Stage::Changing | Stage::Reverting) {
            for node in nodes_of(transfer, world) {
                *parts.entry(node).or_default() += 1;
            }
        }
    }
    let most = job.row.transfers_max.max(1);
    for (place, transfer) in (0u32..).zip(&job.transfers) {
        // A later one of a shard waits for those before it.
        if transfer.stage() != Stage::Waiting || !busy.insert(transfer.shard) {
            continue;
        }
        // One that is away or full is waited for: it may be back, or have room, soon.
        let to = &transfer.to_node;
        if world.silent.contains_key(to) || world.full.contains(to) || world.untold.contains(to) {
            continue;
        }
        let nodes = nodes_of(transfer, world);
        if nodes
            .iter()
            .any(|node| parts.get(node).copied().unwrap_or(0) >= most)
        {
            continue;
        }
        for node in nodes {
            *parts.entry(node).or_default() += 1;
        }
        acts.push(Act::Begin(place));
    }
}

/// The nodes that a transfer costs something: who sends, and who receives.
fn nodes_of<'a>(transfer: &'a TransferRow, world: &'a World) -> HashSet<&'a str> {
    let leader = world
        .shards
        .get(&transfer.shard)
        .map(|shard| shard.leader.as_str())
        .filter(|leader| !leader.is_empty());
    leader.into_iter().chain([transfer.to_node.as_str()]).collect()
}

#[cfg(test)]
mod tests;
