//! Who leads each shard, as far as this proxy has found out.
//!
//! The directory's map names a shard's replicas; who of them leads is learnt from their answers, and remembered for all
//! calls on the shard. When nobody leads, one caller searches and the others wait for what it finds, so that ten thousand
//! sessions of a shard that is away ask no more than one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rookery_proto::directory::v1::Shard;
use rookery_proto::{Caller, MailstoreProtocol, Reason, Status};
use tokio::sync::{Notify, watch};

use super::nodes::Nodes;
use super::tour::Tour;
use super::watch::Picture;

/// How long a caller relies on another one's search before it looks for itself.
const SEARCH_WAIT_MAX: Duration = Duration::from_secs(5);

/// What is known of one shard.
#[derive(Default)]
struct Known {
    leader: Option<Arc<str>>,
    /// A round of somebody has ended without an answer, and nobody has had one since.
    lost: bool,
    /// Somebody goes round; the others wait.
    searched: bool,
    /// Changes when somebody has found a leader.
    news: watch::Sender<()>,
    /// Tells one of those who wait that nobody searches any more.
    vacant: Arc<Notify>,
}

/// Who leads each shard.
pub(super) struct Leaders {
    picture: Arc<Picture>,
    nodes: Arc<Nodes>,
    shards: RwLock<HashMap<u32, Known>>,
    silence: Duration,
}

/// A node that is to be asked.
pub(super) struct Target {
    /// Its id.
    pub(super) node: String,
    /// The placement by which it was chosen.
    pub(super) placement: Shard,
    /// The way to it.
    pub(super) caller: Arc<dyn Caller<MailstoreProtocol>>,
}

impl Target {
    /// Whether another node could lead.
    pub(super) fn has_rivals(&self) -> bool {
        self.placement
            .replicas
            .iter()
            .any(|replica| *replica != self.node)
    }
}

/// One caller's way to the leader of a shard.
pub(super) struct Way {
    shard: u32,
    pub(super) tour: Tour,
    search: Option<Search>,
}

impl Way {
    /// The shard.
    pub(super) fn shard(&self) -> u32 {
        self.shard
    }
}

impl Leaders {
    /// Nothing found out yet. A node may say nothing for so long before another one is asked as well.
    pub(super) fn new(picture: Arc<Picture>, nodes: Arc<Nodes>, silence: Duration) -> Self {
        Self {
            picture,
            nodes,
            shards: RwLock::default(),
            silence,
        }
    }

    /// A way to the leader of a shard, on which nobody was asked yet.
    pub(super) fn way(&self, shard: u32) -> Way {
        Way {
            shard,
            tour: Tour::new(self.silence),
            search: None,
        }
    }

    /// The next node on a way; waits between rounds. Fails with why nobody has answered when the deadline comes first.
    pub(super) async fn next(self: &Arc<Self>, way: &mut Way, deadline: Instant) -> Result<Target, Status> {
        loop {
            if let Some(target) = self.next_now(way) {
                return Ok(target);
            }
            self.pause(way, deadline).await?;
        }
    }

    /// The next node of this round.
    pub(super) fn next_now(&self, way: &mut Way) -> Option<Target> {
        let placement = self.picture.placement(way.shard)?;
        let told = Some(&placement.leader).filter(|leader| !leader.is_empty());
        let leader = self
            .leader(way.shard)
            .or_else(|| told.map(|leader| leader.as_str().into()));
        let is_known = |node: &str| self.picture.has_node(node);
        let node = way.tour.next(&placement.replicas, leader.as_deref(), is_known)?;
        let caller = self.nodes.channel(&self.picture.node(&node)?);
        Some(Target {
            node,
            placement,
            caller,
        })
    }

