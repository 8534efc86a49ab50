//! What has to hold in a simulated run: while it goes on, of all replicas as they are, and at the end.

mod acknowledged;
mod chain;
mod leaders;
mod order;
mod reads;
mod refused;
mod replicas;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

use rookery_replication::log::{Position, ReplicaId};
use rookery_replication::view::View;
use rookery_replication::{Column, GroupId};

use crate::list::{self, Element};
use crate::shared::Shared;

/// A replica as it was found.
pub(crate) struct Replica {
    pub(crate) node: String,
    pub(crate) group: GroupId,
    pub(crate) replica: ReplicaId,
    pub(crate) applied: Option<Position>,
    /// The term that it leads, when it does.
    pub(crate) leads: Option<u64>,
    pub(crate) digest: u64,
}

/// A group's list as a node has it.
pub(crate) struct List {
    pub(crate) elements: Vec<Element>,
    /// How many were counted.
    pub(crate) counted: u64,
}

/// By group and node.
pub(crate) type Lists = BTreeMap<(GroupId, String), List>;

/// What was found at earlier looks.
#[derive(Default)]
pub(crate) struct Looks {
    replicas: replicas::Replicas,
    leaders: leaders::Leaders,
}

impl Looks {
    /// Judges all replicas of a moment.
    pub(crate) fn check(&mut self, shared: &Shared, replicas: Vec<Replica>) {
        for replica in &replicas {
            self.replicas.check(shared, replica);
            self.leaders.check(shared, replica);
        }
    }
}

/// Judges the whole run by its history and by what is stored at its end.
pub(crate) fn at_the_end(shared: &Shared, lists: &Lists) {
    let history = shared.history.lock();
    let mut violations = Vec::new();
    for ((group, node), list) in lists {
        let mut found = Vec::new();
        acknowledged::check(&history, *group, list, &mut found);
        chain::check(list, &mut found);
        order::check(&history, list, &mut found);
        refused::check(&history, list, &mut found);
        violations.extend(
            found
                .into_iter()
                .map(|found| format!("{found} ({group:?} on {node})")),
        );
    }
    leaders::check(&history, &mut violations);
    reads::check(&history, &mut violations);
    drop(history);
    violations
        .into_iter()
        .for_each(|violation| shared.violated(violation));
}

/// All that a group stores, as a number.
pub(crate) fn digest(view: &dyn View, group: GroupId) -> u64 {
    let (from, to) = group.key_range();
    let mut hasher = DefaultHasher::new();
    for column in Column::ALL {
        hasher.write_u8(column as u8);
        view.scan(column, &from, &to, &mut |key, value| {
            hasher.write_usize(key.len());
            hasher.write(key);
            hasher.write_usize(value.len());
            hasher.write(value);
            true
        })
        .expect("reads");
    }
    hasher.finish()
}

/// A group's list as it is stored.
pub(crate) fn read_list(view: &dyn View, group: GroupId) -> List {
    let length = list::length(view, group).expect("reads");
    let elements = (0..length).map_while(|index| list::element(view, group, index).expect("reads"));
    List {
        elements: elements.collect(),
        counted: list::counted(view, group).expect("reads"),
    }
}
