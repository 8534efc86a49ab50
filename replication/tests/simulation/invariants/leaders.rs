//! A term has one leader: two never think that they lead it, and never both acknowledge in it.

use std::collections::BTreeMap;

use rookery_replication::GroupId;

use super::Replica;
use crate::history::{History, Outcome};
use crate::shared::Shared;

/// Who was found to lead which term.
#[derive(Default)]
pub(super) struct Leaders(BTreeMap<(GroupId, u64), u64>);

impl Leaders {
    pub(super) fn check(&mut self, shared: &Shared, replica: &Replica) {
        let Some(term) = replica.leads else { return };
        let first = self.0.entry((replica.group, term)).or_insert(replica.replica.0);
        if *first != replica.replica.0 {
            shared.violated(format!(
                "a term has one leader: {:?} has replicas {first} and {} in term {term}",
                replica.group, replica.replica.0
            ));
        }
    }
}

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
