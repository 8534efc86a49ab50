//! Replicas that have applied the same entries store the same, byte for byte.

use std::collections::BTreeMap;

use rookery_replication::GroupId;
use rookery_replication::log::Position;

use super::Replica;
use crate::shared::Shared;

/// What was found stored by whom first after which entry.
#[derive(Default)]
pub(super) struct Replicas(BTreeMap<(GroupId, u64), (Position, u64, String)>);

impl Replicas {
    pub(super) fn check(&mut self, shared: &Shared, replica: &Replica) {
        let Some(applied) = replica.applied else { return };
        let (at, digest, node) = self
            .0
            .entry((replica.group, applied.index))
            .or_insert_with(|| (applied, replica.digest, replica.node.clone()));
        if (*at, *digest) != (applied, replica.digest) {
            shared.violated(format!(
                "replicas are equal: {:?} differs on {node} and {} after {at:?} and {applied:?}",
                replica.group, replica.node
            ));
        }
    }
}
