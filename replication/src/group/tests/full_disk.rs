//! A disk that is full to the last byte: what is agreed on waits, nothing ends, and all goes on once there is room.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::*;

/// Bytes of the disk: the log's segments, prepared ones too, and room for the store.
const DISK: &str = "size=400m,mode=700";

/// Entries, and bytes of each. The store is flushed after each fourth or so.
const ENTRIES: u32 = 24;
const ENTRY_BYTES: usize = 256 * 1024;

/// How long nothing may happen until it counts as waiting.
const STUCK: Duration = Duration::from_secs(3);

/// A small file system of its own.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Self {
        std::fs::create_dir(at).expect("makes");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", DISK, "tmpfs"])
            .arg(at)
            .status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "a small disk needs root"
        );
        Self(at.to_owned())
    }

    /// Takes all room, while others may be taking it, too.
    fn fill(&self) {
        let ballast = std::fs::File::create(self.0.join("ballast")).expect("makes");
        let mut taken = 0;
        loop {
            let about = statvfs(&self.0).expect("can be asked");
            let free = about.f_bavail * about.f_frsize;
            if free == 0 {
                return;
            }
            match fallocate(&ballast, FallocateFlags::empty(), taken, free) {
                Ok(()) => taken += free,
                Err(error) => assert_eq!(error, rustix::io::Errno::NOSPC),
            }
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("ballast")).expect("removes");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What fails is in the way of nobody.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn entry(number: u32) -> Batch {
    let mut batch = Batch::new();
    let noise: Vec<u8> = (0..ENTRY_BYTES / 4)
        .flat_map(|at| (at as u32).wrapping_mul(number * 2 + 0x9e37_79b9).to_le_bytes())
        .collect();
    batch.put(Column::Bodies, key_of(GROUP, &number.to_string()), noise);
    batch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_disk_has_no_room_for_waits_until_there_is() {
    let folder = tempfile::tempdir().expect("tempdir");
    let disk = Disk::mount(&folder.path().join("disk"));
    let failures = Arc::new(AtomicUsize::new(0));
    let options = MemberOptions {
        log_bytes_max: 2 * 1024 * 1024,
        store: StoreOptions {
            write_buffer_bytes: 4 * 1024 * 1024,
            ..StoreOptions::default()
        },
        on_failure: {
            let failures = Arc::clone(&failures);
            Arc::new(move |error| {
                eprintln!("{error}");
                failures.fetch_add(1, Ordering::SeqCst);
            })
        },
        ..MemberOptions::default()
    };
    let member = Member::open(disk.0.join("store"), options).expect("opens");
    let spec = ReplicaSpec::alone(GROUP, "node-1");
    let group = member.open_group(spec).await.expect("opens");
    let leader = leader_of(&group).await;
    assert_eq!(commit(&leader, entry(0)).await, Ok(()));

    disk.fill();
    let mut proposals = Vec::new();
    for number in 1..ENTRIES {
        proposals.push(leader.propose(entry(number)).await);
    }
    let all = futures_util::future::join_all(proposals);
    tokio::pin!(all);
    // The log has room that it holds already; the store has none.
    assert!(
        tokio::time::timeout(STUCK, &mut all).await.is_err(),
        "nothing waits: the disk is not full"
    );
    assert_eq!(failures.load(Ordering::SeqCst), 0);

    disk.empty();
    assert!(all.await.iter().all(|outcome| *outcome == Ok(())));
    member.cut_log().await;
    for number in 0..ENTRIES {
        let key = key_of(GROUP, &number.to_string());
        assert!(member.store().contains(Column::Bodies, &key).expect("reads"));
    }
    assert_eq!(failures.load(Ordering::SeqCst), 0);
    drop((leader, group));
    member.close().await;
    drop(member);
}
