//! Which process is a node: of two that call themselves so at the same time, one.
//!
//! In the memory of the member that leads. What counts is who was heard first; a process that starts where the last one was called takes
//! its place at once, for only one can be called there. Decides by what it is told alone.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use parking_lot::Mutex;
use rookery_proto::directory::v1::Node;
use rookery_proto::{Reason, Status};

use crate::watch::LIVENESS_BOUND;

/// Earlier processes of a node that are remembered.
const EARLIER_MAX: usize = 16;

/// The processes of all nodes.
#[derive(Default)]
pub(crate) struct Instances {
    known: Mutex<HashMap<String, Known>>,
}

struct Known {
    instance: u64,
    address: String,
    http: String,
    heard: Instant,
    /// Those in whose place others came.
    earlier: VecDeque<u64>,
    /// The last one that was refused, so that it is told of once.
    refused: u64,
}

impl Instances {
    /// A process says that it is this node. FAILED_PRECONDITION when another one is.
    pub(crate) fn hear(&self, node: &Node, now: Instant) -> Result<(), Status> {
        if node.instance == 0 {
            return Ok(());
        }
        let mut known = self.known.lock();
        let Some(known) = known.get_mut(&node.id) else {
            known.insert(node.id.clone(), Known::of(node, now));
            return Ok(());
        };
        if known.instance == node.instance {
            known.heard = now;
            return Ok(());
        }
        let is_there = now.saturating_duration_since(known.heard) <= LIVENESS_BOUND;
        let is_earlier = known.earlier.contains(&node.instance);
        let is_elsewhere = known.address != node.address;
        if is_there && (is_earlier || is_elsewhere) {
            let other = known.place();
            if known.refused != node.instance {
                known.refused = node.instance;
                tracing::error!(
                    node = node.id,
                    address = node.address,
                    http = node.http,
                    other,
                    "two processes have the id of one node: this one is refused; stop it"
                );
            }
            return Err(Status::new(
                Reason::FailedPrecondition,
                format!(
                    "another process is {} already, at {other}: stop one of them; a further node has an id and a certificate of \
                     its own, by `rookery node add`",
                    node.id
                ),
            ));
        }
        let mut earlier = std::mem::take(&mut known.earlier);
        earlier.retain(|earlier| *earlier != node.instance);
        earlier.push_back(known.instance);
        if earlier.len() > EARLIER_MAX {
            earlier.pop_front();
        }
        *known = Known {
            earlier,
            ..Known::of(node, now)
        };
        Ok(())
    }
}

impl Known {
    fn of(node: &Node, now: Instant) -> Self {
        Self {
            instance: node.instance,
            address: node.address.clone(),
            http: node.http.clone(),
            heard: now,
            earlier: VecDeque::new(),
            refused: 0,
        }
    }

    fn place(&self) -> String {
        if self.address.is_empty() {
            return self.http.clone();
        }
        self.address.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn process(instance: u64, address: &str) -> Node {
        Node {
            id: "mailstore-1".to_owned(),
            instance,
            address: address.to_owned(),
            ..Node::default()
        }
    }

    #[test]
    fn of_two_at_once_the_first_stays_until_it_is_silent() {
        let (instances, start) = (Instances::default(), Instant::now());
        let (first, second) = (process(1, "a:1"), process(2, "b:1"));
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        instances.hear(&first, start).unwrap();
        let refused = instances.hear(&second, after(1)).unwrap_err();
        assert_eq!(refused.reason, Reason::FailedPrecondition);
        assert!(refused.message.contains("at a:1"), "{refused}");
        instances.hear(&first, after(5)).unwrap();
        assert!(instances.hear(&second, after(11)).is_err());
        instances.hear(&second, after(12)).unwrap();
        // The first was only away, and comes back too late.
        assert!(instances.hear(&first, after(13)).is_err());
        // Once the second is gone it may be itself again.
        instances.hear(&first, after(19)).unwrap();
        assert!(instances.hear(&second, after(20)).is_err());
    }

    #[test]
    fn a_process_that_starts_where_the_last_one_was_takes_its_place() {
        let (instances, now) = (Instances::default(), Instant::now());
        for instance in 1..=40 {
            instances.hear(&process(instance, "a:1"), now).unwrap();
        }
        // One that was replaced so and still says something has a twin.
        assert!(instances.hear(&process(39, "a:1"), now).is_err());
        instances.hear(&process(40, "a:1"), now).unwrap();
        // An older program does not tell.
        instances.hear(&process(0, "c:1"), now).unwrap();
    }
}
