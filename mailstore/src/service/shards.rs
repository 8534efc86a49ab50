//! The shards that this node serves now.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use rookery_proto::mailstore::v1::{Reply, reply};
use rookery_proto::{Reason, Status};
use rookery_replication::group::Member;

use super::watch::Watchers;
use crate::node::ShardMap;
use crate::plan::Mutation;
use crate::read::{OwnedSnapshot, SharedView};
use crate::schema::ShardId;
use crate::shard::{Shard, ShardOptions, Subscription};

/// A shard that is open here.
pub struct HostedShard {
    shard: Arc<Shard>,
    generation: AtomicU64,
    watchers: Arc<Watchers>,
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
        let Reply { call } = self.shard.mutate(mutation).await?;
        call.ok_or_else(|| Status::internal("the writer gave an empty answer"))
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
    hosted: RwLock<HashMap<ShardId, Arc<HostedShard>>>,
    map: RwLock<ShardMap>,
}

impl Shards {
    /// None yet.
    pub fn new(node: String, member: Arc<Member>, options: ShardOptions) -> Self {
        Self {
            node,
            member,
            options,
            hosted: RwLock::default(),
            map: RwLock::default(),
        }
    }

    /// A shard that is served here; NOT_LEADER with who leads it otherwise.
    pub fn get(&self, shard: ShardId) -> Result<Arc<HostedShard>, Status> {
        if let Some(hosted) = self.hosted.read().get(&shard) {
            return Ok(Arc::clone(hosted));
        }
        let map = self.map.read();
        let leader = map
            .placement(shard)
            .and_then(|placement| placement.replicas.first())
            .cloned();
        let message = match &leader {
            Some(leader) if *leader == self.node => {
                return Err(Status::unavailable(format!(
                    "shard {shard} is being opened here: retry"
                )));
            }
            Some(leader) => format!("shard {shard} is led by {leader}, not by {}", self.node),
            None => format!("shard {shard} is not on {}", self.node),
        };
        Err(Status {
            leader: leader.unwrap_or_default(),
            ..Status::new(Reason::NotLeader, message)
        })
    }

    /// All that are open here.
    pub fn all(&self) -> Vec<Arc<HostedShard>> {
        self.hosted.read().values().cloned().collect()
    }

    /// Takes in the shard map: opens the shards that it gives to this node, closes those that it takes away. Must be
    /// called by one task alone, as opening waits for what is under way.
    pub async fn reconcile(&self, change: impl FnOnce(&mut ShardMap)) {
        let wanted: HashMap<ShardId, u64> = {
            let mut map = self.map.write();
            change(&mut map);
            let mine = map.shards_of(&self.node);
            mine.map(|(shard, placement)| (shard, placement.generation))
                .collect()
        };
        let gone: Vec<Arc<HostedShard>> = {
            let mut hosted = self.hosted.write();
            let gone: Vec<ShardId> = hosted
                .keys()
                .filter(|shard| !wanted.contains_key(shard))
                .copied()
                .collect();
            gone.into_iter()
                .filter_map(|shard| hosted.remove(&shard))
                .collect()
        };
        for hosted in gone {
            tracing::info!(shard = hosted.id().0, "the shard is served elsewhere now");
            hosted.shard.close().await;
        }
        for (shard, generation) in wanted {
            self.open(shard, generation);
        }
        metrics::gauge!("rookery_mailstore_shards").set(self.hosted.read().len() as f64);
    }

    /// Opens a shard, or notes its new generation.
    fn open(&self, shard: ShardId, generation: u64) {
        if let Some(hosted) = self.hosted.read().get(&shard) {
            hosted.generation.fetch_max(generation, Ordering::Relaxed);
            return;
        }
        let hosted = HostedShard {
            shard: Shard::open(Arc::clone(&self.member), shard, self.options.clone()),
            generation: AtomicU64::new(generation),
            watchers: Arc::default(),
        };
        self.hosted.write().insert(shard, Arc::new(hosted));
    }

    /// Closes all: what waits is answered, nothing more is taken.
    pub async fn close(&self) {
        let all: Vec<_> = self.hosted.write().drain().collect();
        for (_, hosted) in all {
            hosted.shard.close().await;
        }
    }
}
