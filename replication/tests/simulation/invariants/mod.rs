//! What has to hold at the end of a simulated run, beside what has to hold of all replicas while it goes on.

mod acknowledged;
mod chain;
mod leaders;
mod order;
mod reads;
mod refused;

use std::collections::BTreeMap;

use rookery_replication::GroupId;
use rookery_replication::view::View;

use crate::list::{self, Element};
use crate::shared::Shared;

/// A group's list as a node has it.
pub(crate) struct List {
    pub(crate) elements: Vec<Element>,
    /// How many were counted.
    pub(crate) counted: u64,
}

/// By group and node.
pub(crate) type Lists = BTreeMap<(GroupId, String), List>;

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

/// A group's list as it is stored.
pub(crate) fn read_list(view: &dyn View, group: GroupId) -> List {
    let length = list::length(view, group).expect("reads");
    let elements = (0..length).map_while(|index| list::element(view, group, index).expect("reads"));
    List {
        elements: elements.collect(),
        counted: list::counted(view, group).expect("reads"),
    }
}
