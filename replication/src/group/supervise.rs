//! Elections and beats of all of a node's groups: one task for the node and one for each other node, none for a group.
//! A group at rest costs a glance at whether its state has changed.
//!
//! A replica stands for election when the node of its leader is no longer there, when no leader is known, when
//! the leader's node says that it does not lead, or when the leader has handed over and nobody took over. Elections are safe at any time; this only decides when they are useful.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use openraft::async_runtime::WatchReceiver;
use openraft::type_config::alias::WatchReceiverOf;
use rand::Rng;
use rookery_proto::replication::v1::{Beat, Followed, Request, reply, request};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::detector::BEAT;
use super::member::Member;
use super::replica::{Group, Metrics, is_alone, leads};
use crate::raft::Types;

/// Pause between two looks at the groups.
const LOOK: Duration = Duration::from_millis(100);

/// Every how many looks all groups are looked at, whether they have changed or not: nothing may hang on one missed change.
const LOOKS_PER_ROUND: u64 = 10;

/// Wait before the first attempt, drawn for each group and replica: who is first is mostly alone.
const FIRST_ATTEMPT_MILLIS: std::ops::Range<u64> = 0..300;

/// The same while a group has had no leader since its replica was opened, for the member that is to lead first.
const PREFERRED_ATTEMPT_MILLIS: std::ops::Range<u64> = 100..300;

/// The same for the others, which only stand in for it.
const STAND_IN_ATTEMPT_MILLIS: std::ops::Range<u64> = 1000..2500;

/// Wait before the next.
const NEXT_ATTEMPT_MILLIS: std::ops::Range<u64> = 400..1000;

/// How long a member that is asked to may take to take over, before any may.
const HANDOVER_MAX: Duration = Duration::from_millis(1000);

/// Every how many beats the followed groups are named.
const BEATS_PER_QUESTION: u64 = 8;

/// What a replica thinks of its leader.
#[derive(Default)]
pub(super) struct Suspicion {
    /// Its state, to see whether it has changed since the last look; none before the first.
    state: Option<WatchReceiverOf<Types, Metrics>>,
    /// Nothing is to be done until the state changes, or another node comes or goes.
    settled: bool,
    /// The node that leads, when that is another and there, and the term.
    led_by: Option<(String, u64)>,
    /// When to stand for election, if nothing changes.
    attempt: Option<Instant>,
    /// The term whose leader says that it does not lead.
    not_led: Option<u64>,
    /// Since when this replica leads.
    pub(super) leads_since: Option<Instant>,
    /// A leader has been known since the replica was opened.
    was_led: bool,
}

impl Suspicion {
    /// There is something to look at.
    pub(super) fn stir(&mut self) {
        self.settled = false;
    }

    /// The leader of a term says that it does not lead.
    fn note_not_led(&mut self, term: u64) {
        self.not_led = Some(term);
        self.settled = false;
    }

    /// Whether there is something to look at.
    fn is_due(&mut self, others_changed: bool) -> bool {
        let Some(state) = &mut self.state else { return true };
        // Both are asked: a change is to be seen once.
        let changed = state.changed().now_or_never().is_some();
        changed || !self.settled || others_changed
    }
}

/// The last handover of a group that is known of. Read and written without a lock, for it is looked at while others are held.
#[derive(Debug)]
pub(super) struct Handover {
    began: Instant,
    /// The term whose leader has asked a member to take over.
    term: AtomicU64,
    /// When, in milliseconds after `began`.
    at: AtomicU64,
}

impl Handover {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            term: AtomicU64::new(0),
            at: AtomicU64::new(0),
        }
    }

    /// The leader of a term has asked a member to take over. The first time counts: who asks again and again does not lead either.
    pub(super) fn note(&self, term: u64) {
        if self.term.load(Ordering::Acquire) == term {
            return;
        }
        self.at.store(self.now(), Ordering::Relaxed);
        self.term.store(term, Ordering::Release);
    }

    /// Whether the leader of a term has asked, and nobody has taken over yet as far as is known.
    pub(super) fn is_under_way(&self, term: u64) -> bool {
        self.age(term).is_some_and(|age| age <= HANDOVER_MAX)
    }

    /// Whether the leader of a term has asked, and nobody has taken over in time: openraft's leader takes no proposals after it
    /// has asked, whatever comes of it.
    pub(super) fn is_in_vain(&self, term: u64) -> bool {
        self.age(term).is_some_and(|age| age > HANDOVER_MAX)
    }

    fn age(&self, term: u64) -> Option<Duration> {
        // No leader is elected in term 0.
        if term == 0 || self.term.load(Ordering::Acquire) != term {
            return None;
        }
        let age = self.now().saturating_sub(self.at.load(Ordering::Relaxed));
        Some(Duration::from_millis(age))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Looks after the groups until the member has gone.
pub(super) async fn run(member: Weak<Member>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut beating: HashMap<String, DropGuard> = HashMap::new();
    // Other nodes with which groups are shared, and whether they were there at the last look.
    let mut others: BTreeMap<String, bool> = BTreeMap::new();
    let mut groups_seen = 0;
    for count in 0u64.. {
        ticks.tick().await;
        let Some(held) = member.upgrade() else { return };
        let mut others_changed = count % LOOKS_PER_ROUND == 0;
        for (node, was_alive) in &mut others {
            let is_alive = held.detector.is_alive(node);
            others_changed |= is_alive != *was_alive;
            *was_alive = is_alive;
        }
        let groups_changed = held.group_changes();
        let mut is_new = groups_changed != groups_seen;
        groups_seen = groups_changed;
        let groups = held.groups();
        for group in &groups {
            is_new |= look_after(&held, group, others_changed);
        }
        if !is_new {
            continue;
        }
        let nodes = nodes_of(&groups);
        beating.retain(|node, _| nodes.contains_key(node));
        for node in nodes.keys() {
            beating.entry(node.clone()).or_insert_with(|| {
                let cancel = CancellationToken::new();
                let work = beat(Weak::clone(&member), node.clone());
                let cancelled = cancel.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = cancelled.cancelled() => {}
                        () = work => {}
                    }
                });
                cancel.drop_guard()
            });
        }
        // Who is new was taken to be there by the groups that were looked at.
        others = nodes
            .into_iter()
            .map(|(node, is_alive)| (others.get(&node).copied().unwrap_or(is_alive), node))
            .map(|(is_alive, node)| (node, is_alive))
            .collect();
    }
}

