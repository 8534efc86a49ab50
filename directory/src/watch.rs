//! The picture of the cluster that watchers follow: nodes, shards, keys, and what has become void.
//!
//! Holds what is small (nodes, shards, keys) in memory, as it is on disk, and who was heard when. A watcher gets a snapshot
//! and then every change; one that falls behind by more than [`EVENTS_MAX`] gets a new snapshot. Never reads the store
//! after its start, never waits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rookery_proto::directory::v1::{HeldReplica, LedShard, Node, Shard, VerifyingKey, WatchEvent};
use tokio::sync::broadcast;

use crate::plan::{node, shard, signing_key};
use crate::schema::read::{ReadError, Rows};

/// A node that was not heard for so long is not alive. Nodes register every two seconds.
pub const LIVENESS_BOUND: Duration = Duration::from_secs(6);

/// How often a watcher hears something, if only that the directory is there.
pub const HEARTBEAT: Duration = Duration::from_millis(500);

/// Changes that a watcher may be behind by.
pub const EVENTS_MAX: usize = 1_024;

struct Known {
    version: u64,
    nodes: BTreeMap<String, Node>,
    shards: BTreeMap<u32, Shard>,
    /// Who leads which shard, as its leaders said: the term, the node, the replicas that vote.
    leaders: HashMap<u32, Leadership>,
    keys: Vec<VerifyingKey>,
    heard: HashMap<String, Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Leadership {
    term: u64,
    node: String,
    voters: Vec<u64>,
}

impl Leadership {
    /// Puts what is not in the shard's row.
    fn put(&self, shard: &mut Shard) {
        shard.leader.clone_from(&self.node);
        shard.voters.clone_from(&self.voters);
    }
}

/// The picture.
pub struct Picture {
    known: Mutex<Known>,
    events: broadcast::Sender<Arc<WatchEvent>>,
}

impl Picture {
    /// As it is in the store. Nodes count as alive until they had time to say so.
    pub fn load(rows: Rows<'_>, now: Instant) -> Result<Self, ReadError> {
        let nodes: BTreeMap<_, _> = rows
            .nodes()?
            .into_iter()
            .map(|(id, row)| (id.clone(), node::to_proto(&id, &row, true)))
            .collect();
        let shards = rows
            .shards()?
            .into_iter()
            .map(|(id, row)| (id.0, shard::to_proto(id, row)));
        let known = Known {
            version: rows.sequences()?.version,
            heard: nodes.keys().map(|id| (id.clone(), now)).collect(),
            nodes,
            shards: shards.collect(),
            leaders: HashMap::new(),
            keys: signing_key::to_proto(&rows.signing_keys()?),
        };
        Ok(Self {
            known: Mutex::new(known),
            events: broadcast::Sender::new(EVENTS_MAX),
        })
    }

    /// Takes in a change that is durable, and tells the watchers.
    pub fn publish(&self, event: WatchEvent) {
        self.publish_to(&mut self.known.lock(), event);
    }

    // Under the lock, so that a snapshot and the changes after it fit together.
    fn publish_to(&self, known: &mut Known, mut event: WatchEvent) {
        for shard in &mut event.shards {
            if let Some(leadership) = known.leaders.get(&shard.id) {
                leadership.put(shard);
            }
        }
        known.version = known.version.max(event.version);
        for node in &event.nodes {
            known.nodes.insert(node.id.clone(), node.clone());
            // Who is new is alive until it had time to say so.
            known.heard.entry(node.id.clone()).or_insert_with(Instant::now);
        }
        for id in &event.removed_nodes {
            known.nodes.remove(id);
            known.heard.remove(id);
        }
        for shard in &event.shards {
            known.shards.insert(shard.id, shard.clone());
        }
        if !event.keys.is_empty() {
            known.keys.clone_from(&event.keys);
        }
        // Nobody watching is not an error.
        let _ = self.events.send(Arc::new(event));
    }

    /// All that is known, and what changes from then on.
    pub fn subscribe(&self) -> (WatchEvent, broadcast::Receiver<Arc<WatchEvent>>) {
        let known = self.known.lock();
        let snapshot = WatchEvent {
            snapshot: true,
            version: known.version,
            nodes: known.nodes.values().cloned().collect(),
            shards: known.shards.values().cloned().collect(),
            keys: known.keys.clone(),
            ..WatchEvent::default()
        };
        (snapshot, self.events.subscribe())
    }

