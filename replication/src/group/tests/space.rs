//! Removing a replica gives its disk space back, and what was removed does not come back.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::RngCore;

use super::alone::copy_folder;
use super::*;
use crate::log::ReplicaId;

const BIG: GroupId = GroupId(8);

/// Bodies of the group that is removed.
const BODIES: u32 = 300;

/// Bytes of each: more than 30 MB in all.
const BODY_BYTES: usize = 100 * 1024;

/// What may be left of the group that was removed, and what the store writes beside what it is told.
const LEFT_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// How long files that are no longer needed may stay: bodies are written anew in parts, with rests between.
const GONE_MAX: Duration = Duration::from_secs(120);

/// Between two looks at the disk.
const LOOK: Duration = Duration::from_millis(20);

fn used_bytes(folder: &Path) -> u64 {
    std::fs::read_dir(folder)
        .expect("reads")
        .filter_map(|entry| entry.expect("reads").metadata().ok())
        .map(|about| about.blocks() * 512)
        .sum()
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    rand::rng().fill_bytes(&mut noise);
    noise
}

fn filled(group: GroupId, numbers: std::ops::Range<u32>, body_bytes: usize) -> Vec<Batch> {
    numbers
        .map(|number| {
            let mut batch = Batch::new();
            let key = key_of(group, &format!("{number:06}"));
            batch.put(Column::Bodies, key.clone(), noise(body_bytes));
            batch.put(Column::Rows, key.clone(), noise(10_000));
            batch.add(key, 1);
            batch
        })
        .collect()
}

async fn open(member: &Arc<Member>, group: GroupId) -> Arc<Group> {
    let spec = ReplicaSpec::alone(group, "node-1");
    member.open_group(spec).await.expect("opens")
}

fn rows_of(member: &Member, group: GroupId) -> usize {
    let (from, to) = group.key_range();
    let mut rows = 0;
    for column in Column::ALL {
        let mut visit = |_: &[u8], _: &[u8]| {
            rows += 1;
            true
        };
        member
            .store()
            .scan(column, &from, &to, &mut visit)
            .expect("reads");
    }
    rows
}

#[tokio::test]
async fn the_space_of_a_removed_replica_is_free_again_and_it_stays_away() {
    let folder = tempfile::tempdir().expect("tempdir");
    let rows = folder.path().join("rows");
    let member = Member::open(folder.path(), MemberOptions::default()).expect("opens");
    let (small, big) = (open(&member, GROUP).await, open(&member, BIG).await);
    let (small_leader, big_leader) = (leader_of(&small).await, leader_of(&big).await);
    for batch in filled(GROUP, 0..20, BODY_BYTES) {
        assert_eq!(commit(&small_leader, batch).await, Ok(()));
    }
    member.cut_log().await;
    let before = used_bytes(&rows);
    // In files of several ages, some of which have something of the other group, too.
    for round in 0..3 {
        for batch in filled(BIG, round * BODIES / 3..(round + 1) * BODIES / 3, BODY_BYTES) {
            assert_eq!(commit(&big_leader, batch).await, Ok(()));
        }
        for batch in filled(GROUP, 100 + round..101 + round, 1_000) {
            assert_eq!(commit(&small_leader, batch).await, Ok(()));
        }
        member.cut_log().await;
    }
    let full = used_bytes(&rows);
    assert!(full > before + 30_000_000, "{before} {full}");
    drop((big_leader, big));

    member.remove_group(BIG).await.expect("removes");
    let began = Instant::now();
    while used_bytes(&rows) > before + LEFT_BYTES_MAX {
        assert!(
            began.elapsed() < GONE_MAX,
            "{before} bytes before, {full} in between, {} after",
            used_bytes(&rows)
        );
        tokio::time::sleep(LOOK).await;
    }
    member.cut_log().await;
    member.cut_log().await;
    // What is cut is freed by the log's own thread.
    while member.log.bytes_held() >= 16 * 1024 * 1024 {
        assert!(
            began.elapsed() < GONE_MAX,
            "the log holds {}",
            member.log.bytes_held()
        );
        tokio::time::sleep(LOOK).await;
    }

    // As a crash leaves it, right after.
    let copy = tempfile::tempdir().expect("tempdir");
    copy_folder(folder.path(), copy.path());
    let copied = Member::open(copy.path(), MemberOptions::default()).expect("opens");
    for member in [&member, &copied] {
        assert_eq!(rows_of(member, BIG), 0);
        assert_eq!(rows_of(member, GROUP), 23 * 3);
        let replica = ReplicaId(1 + u64::from(GROUP.0));
        assert_eq!(member.held_groups().expect("reads"), [(GROUP, replica)]);
    }
    drop((small_leader, small));
    copied.close().await;
    member.close().await;
}
