//! One replica of a group on this node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::type_config::alias::WatchReceiverOf;
use openraft::{ReadPolicy, ServerState};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::detector::Detector;
use super::follow::Following;
use super::leader::{Budget, Leader, ProposeError};
use super::lease::{Lease, Moment};
use super::supervise::{Handover, Suspicion};
use crate::entry::{GroupId, LeaderId};
use crate::log::{Position, ReplicaId};
use crate::raft::convert;
use crate::raft::machine::Progress;
use crate::raft::{Raft, Types};

/// How old the last word of a quorum may be for a proposal to go without asking first: below openraft's lease.
const QUORUM_AGE_MAX: Duration = Duration::from_millis(400);

/// Pause before one is looked for again that can take over.
const HEIR_LOOK: Duration = Duration::from_millis(20);

/// How long a member that is to take the leadership over may take.
const HEIR_WAIT: Duration = Duration::from_secs(1);

pub(super) type Metrics = openraft::metrics::RaftServerMetrics<Types>;

/// This node does not lead the group, or cannot know that it does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this node does not lead the group")]
pub struct NotLeading {
    /// The node that does, as far as is known.
    pub leader: Option<String>,
}

/// What a replica is in its group just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The term.
    pub term: u64,
    /// The leader's node, when it is known and there, and does not hand over.
    pub leader: Option<String>,
    /// Whether this replica leads.
    pub leads: bool,
    /// The members, and which of them vote.
    pub members: Vec<(ReplicaId, String, bool)>,
    /// Whether a change of the membership is under way.
    pub changing: bool,
}

/// One replica of a group on this node.
pub struct Group {
    id: GroupId,
    replica: ReplicaId,
    pub(super) raft: Raft,
    pub(super) progress: Arc<Progress>,
    pub(super) budget: Arc<Budget>,
    detector: Arc<Detector>,
    pub(super) runtime: Handle,
    pub(super) suspicion: Mutex<Suspicion>,
    pub(super) handover: Handover,
    /// Whether it is to lead when nothing speaks against it.
    preferred: AtomicBool,
    /// It leaves the lead to others: its node is about to stop.
    aside: AtomicBool,
    /// Fetching and installing a state, one at a time.
    pub(super) installing: tokio::sync::Mutex<()>,
    leaderships: AtomicU32,
    began: Instant,
    /// When a quorum was heard of last, in milliseconds after `began`.
    quorum_heard: AtomicU64,
    lease: Lease,
    /// Confirmations that were asked for.
    asked: AtomicU64,
    /// The last of them that is answered by a round that has ended.
    answered: tokio::sync::Mutex<u64>,
    /// What is known of the leader while this replica follows.
    pub(super) following: Following,
}

impl Group {
    pub(super) fn new(
        id: GroupId,
        replica: ReplicaId,
        raft: Raft,
        progress: Arc<Progress>,
        budget: Arc<Budget>,
        detector: Arc<Detector>,
        lease: Lease,
    ) -> Self {
        Self {
            id,
            replica,
            raft,
            progress,
            budget,
            detector,
            runtime: Handle::current(),
            suspicion: Mutex::default(),
            handover: Handover::new(),
            preferred: AtomicBool::new(false),
            aside: AtomicBool::new(false),
            installing: tokio::sync::Mutex::default(),
            leaderships: AtomicU32::new(0),
            began: Instant::now(),
            quorum_heard: AtomicU64::new(0),
            lease,
            asked: AtomicU64::new(0),
            answered: tokio::sync::Mutex::new(0),
            following: Following::default(),
        }
    }

    /// Its group.
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// Its number.
    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// Says whether it is to lead when nothing speaks against it. Takes effect when a leader is looked for.
    pub fn set_preferred(&self, preferred: bool) {
        self.preferred.store(preferred, Ordering::Relaxed);
    }

    pub(super) fn is_preferred(&self) -> bool {
        self.preferred.load(Ordering::Relaxed)
    }

    /// Whether a node is there, as far as this one has heard.
    pub fn is_there(&self, node: &str) -> bool {
        self.detector.is_alive(node) && self.detector.is_heard(node)
    }

    /// Whether it may vote for another than the leader that it last heard of.
    pub(super) fn may_vote(&self) -> bool {
        self.lease.may_vote(Instant::now())
    }

    /// Whether it is the group's only replica: nobody follows it, and nobody is about to.
    pub(super) fn is_without_others(&self) -> bool {
        let metrics = self.metrics();
        let metrics = metrics.borrow_watched();
        let mut members = metrics.membership_config.membership().nodes();
        members.all(|(replica, _)| *replica == metrics.id)
    }

    pub(super) fn metrics(&self) -> WatchReceiverOf<Types, Metrics> {
        self.raft.server_metrics()
    }

