//! What a node with a damaged store asks of the directory: new replicas in place of those that it has, which others fill.
//!
//! Only when the others have all that this one has: of each shard a majority without this node, of nodes that are there. The
//! directory decides, one node after the other. Never touches the store.

use std::sync::Arc;
use std::time::Duration;

use rookery_proto::directory::v1::{HeldReplica, Node, RegisterNode, Shard, WatchEvent};
use rookery_proto::{Caller, DirectoryProtocol};
use rookery_replication::log::ReplicaId;
use tokio::time::Instant;

use super::follow::{Follower, RETRY_PAUSE, ShardMap};
use super::register::{REGISTER_INTERVAL, tell};
use crate::config::Config;

/// Who asks.
pub struct Asking {
    /// The cluster's id.
    pub cluster_id: String,
    /// This node, as others shall see it. Its weight and zone are the configuration's.
    pub node: Node,
    /// The directory.
    pub directory: Arc<dyn Caller<DirectoryProtocol>>,
}

/// Why a node is not rebuilt from others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRebuilt {
    /// There is no other copy.
    #[error("this node has the only copy of shard {0}")]
    OnlyCopy(u32),
    /// What shares the process has no other copy.
    #[error("the directory in this process has the only copy of what it knows")]
    Alone,
    /// The others are not there, or not whole.
    #[error("{0}")]
    NotNow(String),
}

/// Has the directory name new replicas in place of all that this node holds. When that is so, what the node has is needed by
/// nobody. Waits for the others for so long, or as long as it takes.
pub async fn replace_replicas(
    config: &Config,
    asking: Asking,
    patience: Option<Duration>,
) -> Result<(), NotRebuilt> {
    let until = patience.map(|patience| Instant::now() + patience);
    let Asking {
        cluster_id,
        node,
        directory,
    } = asking;
    let node = config.describe(node);
    let mut follower = Follower::new(Arc::clone(&directory));
    let mut picture = Picture::default();
    let mut asked: Option<Instant> = None;
    let mut told = String::new();
    loop {
        let why_not = match follower.next().await {
            Ok(event) => {
                picture.apply(&event);
                match picture.look(&node.id)? {
                    Look::Replaced => return Ok(()),
                    Look::Wait(why) => why,
                    Look::Ask(lost) => {
                        if asked.is_none_or(|asked| asked.elapsed() >= REGISTER_INTERVAL) {
                            asked = Some(Instant::now());
                            let register = RegisterNode {
                                node: Some(node.clone()),
                                cluster_id: cluster_id.clone(),
                                lost,
                                ..RegisterNode::default()
                            };
                            ask(&directory, register).await;
                        }
                        "the directory has not named new replicas yet".to_owned()
                    }
                }
            }
            Err(status) => {
                tokio::time::sleep(RETRY_PAUSE).await;
                format!("the directory cannot be asked: {status}")
            }
        };
        if until.is_some_and(|until| Instant::now() >= until) {
            return Err(NotRebuilt::NotNow(why_not));
        }
        if told != why_not {
            tracing::warn!("the damaged store is not rebuilt yet: {why_not}");
            told = why_not;
        }
    }
}

async fn ask(directory: &Arc<dyn Caller<DirectoryProtocol>>, register: RegisterNode) {
    if let Err(status) = tell(directory.as_ref(), register).await {
        tracing::warn!(%status, "cannot ask for new replicas; trying again");
    }
}

/// What the directory has said.
#[derive(Default)]
struct Picture {
    is_known: bool,
    map: ShardMap,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// No replica that was held here counts any more.
    Replaced,
    /// Others have all that is here: these may be replaced.
    Ask(Vec<HeldReplica>),
    /// Others lack something, or may.
    Wait(String),
}

impl Picture {
    fn apply(&mut self, event: &WatchEvent) {
        self.is_known |= event.snapshot;
        self.map.apply(event);
    }

