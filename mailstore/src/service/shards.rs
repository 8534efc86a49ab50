//! The shards that this node serves now.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use parking_lot::{Mutex, RwLock};
use rookery_proto::directory::v1 as proto;
use rookery_proto::directory::v1::{HeldReplica, LedShard};
use rookery_proto::mailstore::v1::{Reply, reply};
use rookery_proto::{Reason, Status};
use rookery_replication::GroupId;
use rookery_replication::group::{GroupMember, Member, OpenError, ReplicaSpec, Start};
use rookery_replication::log::ReplicaId;
use tokio::sync::Notify;

use super::load::Load;
use super::members::Leadership;
use super::watch::Watchers;
use crate::node::ShardMap;
use crate::plan::Mutation;
use crate::read::{OwnedSnapshot, SharedView};
use crate::schema::ShardId;
use crate::shard::{Disk, Shard, ShardOptions, Subscription};

/// How long a shard that closes waits for what is in flight. A replica that has handed over and is a member no more hears nothing of it; who
/// asked hears that the outcome is unknown then, and asks the new leader, which knows.
const SETTLE_GRACE: Duration = Duration::from_millis(300);

/// How long a call waits for a shard that is being opened.
const OPEN_WAIT: Duration = Duration::from_secs(3);

/// Shards that are opened at one time: their syncs are shared.
const OPENED_AT_ONCE: usize = 16;

/// A shard that is open here.
pub struct HostedShard {
    shard: Arc<Shard>,
    generation: AtomicU64,
    watchers: Arc<Watchers>,
    pub(super) leadership: Mutex<Leadership>,
    pub(super) load: Load,
}

impl HostedShard {
    /// Its number.
    pub fn id(&self) -> ShardId {
        self.shard.id()
    }

    /// Generation of its placement, as the directory told last.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// What is durable at this moment.
    pub(super) fn view(&self) -> SharedView {
        Arc::new(OwnedSnapshot::of(Arc::clone(self.shard.store())))
    }

    /// Runs a mutation and gives what it answers.
    pub(super) async fn mutate(&self, mutation: Mutation) -> Result<reply::Call, Status> {
        self.count_mutation(&mutation);
        let Reply { call } = self.shard.mutate(mutation).await?;
        call.ok_or_else(|| Status::internal("the writer gave an empty answer"))
    }

    /// [`Shard::ready`].
    pub(super) async fn ready(&self) -> Result<(), Status> {
        self.shard.ready().await
    }

    /// [`Shard::confirm`].
    pub(super) async fn confirm(&self) -> Result<(), Status> {
        self.shard.confirm().await
    }

    /// Its shard.
    pub fn shard(&self) -> &Arc<Shard> {
        &self.shard
    }

    pub(super) fn subscribe(&self) -> Subscription {
        self.shard.events()
    }

    pub(super) fn watchers(&self) -> &Arc<Watchers> {
        &self.watchers
    }

    /// Works off what has expired and what is left over.
    pub async fn maintain(&self) -> Result<(), Status> {
        self.shard.maintain().await
    }
}

/// All shards that are open here, and where the others are.
pub struct Shards {
    node: String,
    member: Arc<Member>,
    options: ShardOptions,
    /// Replicas that this node should hold and does not find.
    lost: Mutex<Vec<HeldReplica>>,
    /// The store's, as it was seen last.
    pub(super) disk: Mutex<Disk>,
    /// The node is about to stop: it takes no lead.
    pub(super) stopping: AtomicBool,
    /// A shard was opened.
    opened: Notify,
    /// Something is to be told to the directory.
    changed: Arc<Notify>,
    /// The directory has said something of where shards are to be.
    pub(super) placed: Notify,
    hosted: RwLock<HashMap<ShardId, Arc<HostedShard>>>,
    map: RwLock<ShardMap>,
}

impl Shards {
    /// None yet.
    pub fn new(node: String, member: Arc<Member>, options: ShardOptions) -> Self {
        let changed = Arc::new(Notify::new());
        let led = Arc::clone(&changed);
        let options = ShardOptions {
            on_leading: Some(Arc::new(move || led.notify_one())),
            ..options
        };
        Self {
            node,
            member,
            options,
            lost: Mutex::default(),
            disk: Mutex::default(),
            stopping: AtomicBool::new(false),
            opened: Notify::new(),
            changed,
            placed: Notify::new(),
            hosted: RwLock::default(),
            map: RwLock::default(),
        }
    }

