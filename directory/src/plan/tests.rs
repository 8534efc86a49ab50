//! Mutations over a store in memory.

mod moving;
mod restore;
mod split;

use std::collections::{BTreeSet, HashSet};

use rookery_proto::directory::v1::{Node, NodeRole};
use rookery_replication::{Column, MemoryStore};

use super::account::{self, New, Told};
use super::node::Cluster;
use super::*;
use crate::address::Address;
use crate::schema::read::Rows;
use crate::schema::row::{self, Life, Row};
use crate::schema::{KeyId, ShardId, key};

const NOW: u64 = 1_000;

/// A directory in memory, changed by the planners.
pub(crate) struct World {
    pub(crate) store: MemoryStore,
    cluster: Cluster,
    created: Vec<AccountId>,
}

fn mailstore(number: u32) -> Node {
    Node {
        id: format!("mailstore-{number}"),
        role: NodeRole::Mailstore.into(),
        address: format!("127.0.0.1:{number}"),
        weight: 100,
        ..Node::default()
    }
}

impl World {
    fn new() -> Self {
        let cluster = Cluster {
            id: "c".to_owned(),
            shards: 16,
            replicas: 1,
            expected_mailstores: 3,
        };
        Self {
            store: MemoryStore::new(),
            cluster,
            created: Vec::new(),
        }
    }

    /// With shards on three mailstores.
    pub(crate) fn placed() -> Self {
        let mut world = Self::new();
        for number in 1..=3 {
            world.register(number).unwrap();
        }
        world
    }

    fn apply<T>(&mut self, planned: Result<Planned<T>, PlanError>) -> Result<(T, WatchEvent), PlanError> {
        let planned = planned?;
        self.store.apply(&planned.batch);
        Ok((planned.reply, planned.event))
    }

    fn register(&mut self, number: u32) -> Result<WatchEvent, PlanError> {
        let alive: BTreeSet<String> = (1..=9).map(|number| format!("mailstore-{number}")).collect();
        let planned = node::register(Rows(&self.store), &self.cluster, "c", &mailstore(number), &alive);
        self.apply(planned).map(|((), event)| event)
    }

    pub(crate) fn domain(&mut self, name: &str) -> &mut Self {
        let planned = domain::add(Rows(&self.store), name, NOW);
        self.apply(planned).unwrap();
        self
    }

    fn try_accounts(&mut self, addresses: &[&str]) -> Result<(Vec<AccountId>, WatchEvent), PlanError> {
        let new: Vec<New> = addresses
            .iter()
            .map(|address| New {
                address: (*address).to_owned(),
                secret: "s".to_owned(),
                quota_bytes: 0,
            })
            .collect();
        let planned = account::add(Rows(&self.store), &new, NOW);
        let (made, event) = self.apply(planned)?;
        let ids: Vec<AccountId> = made.into_iter().map(|(id, _)| id).collect();
        self.created.extend(&ids);
        Ok((ids, event))
    }

    pub(crate) fn accounts(&mut self, addresses: &[&str]) -> Vec<AccountId> {
        self.try_accounts(addresses).unwrap().0
    }

    /// All accounts are on their shards.
    pub(crate) fn live(&mut self) {
        let told: Vec<Told> = self
            .created
            .drain(..)
            .map(|id| Told {
                due_millis: account::DUE_AT_ONCE,
                id,
                quota_bytes: 0,
            })
            .collect();
        let planned = account::made_live(Rows(&self.store), &told);
        self.apply(planned).unwrap();
    }

    pub(crate) fn alias(&mut self, name: &str, targets: &[&str]) -> Result<WatchEvent, PlanError> {
        let targets: Vec<String> = targets.iter().map(|target| (*target).to_owned()).collect();
        let planned = alias::add(Rows(&self.store), name, &targets);
        self.apply(planned).map(|((), event)| event)
    }

    /// An alias that the planner would refuse.
    pub(crate) fn force_alias(&mut self, name: &str, targets: &[&str]) {
        let (local, domain) = name.split_once('@').unwrap();
        let domain = crate::address::DomainName::parse(domain).unwrap();
        let row = row::Alias {
            targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        };
        let mut batch = rookery_replication::Batch::new();
        batch.put(Column::Rows, key::alias(&domain, local), row.to_stored());
        self.store.apply(&batch);
    }

    pub(crate) fn suspend(&mut self, address: &str, suspended: bool) -> WatchEvent {
        let planned = account::set_suspended(Rows(&self.store), address, suspended);
        self.apply(planned).unwrap().1
    }

    pub(crate) fn delete(&mut self, address: &str) -> AccountId {
        let planned = account::delete(Rows(&self.store), address, NOW, 500);
        self.apply(planned).unwrap().0
    }

