//! Moves of accounts over a store in memory: what is refused, and what each step writes.

use super::super::{holding, moving};
use super::*;
use crate::schema::ShardId;
use crate::schema::row::MoveStage;

const USER: &str = "one@a.test";

/// An account that is live, in a cluster whose shards are served but the last. And where it is, and another shard.
fn world() -> (World, AccountId, ShardId, ShardId) {
    let mut world = World::placed();
    world.domain("a.test");
    let id = world.accounts(&[USER])[0];
    world.live();
    let mut batch = Batch::new();
    for (shard, row) in Rows(&world.store).shards().unwrap() {
        let formed = shard.0 < 15;
        let row = row::Shard { formed, ..row };
        batch.put(Column::Rows, key::shard(shard), row.to_stored());
    }
    world.store.apply(&batch);
    let from = ShardId(world.known(id).shard);
    (world, id, from, ShardId((from.0 + 1) % 15))
}

impl World {
    fn known(&self, id: AccountId) -> row::Account {
        Rows(&self.store).account(id).unwrap().unwrap()
    }

    fn begin(&mut self, address: &str, to: ShardId) -> Result<row::AccountMove, PlanError> {
        let planned = moving::begin(Rows(&self.store), address, to, NOW);
        self.apply(planned).map(|((_, row), _)| row)
    }

    fn accounts_of(&self, shard: ShardId) -> u64 {
        Rows(&self.store)
            .counter(&key::count_shard_accounts(shard))
            .unwrap()
    }
}

#[test]
fn what_cannot_be_moved_is_refused() {
    let (mut world, _, from, to) = world();
    let is_refused =
        |refused: Result<row::AccountMove, PlanError>| matches!(refused, Err(PlanError::Precondition(_)));
    assert!(matches!(
        world.begin("no@a.test", to),
        Err(PlanError::NotFound(_))
    ));
    assert!(matches!(
        world.begin(USER, ShardId(99)),
        Err(PlanError::NotFound(_))
    ));
    assert!(is_refused(world.begin(USER, from)), "it is there already");
    assert!(
        is_refused(world.begin(USER, ShardId(15))),
        "nobody serves the shard yet"
    );
    world.accounts(&["new@a.test"]);
    assert!(
        is_refused(world.begin("new@a.test", ShardId(14))),
        "it is being made"
    );
    world.begin(USER, to).unwrap();
    assert!(is_refused(world.begin(USER, to)), "one at a time");
}

#[test]
fn one_that_ends_leaves_the_account_in_the_other_shard() {
    let (mut world, id, from, to) = world();
    let before = (world.accounts_of(from), world.accounts_of(to));
    let generation = world.begin(USER, to).unwrap().generation;
    assert_eq!(generation, world.known(id).generation + 1);
    let early = moving::switch(Rows(&world.store), id, generation);
    assert!(early.is_err(), "its rows are not copied");
    let planned = moving::try_again(Rows(&world.store), id, generation);
    assert_eq!(world.apply(planned).unwrap().0.attempt, 1);
    let planned = moving::freeze(Rows(&world.store), id, generation);
    world.apply(planned).unwrap();
    assert_eq!(world.known(id).shard, from.0);
    let planned = moving::switch(Rows(&world.store), id, generation);
    let (_, event) = world.apply(planned).unwrap();
    assert_eq!(event.accounts[0].moved_to, Some(to.0));
    assert!(!event.accounts[0].end_sessions);
    let account = world.known(id);
    assert_eq!((account.shard, account.generation), (to.0, generation));
    assert_eq!((world.accounts_of(from) + 1, world.accounts_of(to) - 1), before);
    let late = moving::revert(Rows(&world.store), id, generation, "too late");
    assert!(late.is_err(), "behind the switch there is no way back");
    let planned = moving::end(Rows(&world.store), id, generation, NOW + 5);
    assert_eq!(world.apply(planned).unwrap().0.stage(), MoveStage::Done);
    // The next one is above it.
    assert_eq!(world.begin(USER, from).unwrap().generation, generation + 1);
}