    fn look(&self, node: &str) -> Result<Look, NotRebuilt> {
        if !self.is_known {
            return Ok(Look::Wait("the shard map is not known yet".to_owned()));
        }
        let mut held: Vec<(&Shard, ReplicaId)> = self
            .map
            .shards_of(node)
            .filter(|(shard, replica)| is_taken(shard, *replica))
            .collect();
        held.sort_by_key(|(shard, _)| shard.id);
        if let Some((shard, _)) = held.iter().find(|(shard, _)| shard.members.len() < 2) {
            return Err(NotRebuilt::OnlyCopy(shard.id));
        }
        if let Some((shard, _)) = held
            .iter()
            .find(|(shard, _)| !self.map.is_whole_without(shard, node))
        {
            return Ok(Look::Wait(format!(
                "too few other replicas of shard {} vote and are there",
                shard.id
            )));
        }
        if held.is_empty() {
            return Ok(Look::Replaced);
        }
        let lost = held.iter().map(|(shard, replica)| HeldReplica {
            shard: shard.id,
            replica: replica.0,
        });
        Ok(Look::Ask(lost.collect()))
    }
}

fn is_taken(shard: &Shard, replica: ReplicaId) -> bool {
    shard
        .members
        .iter()
        .any(|member| member.id == replica.0 && member.taken)
}

#[cfg(test)]
mod tests {
    use rookery_proto::directory::v1::ShardReplica;

    use super::*;

    /// Shards 1 and 2 on the nodes a, b and c, all alive; replicas are 10 times the shard plus 1, 2 and 3.
    fn picture() -> WatchEvent {
        let shard = |id: u32| Shard {
            id,
            generation: 1,
            members: ["a", "b", "c"]
                .iter()
                .zip(1..)
                .map(|(node, at)| ShardReplica {
                    id: u64::from(id) * 10 + at,
                    node: (*node).to_owned(),
                    taken: true,
                })
                .collect(),
            formed: true,
            voters: (1..=3).map(|at| u64::from(id) * 10 + at).collect(),
            ..Shard::default()
        };
        let node = |id: &str| Node {
            id: id.to_owned(),
            alive: true,
            ..Node::default()
        };
        WatchEvent {
            snapshot: true,
            shards: vec![shard(1), shard(2)],
            nodes: vec![node("a"), node("b"), node("c")],
            ..WatchEvent::default()
        }
    }

    fn look(change: impl FnOnce(&mut WatchEvent)) -> Result<Look, NotRebuilt> {
        let mut event = picture();
        change(&mut event);
        let mut picture = Picture::default();
        picture.apply(&event);
        picture.look("a")
    }

    #[test]
    fn replicas_are_given_up_only_for_others_that_are_whole() {
        let lost = |shard, replica| HeldReplica { shard, replica };
        assert_eq!(look(|_| ()), Ok(Look::Ask(vec![lost(1, 11), lost(2, 21)])));
        let waits = |change: fn(&mut WatchEvent)| matches!(look(change), Ok(Look::Wait(_)));
        assert!(waits(|event| event.snapshot = false));
        assert!(waits(|event| event.nodes[1].alive = false));
        assert!(waits(|event| event.shards[1].voters.clear()));
        // Another node is being rebuilt.
        assert!(waits(|event| event.shards[0].members[2].taken = false));
        assert!(waits(|event| event.shards[0].members[2].id = 99));
        assert_eq!(
            look(|event| event.shards[1].members.truncate(1)),
            Err(NotRebuilt::OnlyCopy(2))
        );
    }

    #[test]
    fn what_is_replaced_is_not_given_up_again() {
        let replaced = |event: &mut WatchEvent, at: usize| {
            event.shards[at].members[0].id += 100;
            event.shards[at].members[0].taken = false;
        };
        let one = look(|event| replaced(event, 0));
        assert_eq!(
            one,
            Ok(Look::Ask(vec![HeldReplica {
                shard: 2,
                replica: 21
            }]))
        );
        let both = look(|event| {
            replaced(event, 0);
            replaced(event, 1);
        });
        assert_eq!(both, Ok(Look::Replaced));
    }
}
