//! The directory keeps accounts in their shards, and shards where they were. Where a run moves them, each account is in a shard, and
//! each shard keeps as many replicas, on nodes of their own.

use std::collections::BTreeSet;

use anyhow::Result;

use super::super::history::Account;
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
        let mut wrong = accounts_elsewhere(&stage.placement, &now, &stage.moved_accounts);
        wrong.extend(shards_elsewhere(&stage.placement, &now, stage.moves));
        Ok(wrong)
    }
}

fn accounts_elsewhere(before: &Placement, now: &Placement, moved: &BTreeSet<Account>) -> Vec<String> {
    let is_kept = |account: &Account, shard: u64| match now.shard.get(account) {
        Some(held) => *held == shard || moved.contains(account) && now.nodes.contains_key(held),
        None => false,
    };
    let accounts = before.shard.iter();
    let lost = accounts.filter(|(account, shard)| !is_kept(account, **shard));
    lost.map(|(account, shard)| {
        let held = now.shard.get(account);
        format!("user{account} was in shard {shard} and is in {held:?}")
    })
    .collect()
}

fn shards_elsewhere(before: &Placement, now: &Placement, may_move: bool) -> Vec<String> {
    let mut wrong = Vec::new();
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

    fn differences(before: &Placement, now: &Placement, may_move: bool) -> usize {
        let nobody = BTreeSet::new();
        accounts_elsewhere(before, now, &nobody).len() + shards_elsewhere(before, now, may_move).len()
    }

    #[test]
    fn what_moved_or_went_is_seen_and_another_leader_is_not() {
        let before = placement(0, &["mailstore-1", "mailstore-2"]);
        assert_eq!(
            differences(&before, &placement(0, &["mailstore-2", "mailstore-1"]), false),
            0
        );
        assert_eq!(differences(&before, &placement(1, &["mailstore-1"]), false), 2);
        assert_eq!(differences(&before, &Placement::default(), false), 2);
        let moved = placement(0, &["mailstore-1", "mailstore-3"]);
        assert_eq!(differences(&before, &moved, false), 1);
        assert_eq!(differences(&before, &moved, true), 0);
        for fewer in [&["mailstore-1"][..], &["mailstore-1", "mailstore-1"]] {
            assert_eq!(differences(&before, &placement(0, fewer), true), 1);
        }
    }

    #[test]
    fn an_account_that_moves_is_in_a_shard_that_there_is() {
        let before = placement(1, &["mailstore-1"]);
        let moved: BTreeSet<Account> = [1].into();
        let elsewhere = |now: &Placement| accounts_elsewhere(&before, now, &moved).len();
        assert_eq!(elsewhere(&placement(0, &["mailstore-1"])), 0);
        assert_eq!(elsewhere(&placement(7, &["mailstore-1"])), 1, "there is none");
        assert_eq!(elsewhere(&Placement::default()), 1);
    }
}
