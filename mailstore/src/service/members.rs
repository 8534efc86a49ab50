//! Keeps a led shard's members as the directory names them, and leadership where it is wanted.
//!
//! Shards do not wait for each other: what is to be done for one is done step by step, each step looks at the placement anew, and none
//! waits for a new member to have what it lacks.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rookery_replication::group::{Group, GroupMember, MembersError, MembersStep, Standing};
use rookery_replication::log::ReplicaId;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::shards::members_of;
use super::{HostedShard, Shards};
use crate::catalogue::{HANDOVERS, MEMBER_CHANGES};
use crate::schema::ShardId;

/// How often the members of groups are compared with what the directory names, when it has said nothing new.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The same for shards that wait for a new member to have what it lacks, when they are few.
const WAITING_INTERVAL: Duration = Duration::from_millis(25);

/// So many are few.
const WAITING_FEW: usize = 8;

/// Shards whose members are changed at one time; further ones wait for their turn.
const CHANGED_AT_ONCE: usize = 32;

/// How long one step may take. What comes of it later is seen by the next.
const STEP_MAX: Duration = Duration::from_millis(500);

/// How long a node leads a shard that another one is to lead, unless the placement has changed since: short leads cost sessions more
/// than uneven ones.
const HOME_WAIT: Duration = Duration::from_secs(10);

/// Who was to lead a shard when this node began to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Leadership {
    term: u64,
    first: ReplicaId,
}

/// What is to be done for a shard that this node leads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Due {
    /// These are to be its members.
    Members(Vec<GroupMember>),
    /// The same, but not all of these are held by their nodes yet: only learners that are none of them are let go of.
    Learners(Vec<GroupMember>),
    /// This one is to lead.
    Lead(GroupMember),
}

impl Shards {
    /// Has others take over all shards that this node leads and that another can lead. Waits until they do and have told what became
    /// of the last commands, or the caller no longer does.
    pub async fn hand_over(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let all = self.all();
        let handing = all.iter().map(|hosted| hosted.shard().hand_over());
        futures_util::future::join_all(handing).await;
    }

    /// Makes the members of all shards that this node leads those that the directory names, again and again. Does not end.
    pub async fn keep_members(&self) {
        let places = Semaphore::new(CHANGED_AT_ONCE);
        let (mut under_way, mut waiting) = (HashSet::new(), HashSet::new());
        let mut changes = FuturesUnordered::new();
        let mut next_look = Instant::now();
        let mut waiting_since = next_look;
        loop {
            let mut to_look_at = Vec::new();
            let many = u32::try_from(1 + waiting.len() / WAITING_FEW).unwrap_or(u32::MAX);
            tokio::select! {
                biased;
                Some((shard, is_waiting)) = changes.next() => {
                    under_way.remove(&shard);
                    if is_waiting {
                        if waiting.is_empty() {
                            waiting_since = Instant::now();
                        }
                        waiting.insert(shard);
                    }
                }
                () = self.placed.notified() => to_look_at = self.all(),
                () = tokio::time::sleep_until(next_look) => {
                    next_look = Instant::now() + LOOK_INTERVAL;
                    to_look_at = self.all();
                }
                () = tokio::time::sleep_until(waiting_since + WAITING_INTERVAL * many), if !waiting.is_empty() => {
                    to_look_at = waiting.drain().filter_map(|shard| self.get(shard).ok()).collect();
                }
            }
            for hosted in to_look_at {
                if self.due(&hosted).is_some() && under_way.insert(hosted.id()) {
                    changes.push(self.keep_members_of(hosted, &places));
                }
            }
        }
    }

    /// Takes in new replicas and lets go of old ones, as far as that goes without waiting for one of them. True: one is waited for.
    async fn keep_members_of(&self, hosted: Arc<HostedShard>, places: &Semaphore) -> (ShardId, bool) {
        let _place = places.acquire().await;
        let mut has_changed = false;
        // Each time anew: the placement may have changed.
        while let Some(due) = self.due(&hosted) {
            let step = tokio::time::timeout(STEP_MAX, take_step(&hosted, due)).await;
            match step {
                Ok(Ok(MembersStep::Changed)) => has_changed = true,
                Ok(Ok(MembersStep::Waiting)) => return (hosted.id(), true),
                Ok(Ok(_) | Err(MembersError::NotLeading(_))) => return (hosted.id(), false),
                Ok(Err(error)) => {
                    tracing::warn!(shard = hosted.id().0, %error, "trying again");
                    return (hosted.id(), false);
                }
                Err(_) => {
                    tracing::debug!(shard = hosted.id().0, "a step of a change of members takes long");
                    return (hosted.id(), false);
                }
            }
        }
        if has_changed && hosted.shard().group().leads() {
            tracing::info!(
                shard = hosted.id().0,
                "the shard's replicas are those that the directory names"
            );
            self.tell();
        }
        (hosted.id(), false)
    }

