//! Leading: what a member does from when it takes the lead until it loses it, again and again.
//!
//! The parts are made anew for each leadership, out of what is stored: nothing that is in memory outlasts it. What only a
//! leader does (placement, reconciliation, keys, liveness, the group's members) begins and ends with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rookery_proto::Status;
use rookery_proto::directory::v1::Node;
use rookery_replication::group::{Group, GroupMember, Leader, MembersError, Standing};
use rookery_replication::log::ReplicaId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalogue::{LEADERSHIPS, LEADS};
use crate::clock::now_millis;
use crate::config::AutomaticConfig;
use crate::core::Core;
use crate::credentials::Credentials;
use crate::handle::StartError;
use crate::instances::Instances;
use crate::mover::{self, Moves};
use crate::plan::member;
use crate::plan::node::{self, Cluster};
use crate::plan::signing_key::{self, Ages};
use crate::post::Post;
use crate::provision::{Mailstores, Provisioner, reconcile};
use crate::rebalancer::{self, Desk};
use crate::reports::Reports;
use crate::schema::read::Rows;
use crate::schema::row;
use crate::silence;
use crate::splitter::{self, Splits};
use crate::state::State;
use crate::tokens::{self, Tokens};
use crate::watch::Picture;

/// How often liveness is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Ticks between two looks at the age of the signing keys.
const TICKS_PER_KEY_CHECK: u64 = 600;

/// How often a leader makes sure that it still leads.
const PROOF_INTERVAL: Duration = Duration::from_millis(500);

/// A leader that could not make sure for so long does not lead any more. Caches of proxies count for a few seconds more.
const PROOF_MAX: Duration = Duration::from_secs(2);

/// How long a leadership may take to begin.
const BEGIN_MAX: Duration = Duration::from_secs(10);

/// Pause before a leadership is begun again.
const BEGIN_PAUSE: Duration = Duration::from_millis(50);

/// How often the group's members are compared with those that are noted.
const MEMBERS_INTERVAL: Duration = Duration::from_millis(500);

/// How long one change of the members may take before it is looked whether others are wanted by now. What a new one has
/// learnt by then is not lost.
const MEMBERS_MAX: Duration = Duration::from_secs(10);

/// How long changes under way have to end when the directory stops.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// What every leadership begins with.
pub(crate) struct Office {
    pub(crate) post: Arc<Post>,
    pub(crate) cluster: Cluster,
    pub(crate) node: Node,
    pub(crate) mailstores: Arc<dyn Mailstores>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) token_lifetime_millis: u64,
    pub(crate) ages: Ages,
    pub(crate) automatic: AutomaticConfig,
    /// Told why a leadership could not begin.
    pub(crate) failures: mpsc::UnboundedSender<StartError>,
}

impl Office {
    /// Leads whenever this member's replica does, until told to end.
    pub(crate) async fn run(self, end: CancellationToken) {
        loop {
            let core = tokio::select! {
                biased;
                () = end.cancelled() => return,
                core = self.begin() => core,
            };
            match core {
                Ok(Some(core)) => self.lead(core, &end).await,
                Ok(None) => tokio::time::sleep(BEGIN_PAUSE).await,
                Err(error) => {
                    tracing::error!(%error, "the directory cannot be served; trying again");
                    // Nobody need be waiting.
                    let _ = self.failures.send(error);
                    tokio::time::sleep(TICK).await;
                }
            }
        }
    }