    /// A shard of which a replica is open here; NOT_LEADER with who leads it otherwise.
    pub fn get(&self, shard: ShardId) -> Result<Arc<HostedShard>, Status> {
        if let Some(hosted) = self.hosted.read().get(&shard) {
            return Ok(Arc::clone(hosted));
        }
        let map = self.map.read();
        let placement = map.placement(shard);
        if placement.is_some_and(|placement| placement.members.iter().any(|member| member.node == self.node))
        {
            return Err(Status::unavailable(format!(
                "shard {shard} is being opened here: retry"
            )));
        }
        let leader = placement.map_or("", |placement| match placement.leader.as_str() {
            "" => placement.replicas.first().map_or("", String::as_str),
            leader => leader,
        });
        Err(Status {
            leader: leader.to_owned(),
            ..Status::new(
                Reason::NotLeader,
                format!("shard {shard} is not on {}", self.node),
            )
        })
    }

    /// The node's part in the shards' groups.
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// [`Shards::get`], which waits a short while for a shard that is placed here and being opened.
    pub async fn wait_for(&self, shard: ShardId) -> Result<Arc<HostedShard>, Status> {
        let until = tokio::time::Instant::now() + OPEN_WAIT;
        loop {
            let opened = self.opened.notified();
            tokio::pin!(opened);
            // Waits from now on, so that no word is missed.
            opened.as_mut().enable();
            match self.get(shard) {
                Err(status) if status.reason == Reason::Unavailable => {
                    if tokio::time::timeout_at(until, opened).await.is_err() {
                        return Err(status);
                    }
                }
                result => return result,
            }
        }
    }

    /// All that are open here.
    pub fn all(&self) -> Vec<Arc<HostedShard>> {
        self.hosted.read().values().cloned().collect()
    }

