//! Splits of shards over a store in memory: what is refused, who goes, what is waited for, and how a split ends.

use super::super::split::{self, MOVES_AT_ONCE, Seen, Step};
use super::super::{holding, moving};
use super::*;
use crate::events::Kind;
use crate::rebalance::stored::{JobRow, JobState};
use crate::schema::ShardId;
use crate::schema::row::MoveStage;
use crate::schema::split::{SplitRow, SplitState};

/// Accounts of each of the 16 shards.
const EACH: u64 = 40;

const FROM: ShardId = ShardId(3);
const TO: ShardId = ShardId(16);

/// Far more than any pause between two tries.
const LONG: u64 = 1_000_000;

const BACKUP: &str = "0123456789abcdef";

/// A cluster with live accounts in shards that are served.
fn world() -> World {
    let mut world = World::placed();
    world.domain("a.test");
    let addresses: Vec<String> = (0..16 * EACH)
        .map(|number| format!("user{number}@a.test"))
        .collect();
    world.accounts(&addresses.iter().map(String::as_str).collect::<Vec<_>>());
    world.live();
    for shard in 0..16 {
        world.form(ShardId(shard));
    }
    world
}

fn seen() -> Seen {
    Seen {
        open: (1..=3).map(|number| format!("mailstore-{number}")).collect(),
        ..Seen::default()
    }
}

impl World {
    fn form(&mut self, shard: ShardId) {
        let row = Rows(&self.store).shard(shard).unwrap().unwrap();
        let row = row::Shard { formed: true, ..row };
        self.put(key::shard(shard), row.to_stored());
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        let mut batch = Batch::new();
        batch.put(Column::Rows, key, value);
        self.store.apply(&batch);
    }

    fn split(&mut self, from: ShardId) -> Result<SplitRow, PlanError> {
        let planned = split::begin(Rows(&self.store), from, &seen(), NOW);
        self.apply(planned).map(|(row, _)| row)
    }

    /// A split whose new shard is served.
    fn splitting() -> Self {
        let mut world = world();
        world.split(FROM).unwrap();
        world.form(TO);
        world
    }

    fn step_at(&mut self, full: &str, now: u64) -> Step {
        let (row, page) = split::under_way(Rows(&self.store)).unwrap().unwrap();
        let planned = split::step(Rows(&self.store), row.id, &page, full, now);
        self.apply(planned).unwrap().0
    }

    fn step(&mut self) -> Step {
        self.step_at("", NOW)
    }

    /// The accounts that are on their way.
    fn moving(&self) -> Vec<(AccountId, u64)> {
        let moves = Rows(&self.store).account_moves().unwrap().into_iter();
        let under_way = moves.filter(|(_, row)| row.stage().is_under_way());
        under_way.map(|(id, row)| (id, row.generation)).collect()
    }

    /// Whoever is on the way arrives, or is taken back.
    fn arrive(&mut self, is_taken_back: bool) {
        for (id, generation) in self.moving() {
            let rows = Rows(&self.store);
            let planned = match is_taken_back {
                true => moving::revert(rows, id, generation, "the disk is full"),
                false => moving::freeze(rows, id, generation),
            };
            self.apply(planned).unwrap();
            if !is_taken_back {
                let planned = moving::switch(Rows(&self.store), id, generation);
                self.apply(planned).unwrap();
            }
            let planned = moving::end(Rows(&self.store), id, generation, NOW);
            self.apply(planned).unwrap();
        }
    }

    /// The split as it ends.
    fn run_to_the_end(&mut self) -> SplitRow {
        for looks in 1..1_000 {
            let step = self.step_at("", NOW + looks * LONG);
            if !step.row.state().is_under_way() {
                return step.row;
            }
            self.arrive(false);
        }
        panic!("the split does not end");
    }