/// The nodes of the groups' other members, all taken to be there.
fn nodes_of(groups: &[Arc<Group>]) -> BTreeMap<String, bool> {
    let mut nodes = BTreeMap::new();
    for group in groups {
        let metrics = group.metrics();
        let metrics = metrics.borrow_watched();
        for (replica, host) in metrics.membership_config.membership().nodes() {
            if *replica != metrics.id && !nodes.contains_key(&host.node) {
                nodes.insert(host.node.clone(), true);
            }
        }
    }
    nodes
}

/// Stands for election when it is time. Answers whether the group's state was looked at, since it or the others changed.
fn look_after(member: &Member, group: &Arc<Group>, others_changed: bool) -> bool {
    let mut suspicion = group.suspicion.lock();
    if !suspicion.is_due(others_changed) {
        return false;
    }
    if suspicion.state.is_none() {
        suspicion.state = Some(group.metrics());
    }
    let metrics = group.metrics();
    let metrics = metrics.borrow_watched();
    let membership = metrics.membership_config.membership();
    let is_voter = membership.voter_ids().any(|voter| voter == metrics.id);
    if leads(&metrics) || !is_voter {
        suspicion.attempt = None;
        suspicion.not_led = None;
        suspicion.was_led = true;
        suspicion.leads_since = leads(&metrics).then(|| suspicion.leads_since.unwrap_or_else(Instant::now));
        suspicion.led_by = group.leader_elsewhere(&metrics);
        suspicion.settled = true;
        return true;
    }
    suspicion.leads_since = None;
    let term = metrics.vote.leader_id.term;
    let is_led = metrics.current_leader.is_some_and(|leader| {
        leader != metrics.id
            && suspicion.not_led != Some(term)
            && !group.handover.is_in_vain(term)
            && membership
                .get_node(&leader)
                .is_some_and(|host| member.detector.is_alive(&host.node))
    });
    suspicion.led_by = group.leader_elsewhere(&metrics);
    if is_led {
        suspicion.was_led = true;
        suspicion.attempt = None;
        // A handover that comes to nothing is seen by the clock alone.
        suspicion.settled = !group.handover.is_under_way(term);
        return true;
    }
    suspicion.settled = false;
    let now = Instant::now();
    let alone = is_alone(&metrics);
    if group.stands_aside() || !alone && !group.may_vote() {
        return true;
    }
    let wait = if alone {
        Duration::ZERO
    } else if suspicion.was_led {
        drawn(FIRST_ATTEMPT_MILLIS)
    } else if group.is_preferred() {
        drawn(PREFERRED_ATTEMPT_MILLIS)
    } else {
        drawn(STAND_IN_ATTEMPT_MILLIS)
    };
    let attempt = *suspicion.attempt.get_or_insert(now + wait);
    if now >= attempt {
        suspicion.attempt = Some(now + drawn(NEXT_ATTEMPT_MILLIS));
        let group = Arc::clone(group);
        tokio::spawn(async move {
            // A replica that is being closed needs no leader.
            let _ = group.raft.trigger().elect(!alone).await;
        });
    }
    true
}

fn drawn(millis: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rand::rng().random_range(millis))
}

/// Tells a node again and again that this one is there.
async fn beat(member: Weak<Member>, node: String) {
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for count in 0u64.. {
        ticks.tick().await;
        let Some(held) = member.upgrade() else { return };
        let followed = match count % BEATS_PER_QUESTION {
            0 => followed(&held, &node),
            _ => Vec::new(),
        };
        let asked = followed.clone();
        let beat = Beat {
            node: held.node().to_owned(),
            incarnation: held.detector.incarnation,
            heard: held.detector.is_heard(&node),
            followed,
        };
        let request = Request {
            group: 0,
            to: 0,
            call: Some(request::Call::Beat(beat)),
        };
        let answer = held.transport.call(&node, request);
        drop(held);
        let answer = answer.await;
        let Some(held) = member.upgrade() else { return };
        if let Ok(reply::Call::BeatAnswer(answer)) = answer {
            held.detector.answered(&node);
            for Followed { group, term } in asked {
                if answer.not_led.contains(&group)
                    && let Some(group) = held.group(crate::entry::GroupId(group))
                {
                    group.suspicion.lock().note_not_led(term);
                }
            }
        }
    }
}

/// Groups that are led on a node, as far as is known here.
fn followed(member: &Member, node: &str) -> Vec<Followed> {
    let mut followed = Vec::new();
    for group in member.groups() {
        if let Some((leader, term)) = &group.suspicion.lock().led_by
            && leader == node
        {
            followed.push(Followed {
                group: group.id().0,
                term: *term,
            });
        }
    }
    followed
}
