//! The order in which a call asks the replicas of a shard for their leader. Values in, values out.
//!
//! A tour goes in rounds: in each, no node is asked twice. What a node says of who leads is followed once a round, so
//! that two nodes that name each other, or one that names a node which is gone, pin nobody. Between rounds there is a
//! pause.

use std::time::Duration;

use rookery_proto::{Reason, Status};

/// Pauses between rounds, the last of which repeats.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
];

/// How often the time for which a silence is borne doubles.
const SILENCE_DOUBLINGS_MAX: u32 = 3;

/// One caller's way round the replicas of a shard.
#[derive(Debug)]
pub(super) struct Tour {
    /// Nodes that were asked in this round.
    asked: Vec<String>,
    /// Who leads, as the node that was asked last has said.
    hint: Option<String>,
    /// The round is over, whoever is left: the leader was found, and cannot serve now.
    over: bool,
    rounds: usize,
    /// How long the first silence is borne.
    silence: Duration,
    silences: u32,
    /// What the last node said.
    last: Option<Status>,
}

impl Tour {
    /// Nobody asked yet. A node may say nothing for so long before another one is asked as well; each time for longer.
    pub(super) fn new(silence: Duration) -> Self {
        Self {
            asked: Vec::new(),
            hint: None,
            over: false,
            rounds: 0,
            silence,
            silences: 0,
            last: None,
        }
    }

    /// The next node to ask: the one that was named last, else the leader as it is remembered, else the first replica
    /// that was not asked in this round. `None` ends the round.
    pub(super) fn next(
        &mut self,
        replicas: &[String],
        leader: Option<&str>,
        is_known: impl Fn(&str) -> bool,
    ) -> Option<String> {
        if self.over {
            return None;
        }
        let replicas = replicas.iter().map(String::as_str);
        let node = self
            .hint
            .as_deref()
            .into_iter()
            .chain(leader)
            .chain(replicas)
            .find(|node| is_known(node) && !self.asked.iter().any(|asked| asked == node))?
            .to_owned();
        // One that was asked before it was named is kept for the next round.
        self.hint = self.hint.take().filter(|hint| *hint != node);
        self.asked.push(node.clone());
        Some(node)
    }

    /// A node has failed, and another try may succeed.
    pub(super) fn failed(&mut self, node: &str, status: &Status) {
        if !self.asked.iter().any(|asked| asked == node) {
            self.asked.push(node.to_owned());
        }
        match status.reason {
            Reason::NotLeader => {
                self.hint = Some(status.leader.clone()).filter(|leader| !leader.is_empty() && leader != node);
            }
            // It leads, but must be asked again later.
            Reason::Frozen | Reason::Replan | Reason::WrongGeneration => {
                self.hint = Some(node.to_owned());
                self.over = true;
            }
            _ => {}
        }
        self.last = Some(status.clone());
    }

    /// Whether the node that answered last has named one that was not asked in this round.
    pub(super) fn has_hint(&self) -> bool {
        self.hint.as_ref().is_some_and(|hint| !self.asked.contains(hint))
    }

    /// Something came: trouble begins anew from here.
    pub(super) fn progressed(&mut self) {
        *self = Self::new(self.silence);
    }

    /// Ends the round: how long to wait before the next. `under_way` are being asked still.
    pub(super) fn end_round(&mut self, under_way: &[String]) -> Duration {
        let pause = PAUSES[self.rounds.min(PAUSES.len() - 1)];
        self.rounds += 1;
        self.over = false;
        self.asked.retain(|node| under_way.contains(node));
        pause
    }

    /// How long the next silence is borne.
    pub(super) fn silence(&self) -> Duration {
        self.silence * 2u32.pow(self.silences)
    }

    /// A silence was too long: the next is borne for longer.
    pub(super) fn was_silent(&mut self) {
        self.silences = (self.silences + 1).min(SILENCE_DOUBLINGS_MAX);
    }

    /// Why nobody has answered.
    pub(super) fn why(&self) -> Option<&Status> {
        self.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn not_leader(leader: &str) -> Status {
        Status {
            leader: leader.to_owned(),
            ..Status::new(Reason::NotLeader, "another one")
        }
    }

    /// Asks until the round ends; each node says what `says` has for it.
    fn round(tour: &mut Tour, leader: Option<&str>, says: impl Fn(&str) -> Status) -> Vec<String> {
        let replicas = names(&["a", "b", "c"]);
        let mut asked = Vec::new();
        while let Some(node) = tour.next(&replicas, leader, |node| node != "gone") {
            tour.failed(&node, &says(&node));
            asked.push(node);
        }
        asked
    }

    #[test]
    fn the_remembered_leader_first_then_whoever_is_named_then_the_others() {
        let mut tour = Tour::new(Duration::from_secs(3));
        let asked = round(&mut tour, Some("b"), |node| match node {
            "b" => not_leader("c"),
            _ => Status::unavailable("down"),
        });
        assert_eq!(asked, ["b", "c", "a"]);
    }

    #[test]
    fn nodes_that_name_each_other_or_nobody_known_are_asked_once_a_round() {
        let mut tour = Tour::new(Duration::from_secs(3));
        let says = |node: &str| match node {
            "a" => not_leader("b"),
            "b" => not_leader("a"),
            _ => not_leader("gone"),
        };
        assert_eq!(round(&mut tour, None, says), ["a", "b", "c"]);
        assert_eq!(tour.end_round(&[]), PAUSES[0]);
        assert_eq!(round(&mut tour, None, says), ["a", "b", "c"]);
        assert_eq!(tour.end_round(&[]), PAUSES[1]);
        for _ in 0..10 {
            tour.end_round(&[]);
        }
        assert_eq!(tour.end_round(&[]), PAUSES[4]);
    }

    #[test]
    fn a_name_outlives_the_round_in_which_it_was_asked_already() {
        let mut tour = Tour::new(Duration::from_secs(3));
        // The last to be asked says that the first leads, which was about to.
        let asked = round(&mut tour, None, |node| match node {
            "c" => not_leader("a"),
            _ => Status::unavailable("not yet"),
        });
        assert_eq!(asked, ["a", "b", "c"]);
        tour.end_round(&[]);
        assert_eq!(round(&mut tour, Some("c"), |_| not_leader("")), ["a", "c", "b"]);
    }

    #[test]
    fn a_leader_that_cannot_serve_now_is_asked_again_and_nobody_else() {
        let mut tour = Tour::new(Duration::from_secs(3));
        let frozen = |_: &str| Status::new(Reason::Frozen, "moving");
        assert_eq!(round(&mut tour, Some("b"), frozen), ["b"]);
        tour.end_round(&[]);
        assert_eq!(round(&mut tour, None, frozen), ["b"]);
    }

    #[test]
    fn silences_are_borne_for_longer_until_something_comes() {
        let mut tour = Tour::new(Duration::from_secs(3));
        let mut borne = Vec::new();
        for _ in 0..5 {
            borne.push(tour.silence().as_secs());
            tour.was_silent();
        }
        assert_eq!(borne, [3, 6, 12, 24, 24]);
        tour.progressed();
        assert_eq!(tour.silence().as_secs(), 3);
    }

    #[test]
    fn who_is_being_asked_still_is_not_asked_again() {
        let mut tour = Tour::new(Duration::from_secs(3));
        assert_eq!(round(&mut tour, None, |_| Status::unavailable("down")).len(), 3);
        tour.end_round(&names(&["a"]));
        assert_eq!(round(&mut tour, None, |_| not_leader("a")), ["b", "c"]);
        assert!(!tour.has_hint());
    }
}