    /// An event that says only that the directory is there.
    pub fn heartbeat(&self) -> WatchEvent {
        WatchEvent {
            version: self.version(),
            ..WatchEvent::default()
        }
    }

    /// The version of the last change.
    pub fn version(&self) -> u64 {
        self.known.lock().version
    }

    /// A node was heard: it is alive.
    pub fn heard(&self, id: &str, now: Instant) {
        let mut known = self.known.lock();
        known.heard.insert(id.to_owned(), now);
        if let Some(node) = known.nodes.get(id)
            && !node.alive
        {
            let node = Node {
                alive: true,
                ..node.clone()
            };
            let version = known.version;
            tracing::info!(node = id, "the node is back");
            self.publish_to(
                &mut known,
                WatchEvent {
                    version,
                    nodes: vec![node],
                    ..WatchEvent::default()
                },
            );
        }
    }

    /// Nodes that were not heard for too long are not alive any more.
    pub fn expire(&self, now: Instant) {
        let mut known = self.known.lock();
        let is_lost = |id: &str| {
            known
                .heard
                .get(id)
                .is_none_or(|heard| now.saturating_duration_since(*heard) > LIVENESS_BOUND)
        };
        let lost: Vec<Node> = known
            .nodes
            .values()
            .filter(|node| node.alive && is_lost(&node.id))
            .map(|node| Node {
                alive: false,
                ..node.clone()
            })
            .collect();
        if lost.is_empty() {
            return;
        }
        for node in &lost {
            tracing::warn!(node = node.id, "the node is silent");
        }
        let version = known.version;
        self.publish_to(
            &mut known,
            WatchEvent {
                version,
                nodes: lost,
                ..WatchEvent::default()
            },
        );
    }

    /// When a node was heard last; not since it was loaded unless that is later.
    pub fn heard_at(&self, id: &str) -> Option<Instant> {
        self.known.lock().heard.get(id).copied()
    }

    /// The row of a node as others see it.
    pub fn node(&self, id: &str) -> Option<Node> {
        self.known.lock().nodes.get(id).cloned()
    }

    /// All nodes.
    pub fn nodes(&self) -> Vec<Node> {
        self.known.lock().nodes.values().cloned().collect()
    }

    /// Ids of the nodes that are alive.
    pub fn alive(&self) -> BTreeSet<String> {
        let known = self.known.lock();
        known
            .nodes
            .values()
            .filter(|node| node.alive)
            .map(|node| node.id.clone())
            .collect()
    }

    /// The nodes that are not alive, and for how long nothing was heard of them.
    pub fn silent(&self, now: Instant) -> HashMap<String, Duration> {
        let known = self.known.lock();
        let silent = known.nodes.values().filter(|node| !node.alive);
        let since = |id: &String| {
            known
                .heard
                .get(id)
                .map_or(Duration::MAX, |heard| now.saturating_duration_since(*heard))
        };
        silent.map(|node| (node.id.clone(), since(&node.id))).collect()
    }

    /// All shards.
    pub fn shards(&self) -> Vec<Shard> {
        self.known.lock().shards.values().cloned().collect()
    }

    /// Whether the shards have places.
    pub fn is_placed(&self) -> bool {
        !self.known.lock().shards.is_empty()
    }

    /// Takes in which shards a node leads, and tells the watchers of changes. A leadership of an older term changes nothing.
    pub fn led(&self, node: &str, led: &[LedShard]) {
        let mut known = self.known.lock();
        let mut changed = Vec::new();
        for led in led {
            let leadership = Leadership {
                term: led.term,
                node: node.to_owned(),
                voters: led.voters.clone(),
            };
            let before = known.leaders.get(&led.shard);
            let is_new = before.is_none_or(|before| before.term <= led.term && *before != leadership);
            if let (true, Some(shard)) = (is_new, known.shards.get(&led.shard)) {
                changed.push(shard.clone());
                known.leaders.insert(led.shard, leadership);
            }
        }
        if !changed.is_empty() {
            let version = known.version;
            let event = WatchEvent {
                version,
                shards: changed,
                ..WatchEvent::default()
            };
            self.publish_to(&mut known, event);
        }
    }