    /// What it is just now.
    pub fn standing(&self) -> Standing {
        let metrics = self.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        Standing {
            term: metrics.vote.leader_id.term,
            leader: self.alive_leader(&metrics),
            leads: leads(&metrics),
            members: membership
                .nodes()
                .map(|(replica, host)| (ReplicaId(*replica), host.node.clone(), voters.contains(replica)))
                .collect(),
            changing: membership.get_joint_config().len() > 1
                || metrics.membership_config.log_id() != metrics.committed_membership_config.log_id(),
        }
    }

    /// Whether this replica leads, as far as it knows.
    pub fn leads(&self) -> bool {
        leads(&self.metrics().borrow_watched())
    }

    /// The leader's node, when it is known and there, and does not hand over.
    pub fn leader(&self) -> Option<String> {
        self.standing().leader
    }

    /// The last entry that is applied here.
    pub fn applied(&self) -> Option<Position> {
        self.progress.applied().last.as_ref().map(convert::position)
    }

    /// Bytes that have come of the state that it is being given; 0 while it is given none.
    pub fn fetched(&self) -> u64 {
        self.progress.fetched.load(Ordering::Relaxed)
    }

    /// Waits until this replica leads and answers true, or until it is closed and answers false.
    pub async fn until_leading(&self) -> bool {
        self.until(leads).await
    }

    /// Waits until this replica no longer leads and answers true, or until it is closed and answers false.
    pub async fn until_following(&self) -> bool {
        self.until(|metrics| !leads(metrics)).await
    }

    /// Waits until some leader is known; false when the replica is closed before.
    pub async fn until_led(&self) -> bool {
        self.until(|metrics| metrics.current_leader.is_some()).await
    }

    /// Waits until another replica is known to lead, on a node that is there; false when the replica is closed before.
    pub async fn until_led_elsewhere(&self) -> bool {
        self.until(|metrics| !leads(metrics) && self.alive_leader(metrics).is_some())
            .await
    }

    /// The leader's node, when that is there and does not hand over.
    fn alive_leader(&self, metrics: &Metrics) -> Option<String> {
        if self.handover.is_under_way(metrics.vote.leader_id.term) {
            return None;
        }
        self.named_leader(metrics)
    }

    /// The leader's node, when that is there.
    fn named_leader(&self, metrics: &Metrics) -> Option<String> {
        let leader = metrics.current_leader?;
        let host = metrics.membership_config.membership().get_node(&leader)?;
        let is_there = leader == metrics.id || self.detector.is_alive(&host.node);
        is_there.then(|| host.node.clone())
    }

    /// The leader's node, when that is another and there, and the term.
    pub(super) fn leader_elsewhere(&self, metrics: &Metrics) -> Option<(String, u64)> {
        let leader = self.named_leader(metrics).filter(|_| !leads(metrics))?;
        Some((leader, metrics.vote.leader_id.term))
    }

    /// The term, when this replica leads.
    pub(super) fn led_term(&self) -> Option<u64> {
        let metrics = self.metrics();
        let metrics = metrics.borrow_watched();
        leads(&metrics).then_some(metrics.vote.leader_id.term)
    }

    /// Another replica that leads, and its node, when that is there.
    pub(super) fn followed(&self) -> Option<(ReplicaId, String)> {
        let metrics = self.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader.filter(|leader| *leader != metrics.id)?;
        Some((ReplicaId(leader), self.alive_leader(&metrics)?))
    }

    async fn until(&self, is_so: impl Fn(&Metrics) -> bool) -> bool {
        let mut metrics = self.metrics();
        loop {
            if is_so(&metrics.borrow_watched()) {
                return true;
            }
            if metrics.changed().await.is_err() {
                return false;
            }
        }
    }

    /// Begins a new leadership, which ends any other: nothing that was proposed before is applied after this answers, and
    /// all of it that ever will be can be read.
    pub async fn lead(self: &Arc<Self>) -> Result<Leader, ProposeError> {
        let term = {
            let metrics = self.metrics();
            let metrics = metrics.borrow_watched();
            if !leads(&metrics) {
                return Err(ProposeError::NotLeader);
            }
            metrics.vote.leader_id.term
        };
        let count = self.leaderships.fetch_add(1, Ordering::Relaxed);
        Leader::begin(Arc::clone(self), LeaderId { term, count }).await
    }

    /// Makes sure that this replica leads now, so that what is applied after this answers holds all that was acknowledged
    /// before it was asked. One round of messages answers all who ask meanwhile; none is needed when there is no other voter.
    pub async fn confirm(&self) -> Result<(), NotLeading> {
        let term = {
            let metrics = self.metrics();
            let metrics = metrics.borrow_watched();
            if !leads(&metrics) {
                return Err(not_leading(&metrics));
            }
            if is_alone(&metrics) || self.lease.holds(metrics.vote.leader_id.term, Moment::now()) {
                return Ok(());
            }
            metrics.vote.leader_id.term
        };
        let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut answered = self.answered.lock().await;
        if *answered >= asked {
            return Ok(());
        }
        let covers = self.asked.load(Ordering::SeqCst);
        let began = Moment::now();
        let confirmed = self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await;
        if confirmed.is_err() {
            return Err(not_leading(&self.metrics().borrow_watched()));
        }
        *answered = covers;
        self.heard_of_quorum();
        self.lease.confirmed(term, began);
        Ok(())
    }

