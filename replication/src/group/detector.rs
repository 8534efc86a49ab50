//! Which nodes are there: one beat for all groups that two nodes share.
//!
//! A node counts as alive while its beats arrive and say that it is heard as well: one that cannot hear cannot lead.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use rookery_proto::replication::v1::Beat;
use tokio::time::Instant;

/// Pause between two beats.
pub(super) const BEAT: Duration = Duration::from_millis(250);

/// A node whose last good beat is older is not alive.
pub(super) const SILENCE_MAX: Duration = Duration::from_millis(1200);

#[derive(Debug, Default)]
struct Peer {
    /// When it answered a beat last.
    answered: Option<Instant>,
    /// When a beat came last that said that this node is heard.
    beat: Option<Instant>,
}

/// What is known of other nodes.
pub(crate) struct Detector {
    /// New with each start of the process.
    pub(super) incarnation: u64,
    began: Instant,
    peers: Mutex<HashMap<String, Peer>>,
}

impl Detector {
    pub(super) fn new() -> Self {
        Self {
            incarnation: rand::random(),
            began: Instant::now(),
            peers: Mutex::default(),
        }
    }

    /// A beat came in.
    pub(super) fn heard(&self, beat: &Beat) {
        let mut peers = self.peers.lock();
        let peer = peers.entry(beat.node.clone()).or_default();
        if beat.heard {
            peer.beat = Some(Instant::now());
        }
    }

    /// A beat was answered.
    pub(super) fn answered(&self, node: &str) {
        let mut peers = self.peers.lock();
        peers.entry(node.to_owned()).or_default().answered = Some(Instant::now());
    }

    /// Whether a node has answered lately. After a start each one is given the time to.
    pub(crate) fn is_heard(&self, node: &str) -> bool {
        let peers = self.peers.lock();
        let answered = peers.get(node).and_then(|peer| peer.answered);
        answered.unwrap_or(self.began).elapsed() < SILENCE_MAX
    }

    /// Whether a node is there, and can lead. After a start each one is given the time to be heard of.
    pub(super) fn is_alive(&self, node: &str) -> bool {
        let peers = self.peers.lock();
        let beat = peers.get(node).and_then(|peer| peer.beat);
        beat.unwrap_or(self.began).elapsed() < SILENCE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_hear_is_not_alive() {
        let detector = Detector {
            began: Instant::now() - 2 * SILENCE_MAX,
            ..Detector::new()
        };
        let beat = |heard| Beat {
            node: "b".to_owned(),
            heard,
            ..Beat::default()
        };
        assert!(!detector.is_alive("b"));
        detector.heard(&beat(false));
        assert!(!detector.is_alive("b"));
        detector.heard(&beat(true));
        assert!(detector.is_alive("b"));
        assert!(!detector.is_heard("b"));
        detector.answered("b");
        assert!(detector.is_heard("b"));
        assert!(Detector::new().is_alive("c"), "a start gives time");
        assert!(Detector::new().is_heard("c"), "a start gives time");
    }
}