    /// Waits for the lead and puts the parts together; nothing when it was lost meanwhile.
    async fn begin(&self) -> Result<Option<Arc<Core>>, StartError> {
        let group = self.post.until_open().await;
        if !group.until_leading().await {
            return Ok(None);
        }
        if self.post.cancel.is_cancelled() {
            // Stopping: the lead is for others.
            std::future::pending::<()>().await;
        }
        let leader = match tokio::time::timeout(BEGIN_MAX, group.lead()).await {
            Ok(Ok(leader)) => leader,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the directory's lead was lost as it began");
                return Ok(None);
            }
            Err(_) => return Ok(None),
        };
        let core = self.put_together(group, leader)?;
        match self.take_over(&core).await {
            Ok(()) => Ok(Some(core)),
            Err(status) => {
                core.state.lose();
                core.state.stop().await;
                if status.is_retryable() {
                    tracing::debug!(%status, "the directory's lead was lost as it began");
                    return Ok(None);
                }
                Err(status.into())
            }
        }
    }

    fn put_together(&self, group: Arc<Group>, leader: Leader) -> Result<Arc<Core>, StartError> {
        let member = &self.post.member;
        let picture = Arc::new(Picture::load(Rows(&member.store().snapshot()), Instant::now())?);
        let state = Arc::new(State::start(
            Arc::clone(member),
            Arc::clone(&group),
            leader,
            Arc::clone(&picture),
        )?);
        let provisioner = Arc::new(Provisioner::new(
            Arc::clone(&state),
            Arc::clone(&picture),
            Arc::clone(&self.mailstores),
        ));
        Ok(Arc::new(Core {
            cluster: self.cluster.clone(),
            own: self.node.id.clone(),
            group,
            state,
            picture,
            reports: Reports::default(),
            instances: Instances::default(),
            rebalance: Desk::default(),
            moves: Moves::default(),
            splits: Splits::default(),
            credentials: Arc::clone(&self.credentials),
            tokens: Tokens::new(self.token_lifetime_millis),
            provisioner,
            members_changed: tokio::sync::Notify::new(),
            cancel: self.post.cancel.child_token(),
            watches_end: self.post.watches_end.child_token(),
        }))
    }

    async fn take_over(&self, core: &Core) -> Result<(), Status> {
        warn_of_shards(core).await?;
        rotate(core, self.ages).await?;
        if !self.post.members.is_alone() {
            let formed = noted(&core.group);
            core.state.change(move |rows| member::note(rows, formed)).await?;
        }
        let (own, term) = (core.own.clone(), core.group.standing().term);
        core.state.change(move |_| Ok(member::leads(&own, term))).await?;
        register_self(core, &self.node).await
    }

    /// Serves until the lead is lost or the directory stops.
    async fn lead(&self, core: Arc<Core>, end: &CancellationToken) {
        let tasks = TaskTracker::new();
        tasks.spawn(reconcile(
            Arc::clone(&core.provisioner),
            Arc::clone(&core.state),
            core.cancel.clone(),
        ));
        tasks.spawn(until(
            core.cancel.clone(),
            keep_house(Arc::clone(&core), self.ages),
        ));
        tasks.spawn(until(core.cancel.clone(), silence::keep(Arc::clone(&core))));
        tasks.spawn(until(core.cancel.clone(), prove(Arc::clone(&core))));
        tasks.spawn(until(core.cancel.clone(), rebalancer::run(Arc::clone(&core))));
        tasks.spawn(until(
            core.cancel.clone(),
            rebalancer::run_automatic(Arc::clone(&core), self.automatic.clone()),
        ));
        tasks.spawn(until(core.cancel.clone(), mover::run(Arc::clone(&core))));
        tasks.spawn(until(core.cancel.clone(), splitter::run(Arc::clone(&core))));
        if !self.post.members.is_alone() {
            tasks.spawn(until(core.cancel.clone(), keep_members(Arc::clone(&core))));
        }
        tasks.close();
        let term = core.group.standing().term;
        tracing::info!(term, cluster = core.cluster.id, "this member leads the directory");
        LEADERSHIPS.increment(1);
        LEADS.set(1.0);
        self.post.serve(Some(Arc::clone(&core)));
        let is_lost = tokio::select! {
            biased;
            () = end.cancelled() => false,
            () = core.state.until_lost() => true,
            _ = core.group.until_following() => true,
        };
        self.post.serve(None);
        LEADS.set(0.0);
        if is_lost {
            tracing::info!(term, "this member does not lead the directory any more");
            core.state.lose();
        }
        core.watches_end.cancel();
        core.cancel.cancel();
        tasks.wait().await;
        if tokio::time::timeout(DRAIN_GRACE, core.state.stop())
            .await
            .is_err()
        {
            tracing::warn!("the directory stops with changes under way");
            core.state.lose();
            core.state.stop().await;
        }
    }
}