    fn accounts_in(&self, shard: ShardId) -> Vec<AccountId> {
        let mut accounts = Vec::new();
        let all = key::accounts_between(AccountId(0), AccountId(u64::MAX));
        Rows(&self.store)
            .scan(&all, |key, account: row::Account| {
                if account.shard == shard.0 {
                    accounts.extend(key::read_account(key));
                }
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        accounts
    }

    fn address(&self, id: AccountId) -> String {
        self.account(id).unwrap().address
    }
}

#[test]
fn half_of_the_accounts_go_to_a_new_shard_beside_the_old_one() {
    let mut world = world();
    let before = Rows(&world.store).sequences().unwrap();
    let planned = split::begin(Rows(&world.store), FROM, &seen(), NOW).unwrap();
    let kinds: Vec<Kind> = planned.events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::SplitBegun]);
    let (row, event) = world.apply(Ok(planned)).unwrap();
    assert_eq!((row.from, row.to, row.expected), (3, 16, EACH / 2));
    assert_eq!(event.shards.len(), 1, "everybody is told of the shard");
    let after = Rows(&world.store).sequences().unwrap();
    assert_eq!(after.placement, before.placement + 1, "plans are stale");
    let (old, new) = (
        Rows(&world.store).shard(FROM).unwrap().unwrap(),
        Rows(&world.store).shard(TO).unwrap().unwrap(),
    );
    assert_eq!(new.replicas.len(), 1);
    assert_eq!(new.replicas[0].node, old.replicas[0].node);
    assert_eq!(new.replicas[0].id, before.replicas + 1, "a number of its own");
    assert!(new.added && !new.formed && !new.replicas[0].taken);

    let step = world.step();
    assert!(
        step.begun.is_empty() && step.waits_for.contains("open"),
        "{step:?}"
    );
    world.form(TO);
    let was_there = world.accounts_in(FROM);
    let step = world.step();
    assert_eq!(step.begun.len(), MOVES_AT_ONCE);
    assert!(world.step().begun.is_empty(), "there is no room for more");
    world.arrive(false);
    let row = world.run_to_the_end();
    assert_eq!(
        (row.state(), row.moved, row.left),
        (SplitState::Done, EACH / 2, 0)
    );
    let every_second: Vec<AccountId> = was_there.iter().skip(1).step_by(2).copied().collect();
    assert_eq!(world.accounts_in(TO), every_second);
    assert_eq!(world.accounts_in(FROM).len() as u64, EACH / 2);
    assert_eq!(world.count(&key::count_shard_accounts(TO)), EACH / 2);
    let rows = Rows(&world.store);
    assert!(rows.split_moves().unwrap().is_empty(), "nothing is left of it");
    assert!(rows.account_moves().unwrap().is_empty());
    assert!(split::under_way(rows).unwrap().is_none());
    // Another one makes another shard.
    assert_eq!(world.split(TO).unwrap().to, 17);
}

#[test]
fn what_cannot_be_split_is_refused() {
    let mut world = world();
    let is_refused = |refused: Result<SplitRow, PlanError>, why: &str| match refused {
        Err(PlanError::Precondition(said)) => assert!(said.contains(why), "{said}"),
        other => panic!("{other:?}"),
    };
    assert!(matches!(world.split(ShardId(99)), Err(PlanError::NotFound(_))));
    let nobody = Seen::default();
    let planned = split::begin(Rows(&world.store), FROM, &nobody, NOW);
    is_refused(world.apply(planned).map(|(row, _)| row), "no place");
    let job = |state: JobState| JobRow {
        id: 4,
        state: state.into(),
        ..JobRow::default()
    };
    world.put(key::job(), job(JobState::Paused).to_stored());
    is_refused(world.split(FROM), "rebalance 4 is under way");
    world.put(key::job(), job(JobState::Done).to_stored());
    let restore = row::Restore {
        backup_id: "b".to_owned(),
    };
    world.put(key::restore(), restore.to_stored());
    is_refused(world.split(FROM), "a restore is under way");
    let mut batch = Batch::new();
    batch.delete(Column::Rows, key::restore());
    world.store.apply(&batch);
    world.split(FROM).unwrap();
    is_refused(world.split(ShardId(4)), "split 1 of shard 3 is under way");
    let planned = split::abort(Rows(&world.store), ShardId(4));
    is_refused(world.apply(planned).map(|(row, _)| row), "no split of shard 4");
    let planned = split::abort(Rows(&world.store), FROM);
    world.apply(planned).unwrap();
    assert_eq!(world.step().row.state(), SplitState::Aborted);
    is_refused(world.split(TO), "not served yet");
    world.form(TO);
    is_refused(world.split(TO), "0 accounts");
}

