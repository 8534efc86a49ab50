//! A fetched state is taken in whole or not at all, wherever the machine stops, whatever was here before.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use futures_util::future::BoxFuture;
use rookery_proto::Status;
use rookery_proto::replication::v1::{InstallSnapshot, Request, reply, request};

use super::{
    Fetch, Fetching, Held, Pace, Received, finish_installs, install, receive, reclaim_ranges, remove_range,
};
use crate::applied::{Applied, Sequence};
use crate::batch::{Batch, Column};
use crate::entry::{GroupId, LeaderId};
use crate::group::tests::alone::copy_folder;
use crate::log::{MemoryLog, ReplicaId};
use crate::store::{OwnedSnapshot, Store, StoreOptions};
use crate::strain::Strain;
use crate::transport::Transport;
use crate::view::View;

const GROUP: GroupId = GroupId(7);
const NEIGHBOUR: GroupId = GroupId(8);
const REPLICA: ReplicaId = ReplicaId(3);

type Rows = BTreeMap<(Column, Vec<u8>), Vec<u8>>;

/// What a node has, in a folder that outlives its store.
struct Node {
    store: Arc<Store>,
    folder: tempfile::TempDir,
}

fn open(folder: &Path) -> Arc<Store> {
    // Nothing happens in the background, so that a copy of the folder is one of a moment.
    let options = StoreOptions {
        is_damaged: true,
        write_buffer_bytes: 8 * 1024 * 1024,
        block_cache_bytes: 1024 * 1024,
        ..StoreOptions::default()
    };
    Arc::new(Store::open(&folder.join("store"), &options).unwrap())
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let node = Self { store, folder };
        node.put(NEIGHBOUR, 0..20, "neighbour", 5);
        node.store.flush().unwrap();
        // Not in a file yet, and gone after a crash.
        node.put(NEIGHBOUR, 0..20, "newer", 6);
        node
    }

    /// As a process that is killed leaves the folder: what is only in its memory is gone.
    fn crash(&mut self) {
        let (kept, home) = (tempfile::tempdir().unwrap(), self.folder.path().to_owned());
        copy_folder(&home, kept.path());
        // A store's end writes what a crash would not have.
        let elsewhere = tempfile::tempdir().unwrap();
        self.store = open(elsewhere.path());
        std::fs::remove_dir_all(&home).unwrap();
        std::fs::create_dir(&home).unwrap();
        copy_folder(kept.path(), &home);
        self.store = open(&home);
    }

    /// Applies an entry, without a flush.
    fn apply(&self, group: GroupId, number: u64, batch: &Batch) {
        let mut writes = self.store.begin();
        self.store.gather(&mut writes, batch).unwrap();
        writes.put_own(Applied::key(group), applied(number).row(REPLICA));
        self.store.apply(writes).unwrap();
    }

    fn put(&self, group: GroupId, rows: std::ops::Range<u32>, value: &str, number: u64) {
        let mut batch = Batch::new();
        for row in rows {
            batch.put(Column::Rows, key(group, row), value.to_owned());
            batch.put(Column::Bodies, key(group, row), value.repeat(100));
            batch.add(key(group, row), i64::from(row));
        }
        self.apply(group, number, &batch);
    }

    fn delete_all(&self, group: GroupId, number: u64) {
        let mut batch = Batch::new();
        let (from, to) = group.key_range();
        for column in Column::ALL {
            batch.delete_range(column, from.clone(), to.clone());
        }
        self.apply(group, number, &batch);
    }

    fn rows(&self, group: GroupId) -> (Applied, Rows) {
        rows(
            &*self.store,
            group,
            Applied::read(&*self.store, group, REPLICA).unwrap(),
        )
    }
}

fn rows(view: &dyn View, group: GroupId, applied: Applied) -> (Applied, Rows) {
    let (from, to) = group.key_range();
    let mut rows = Rows::new();
    for column in Column::ALL {
        view.scan(column, &from, &to, &mut |key, value| {
            rows.insert((column, key.to_vec()), value.to_vec());
            true
        })
        .unwrap();
    }
    (applied, rows)
}

fn key(group: GroupId, row: u32) -> Vec<u8> {
    [group.0.to_be_bytes(), row.to_be_bytes()].concat()
}

fn applied(number: u64) -> Applied {
    Applied {
        sequence: Sequence {
            leader: LeaderId { term: 4, count: 1 },
            next: number,
        },
        ..Applied::default()
    }
}

/// A leader in the same process.
struct Leader(Arc<Held>);

impl Transport for Leader {
    fn call(&self, _: &str, request: Request) -> BoxFuture<'static, Result<reply::Call, Status>> {
        let Some(request::Call::ReadSnapshot(read)) = request.call else {
            panic!("nothing else is asked")
        };
        let column = Column::ALL[read.column as usize];
        let piece = self.0.piece(GROUP, column, &read.after).unwrap();
        Box::pin(std::future::ready(Ok(reply::Call::SnapshotRows(piece))))
    }
}

/// The state that is taken in, on the node that leads.
fn leader() -> (Node, Leader) {
    let node = Node::new();
    node.put(GROUP, 10..40, "state", 99);
    let held = Held {
        view: OwnedSnapshot::of(Arc::clone(&node.store)),
        sequence: applied(99).sequence,
    };
    (node, Leader(Arc::new(held)))
}