    /// Takes in the shard map: opens the replicas that it gives to this node, removes those that it takes away once the
    /// others no longer count on them. Must be called by one task alone.
    pub async fn reconcile(&self, change: impl FnOnce(&mut ShardMap)) {
        let wanted: HashMap<ShardId, (proto::Shard, ReplicaId)> = {
            let mut map = self.map.write();
            change(&mut map);
            let mine = map.shards_of(&self.node);
            mine.map(|(shard, replica)| (ShardId(shard.id), (shard.clone(), replica)))
                .collect()
        };
        self.remove_others(&wanted).await;
        let opened: Vec<BoxFuture<'_, Option<HeldReplica>>> = wanted
            .values()
            .map(|(shard, replica)| self.open_or_lose(shard, *replica).boxed())
            .collect();
        let mut lost: Vec<HeldReplica> = futures_util::stream::iter(opened)
            .buffer_unordered(OPENED_AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        lost.sort_by_key(|lost| lost.shard);
        self.placed.notify_one();
        let is_new = {
            let mut known = self.lost.lock();
            let is_new = *known != lost && !lost.is_empty();
            *known = lost;
            is_new
        };
        if is_new {
            self.changed.notify_one();
        }
    }

    /// Removes replicas that are not placed here any more, when the group's members agree that they are none.
    async fn remove_others(&self, wanted: &HashMap<ShardId, (proto::Shard, ReplicaId)>) {
        let held = match self.member.held_groups() {
            Ok(held) => held,
            Err(error) => return tracing::error!(%error, "cannot read which replicas this node holds"),
        };
        if let Err(error) = self.member.remove_leftovers().await {
            tracing::error!(%error, "a replica could not be removed; it will be tried again");
        }
        for (group, replica) in held {
            let shard = ShardId(group.0);
            if group == GroupId::DIRECTORY || wanted.get(&shard).is_some_and(|(_, wanted)| *wanted == replica)
            {
                continue;
            }
            let is_out = self.map.read().placement(shard).is_some_and(|placement| {
                !placement.voters.is_empty() && !placement.voters.contains(&replica.0)
            });
            if !is_out {
                continue;
            }
            let hosted = self.hosted.write().remove(&shard);
            if let Some(hosted) = hosted {
                self.close_one(&hosted).await;
            }
            tracing::info!(
                shard = shard.0,
                replica = replica.0,
                "the replica is no longer needed here and is removed"
            );
            if let Err(error) = self.member.remove_group(group).await {
                tracing::error!(shard = shard.0, %error, "the replica could not be removed; it will be tried again");
            }
        }
    }

    /// Opens a replica; names it when the node has lost it.
    async fn open_or_lose(&self, shard: &proto::Shard, replica: ReplicaId) -> Option<HeldReplica> {
        let is_here = self.open(shard, replica).await;
        (!is_here).then_some(HeldReplica {
            shard: shard.id,
            replica: replica.0,
        })
    }

    /// Opens a replica, or notes what is new of its shard. False when the node has lost it.
    async fn open(&self, placement: &proto::Shard, replica: ReplicaId) -> bool {
        let shard = ShardId(placement.id);
        if let Some(hosted) = self.hosted.read().get(&shard) {
            hosted
                .generation
                .fetch_max(placement.generation, Ordering::Relaxed);
            if placement.formed {
                hosted.shard.set_formed();
            }
            let first = placement.members.first();
            let group = hosted.shard.group();
            group.set_preferred(first.is_some_and(|first| first.id == group.replica().0));
            return true;
        }
        let taken = placement
            .members
            .iter()
            .any(|member| member.id == replica.0 && member.taken);
        let start = if taken {
            Start::Resume
        } else if placement.formed {
            Start::Join
        } else {
            Start::Form(members_of(placement))
        };
        let spec = ReplicaSpec {
            group: GroupId(placement.id),
            replica,
            start,
        };
        let group = match self.member.open_group(spec).await {
            Ok(group) => group,
            Err(error) => {
                tracing::error!(shard = shard.0, %error, "the replica cannot be opened");
                return !matches!(error, OpenError::Lost { .. });
            }
        };
        let first = placement.members.first();
        group.set_preferred(first.is_some_and(|first| first.id == replica.0));
        let opened = Shard::open(Arc::clone(&self.member), group, self.options.clone());
        if placement.formed {
            opened.set_formed();
        }
        let hosted = HostedShard {
            shard: opened,
            generation: AtomicU64::new(placement.generation),
            watchers: Arc::default(),
            leadership: Mutex::default(),
            load: Load::default(),
        };
        self.hosted.write().insert(shard, Arc::new(hosted));
        self.opened.notify_waiters();
        self.changed.notify_one();
        true
    }

    /// The shards that are placed here, open or not.
    pub fn placed(&self) -> HashSet<ShardId> {
        let map = self.map.read();
        map.shards_of(&self.node)
            .map(|(shard, _)| ShardId(shard.id))
            .collect()
    }

    /// Whether each shard that is placed here has replicas on other nodes; false while no placement is known.
    pub fn others_hold_all(&self) -> bool {
        let map = self.map.read();
        let mut mine = map.shards_of(&self.node).peekable();
        mine.peek().is_some() && mine.all(|(shard, _)| shard.members.len() > 1)
    }

    /// Whether other nodes have all that this one has, vote on it, and are there; false while no placement is known.
    pub fn others_are_whole(&self) -> bool {
        let map = self.map.read();
        let mut mine = map.shards_of(&self.node).peekable();
        mine.peek().is_some() && mine.all(|(shard, _)| map.is_whole_without(shard, &self.node))
    }

    /// Takes in which nodes are there.
    pub fn heed_nodes(&self, event: &proto::WatchEvent) {
        self.map.write().apply_nodes(event);
    }

    /// Where a shard is, as the directory said last.
    pub(super) fn placement(&self, shard: ShardId) -> Option<proto::Shard> {
        self.map.read().placement(shard).cloned()
    }

    /// There is something to tell the directory.
    pub(super) fn tell(&self) {
        self.changed.notify_one();
    }

    /// Waits until there is something to tell the directory.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The replicas that are open here, those that were lost, and the shards that this node leads.
    pub fn report(&self) -> (Vec<HeldReplica>, Vec<HeldReplica>, Vec<LedShard>) {
        let (mut held, mut led) = (Vec::new(), Vec::new());
        for hosted in self.all() {
            let group = hosted.shard.group();
            let shard = hosted.id().0;
            held.push(HeldReplica {
                shard,
                replica: group.replica().0,
            });
            let standing = group.standing();
            if standing.leads {
                let voters = match standing.changing {
                    true => Vec::new(),
                    false => standing
                        .members
                        .iter()
                        .filter(|(_, _, votes)| *votes)
                        .map(|(replica, _, _)| replica.0)
                        .collect(),
                };
                led.push(LedShard {
                    shard,
                    term: standing.term,
                    voters,
                });
            }
        }
        (held, self.lost.lock().clone(), led)
    }

    /// Closes all: what waits is answered, nothing more is taken.
    pub async fn close(&self) {
        let all: Vec<_> = self.hosted.write().drain().collect();
        let closed = all.iter().map(|(_, hosted)| self.close_one(hosted));
        futures_util::future::join_all(closed).await;
    }

    /// Closes a shard and its replica.
    async fn close_one(&self, hosted: &HostedShard) {
        let group = GroupId(hosted.id().0);
        let closing = hosted.shard.close();
        tokio::pin!(closing);
        // Without a quorum, what is in flight is never agreed on: it is answered with "unknown" when the replica closes.
        if tokio::time::timeout(SETTLE_GRACE, &mut closing).await.is_ok() {
            return self.member.close_group(group).await;
        }
        tracing::warn!(
            shard = group.0,
            "the shard closes without knowing what becomes of its last changes"
        );
        self.member.close_group(group).await;
        closing.await;
    }
}

/// The members that a placement names, in its order.
pub(super) fn members_of(placement: &proto::Shard) -> Vec<GroupMember> {
    placement
        .members
        .iter()
        .map(|member| GroupMember {
            replica: ReplicaId(member.id),
            node: member.node.clone(),
            witness: false,
        })
        .collect()
}