#[test]
fn the_busiest_are_parted() {
    let mut world = world();
    let accounts = world.accounts_in(FROM);
    let elsewhere = world.accounts_in(ShardId(5))[0];
    let seen = Seen {
        busiest: vec![(accounts[7], 700), (accounts[20], 900), (elsewhere, 5_000)],
        ..seen()
    };
    let planned = split::begin(Rows(&world.store), FROM, &seen, NOW);
    let (row, _) = world.apply(planned).unwrap();
    assert_eq!(row.busy_staying, [accounts[20].0], "of this shard, the busiest");
    assert_eq!(row.busy_going, [accounts[7].0]);
    world.form(TO);
    let row = world.run_to_the_end();
    assert_eq!(row.moved, row.expected);
    assert_eq!(world.account(accounts[7]).unwrap().shard, TO.0);
    assert_eq!(world.account(accounts[20]).unwrap().shard, FROM.0);
    assert_eq!((row.going, row.staying), (EACH / 2, EACH / 2));
}

#[test]
fn it_waits_while_it_must_not_or_cannot_go_on() {
    let mut world = World::splitting();
    let waits = |step: Step, what: &str| {
        assert!(step.begun.is_empty() && step.waits_for.contains(what), "{step:?}");
    };
    let planned = holding::hold(Rows(&world.store), BACKUP, false, NOW);
    world.apply(planned).unwrap();
    waits(world.step(), "backup");
    let planned = holding::hold(Rows(&world.store), BACKUP, true, NOW);
    world.apply(planned).unwrap();
    let planned = holding::release(Rows(&world.store), BACKUP);
    world.apply(planned).unwrap();
    let job = |state: JobState| JobRow {
        id: 4,
        state: state.into(),
        ..JobRow::default()
    };
    world.put(key::job(), job(JobState::Running).to_stored());
    waits(world.step(), "rebalance 4");
    world.put(key::job(), job(JobState::Done).to_stored());
    waits(world.step_at("mailstore-2", NOW), "mailstore-2");

    // The operator moves as many as can be.
    let others = world.accounts_in(ShardId(5));
    for id in &others[..moving::MOVES_MAX] {
        let planned = moving::begin(Rows(&world.store), &world.address(*id), ShardId(6), NOW);
        world.apply(planned).unwrap();
    }
    waits(world.step(), "moves of accounts");
    world.arrive(false);
    // A hold whose time is over is lost to the first move.
    let planned = holding::hold(Rows(&world.store), BACKUP, false, NOW);
    world.apply(planned).unwrap();
    let step = world.step_at("", NOW + 2 * holding::HOLD_MILLIS);
    assert_eq!(step.begun.len(), MOVES_AT_ONCE);
    assert!(Rows(&world.store).move_hold(BACKUP).unwrap().is_none());
    let row = world.run_to_the_end();
    assert_eq!(row.moved, EACH / 2);
}