async fn fetched(node: &Node, leader: &Leader) -> Received {
    let pace = Pace::new(0, Arc::new(MemoryLog::new()), Arc::new(Strain::default()));
    let bytes = AtomicU64::new(0);
    let fetch = Fetch {
        transport: leader,
        group: GROUP,
        store: &node.store,
        folder: node.folder.path().join("received"),
        pace: &pace,
        fetching: &Fetching::begin(&bytes),
    };
    let offer = InstallSnapshot {
        leader_term: 4,
        leader_count: 1,
        next_number: 99,
        node: "leader".to_owned(),
        ..InstallSnapshot::default()
    };
    receive(fetch, &offer).await.unwrap()
}

/// What a replica had, and what of it a crash leaves.
struct Before {
    name: &'static str,
    make: fn(&Node),
    durable: fn(&Node),
}

const BEFORE: [Before; 5] = [
    Before {
        name: "new",
        make: |_| {},
        durable: |_| {},
    },
    Before {
        name: "rows that are in memory alone",
        make: |node| node.put(GROUP, 0..30, "old", 11),
        durable: |_| {},
    },
    Before {
        name: "rows in files, and deletions of them in memory",
        make: |node| {
            node.put(GROUP, 0..30, "old", 11);
            node.store.flush().unwrap();
            node.delete_all(GROUP, 12);
        },
        durable: |node| node.put(GROUP, 0..30, "old", 11),
    },
    Before {
        name: "rows in files, others in memory",
        make: |node| {
            node.put(GROUP, 0..15, "old", 11);
            node.store.flush().unwrap();
            node.put(GROUP, 5..50, "newer", 12);
        },
        durable: |node| node.put(GROUP, 0..15, "old", 11),
    },
    Before {
        name: "another replica, which was removed",
        make: |node| {
            node.put(GROUP, 0..30, "old", 11);
            node.store.flush().unwrap();
            node.put(GROUP, 20..60, "newer", 12);
            remove_range(&node.store, GROUP).unwrap();
        },
        durable: |_| {},
    },
];

fn assert_rows(node: &Node, group: GroupId, (applied, rows): &(Applied, Rows), when: &str) {
    let (has_applied, has) = node.rows(group);
    assert_eq!(has_applied.sequence, applied.sequence, "{when}");
    assert!(has == *rows, "{when}: other rows than there should be");
}

/// What was in memory alone is there whole or not at all.
fn assert_neighbour(node: &Node, when: &str) {
    let (applied, rows) = node.rows(NEIGHBOUR);
    let (value, times) = match applied.sequence.next {
        5 => ("neighbour", 1),
        6 => ("newer", 2),
        number => panic!("{when}: the neighbour has applied {number}"),
    };
    for row in 0..20 {
        let key = key(NEIGHBOUR, row);
        let is = |column, expected: &[u8]| rows[&(column, key.clone())] == expected;
        assert!(is(Column::Rows, value.as_bytes()), "{when}");
        assert!(is(Column::Bodies, value.repeat(100).as_bytes()), "{when}");
        assert!(
            is(Column::Counters, &(i64::from(row) * times).to_le_bytes()),
            "{when}"
        );
    }
}

/// Finishes what a crash broke off, and stops after so many steps; whether it has finished.
fn finishes(node: &Node, steps: u64) -> bool {
    node.store.failing.stop_after(steps);
    match finish_installs(&node.store) {
        Ok(()) => true,
        Err(error) => {
            assert!(node.store.failing.has_stopped(), "{error}");
            false
        }
    }
}

#[tokio::test]
async fn a_state_is_taken_in_whole_wherever_the_machine_stops() {
    let (leading, leader) = leader();
    let state = leading.rows(GROUP);
    for before in BEFORE {
        let durable = {
            let node = Node::new();
            (before.durable)(&node);
            node.rows(GROUP)
        };
        for steps in 0.. {
            let mut node = Node::new();
            (before.make)(&node);
            let received = fetched(&node, &leader).await;
            node.store.failing.stop_after(steps);
            let done = install(&node.store, GROUP, REPLICA, &applied(99), &received).is_ok();
            let when = format!("{}, stopped after {steps} steps", before.name);
            if done {
                drop(received);
                node.store.failing.stop_after(u64::MAX);
                node.put(GROUP, 30..60, "in memory alone", 100);
            } else {
                received.leave_files();
            }
            node.crash();
            // Stopped once more while it is finished.
            let mut again = 0;
            while !finishes(&node, again) {
                node.crash();
                again += 1;
            }
            node.crash();
            assert!(finishes(&node, u64::MAX), "{when}");
            let expected = if steps == 0 { &durable } else { &state };
            assert_rows(&node, GROUP, expected, &when);
            assert_neighbour(&node, &when);
            assert!(node.store.own_rows(b"installing/").unwrap().is_empty(), "{when}");
            if done {
                assert!(steps > 3, "{when}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn who_reads_a_removed_replica_reads_all_of_it_and_its_space_is_freed_afterwards() {
    let ((_leading, leader), node) = (leader(), Node::new());
    // Files of this group alone, below the first level.
    let received = fetched(&node, &leader).await;
    install(&node.store, GROUP, REPLICA, &applied(99), &received).unwrap();
    let before = node.rows(GROUP);
    let reading = OwnedSnapshot::of(Arc::clone(&node.store));
    remove_range(&node.store, GROUP).unwrap();
    let are_waiting = || !node.store.own_rows(b"reclaim/").unwrap().is_empty();
    assert!(!reclaim_ranges(&node.store).unwrap() && are_waiting());
    assert!(
        rows(&reading, GROUP, applied(99)).1 == before.1,
        "rows are missing"
    );
    assert!(node.rows(GROUP).1.is_empty());
    drop(reading);
    assert!(reclaim_ranges(&node.store).unwrap() && !are_waiting());
    assert_eq!(node.store.sizes().unwrap().of(GROUP).unwrap(), 0);
}