    pub(super) fn heard_of_quorum(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.quorum_heard.fetch_max(now, Ordering::Relaxed);
    }

    /// openraft takes proposals only while a quorum was heard of lately, and groups at rest send no messages.
    pub(super) async fn renew_lease(&self) -> Result<(), ProposeError> {
        let heard = Duration::from_millis(self.quorum_heard.load(Ordering::Relaxed));
        if self.began.elapsed().saturating_sub(heard) < QUORUM_AGE_MAX {
            return Ok(());
        }
        self.confirm().await.map_err(|_| ProposeError::NotLeader)
    }

    /// How long this replica has led without a break, as supervision has seen it; zero when it does not.
    pub fn led_for(&self) -> Duration {
        let since = self.suspicion.lock().leads_since;
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Whether the replica has no more than the first membership of its group: it has never voted, and knows of no leader.
    pub fn is_blank(&self) -> bool {
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        let unheard = now.current_leader.is_none() && now.vote.leader_id.term == 0;
        unheard && now.last_log_index.unwrap_or(0) == 0 && now.snapshot.is_none()
    }

    /// Has another member lead, whichever can, and stands for election no more. Waits until it is known who leads; gives up when no
    /// other is there.
    pub async fn give_up_lead(&self) {
        self.aside.store(true, Ordering::Relaxed);
        let mut tried = Vec::new();
        let began = Instant::now();
        let mut is_told = false;
        loop {
            if !self.leads() {
                // Who is elected meanwhile may be this one: it may have stood just before.
                tokio::select! {
                    _ = self.until_led_elsewhere() => return,
                    is_open = self.until_leading() => if !is_open { return },
                }
                tried.clear();
            }
            let standing = self.standing();
            let others = || {
                let is_other =
                    |(replica, _, votes): &&(ReplicaId, String, bool)| *votes && *replica != self.replica;
                standing
                    .members
                    .iter()
                    .filter(is_other)
                    .filter(|(_, node, _)| self.is_there(node))
            };
            let heir =
                others().find(|(replica, _, _)| !tried.contains(replica) && self.has_caught_up(*replica));
            let Some((heir, _, _)) = heir else {
                if others().next().is_none() {
                    return;
                }
                if began.elapsed() > HEIR_WAIT && !is_told {
                    is_told = true;
                    tracing::warn!(group = self.id.0, state = %self.describe(), "no other replica can take over yet");
                }
                // One that is a little behind now has caught up in a moment.
                tried.clear();
                tokio::time::sleep(HEIR_LOOK).await;
                continue;
            };
            tried.push(*heir);
            self.hand_over(*heir).await;
            // One that does not take over in this time is sick.
            let taken = tokio::time::timeout(HEIR_WAIT, self.until_following()).await;
            tracing::debug!(
                group = self.id.0,
                heir = heir.0,
                is_taken = taken.is_ok(),
                "asked another replica to take over"
            );
        }
    }

    /// Whether it leaves the lead to others.
    pub(super) fn stands_aside(&self) -> bool {
        self.aside.load(Ordering::Relaxed)
    }

    /// The leader of a term hands over.
    pub(super) fn note_handover(&self, term: u64) {
        self.handover.note(term);
        self.suspicion.lock().stir();
    }

    /// Whether the leader of this term has asked a member to take over, whatever has come of it.
    pub fn hands_over(&self) -> bool {
        let term = self.metrics().borrow_watched().vote.leader_id.term;
        self.handover.is_under_way(term) || self.handover.is_in_vain(term)
    }

    /// Asks a member to take the leadership over; does not wait for it.
    pub async fn hand_over(&self, to: ReplicaId) {
        let term = self.metrics().borrow_watched().vote.leader_id.term;
        self.lease.give_up(term);
        self.note_handover(term);
        // A replica that is being closed has nothing to hand over.
        let _ = self.raft.trigger().transfer_leader(to.0).await;
    }
}

pub(super) fn leads(metrics: &Metrics) -> bool {
    metrics.state == ServerState::Leader && metrics.current_leader == Some(metrics.id)
}

/// Whether the replica is the only one that votes.
pub(super) fn is_alone(metrics: &Metrics) -> bool {
    metrics
        .membership_config
        .membership()
        .voter_ids()
        .all(|voter| voter == metrics.id)
}

fn not_leading(metrics: &Metrics) -> NotLeading {
    NotLeading {
        leader: metrics
            .current_leader
            .filter(|leader| *leader != metrics.id)
            .and_then(|leader| metrics.membership_config.membership().get_node(&leader))
            .map(|host| host.node.clone()),
    }
}