    /// Ends a round: waits until another one may go better.
    pub(super) async fn pause(self: &Arc<Self>, way: &mut Way, deadline: Instant) -> Result<(), Status> {
        let shard = way.shard;
        let pause = way.tour.end_round(&[]);
        let now = Instant::now();
        if now + pause >= deadline {
            let unknown = || Status::unavailable(format!("no node is known for shard {shard}"));
            return Err(way.tour.why().cloned().unwrap_or_else(unknown));
        }
        // From before it is looked who leads, so that nothing which comes after it is missed.
        let (mut news, vacant) = self.news(shard);
        let mut map = self.picture.versions();
        let is_lost = self.leader(shard).is_none();
        if is_lost && way.search.is_none() {
            way.search = self.search(shard);
        }
        tokio::time::sleep(pause).await;
        if is_lost && way.search.is_none() {
            let until = deadline.min(now + SEARCH_WAIT_MAX);
            tokio::select! {
                // A channel that has closed is news as well.
                _ = news.changed() => {}
                _ = map.changed() => {}
                () = vacant.notified() => way.search = self.search(shard),
                () = tokio::time::sleep_until(until.into()) => {}
            }
        }
        Ok(())
    }

    /// A node on a way has answered: it leads.
    pub(super) fn found(&self, way: &mut Way, node: &str) {
        way.tour.progressed();
        self.answered(way.shard, node);
        way.search = None;
    }

    /// A node on a way has failed, and another try may succeed.
    pub(super) fn failed(&self, way: &mut Way, node: &str, status: &Status) {
        way.tour.failed(node, status);
        if matches!(status.reason, Reason::Unavailable | Reason::NotLeader) {
            self.doubt(way.shard, node);
        }
    }

    /// A node has answered: it leads.
    fn answered(&self, shard: u32, node: &str) {
        if let Some(known) = self.shards.read().get(&shard)
            && !known.lost
            && known.leader.as_deref() == Some(node)
        {
            return;
        }
        let mut shards = self.shards.write();
        let known = shards.entry(shard).or_default();
        known.leader = Some(node.into());
        known.lost = false;
        known.news.send_replace(());
    }

    /// A node has not answered, or has said that it does not lead: it is not thought of first any more.
    fn doubt(&self, shard: u32, node: &str) {
        let is_leader = |known: &Known| known.leader.as_deref() == Some(node);
        if !self.shards.read().get(&shard).is_some_and(is_leader) {
            return;
        }
        if let Some(known) = self.shards.write().get_mut(&shard)
            && is_leader(known)
        {
            known.leader = None;
        }
    }

    /// Waits until another node than this is known to lead. Cancel-safe.
    pub(super) async fn another_leads(&self, shard: u32, node: &str) {
        let (mut news, _) = self.news(shard);
        loop {
            if self.leader(shard).is_some_and(|leader| &*leader != node) {
                return;
            }
            if news.changed().await.is_err() {
                return;
            }
        }
    }

    fn leader(&self, shard: u32) -> Option<Arc<str>> {
        self.shards.read().get(&shard)?.leader.clone()
    }

    fn news(&self, shard: u32) -> (watch::Receiver<()>, Arc<Notify>) {
        let mut shards = self.shards.write();
        let known = shards.entry(shard).or_default();
        (known.news.subscribe(), Arc::clone(&known.vacant))
    }

    /// The search for a shard's leader, if nobody else is at it.
    fn search(self: &Arc<Self>, shard: u32) -> Option<Search> {
        let mut shards = self.shards.write();
        let known = shards.entry(shard).or_default();
        known.lost = true;
        if known.searched {
            return None;
        }
        known.searched = true;
        Some(Search {
            leaders: Arc::clone(self),
            shard,
        })
    }
}

/// Somebody goes round to find a shard's leader. Who gives up lets another one search.
struct Search {
    leaders: Arc<Leaders>,
    shard: u32,
}

impl Drop for Search {
    fn drop(&mut self) {
        if let Some(known) = self.leaders.shards.write().get_mut(&self.shard) {
            known.searched = false;
            if known.lost {
                known.vacant.notify_one();
            }
        }
    }
}
