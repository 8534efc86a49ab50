//! Tables of recipients over a small directory.

use rookery_replication::MemoryStore;

use super::*;
use crate::plan::tests::World;

fn world() -> World {
    let mut world = World::placed();
    world
        .domain("first.test")
        .domain("second.test")
        .domain("catch.test")
        .domain("empty.test");
    world.accounts(&[
        "bob@first.test",
        "alice@first.test",
        "carol@second.test",
        "user+exact@first.test",
    ]);
    world.live();
    world
}

fn alias(world: &mut World, name: &str, targets: &[&str]) {
    world.alias(name, targets).unwrap();
}

/// `address` of each destination, or the name of the error.
fn outcome(store: &MemoryStore, recipient: &str) -> Vec<String> {
    match resolve(Rows(store), recipient) {
        Ok(found) => found.into_values().map(|found| found.address).collect(),
        Err(ResolveError::NotLocal(_)) => vec!["not local".to_owned()],
        Err(ResolveError::Unknown(_)) => vec!["unknown".to_owned()],
        Err(ResolveError::Suspended(_)) => vec!["suspended".to_owned()],
        Err(ResolveError::Creating(_)) => vec!["creating".to_owned()],
        Err(ResolveError::Loop(_)) => vec!["loop".to_owned()],
        Err(ResolveError::Read(error)) => panic!("{error}"),
    }
}

fn check(world: &World, cases: &[(&str, &[&str])]) {
    for (recipient, wanted) in cases {
        assert_eq!(outcome(&world.store, recipient), *wanted, "{recipient}");
    }
}

#[test]
fn addresses_case_and_details() {
    check(
        &world(),
        &[
            ("bob@first.test", &["bob@first.test"]),
            ("BOB@First.Test", &["bob@first.test"]),
            ("bob+Tag@first.test", &["bob+Tag@first.test"]),
            ("user+exact@first.test", &["user+exact@first.test"]),
            ("user+other@first.test", &["unknown"]),
            ("user@first.test", &["unknown"]),
            ("bob@second.test", &["unknown"]),
            ("bob@elsewhere.test", &["not local"]),
            ("bob@sub.first.test", &["not local"]),
            ("bob@[192.0.2.1]", &["not local"]),
            ("bob", &["not local"]),
            ("", &["not local"]),
            ("@first.test", &["not local"]),
        ],
    );
}

#[test]
fn aliases_lead_to_many_across_domains() {
    let mut world = world();
    alias(
        &mut world,
        "team@first.test",
        &["bob@first.test", "carol@second.test"],
    );
    alias(
        &mut world,
        "all@second.test",
        &["team@first.test", "alice@first.test", "bob@first.test"],
    );
    alias(&mut world, "fixed@first.test", &["bob+inbox@first.test"]);
    check(
        &world,
        &[
            ("team@first.test", &["bob@first.test", "carol@second.test"]),
            ("Team+X@first.test", &["bob+X@first.test", "carol+X@second.test"]),
            // Ascending by account, each once, as it was reached first.
            (
                "all@second.test",
                &["bob@first.test", "alice@first.test", "carol@second.test"],
            ),
            ("fixed+x@first.test", &["bob+inbox@first.test"]),
        ],
    );
}

#[test]
fn catch_all_and_postmaster() {
    let mut world = world();
    check(
        &world,
        &[
            ("postmaster", &["postmaster@first.test"]),
            ("PostMaster@second.test", &["postmaster@second.test"]),
            ("postmaster+x@second.test", &["postmaster+x@second.test"]),
            ("postmaster@empty.test", &["unknown"]),
        ],
    );
    // Of the domain that was added first, the first account by local part.
    let owners = resolve(Rows(&world.store), "postmaster").unwrap();
    assert_eq!(
        owners
            .into_values()
            .map(|found| found.account.address)
            .collect::<Vec<_>>(),
        ["alice@first.test"]
    );
    alias(&mut world, "@catch.test", &["bob@first.test"]);
    alias(&mut world, "postmaster@first.test", &["carol@second.test"]);
    check(
        &world,
        &[
            ("anything@catch.test", &["bob@first.test"]),
            ("anything+x@catch.test", &["bob@first.test"]),
            ("postmaster@catch.test", &["bob@first.test"]),
            ("postmaster", &["carol@second.test"]),
            ("unknown@first.test", &["unknown"]),
        ],
    );
    world.accounts(&["anything@catch.test"]);
    world.live();
    check(&world, &[("anything@catch.test", &["anything@catch.test"])]);
}

