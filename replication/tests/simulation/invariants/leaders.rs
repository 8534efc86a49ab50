//! A term has one leader: two never both acknowledge in it.

use std::collections::BTreeMap;

use rookery_replication::GroupId;

use crate::history::{History, Outcome};

pub(super) fn check(history: &History, violations: &mut Vec<String>) {
    let mut nodes: BTreeMap<(GroupId, u64), &str> = BTreeMap::new();
    for append in history.appends.values() {
        if append.outcome != Outcome::Applied {
            continue;
        }
        let node = nodes
            .entry((append.group, append.leader.term))
            .or_insert(&append.node);
        if *node != append.node {
            violations.push(format!(
                "one node acknowledges in a term: {node} and {} in term {} of {:?}",
                append.node, append.leader.term, append.group
            ));
        }
    }
}
