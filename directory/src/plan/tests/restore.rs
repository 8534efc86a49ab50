//! A restore over a store in memory: every step may come again.

use rookery_replication::View;

use super::super::restore::{self, Place};
use super::*;
use crate::address::DomainName;
use crate::schema::ShardId;
use crate::schema::portable::{self, Portable};

/// The rows that a backup of the world has.
fn backup(world: &World) -> Vec<Portable> {
    let mut rows = Vec::new();
    for range in portable::ranges() {
        world
            .store
            .scan(Column::Rows, &range.from, &range.to, &mut |key, value| {
                rows.push(portable::read(key, value).unwrap());
                true
            })
            .unwrap();
    }
    rows
}

fn source() -> (World, Vec<AccountId>) {
    let mut world = World::placed();
    world.domain("b.test").domain("a.test");
    let ids = world.accounts(&["one@a.test", "two@a.test", "gone@b.test", "new@b.test"]);
    world.live();
    let planned = alias::add(Rows(&world.store), "all@a.test", &["one@a.test".to_owned()]);
    world.apply(planned).unwrap();
    let planned = account::delete(Rows(&world.store), "gone@b.test", NOW, 10);
    world.apply(planned).unwrap();
    (world, ids)
}

#[test]
fn an_empty_cluster_becomes_what_the_backup_was() {
    let (source, ids) = source();
    let rows = backup(&source);
    let mut target = World::placed();
    target.domain("own.test");
    for _ in 0..2 {
        let planned = restore::begin(Rows(&target.store), "b1", 4);
        target.apply(planned).unwrap();
        let planned = restore::take(Rows(&target.store), &rows);
        target.apply(planned).unwrap();
    }
    assert_eq!(Rows(&target.store).counter(&key::count_accounts()).unwrap(), 3);
    assert_eq!(Rows(&target.store).counter(&key::count_domains()).unwrap(), 3);
    let domain = DomainName::parse("a.test").unwrap();
    let aliases = Rows(&target.store)
        .counter(&key::count_domain_aliases(&domain))
        .unwrap();
    let accounts = Rows(&target.store)
        .counter(&key::count_domain_accounts(&domain))
        .unwrap();
    assert_eq!((aliases, accounts), (1, 2));

    let of_shard = |world: &World, id: AccountId| ShardId(world.account(id).unwrap().shard);
    let before = of_shard(&source, ids[0]);
    let places = restore::place(Rows(&target.store), Some(before), &[ids[0], AccountId(99)]).unwrap();
    let awaited = Place::Awaited(of_shard(&target, ids[0]));
    assert_eq!(places, [awaited, Place::Unknown]);
    let elsewhere = ShardId(before.0 + 1);
    let places = restore::place(Rows(&target.store), Some(elsewhere), &[ids[0]]).unwrap();
    assert_eq!(places, [Place::Unknown], "the directory has it on another shard");
    let places = restore::place(Rows(&target.store), None, &[ids[0]]).unwrap();
    assert_eq!(places, [awaited]);

    // All but the last have mail.
    for _ in 0..2 {
        let planned = restore::finished(Rows(&target.store), &ids[..3]);
        target.apply(planned).unwrap();
    }
    assert_eq!(target.account(ids[0]).unwrap().life(), Life::Live);
    assert_eq!(target.account(ids[0]).unwrap().secret, "s");
    let gone = target.account(ids[2]).unwrap();
    assert_eq!((gone.life(), gone.purge_at_millis), (Life::Deleted, NOW + 10));
    let due = key::due(NOW + 10, ids[2]);
    assert!(target.store.contains(Column::Rows, &due).unwrap());
    assert_eq!(target.account(ids[3]).unwrap().life(), Life::Creating);

    let planned = restore::end(Rows(&target.store), "b1");
    let (ended, _) = target.apply(planned).unwrap();
    assert_eq!(
        (ended.dues, ended.is_last),
        (vec![(account::DUE_AT_ONCE, ids[3])], false)
    );
    let planned = restore::end(Rows(&target.store), "b1");
    assert!(target.apply(planned).unwrap().0.is_last);
    assert!(Rows(&target.store).restore().unwrap().is_none());
    let next = target.accounts(&["later@a.test"]);
    assert_eq!(next, [AccountId(5)], "above every id of before");
    let resolved = crate::resolve::resolve(Rows(&target.store), "all@a.test").unwrap();
    assert_eq!(resolved.into_keys().collect::<Vec<_>>(), [ids[0]]);
}

#[test]
fn a_cluster_with_accounts_is_refused() {
    let (mut world, _) = source();
    let planned = restore::begin(Rows(&world.store), "b1", 4);
    let error = world.apply(planned).unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");
    assert!(restore::take(Rows(&world.store), &[]).is_err());

    let mut empty = World::placed();
    let planned = restore::begin(Rows(&empty.store), "b1", 4);
    empty.apply(planned).unwrap();
    let error = restore::begin(Rows(&empty.store), "b2", 4).unwrap_err();
    assert!(error.to_string().contains("b1 is under way"), "{error}");
    assert!(restore::check(Rows(&empty.store), "b2").is_err());
    assert!(
        restore::begin(Rows(&World::new().store), "b1", 4).is_err(),
        "no shards"
    );
}

#[test]
fn a_name_that_was_given_away_meanwhile_is_not_taken_back() {
    let (source, _) = source();
    let rows = backup(&source);
    let mut target = World::placed();
    let planned = restore::begin(Rows(&target.store), "b1", 4);
    target.apply(planned).unwrap();
    target.domain("a.test").accounts(&["one@a.test"]);
    let error = restore::take(Rows(&target.store), &rows).unwrap_err();
    assert!(error.to_string().contains("one@a.test"), "{error}");
}