#[test]
fn who_cannot_go_is_tried_again_and_left_behind_in_the_end() {
    let mut world = World::splitting();
    let begun = world.step().begun;
    world.arrive(true);
    let step = world.step();
    assert_eq!(step.row.moved, 0);
    assert!(
        step.begun.iter().all(|id| !begun.contains(id)),
        "others go while these wait"
    );
    world.arrive(false);
    let mut now = NOW;
    let row = loop {
        now += LONG;
        let step = world.step_at("", now);
        if !step.row.state().is_under_way() {
            break step.row;
        }
        // The first never gets through, the others do the next time.
        let unlucky = begun[0];
        let (others, own): (Vec<_>, Vec<_>) = world.moving().into_iter().partition(|(id, _)| *id != unlucky);
        for (id, generation) in own {
            let planned = moving::revert(Rows(&world.store), id, generation, "an upload");
            world.apply(planned).unwrap();
            let planned = moving::end(Rows(&world.store), id, generation, now);
            world.apply(planned).unwrap();
        }
        assert!(others.len() <= MOVES_AT_ONCE);
        world.arrive(false);
        assert!(now < NOW + 100 * LONG, "it does not end");
    };
    assert_eq!(
        (row.state(), row.moved, row.left),
        (SplitState::Done, EACH / 2 - 1, 1)
    );
    let left = Rows(&world.store).split_moves().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].0, left[0].1.is_left), (begun[0], true));
    assert_eq!(left[0].1.why_not, "an upload");
    let moved = Rows(&world.store).account_move(begun[0]).unwrap().unwrap();
    assert_eq!(moved.stage(), MoveStage::Reverted);
    world.split(FROM).unwrap();
    assert!(Rows(&world.store).split_moves().unwrap().is_empty());
}

#[test]
fn an_abort_lets_arrive_who_is_on_the_way() {
    let mut world = World::splitting();
    assert_eq!(world.step().begun.len(), MOVES_AT_ONCE);
    for _ in 0..2 {
        let planned = split::abort(Rows(&world.store), FROM);
        world.apply(planned).unwrap();
    }
    let step = world.step();
    assert_eq!((step.row.state(), step.begun.len()), (SplitState::Aborting, 0));
    world.arrive(false);
    let row = world.step().row;
    assert_eq!(
        (row.state(), row.moved),
        (SplitState::Aborted, MOVES_AT_ONCE as u64)
    );
    assert!(split::under_way(Rows(&world.store)).unwrap().is_none());
    let late = split::step(Rows(&world.store), row.id, &split::Page::default(), "", NOW);
    assert!(matches!(late, Err(PlanError::NotFound(_))));
    assert_eq!(world.accounts_in(TO).len(), MOVES_AT_ONCE);
}

#[test]
fn accounts_come_and_go_meanwhile() {
    let mut world = world();
    world.split(FROM).unwrap();
    let young = world.accounts(&["young@a.test"])[0];
    assert_ne!(
        world.account(young).unwrap().shard,
        TO.0,
        "nobody serves the new shard yet"
    );
    world.live();
    world.form(TO);
    let there = world.accounts_in(FROM);
    world.delete(&world.address(there[1]));
    let planned = moving::begin(Rows(&world.store), &world.address(there[3]), ShardId(6), NOW);
    world.apply(planned).unwrap();
    let begun = world.step().begun;
    assert!(
        !begun.contains(&there[1]) && !begun.contains(&there[3]),
        "{begun:?}"
    );
    // One that is purged while it is on its way has gone, and one that is deleted then arrives.
    let (purged, deleted) = (begun[0], begun[1]);
    for id in [purged, deleted] {
        world.delete(&world.address(id));
    }
    world.arrive(false);
    world.purge(purged);
    world.step();
    assert_eq!(world.account(deleted).unwrap().shard, TO.0);
    let next = world.accounts(&["next@a.test"])[0];
    assert_eq!(world.account(next).unwrap().shard, TO.0, "it has the fewest");
    let row = world.run_to_the_end();
    assert_eq!(row.left, 0);
    assert_ne!(world.account(young).unwrap().shard, TO.0);
    assert_eq!(world.account(there[3]).unwrap().shard, 6, "as the operator said");
    assert_eq!(world.account(there[1]).unwrap().shard, FROM.0);
}

#[test]
fn a_page_of_another_moment_says_nothing() {
    let mut world = World::splitting();
    let (row, page) = split::under_way(Rows(&world.store)).unwrap().unwrap();
    assert_eq!(world.step().begun.len(), MOVES_AT_ONCE);
    world.arrive(false);
    let planned = split::step(Rows(&world.store), row.id, &page, "", NOW);
    let (step, _) = world.apply(planned).unwrap();
    assert_eq!((step.begun.len(), step.row.moved), (0, MOVES_AT_ONCE as u64));
    assert_eq!(world.run_to_the_end().moved, EACH / 2);
}