#[test]
fn a_deleted_account_is_purged_where_it_is_at_last() {
    let (mut world, id, _, to) = world();
    let generation = world.begin(USER, to).unwrap().generation;
    let planned = moving::freeze(Rows(&world.store), id, generation);
    world.apply(planned).unwrap();
    world.delete(USER);
    let before = world.purged(id);
    let planned = moving::switch(Rows(&world.store), id, generation);
    world.apply(planned).unwrap();

    // The shard that it has left says so late.
    let planned = account::purged(Rows(&world.store), &[before]);
    world.apply(planned).unwrap();
    let due = (before.due_millis, id);
    assert_eq!(world.known(id).shard, to.0);
    assert!(world.dues().contains(&due), "it is purged in the other shard");

    world.purge(id);
    assert_eq!(world.account(id), None);
    assert!(!world.dues().contains(&due));
    assert_eq!(world.accounts_of(to), 0);
}

#[test]
fn one_that_is_taken_back_uses_up_its_generation() {
    let (mut world, id, from, to) = world();
    let generation = world.begin(USER, to).unwrap().generation;
    let planned = moving::revert(Rows(&world.store), id, generation, "the disk is full");
    world.apply(planned).unwrap();
    let account = world.known(id);
    assert_eq!((account.shard, account.generation), (from.0, generation + 1));
    assert!(moving::freeze(Rows(&world.store), id, generation).is_err());
    let planned = moving::end(Rows(&world.store), id, generation, NOW);
    let (row, _) = world.apply(planned).unwrap();
    assert_eq!(
        (row.stage(), row.why_not.as_str()),
        (MoveStage::Reverted, "the disk is full")
    );
    assert_eq!(world.begin(USER, to).unwrap().generation, generation + 2);
    let late = moving::revert(Rows(&world.store), id, generation, "late");
    assert!(late.is_err(), "of a move that is over");
}

const BACKUP: &str = "0123456789abcdef";

impl World {
    fn hold(&mut self, id: &str, is_renewed: bool, now: u64) -> Result<Vec<String>, PlanError> {
        let planned = holding::hold(Rows(&self.store), id, is_renewed, now);
        self.apply(planned).map(|(moving, _)| moving)
    }
}

#[test]
fn none_begins_while_a_hold_lasts() {
    let (mut world, id, _, to) = world();
    assert_eq!(world.hold(BACKUP, false, NOW).unwrap(), Vec::<String>::new());
    assert!(matches!(world.begin(USER, to), Err(PlanError::Precondition(_))));
    assert!(world.hold(BACKUP, true, NOW).is_ok());
    let planned = holding::release(Rows(&world.store), BACKUP);
    world.apply(planned).unwrap();
    let generation = world.begin(USER, to).unwrap().generation;
    assert_eq!(
        world.hold(BACKUP, false, NOW).unwrap(),
        [USER],
        "it is on its way"
    );
    let planned = moving::revert(Rows(&world.store), id, generation, "why not");
    world.apply(planned).unwrap();
    let planned = moving::end(Rows(&world.store), id, generation, NOW);
    world.apply(planned).unwrap();
    assert_eq!(world.hold(BACKUP, true, NOW).unwrap(), Vec::<String>::new());
}

/// Late is not lost: only a move that has begun since is heard of.
#[test]
fn a_hold_whose_time_is_over_lasts_until_a_move_begins() {
    let (mut world, _, _, to) = world();
    let late = NOW + 2 * holding::HOLD_MILLIS;
    for id in [BACKUP, "another-hold-that-is-old"] {
        world.hold(id, false, NOW).unwrap();
    }
    assert!(world.hold(BACKUP, true, late).is_ok());
    world.hold(BACKUP, true, NOW).unwrap();
    let begun = moving::begin(Rows(&world.store), USER, to, late);
    world.apply(begun).unwrap();
    for id in [BACKUP, "another-hold-that-is-old"] {
        let lost = world.hold(id, true, late);
        assert!(matches!(lost, Err(PlanError::Precondition(_))), "{id}");
    }
}

#[test]
fn holds_are_few_and_well_named() {
    let (mut world, ..) = world();
    for bad in ["short", "with a blank in the middle", &"x".repeat(65)] {
        assert!(
            matches!(world.hold(bad, false, NOW), Err(PlanError::Invalid(_))),
            "{bad}"
        );
    }
    for number in 0..holding::HOLDS_MAX {
        world.hold(&format!("{BACKUP}-{number}"), false, NOW).unwrap();
    }
    assert!(matches!(
        world.hold(BACKUP, false, NOW),
        Err(PlanError::Precondition(_))
    ));
    // Those of commands that were killed are no burden.
    assert!(world.hold(BACKUP, false, NOW + holding::HOLD_MILLIS).is_ok());
}