    /// What is to be done for a shard; nothing when this node does not lead it, has asked another to, or is about to stop.
    fn due(&self, hosted: &HostedShard) -> Option<Due> {
        let group = hosted.shard().group();
        if !group.leads() || group.hands_over() || self.stopping.load(Ordering::Relaxed) {
            return None;
        }
        let standing = group.standing();
        let placement = self.placement(hosted.id())?;
        let wanted = members_of(&placement);
        let first = wanted.first()?;
        let is_planned = hosted.is_led_otherwise(standing.term, first.replica);
        if !placement.formed {
            return None;
        }
        let is_home = first.replica == group.replica();
        if !is_home && is_planned && can_lead(group, &standing, first) {
            return Some(Due::Lead(first.clone()));
        }
        let is_wanted = |replica: ReplicaId| wanted.iter().any(|member| member.replica == replica);
        let members = &standing.members;
        // Those that vote are waited for by the group itself.
        let votes = |replica: u64| {
            members
                .iter()
                .any(|(known, _, votes)| *votes && known.0 == replica)
        };
        let is_awaited = placement
            .members
            .iter()
            .any(|member| !member.taken && !votes(member.id));
        if is_awaited {
            let mut learners = members.iter().filter(|(_, _, votes)| !*votes);
            let is_left = learners.any(|(replica, _, _)| !is_wanted(*replica));
            return is_left.then_some(Due::Learners(wanted));
        }
        let is_so = !standing.changing
            && members.len() == wanted.len()
            && members
                .iter()
                .all(|(replica, _, votes)| *votes && is_wanted(*replica));
        if !is_so {
            return Some(Due::Members(wanted));
        }
        // Each node leads its part: who is named first gets the lead back once it is there again.
        let is_time = group.led_for() >= HOME_WAIT;
        (!is_home && is_time && can_lead(group, &standing, first)).then(|| Due::Lead(first.clone()))
    }
}

impl HostedShard {
    /// Whether another was to lead when the leadership of this term began. The first question in a term is its beginning.
    fn is_led_otherwise(&self, term: u64, first: ReplicaId) -> bool {
        let mut began = self.leadership.lock();
        if began.term != term {
            *began = Leadership { term, first };
        }
        began.first != first
    }
}

/// Whether a member votes, is there and has nearly all of the log.
fn can_lead(group: &Group, standing: &Standing, member: &GroupMember) -> bool {
    let mut voters = standing.members.iter().filter(|(_, _, votes)| *votes);
    voters.any(|(replica, _, _)| *replica == member.replica)
        && group.is_there(&member.node)
        && group.has_caught_up(member.replica)
}

async fn take_step(hosted: &HostedShard, due: Due) -> Result<MembersStep, MembersError> {
    let group = hosted.shard().group();
    // A step may give the lead away.
    hosted.shard().write_recent(None).await;
    let step = match due {
        Due::Members(wanted) => group.step_members(&wanted).await?,
        Due::Learners(wanted) => match group.remove_learners(&wanted).await? {
            true => MembersStep::Changed,
            false => MembersStep::Waiting,
        },
        Due::Lead(heir) => {
            group.hand_over(heir.replica).await;
            MembersStep::HandedOver(heir.replica)
        }
    };
    match step {
        MembersStep::HandedOver(heir) => {
            tracing::info!(shard = hosted.id().0, heir = heir.0, "handing the lead over");
            HANDOVERS.increment(1);
        }
        MembersStep::Changed => {
            MEMBER_CHANGES.increment(1);
        }
        MembersStep::Settled | MembersStep::Waiting => {}
    }
    Ok(step)
}