async fn until(cancel: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = cancel.cancelled() => {}
        () = work => {}
    }
}

async fn warn_of_shards(core: &Core) -> Result<(), Status> {
    let shards = core.state.read(|rows| rows.shards()).await??;
    // Splits have made the others.
    let placed = shards.iter().filter(|(_, shard)| !shard.added).count();
    if placed != 0 && placed != core.cluster.shards as usize {
        tracing::warn!(
            placed,
            configured = core.cluster.shards,
            "the number of shards stays as it was placed: `rookery shard split` makes more"
        );
    }
    Ok(())
}

async fn rotate(core: &Core, ages: Ages) -> Result<(), Status> {
    let pair = tokens::generate()?;
    let keys = core
        .state
        .change(move |rows| signing_key::rotate(rows, pair, ages, now_millis()))
        .await?;
    core.tokens.set_keys(&keys)
}

async fn register_self(core: &Core, node: &Node) -> Result<(), Status> {
    let (cluster, node) = (core.cluster.clone(), node.clone());
    let cluster_id = cluster.id.clone();
    let alive = core.picture.alive();
    core.state
        .change(move |rows| node::register(rows, &cluster, &cluster_id, &node, &alive))
        .await?;
    core.picture.heard(&core.own, Instant::now());
    Ok(())
}

/// The group's members as they are.
fn noted(group: &Group) -> Vec<row::Member> {
    let members = group.standing().members.into_iter();
    members
        .map(|(replica, node, _)| row::Member {
            node,
            replica: replica.0,
        })
        .collect()
}

/// Liveness and keys.
async fn keep_house(core: Arc<Core>, ages: Ages) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for ticks in 0u64.. {
        interval.tick().await;
        let now = Instant::now();
        core.picture.heard(&core.own, now);
        core.picture.expire(now);
        if ticks % TICKS_PER_KEY_CHECK == TICKS_PER_KEY_CHECK - 1
            && let Err(status) = rotate(&core, ages).await
        {
            tracing::warn!(%status, "cannot look after the signing keys");
        }
    }
}

/// Makes sure again and again that this member leads, so that watches end soon when it does not: whoever follows them
/// counts on hearing of every change.
async fn prove(core: Arc<Core>) {
    loop {
        tokio::time::sleep(PROOF_INTERVAL).await;
        let proof = tokio::time::timeout(PROOF_MAX, core.group.confirm());
        if !matches!(proof.await, Ok(Ok(()))) {
            return core.state.lose();
        }
    }
}

/// Makes the group's members those that are noted.
async fn keep_members(core: Arc<Core>) {
    for attempt in 0.. {
        // Either way it is time to look.
        let _ = tokio::time::timeout(MEMBERS_INTERVAL, core.members_changed.notified()).await;
        let noted = match core.state.read(|rows| rows.members()).await {
            Ok(Ok(Some(members))) => members.members,
            Ok(Ok(None)) | Err(_) => continue,
            Ok(Err(error)) => {
                tracing::error!(%error, "the members of the directory cannot be read");
                continue;
            }
        };
        let Some(wanted) = next_members(&core.group.standing(), &noted, attempt) else {
            continue;
        };
        // Who leads cannot let go of itself.
        let stays = wanted.iter().any(|member| member.replica == core.group.replica());
        if !stays {
            continue;
        }
        match tokio::time::timeout(MEMBERS_MAX, core.group.set_members(&wanted)).await {
            Ok(Ok(())) => tracing::info!(?wanted, "the directory's members have changed"),
            Ok(Err(MembersError::NotLeading(_))) | Err(_) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the directory's members could not be changed; trying again")
            }
        }
    }
}