    /// Its shard has purged a deleted account.
    pub(crate) fn purge(&mut self, id: AccountId) {
        let purged = self.purged(id);
        let planned = account::purged(Rows(&self.store), &[purged]);
        self.apply(planned).unwrap();
    }

    /// That the shard which has it now has purged it.
    fn purged(&self, id: AccountId) -> account::Purged {
        let account = self.account(id).unwrap();
        account::Purged {
            due_millis: account.purge_at_millis,
            id,
            shard: ShardId(account.shard),
            generation: account.generation,
        }
    }

    fn account(&self, id: AccountId) -> Option<row::Account> {
        Rows(&self.store).account(id).unwrap()
    }

    fn dues(&self) -> Vec<(u64, AccountId)> {
        let mut dues = Vec::new();
        Rows(&self.store)
            .keys(&key::dues_until(u64::MAX - 1), |key| {
                dues.extend(key::read_due(key));
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        dues
    }

    fn count(&self, key: &[u8]) -> u64 {
        Rows(&self.store).counter(key).unwrap()
    }
}

#[test]
fn domains_come_and_go() {
    let mut world = World::placed();
    world.domain("Example.Test");
    let again = domain::add(Rows(&world.store), "example.test", NOW);
    assert!(matches!(again, Err(PlanError::AlreadyExists(_))));
    assert!(matches!(
        domain::add(Rows(&world.store), "not a domain", NOW),
        Err(PlanError::Invalid(_))
    ));
    world.accounts(&["a@example.test"]);
    assert!(matches!(
        domain::remove(Rows(&world.store), "example.test"),
        Err(PlanError::Precondition(_))
    ));
    world.alias("b@example.test", &["a@example.test"]).unwrap();
    world.delete("a@example.test");
    assert!(matches!(
        domain::remove(Rows(&world.store), "example.test"),
        Err(PlanError::Precondition(_))
    ));
    let planned = alias::remove(Rows(&world.store), "b@example.test", &[]);
    world.apply(planned).unwrap();
    let planned = domain::remove(Rows(&world.store), "example.test");
    assert!(world.apply(planned).unwrap().1.recipients_changed);
    assert_eq!(world.count(&key::count_domains()), 0);
    assert!(matches!(
        domain::remove(Rows(&world.store), "example.test"),
        Err(PlanError::NotFound(_))
    ));
}

#[test]
fn shards_are_placed_once_all_expected_are_there() {
    let mut world = World::new();
    assert!(world.register(1).unwrap().shards.is_empty());
    assert!(world.register(2).unwrap().shards.is_empty());
    let refused = world.try_accounts(&["a@example.test"]);
    assert!(matches!(refused, Err(PlanError::Precondition(_))));
    let event = world.register(3).unwrap();
    assert_eq!(event.shards.len(), 16);
    let nodes: HashSet<&String> = event.shards.iter().flat_map(|shard| &shard.replicas).collect();
    assert_eq!(nodes.len(), 3);
    // Saying it again changes nothing, and later ones get none.
    assert_eq!(world.register(3).unwrap(), WatchEvent::default());
    let later = world.register(4).unwrap();
    assert_eq!((later.nodes.len(), later.shards.len()), (1, 0));
}

#[test]
fn plans_grow_stale_by_what_they_rest_on_alone() {
    let mut world = World::placed();
    let mut is_made_stale_by = |node: Node| {
        let before = Rows(&world.store).sequences().unwrap().placement;
        let planned = node::register(Rows(&world.store), &world.cluster, "c", &node, &BTreeSet::new());
        let (_, event) = world.apply(planned).unwrap();
        assert_eq!(event.nodes.len(), 1, "{node:?}");
        Rows(&world.store).sequences().unwrap().placement != before
    };
    let proxy = Node {
        id: "proxy-1".to_owned(),
        role: NodeRole::Proxy.into(),
        ..Node::default()
    };
    assert!(!is_made_stale_by(proxy));
    let moved = Node {
        address: "127.0.0.2:1".to_owned(),
        ..mailstore(1)
    };
    assert!(!is_made_stale_by(moved));
    let larger = Node {
        weight: 200,
        ..mailstore(1)
    };
    assert!(is_made_stale_by(larger));
    assert!(is_made_stale_by(mailstore(4)));
}

#[test]
fn silent_mailstores_get_no_shards() {
    let mut world = World::new();
    world.register(1).unwrap();
    world.register(2).unwrap();
    let alive = BTreeSet::from(["mailstore-2".to_owned()]);
    let planned = node::register(Rows(&world.store), &world.cluster, "c", &mailstore(3), &alive).unwrap();
    assert!(planned.event.shards.is_empty());
}

#[test]
fn strangers_do_not_register() {
    let world = World::new();
    let register = |cluster: &str, node: &Node| {
        node::register(
            Rows(&world.store),
            &world.cluster,
            cluster,
            node,
            &BTreeSet::new(),
        )
    };
    assert!(matches!(
        register("other", &mailstore(1)),
        Err(PlanError::Precondition(_))
    ));
    assert!(matches!(
        register("c", &Node::default()),
        Err(PlanError::Invalid(_))
    ));
    let no_role = Node {
        role: 0,
        ..mailstore(1)
    };
    assert!(matches!(register("c", &no_role), Err(PlanError::Invalid(_))));
}

#[test]
fn accounts_are_made_all_or_none_and_spread() {
    let mut world = World::placed();
    world.domain("example.test");
    let ids = world.accounts(&["a@example.test", "b@example.test", "c@example.test"]);
    let shards = Rows(&world.store).shards().unwrap();
    let nodes: HashSet<String> = ids
        .iter()
        .map(|id| {
            shards[world.account(*id).unwrap().shard as usize].1.replicas[0]
                .node
                .clone()
        })
        .collect();
    assert_eq!(nodes.len(), 3, "three accounts are on three mailstores");
    let before = world.store.clone();
    for bad in [
        &["d@example.test", "A@example.test"][..],
        &["d@example.test", "d@example.test"],
        &["d@example.test", "d@elsewhere.test"],
        &["d@example.test", "not an address"],
    ] {
        assert!(world.try_accounts(bad).is_err(), "{bad:?}");
        assert!(world.store == before, "{bad:?} changed something");
    }
    let many = vec!["x@example.test"; account::NEW_ACCOUNTS_MAX + 1];
    assert!(matches!(world.try_accounts(&many), Err(PlanError::Invalid(_))));
}

#[test]
fn an_account_is_due_until_its_shard_knows() {
    let mut world = World::placed();
    world.domain("example.test");
    let id = world.accounts(&["a@example.test"])[0];
    // Whatever the clock says.
    assert_eq!(world.dues(), [(account::DUE_AT_ONCE, id)]);
    assert_eq!(world.account(id).unwrap().life(), Life::Creating);
    world.live();
    assert!(world.dues().is_empty());
    assert_eq!(world.account(id).unwrap().life(), Life::Live);
    // A shard that was told an older quota has to be told again.
    let planned = account::set_quota(Rows(&world.store), "a@example.test", 7);
    world.apply(planned).unwrap();
    let tell = |world: &mut World, quota_bytes| {
        let told = Told {
            due_millis: account::DUE_AT_ONCE,
            id,
            quota_bytes,
        };
        let planned = account::made_live(Rows(&world.store), &[told]);
        world.apply(planned).unwrap();
        world.dues().len()
    };
    assert_eq!(tell(&mut world, 0), 1);
    assert_eq!(tell(&mut world, 7), 0);
}

#[test]
fn ids_are_never_used_again() {
    let mut world = World::placed();
    world.domain("example.test");
    let first = world.accounts(&["a@example.test"])[0];
    world.live();
    assert_eq!(world.delete("a@example.test"), first);
    let second = world.accounts(&["a@example.test"])[0];
    assert!(second > first);
    // The old one's mail goes, the new one stays.
    assert_eq!(world.dues(), [(account::DUE_AT_ONCE, second), (NOW + 500, first)]);
    world.purge(first);
    assert_eq!(world.account(first), None);
    assert_eq!(world.dues(), [(account::DUE_AT_ONCE, second)]);
    world.live();
    world.delete("a@example.test");
    let third = world.accounts(&["a@example.test"])[0];
    assert!(third > second);
    assert_eq!(world.count(&key::count_accounts()), 1);
}

#[test]
fn a_late_creation_does_not_undo_a_deletion() {
    let mut world = World::placed();
    world.domain("example.test");
    let id = world.accounts(&["a@example.test"])[0];
    world.delete("a@example.test");
    world.live();
    assert_eq!(world.account(id).unwrap().life(), Life::Deleted);
    assert_eq!(world.dues(), [(NOW + 500, id)]);
}

#[test]
fn credentials_change_with_their_generation() {
    let mut world = World::placed();
    world.domain("example.test");
    let id = world.accounts(&["a@example.test"])[0];
    world.live();
    let generation = |world: &World| world.account(id).unwrap().credential_generation;
    assert_eq!(generation(&world), 1);
    let planned = account::set_password(Rows(&world.store), "A@example.test", "other");
    let (_, event) = world.apply(planned).unwrap();
    assert_eq!(generation(&world), 2);
    assert!(event.accounts[0].end_sessions);
    assert!(world.suspend("a@example.test", true).accounts[0].end_sessions);
    assert_eq!(generation(&world), 3);
    assert_eq!(
        world.suspend("a@example.test", true),
        WatchEvent::default(),
        "nothing changes"
    );
    let back = world.suspend("a@example.test", false);
    assert!(!back.accounts[0].end_sessions && back.recipients_changed);
    assert_eq!(generation(&world), 3);
    world.delete("a@example.test");
    assert_eq!(generation(&world), 4);
    assert_eq!(world.account(id).unwrap().secret, "");
}

#[test]
fn new_addresses_void_cached_recipients_only_when_they_take_mail_from_others() {
    let mut world = World::placed();
    world.domain("example.test").domain("catch.test");
    let changed =
        |world: &mut World, address: &str| world.try_accounts(&[address]).unwrap().1.recipients_changed;
    assert!(!changed(&mut world, "m@example.test"));
    assert!(!changed(&mut world, "n@example.test"));
    assert!(changed(&mut world, "n+x@example.test"), "the base had its mail");
    assert!(changed(&mut world, "a@example.test"), "it is the postmaster now");
    world.live();
    world.alias("@catch.test", &["m@example.test"]).unwrap();
    assert!(changed(&mut world, "z@catch.test"), "the catch-all had its mail");
}

#[test]
fn aliases_keep_their_targets() {
    let mut world = World::placed();
    world.domain("example.test");
    world.accounts(&["a@example.test", "b@example.test"]);
    world.live();
    world
        .alias("x@example.test", &["b@example.test", "A@example.test"])
        .unwrap();
    world.alias("x@example.test", &["a@example.test"]).unwrap();
    let domain = crate::address::DomainName::parse("example.test").unwrap();
    let targets = |world: &World| {
        Rows(&world.store)
            .alias(&domain, "x")
            .unwrap()
            .map(|alias| alias.targets)
            .unwrap_or_default()
    };
    assert_eq!(targets(&world), ["a@example.test", "b@example.test"]);
    assert_eq!(world.count(&key::count_domain_aliases(&domain)), 1);
    let to_a = key::aliases_to(&Address::parse("a@example.test").unwrap());
    assert!(Rows(&world.store).any(&to_a).unwrap());
    for (name, targets) in [
        ("a@example.test", &["b@example.test"][..]),
        ("y@example.test", &["nobody@example.test"]),
        ("y@example.test", &["a@elsewhere.test"]),
        ("y@elsewhere.test", &["a@example.test"]),
        ("y@example.test", &[]),
        ("y@example.test", &["y@example.test"]),
    ] {
        assert!(world.alias(name, targets).is_err(), "{name} {targets:?}");
    }
    assert!(matches!(
        world.try_accounts(&["x@example.test"]),
        Err(PlanError::AlreadyExists(_))
    ));
    let remove = |world: &mut World, targets: &[&str]| {
        let targets: Vec<String> = targets.iter().map(|target| (*target).to_owned()).collect();
        let planned = alias::remove(Rows(&world.store), "x@example.test", &targets);
        world.apply(planned).map(drop)
    };
    remove(&mut world, &["a@example.test"]).unwrap();
    assert_eq!(targets(&world), ["b@example.test"]);
    assert!(!Rows(&world.store).any(&to_a).unwrap());
    assert!(remove(&mut world, &["a@example.test"]).is_err());
    remove(&mut world, &["b@example.test"]).unwrap();
    assert!(
        remove(&mut world, &[]).is_err(),
        "the last target took the alias with it"
    );
    assert_eq!(world.count(&key::count_domain_aliases(&domain)), 0);
}

#[test]
fn keys_follow_each_other() {
    let mut world = World::new();
    let ages = signing_key::Ages {
        rotate_after_millis: 100,
        remove_after_millis: 250,
    };
    let mut at = |now| {
        let pair = signing_key::Pair {
            private: vec![1],
            public: vec![2],
        };
        let planned = signing_key::rotate(Rows(&world.store), pair, ages, now);
        let (keys, event) = world.apply(planned).unwrap();
        (
            keys.into_iter().map(|(id, _)| id).collect::<Vec<_>>(),
            event.keys.len(),
        )
    };
    assert_eq!(at(0), (vec![KeyId(1)], 1));
    assert_eq!(at(100), (vec![KeyId(1)], 0));
    assert_eq!(at(101), (vec![KeyId(1), KeyId(2)], 2));
    assert_eq!(at(202), (vec![KeyId(1), KeyId(2), KeyId(3)], 3));
    assert_eq!(at(260), (vec![KeyId(2), KeyId(3)], 2));
    assert_eq!(at(9_000), (vec![KeyId(4)], 1));
}
