//! What the directory says: the shard map and the keys of tokens, kept up by its watch.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rookery_proto::directory::v1::{Request, Shard, Watch, WatchEvent, reply, request};
use rookery_proto::{Call, CallContext, Caller, DirectoryProtocol, Replies, Status};

use rookery_replication::log::ReplicaId;

use crate::schema::ShardId;

/// A watch that says nothing for so long is begun anew; the directory says something every second.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How long one watch lasts at most.
const WATCH_MAX: Duration = Duration::from_secs(24 * 3600);

/// Pause before the watch is begun anew.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Where all shards are, and which nodes are there.
#[derive(Debug, Default)]
pub struct ShardMap {
    shards: HashMap<ShardId, Shard>,
    alive: HashSet<String>,
}

impl ShardMap {
    /// Takes in what an event says of shards and nodes. An older placement never replaces a newer one.
    pub fn apply(&mut self, event: &WatchEvent) {
        self.apply_nodes(event);
        if event.snapshot {
            let told: HashSet<u32> = event.shards.iter().map(|shard| shard.id).collect();
            self.shards.retain(|shard, _| told.contains(&shard.0));
        }
        for shard in &event.shards {
            let known = self.shards.entry(ShardId(shard.id)).or_default();
            if shard.generation >= known.generation {
                known.clone_from(shard);
            }
        }
    }

    /// Takes in what an event says of nodes.
    pub fn apply_nodes(&mut self, event: &WatchEvent) {
        if event.snapshot {
            self.alive.clear();
        }
        for node in &event.nodes {
            match node.alive {
                true => self.alive.insert(node.id.clone()),
                false => self.alive.remove(&node.id),
            };
        }
    }

    /// Whether a majority of the shard's replicas is on other nodes than this, votes, and is there.
    pub fn is_whole_without(&self, shard: &Shard, node: &str) -> bool {
        let others = shard.members.iter().filter(|member| {
            member.node != node
                && member.taken
                && shard.voters.contains(&member.id)
                && self.alive.contains(&member.node)
        });
        others.count() > shard.members.len() / 2
    }

    /// Where a shard is.
    pub fn placement(&self, shard: ShardId) -> Option<&Shard> {
        self.shards.get(&shard)
    }

    /// The shards of which the node is to hold a replica, and which.
    pub fn shards_of<'a>(&'a self, node: &'a str) -> impl Iterator<Item = (&'a Shard, ReplicaId)> {
        self.shards.values().filter_map(move |shard| {
            let member = shard.members.iter().find(|member| member.node == node)?;
            Some((shard, ReplicaId(member.id)))
        })
    }
}

/// The directory's watch, begun anew whenever it breaks.
pub(super) struct Follower {
    directory: Arc<dyn Caller<DirectoryProtocol>>,
    replies: Option<Replies<DirectoryProtocol>>,
}

impl Follower {
    pub(super) fn new(directory: Arc<dyn Caller<DirectoryProtocol>>) -> Self {
        Self {
            directory,
            replies: None,
        }
    }

    /// The next event. After an error the watch begins anew with a snapshot.
    pub(super) async fn next(&mut self) -> Result<WatchEvent, Status> {
        let event = self.event().await;
        if event.is_err() {
            self.replies = None;
        }
        event
    }

    async fn event(&mut self) -> Result<WatchEvent, Status> {
        let replies = self.replies.get_or_insert_with(|| {
            self.directory.call(Call {
                context: CallContext::with_timeout(WATCH_MAX),
                request: Request {
                    call: Some(request::Call::Watch(Watch {})),
                    ..Request::default()
                },
                body: None,
            })
        });
        match tokio::time::timeout(SILENCE_MAX, replies.next()).await {
            Err(_) => Err(Status::unavailable("the directory's watch has gone silent")),
            Ok(None) => Err(Status::unavailable("the directory ended its watch")),
            Ok(Some(reply)) => match reply?.call {
                Some(reply::Call::WatchEvent(event)) => Ok(event),
                _ => Err(Status::internal(
                    "the directory answered a watch with something else",
                )),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use rookery_proto::directory::v1::ShardReplica;

    use super::*;

    fn event(snapshot: bool, shards: &[(u32, u64, &str)]) -> WatchEvent {
        let shards = shards
            .iter()
            .map(|(id, generation, node)| Shard {
                id: *id,
                generation: *generation,
                members: vec![ShardReplica {
                    id: u64::from(*id),
                    node: (*node).to_owned(),
                    taken: true,
                }],
                ..Shard::default()
            })
            .collect();
        WatchEvent {
            snapshot,
            shards,
            ..WatchEvent::default()
        }
    }

    #[test]
    fn the_map_follows_events() {
        let mut map = ShardMap::default();
        map.apply(&event(true, &[(1, 1, "a"), (2, 1, "b")]));
        map.apply(&event(false, &[(2, 2, "a")]));
        // A late word of an older placement changes nothing.
        map.apply(&event(false, &[(2, 1, "b")]));
        let mut mine: Vec<u32> = map.shards_of("a").map(|(shard, _)| shard.id).collect();
        mine.sort_unstable();
        assert_eq!(mine, [1, 2]);
        assert_eq!(map.placement(ShardId(2)).unwrap().generation, 2);
        map.apply(&event(true, &[(2, 2, "a")]));
        assert_eq!(map.placement(ShardId(1)), None);
    }
}
