//! A group of one: durable, in order, and back after a crash.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

async fn open(folder: &Path) -> (Arc<Member>, Arc<Group>) {
    let member = Member::open(folder, MemberOptions::default()).expect("opens");
    let group = member
        .open_group(ReplicaSpec::alone(GROUP, "node-1"))
        .await
        .expect("opens");
    (member, group)
}

#[tokio::test]
async fn what_is_applied_stays_after_a_close_and_after_a_crash() {
    let folder = tempfile::tempdir().expect("tempdir");
    let (member, group) = open(folder.path()).await;
    let leader = leader_of(&group).await;
    assert_eq!(commit(&leader, put("k", "1")).await, Ok(()));
    let term = leader.id().term;
    drop((leader, group));
    member.close().await;
    drop(member);

    let (member, group) = open(folder.path()).await;
    let leader = leader_of(&group).await;
    assert!(leader.id().term > term);
    assert_eq!(value(&member, "k").as_deref(), Some("1"));
    assert_eq!(commit(&leader, put("k", "2")).await, Ok(()));
    // As a crash leaves it: nothing flushed, nothing closed.
    let copy = tempfile::tempdir().expect("tempdir");
    copy_folder(folder.path(), copy.path());
    let (copied, group) = open(copy.path()).await;
    leader_of(&group).await;
    assert_eq!(value(&copied, "k").as_deref(), Some("2"));
    copied.close().await;
    member.close().await;
}

/// Copies a folder that is in use as it is at one moment: no file came, went or grew while it was copied.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    loop {
        let before = files_of(from);
        let copied = before
            .iter()
            .try_for_each(|(file, _)| copy_file(&from.join(file), &to.join(file)));
        match copied {
            Ok(()) if files_of(from) == before => return,
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("copies: {error}"),
            _ => {
                std::fs::remove_dir_all(to).expect("removes");
                std::fs::create_dir(to).expect("creates");
            }
        }
    }
}

fn copy_file(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to.parent().expect("has a folder"))?;
    std::fs::copy(from, to).map(|_| ())
}

/// The files in a folder and below, and their lengths.
fn files_of(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut files = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        for entry in std::fs::read_dir(folder.join(&below)).expect("reads") {
            let entry = entry.expect("reads");
            let path = below.join(entry.file_name());
            // One that has gone since is missed in the second look.
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(path),
                Ok(metadata) => drop(files.insert(path, metadata.len())),
                Err(_) => {}
            }
        }
    }
    files
}

#[tokio::test]
async fn proposals_are_applied_in_their_order() {
    let folder = tempfile::tempdir().expect("tempdir");
    let (member, group) = open(folder.path()).await;
    let leader = leader_of(&group).await;
    let mut proposals = Vec::new();
    for n in 0..200 {
        proposals.push(leader.propose(put("k", &n.to_string())).await);
    }
    for proposal in proposals {
        assert_eq!(proposal.await, Ok(()));
    }
    assert_eq!(value(&member, "k").as_deref(), Some("199"));
    member.close().await;
}

#[tokio::test]
async fn an_older_leader_is_told_to_plan_anew() {
    let folder = tempfile::tempdir().expect("tempdir");
    let (member, group) = open(folder.path()).await;
    let old = leader_of(&group).await;
    assert_eq!(commit(&old, put("k", "old")).await, Ok(()));
    let new = leader_of(&group).await;
    assert_eq!(commit(&old, put("k", "late")).await, Err(ProposeError::Replan));
    assert_eq!(value(&member, "k").as_deref(), Some("old"));
    assert_eq!(commit(&new, put("k", "new")).await, Ok(()));
    assert_eq!(value(&member, "k").as_deref(), Some("new"));
    member.close().await;
}

#[tokio::test]
async fn the_log_is_cut_by_what_was_flushed() {
    let folder = tempfile::tempdir().expect("tempdir");
    let (member, group) = open(folder.path()).await;
    let leader = leader_of(&group).await;
    for n in 0..20 {
        assert_eq!(commit(&leader, put(&n.to_string(), "v")).await, Ok(()));
    }
    let replica = group.replica();
    assert_eq!(member.log.state(replica).purged, None);
    let applied = group.applied().expect("has applied");
    member.cut_log().await;
    // Nobody else wants it. The log does so on its own time.
    while member.log.state(replica).purged.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(member.log.state(replica).purged, Some(applied));
    for n in 20..40 {
        assert_eq!(commit(&leader, put(&n.to_string(), "v")).await, Ok(()));
    }
    drop((leader, group));
    member.close().await;
    drop(member);
    let (member, group) = open(folder.path()).await;
    leader_of(&group).await;
    assert_eq!(value(&member, "39").as_deref(), Some("v"));
    member.close().await;
}

#[tokio::test]
async fn a_removed_replica_is_gone_and_its_number_with_it() {
    let folder = tempfile::tempdir().expect("tempdir");
    let (member, group) = open(folder.path()).await;
    let leader = leader_of(&group).await;
    assert_eq!(commit(&leader, put("k", "1")).await, Ok(()));
    drop((leader, group));
    let other = ReplicaSpec {
        replica: ReplicaId(99),
        ..ReplicaSpec::alone(GROUP, "node-1")
    };
    assert!(matches!(
        member.open_group(other.clone()).await,
        Err(OpenError::Other {
            held: 8,
            wanted: 99,
            ..
        })
    ));
    member.remove_group(GROUP).await.expect("removes");
    assert_eq!(value(&member, "k"), None);
    assert_eq!(member.held(GROUP).expect("reads"), None);
    let lost = ReplicaSpec {
        start: Start::Resume,
        ..other
    };
    assert!(matches!(
        member.open_group(lost).await,
        Err(OpenError::Lost { .. })
    ));
    member.close().await;
}

#[tokio::test]
async fn a_store_that_fails_is_told() {
    let folder = tempfile::tempdir().expect("tempdir");
    let failures = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&failures);
    let options = MemberOptions {
        on_failure: Arc::new(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        }),
        ..MemberOptions::default()
    };
    let member = Member::open(folder.path(), options).expect("opens");
    let group = member
        .open_group(ReplicaSpec::alone(GROUP, "node-1"))
        .await
        .expect("opens");
    let leader = leader_of(&group).await;
    member.store().failing.set(Some("told to fail"));
    assert_eq!(commit(&leader, put("k", "2")).await, Err(ProposeError::Lost));
    assert_eq!(failures.load(Ordering::SeqCst), 1);
    assert_eq!(value(&member, "k"), None);
}

#[tokio::test]
async fn a_removal_for_which_there_was_no_room_keeps_no_other_replica_out() {
    let folder = tempfile::tempdir().expect("tempdir");
    let (member, group) = open(folder.path()).await;
    let leader = leader_of(&group).await;
    assert_eq!(commit(&leader, put("k", "1")).await, Ok(()));
    drop((leader, group));
    let full = Some("IO error: No space left on device: While appending to file");
    member.store().failing.set(full);
    assert!(member.remove_group(GROUP).await.is_err());
    assert!(member.remove_leftovers().await.is_err());
    member.store().failing.set(None);
    assert_eq!(
        value(&member, "k").as_deref(),
        Some("1"),
        "it could not be removed"
    );
    let replica = crate::log::ReplicaId(99);
    let other = ReplicaSpec {
        group: GROUP,
        replica,
        start: Start::Form(vec![GroupMember {
            replica,
            node: "node-1".to_owned(),
            witness: false,
        }]),
    };
    member.open_group(other).await.expect("opens");
    assert_eq!(value(&member, "k"), None);
    member.close().await;
}
