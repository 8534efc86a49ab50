//! Who gets a certificate for which secret, and when nobody does.

use std::collections::BTreeSet;

use rookery_proto::directory::v1 as directory;
use rookery_replication::MemoryStore;

use super::*;
use crate::plan::node::{self, Cluster};

const NOW: u64 = 1_000_000;

const HOUR: u64 = 3_600_000;

struct World {
    store: MemoryStore,
    told: Vec<Kind>,
}

fn secret(number: u8) -> Secret {
    Secret {
        join: [number; 8],
        proof: [number ^ 0x55; 32],
    }
}

fn wanted(id: &str) -> Wanted {
    Wanted {
        role: Role::Mailstore,
        id: id.to_owned(),
        hosts: vec!["m4.example.test".to_owned(), "192.0.2.4".to_owned()],
        valid_millis: HOUR,
    }
}

impl World {
    fn new() -> Self {
        Self {
            store: MemoryStore::new(),
            told: Vec::new(),
        }
    }

    fn apply<T>(&mut self, planned: Result<Planned<T>, PlanError>) -> Result<T, PlanError> {
        let planned = planned?;
        self.store.apply(&planned.batch);
        self.told.extend(planned.events.iter().map(|event| event.kind));
        Ok(planned.reply)
    }

    fn add(&mut self, wanted: &Wanted, number: u8, now: u64) -> Result<row::Join, PlanError> {
        let planned = add(Rows(&self.store), "c1", wanted, &secret(number), now);
        self.apply(planned)
    }

    fn redeem(&mut self, secret: &Secret, key: &str, now: u64) -> Option<String> {
        let presented = Presented {
            secret: secret.clone(),
            key: key.as_bytes().to_vec(),
        };
        let planned = redeem(Rows(&self.store), "c1", &presented, now);
        self.apply(planned).unwrap().map(|join| join.node)
    }

    fn register(&mut self, id: &str) -> Result<(), PlanError> {
        let cluster = Cluster {
            id: "c1".to_owned(),
            shards: 4,
            replicas: 1,
            expected_mailstores: 9,
        };
        let node = directory::Node {
            id: id.to_owned(),
            role: NodeRole::Mailstore.into(),
            ..directory::Node::default()
        };
        let planned = node::register(Rows(&self.store), &cluster, "c1", &node, &BTreeSet::new());
        self.apply(planned)
    }

    fn remove(&mut self, id: &str, now: u64) {
        let planned = node::remove(Rows(&self.store), id, false, now);
        self.apply(planned).unwrap();
    }

    fn pending(&self, now: u64) -> Vec<(String, u64)> {
        let pending = pending(Rows(&self.store), now).unwrap();
        let pending = pending.into_iter();
        pending.map(|one| (one.node, one.expires_at_millis)).collect()
    }
}

