//! The directory keeps accounts in their shards, and shards where they were. Where a run moves them, each keeps as many replicas, on
//! nodes of their own.

use std::collections::BTreeSet;

use anyhow::Result;

use super::super::stage::{Placement, Stage};
use super::Closing;

/// See the file.
pub(super) struct PlacementKept;

impl Closing for PlacementKept {
    fn name(&self) -> &'static str {
        "the directory keeps accounts and shards"
    }

    fn check(&self, stage: &Stage) -> Result<Vec<String>> {
        let now = stage.placement_now()?;
        Ok(differences(&stage.placement, &now, stage.moves))
    }
}

fn differences(before: &Placement, now: &Placement, may_move: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for (account, shard) in &before.shard {
        let held = now.shard.get(account);
        if held != Some(shard) {
            wrong.push(format!("user{account} was in shard {shard} and is in {held:?}"));
        }
    }
    for (shard, nodes) in &before.nodes {
        // Which of them leads may change.
        let sorted = |nodes: &[String]| {
            let mut nodes = nodes.to_vec();
            nodes.sort();
            nodes
        };
        let held = now
            .nodes
            .get(shard)
            .map(|nodes| sorted(nodes))
            .unwrap_or_default();
        let as_many = || {
            let distinct: BTreeSet<&String> = held.iter().collect();
            distinct.len() == nodes.len() && held.len() == nodes.len()
        };
        if held != sorted(nodes) && !(may_move && as_many()) {
            wrong.push(format!("shard {shard} was on {nodes:?} and is on {held:?}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(shard: u64, nodes: &[&str]) -> Placement {
        Placement {
            shard: [(1, shard)].into(),
            nodes: [(0, nodes.iter().map(|node| (*node).to_owned()).collect())].into(),
        }
    }

    #[test]
    fn what_moved_or_went_is_seen_and_another_leader_is_not() {
        let before = placement(0, &["mailstore-1", "mailstore-2"]);
        assert!(differences(&before, &placement(0, &["mailstore-2", "mailstore-1"]), false).is_empty());
        assert_eq!(
            differences(&before, &placement(1, &["mailstore-1"]), false).len(),
            2
        );
        assert_eq!(differences(&before, &Placement::default(), false).len(), 2);
        let moved = placement(0, &["mailstore-1", "mailstore-3"]);
        assert_eq!(differences(&before, &moved, false).len(), 1);
        assert!(differences(&before, &moved, true).is_empty());
        for fewer in [&["mailstore-1"][..], &["mailstore-1", "mailstore-1"]] {
            assert_eq!(differences(&before, &placement(0, fewer), true).len(), 1);
        }
    }
}