#[test]
fn loops_and_depths_are_found() {
    let mut world = world();
    alias(&mut world, "a0@first.test", &["bob@first.test"]);
    for depth in 1..ALIAS_DEPTH_MAX {
        alias(
            &mut world,
            &format!("a{depth}@first.test"),
            &[&format!("a{}@first.test", depth - 1)],
        );
    }
    check(&world, &[("a9@first.test", &["bob@first.test"])]);
    // One deeper is refused when it is made.
    assert!(world.alias("a10@first.test", &["a9@first.test"]).is_err());
    assert!(world.alias("a0@first.test", &["a0@first.test"]).is_err());
    assert!(world.alias("a0@first.test", &["a5@first.test"]).is_err());
    assert!(world.alias("a0@first.test", &["a0+x@first.test"]).is_err());
    // A loop that was not there when its parts were made: a catch-all takes the place of an account that goes.
    alias(&mut world, "@catch.test", &["bob@first.test"]);
    alias(&mut world, "loop@first.test", &["x@catch.test"]);
    assert!(world.alias("@catch.test", &["loop@first.test"]).is_err());
    world.force_alias("@catch.test", &["loop@first.test"]);
    check(
        &world,
        &[("loop@first.test", &["loop"]), ("y@catch.test", &["loop"])],
    );
}

#[test]
fn a_way_back_takes_nothing_from_other_ways() {
    let mut world = world();
    alias(
        &mut world,
        "@first.test",
        &["bob@first.test", "carol@second.test"],
    );
    alias(
        &mut world,
        "team@first.test",
        &["bob@first.test", "alice@first.test"],
    );
    world.delete("bob@first.test");
    // bob's address now falls to the catch-all that led to it.
    check(
        &world,
        &[
            ("anybody@first.test", &["carol@second.test"]),
            ("team@first.test", &["alice@first.test", "carol@second.test"]),
        ],
    );
}

#[test]
fn two_ways_to_one_alias_are_no_loop() {
    let mut world = world();
    alias(&mut world, "end@first.test", &["bob@first.test"]);
    alias(&mut world, "left@first.test", &["end@first.test"]);
    alias(&mut world, "right@first.test", &["end@first.test"]);
    alias(
        &mut world,
        "top@first.test",
        &["left@first.test", "right@first.test"],
    );
    check(&world, &[("top@first.test", &["bob@first.test"])]);
}

#[test]
fn too_many_destinations_are_refused() {
    let mut world = world();
    let names: Vec<String> = (0..=DESTINATIONS_MAX)
        .map(|number| format!("n{number}@second.test"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.accounts(&names[..500]);
    world.accounts(&names[500..]);
    world.live();
    alias(&mut world, "half@first.test", &names[..500]);
    alias(&mut world, "rest@first.test", &names[500..DESTINATIONS_MAX]);
    alias(
        &mut world,
        "most@first.test",
        &["half@first.test", "rest@first.test"],
    );
    assert_eq!(outcome(&world.store, "most@first.test").len(), DESTINATIONS_MAX);
    assert!(
        world
            .alias("most@first.test", &[names[DESTINATIONS_MAX]])
            .is_err()
    );
    world.force_alias(
        "too-many@first.test",
        &["most@first.test", names[DESTINATIONS_MAX]],
    );
    check(&world, &[("too-many@first.test", &["loop"])]);
}

#[test]
fn suspended_creating_and_gone() {
    let mut world = world();
    alias(
        &mut world,
        "team@first.test",
        &["bob@first.test", "carol@second.test"],
    );
    world.suspend("bob@first.test", true);
    check(
        &world,
        &[
            ("bob@first.test", &["suspended"]),
            ("team@first.test", &["carol@second.test"]),
        ],
    );
    world.suspend("carol@second.test", true);
    check(&world, &[("team@first.test", &["suspended"])]);
    world.suspend("bob@first.test", false);
    check(&world, &[("team@first.test", &["bob@first.test"])]);
    world.delete("bob@first.test");
    check(
        &world,
        &[
            ("bob@first.test", &["unknown"]),
            ("team@first.test", &["suspended"]),
        ],
    );
    world.accounts(&["new@first.test"]);
    check(&world, &[("new@first.test", &["creating"])]);
    world.live();
    check(&world, &[("new@first.test", &["new@first.test"])]);
}

#[test]
fn only_own_addresses_log_in() {
    let mut world = world();
    alias(&mut world, "team@first.test", &["bob@first.test"]);
    let login = |name: &str| {
        login(Rows(&world.store), name)
            .unwrap()
            .map(|(_, account)| account.address)
    };
    assert_eq!(login("Bob@first.test").as_deref(), Some("bob@first.test"));
    for name in [
        "team@first.test",
        "bob+x@first.test",
        "bob",
        "",
        "bob@elsewhere.test",
    ] {
        assert_eq!(login(name), None, "{name}");
    }
}

#[test]
fn what_rests_on_something_that_is_not_there_says_so() {
    let mut world = world();
    alias(
        &mut world,
        "both@first.test",
        &["bob@first.test", "carol@second.test"],
    );
    alias(
        &mut world,
        "half@first.test",
        &["bob@first.test", "carol+list@second.test"],
    );
    alias(&mut world, "@catch.test", &["bob@first.test"]);
    for (recipient, rests) in [
        ("bob@first.test", false),
        ("user+exact@first.test", false),
        ("both@first.test", false),
        ("half@first.test", true),
        ("bob+tag@first.test", true),
        ("anybody@catch.test", true),
        ("postmaster@first.test", true),
    ] {
        let resolved = look_up(Rows(&world.store), recipient).unwrap();
        assert_eq!(resolved.rests_on_absence, rests, "{recipient}");
    }
}