fn said<T: std::fmt::Debug>(result: Result<T, PlanError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn the_first_key_has_it_and_may_ask_again_until_it_expires() {
    let mut world = World::new();
    let join = world.add(&wanted(""), 1, NOW).unwrap();
    assert_eq!(
        (join.node.as_str(), join.expires_at_millis),
        ("mailstore-1", NOW + HOUR)
    );
    assert_eq!(world.pending(NOW), [("mailstore-1".to_owned(), NOW + HOUR)]);
    let stored = join.to_stored();
    assert!(
        !stored.windows(32).any(|part| part == secret(1).proof),
        "the secret is stored"
    );
    let first = Some("mailstore-1".to_owned());
    assert_eq!(world.redeem(&secret(1), "key a", NOW + 1), first);
    assert_eq!(
        world.redeem(&secret(1), "key b", NOW + 2),
        None,
        "used by another"
    );
    assert_eq!(
        world.redeem(&secret(1), "key a", NOW + 3),
        first,
        "the answer was lost"
    );
    assert_eq!(
        world.redeem(&secret(1), "key a", NOW + HOUR),
        None,
        "it has expired"
    );
    assert_eq!(world.told, [Kind::NodeInvited, Kind::NodeIssued]);
    assert_eq!(world.pending(NOW), [("mailstore-1".to_owned(), 0)]);
    world.register("mailstore-1").unwrap();
    assert_eq!(world.pending(NOW), []);
}

#[test]
fn wrong_secrets_get_nothing_and_make_it_void_after_some_tries() {
    let mut world = World::new();
    world.add(&wanted(""), 1, NOW).unwrap();
    assert_eq!(world.redeem(&secret(2), "key", NOW), None, "of no join");
    let wrong = Secret {
        proof: [9; 32],
        ..secret(1)
    };
    for _ in 1..WRONG_MAX {
        assert_eq!(world.redeem(&wrong, "key", NOW), None);
    }
    assert_eq!(
        world.redeem(&secret(1), "key", NOW),
        Some("mailstore-1".to_owned())
    );
    world.add(&wanted(""), 3, NOW).unwrap();
    let wrong = Secret {
        proof: [9; 32],
        ..secret(3)
    };
    for _ in 0..WRONG_MAX {
        assert_eq!(world.redeem(&wrong, "key", NOW), None);
    }
    assert_eq!(
        world.redeem(&secret(3), "key", NOW),
        None,
        "too many wrong ones came before"
    );
    // What was made in one cluster is nothing in another, not even in a copy of its rows.
    world.add(&wanted(""), 4, NOW).unwrap();
    let presented = Presented {
        secret: secret(4),
        key: b"key".to_vec(),
    };
    let elsewhere = redeem(Rows(&world.store), "c2", &presented, NOW).unwrap();
    assert_eq!(elsewhere.reply, None);
}

#[test]
fn ids_are_given_out_once() {
    let mut world = World::new();
    for id in ["mailstore-1", "mailstore-7", "mailstore-x"] {
        world.register(id).unwrap();
    }
    assert_eq!(world.add(&wanted(""), 1, NOW).unwrap().node, "mailstore-8");
    assert_eq!(world.add(&wanted(""), 2, NOW).unwrap().node, "mailstore-9");
    let refused = said(world.add(&wanted("mailstore-7"), 3, NOW));
    assert!(refused.contains("is the id of a node"), "{refused}");
    let refused = said(world.add(&wanted("mailstore-9"), 3, NOW));
    assert!(refused.contains("--revoke mailstore-9"), "{refused}");
    world.redeem(&secret(2), "key", NOW).unwrap();
    let refused = said(world.add(&wanted("mailstore-9"), 3, NOW + 2 * HOUR));
    assert!(refused.contains("given out already"), "{refused}");
    let revoked = revoke(Rows(&world.store), "mailstore-9");
    world.apply(revoked).unwrap();
    assert_eq!(world.redeem(&secret(2), "key", NOW), None, "it was revoked");
    assert_eq!(
        world.add(&wanted("mailstore-9"), 3, NOW).unwrap().node,
        "mailstore-9"
    );
    assert!(said(revoke(Rows(&world.store), "mailstore-1")).contains("has joined"));
    assert!(matches!(
        revoke(Rows(&world.store), "x"),
        Err(PlanError::NotFound(_))
    ));
    // Another has registered under the id meanwhile, by a certificate that was not given for the secret.
    world.register("mailstore-9").unwrap();
    assert_eq!(world.redeem(&secret(3), "key", NOW), None);
}

#[test]
fn a_removed_node_stays_away_until_an_operator_has_it_back() {
    let mut world = World::new();
    world.register("mailstore-2").unwrap();
    world.remove("mailstore-2", NOW);
    assert_eq!(removed(Rows(&world.store)).unwrap(), ["mailstore-2"]);
    let refused = said(world.register("mailstore-2"));
    assert!(
        refused.contains("was removed") && refused.contains("--undo"),
        "{refused}"
    );
    assert_eq!(world.add(&wanted(""), 1, NOW).unwrap().node, "mailstore-3");
    let refused = said(world.add(&wanted("mailstore-2"), 2, NOW));
    assert!(
        refused.contains("was removed") && refused.contains("--undo"),
        "{refused}"
    );
    world.redeem(&secret(1), "key", NOW).unwrap();
    world.register("mailstore-3").unwrap();
    world.remove("mailstore-3", NOW);
    assert_eq!(world.redeem(&secret(1), "key", NOW), None, "it was removed since");
    let undone = node::readmit(Rows(&world.store), "mailstore-2");
    world.apply(undone).unwrap();
    world.register("mailstore-2").unwrap();
    assert!(said(world.register("mailstore-3")).contains("was removed"));
    assert!(said(node::readmit(Rows(&world.store), "mailstore-2")).contains("not removed"));
}

#[test]
fn what_is_pending_is_bounded_and_swept() {
    let mut world = World::new();
    for number in 0..64 {
        world.add(&wanted(""), number, NOW).unwrap();
    }
    assert!(said(world.add(&wanted(""), 99, NOW)).contains("64 joins are pending"));
    world.add(&wanted(""), 99, NOW + HOUR).unwrap();
    assert_eq!(Rows(&world.store).joins().unwrap().len(), 1);
}

#[test]
fn nonsense_is_refused() {
    let mut world = World::new();
    let host = |host: &str| Wanted {
        hosts: vec![host.to_owned()],
        ..wanted("")
    };
    let valid = |valid_millis: u64| Wanted {
        valid_millis,
        ..wanted("")
    };
    for bad in [
        host(""),
        host("a b"),
        host("directory.c1.rookery.internal"),
        host(&"a".repeat(254)),
        valid(999),
        valid(8 * 24 * HOUR),
        wanted("Mailstore-1"),
        wanted("a.b"),
        Wanted {
            hosts: vec!["a".to_owned(); 17],
            ..wanted("")
        },
        Wanted {
            hosts: Vec::new(),
            ..wanted("")
        },
    ] {
        assert!(
            matches!(world.add(&bad, 1, NOW), Err(PlanError::Invalid(_))),
            "{bad:?}"
        );
    }
}

#[test]
fn secrets_are_read_as_they_are_told() {
    let text = secret(7).to_text();
    assert_eq!(text.len(), Secret::TEXT_BYTES);
    assert!(Secret::parse(&text) == Some(secret(7)));
    for bad in [
        "",
        ".",
        "07",
        &text[1..],
        &text.replace('.', ""),
        &text.replace('7', "é"),
    ] {
        assert!(Secret::parse(bad).is_none(), "{bad}");
    }
}