/// The members that the group is to have next, when that is not what it has: with one of those that are noted and do not
/// vote yet in place of what its node had, each in its turn, so that none waits for another that is not there.
fn next_members(standing: &Standing, noted: &[row::Member], turn: usize) -> Option<Vec<GroupMember>> {
    let votes = |noted: &row::Member| {
        let mut members = standing.members.iter();
        members.any(|(replica, _, votes)| *votes && replica.0 == noted.replica)
    };
    let waiting: Vec<&row::Member> = noted.iter().filter(|noted| !votes(noted)).collect();
    if waiting.is_empty() && standing.members.len() == noted.len() && !standing.changing {
        return None;
    }
    let chosen = waiting.get(turn % waiting.len().max(1)).copied();
    let voters = standing.members.iter().filter(|(_, node, votes)| {
        *votes
            && chosen.is_none_or(|chosen| chosen.node != *node)
            && noted.iter().any(|noted| noted.node == *node)
    });
    let member = |replica: ReplicaId, node: &str| GroupMember {
        replica,
        node: node.to_owned(),
        witness: false,
    };
    let is_noted = |replica: ReplicaId| noted.iter().any(|noted| noted.replica == replica.0);
    let mut wanted: Vec<GroupMember> = voters
        // While a change is under way a node may have two.
        .filter(|(replica, node, _)| {
            is_noted(*replica) || !noted.iter().any(|noted| noted.node == *node && votes(noted))
        })
        .map(|(replica, node, _)| member(*replica, node))
        .collect();
    wanted.extend(chosen.map(|chosen| member(ReplicaId(chosen.replica), &chosen.node)));
    Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(members: &[(u64, &str, bool)]) -> Standing {
        Standing {
            term: 1,
            leader: Some("a".to_owned()),
            leads: true,
            members: members
                .iter()
                .map(|(replica, node, votes)| (ReplicaId(*replica), (*node).to_owned(), *votes))
                .collect(),
            changing: false,
        }
    }

    fn next(members: &[(u64, &str, bool)], noted: &[(u64, &str)], turn: usize) -> Option<Vec<u64>> {
        let noted: Vec<row::Member> = noted
            .iter()
            .map(|(replica, node)| row::Member {
                node: (*node).to_owned(),
                replica: *replica,
            })
            .collect();
        let wanted = next_members(&standing(members), &noted, turn)?;
        let mut wanted: Vec<u64> = wanted.into_iter().map(|member| member.replica.0).collect();
        wanted.sort_unstable();
        Some(wanted)
    }

    #[test]
    fn new_replicas_come_one_by_one_and_none_waits_for_another() {
        let all = [(1, "a", true), (2, "b", true), (3, "c", true)];
        assert_eq!(next(&all, &[(1, "a"), (2, "b"), (3, "c")], 0), None);
        let noted = [(1, "a"), (4, "b"), (5, "c")];
        assert_eq!(next(&all, &noted, 0), Some(vec![1, 3, 4]));
        assert_eq!(next(&all, &noted, 1), Some(vec![1, 2, 5]));
        // One learns; the other has come.
        let half = [(1, "a", true), (3, "c", true), (4, "b", true), (5, "c", false)];
        assert_eq!(next(&half, &noted, 7), Some(vec![1, 4, 5]));
        // One that grows.
        assert_eq!(next(&all[..1], &[(1, "a"), (2, "b")], 3), Some(vec![1, 2]));
        // One that is not noted any more, and a learner that nobody wants.
        assert_eq!(next(&all, &[(1, "a"), (2, "b")], 0), Some(vec![1, 2]));
        let left = [(1, "a", true), (2, "b", true), (9, "b", false)];
        assert_eq!(next(&left, &[(1, "a"), (2, "b")], 0), Some(vec![1, 2]));
        // Both numbers of a node vote while a change is under way.
        let both = [(1, "a", true), (2, "b", true), (4, "b", true), (3, "c", true)];
        assert_eq!(
            next(&both, &[(1, "a"), (4, "b"), (3, "c")], 0),
            Some(vec![1, 3, 4])
        );
    }
}