    /// Whether all of these replicas are noted as held by their node.
    pub fn are_taken(&self, held: &[HeldReplica]) -> bool {
        let known = self.known.lock();
        held.iter().all(|held| {
            known.shards.get(&held.shard).is_none_or(|shard| {
                match shard.members.iter().find(|member| member.id == held.replica) {
                    Some(member) => member.taken,
                    None => true,
                }
            })
        })
    }

    /// Whether another try may find a leader of the shard soon: it is new, or several nodes may lead it.
    pub fn is_settling(&self, shard: u32) -> bool {
        let known = self.known.lock();
        known
            .shards
            .get(&shard)
            .is_some_and(|shard| !shard.formed || shard.members.len() > 1)
    }

    /// A shard and the node that leads it, as far as the directory knows.
    pub fn leader(&self, shard: u32) -> Option<(Shard, Node)> {
        let known = self.known.lock();
        let shard = known.shards.get(&shard)?;
        let leader = Some(&shard.leader).filter(|leader| !leader.is_empty());
        let node = known.nodes.get(leader.or(shard.replicas.first())?)?;
        Some((shard.clone(), node.clone()))
    }
}

#[cfg(test)]
mod tests {
    use rookery_replication::memory::MemoryStore;

    use super::*;

    fn picture(now: Instant) -> Picture {
        let picture = Picture::load(Rows(&MemoryStore::new()), now).unwrap();
        let node = Node {
            id: "mailstore-1".to_owned(),
            alive: true,
            ..Node::default()
        };
        picture.publish(WatchEvent {
            version: 1,
            nodes: vec![node],
            ..WatchEvent::default()
        });
        picture.heard("mailstore-1", now);
        picture
    }

    #[test]
    fn a_snapshot_and_then_the_changes() {
        let picture = picture(Instant::now());
        let (snapshot, mut events) = picture.subscribe();
        assert!(snapshot.snapshot);
        assert_eq!((snapshot.version, snapshot.nodes.len()), (1, 1));
        let shard = Shard {
            id: 3,
            generation: 1,
            replicas: vec!["mailstore-1".to_owned()],
            ..Shard::default()
        };
        picture.publish(WatchEvent {
            version: 2,
            shards: vec![shard.clone()],
            ..WatchEvent::default()
        });
        assert_eq!(events.try_recv().unwrap().shards, std::slice::from_ref(&shard));
        assert_eq!(picture.leader(3).unwrap().0, shard);
        assert_eq!(picture.heartbeat().version, 2);
        for version in 3..=(3 + EVENTS_MAX as u64) {
            picture.publish(WatchEvent {
                version,
                ..WatchEvent::default()
            });
        }
        assert!(matches!(
            events.try_recv(),
            Err(broadcast::error::TryRecvError::Lagged(_))
        ));
    }

    #[test]
    fn who_is_new_has_time_to_say_that_it_is_there() {
        let picture = Picture::load(Rows(&MemoryStore::new()), Instant::now()).unwrap();
        let node = Node {
            id: "mailstore-1".to_owned(),
            alive: true,
            ..Node::default()
        };
        picture.publish(WatchEvent {
            nodes: vec![node],
            ..WatchEvent::default()
        });
        picture.expire(Instant::now());
        assert_eq!(picture.alive().len(), 1);
        picture.expire(Instant::now() + LIVENESS_BOUND + Duration::from_millis(1));
        assert_eq!(picture.alive().len(), 0);
    }

    #[test]
    fn silent_nodes_are_not_alive() {
        let start = Instant::now();
        let picture = picture(start);
        let (_, mut events) = picture.subscribe();
        picture.expire(start + LIVENESS_BOUND);
        assert!(events.try_recv().is_err(), "still within the bound");
        let later = start + LIVENESS_BOUND + Duration::from_millis(1);
        picture.expire(later);
        assert!(!events.try_recv().unwrap().nodes[0].alive);
        assert!(picture.alive().is_empty());
        picture.expire(later);
        assert!(events.try_recv().is_err(), "told once");
        picture.heard("mailstore-1", later);
        assert!(events.try_recv().unwrap().nodes[0].alive);
    }
}
