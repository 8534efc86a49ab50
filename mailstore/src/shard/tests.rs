//! A shard on a real store: durable, ordered, idempotent, bounded, and back on its feet.

use std::collections::BTreeSet;

use bytes::Bytes;
use rookery_proto::Reason;
use rookery_proto::mailstore::v1::{self as proto, MailboxEvent, reply};
use rookery_replication::group::{MemberOptions, ReplicaSpec};
use rookery_replication::{Column, GroupId, View};

use super::*;
use crate::plan::{Append, AppendMessage, BodySource, MutationKey, PreparedBody};
use crate::schema::body::encode_chunk;
use crate::schema::{BodyHash, MailboxId, Reader, Uid, UidRanges, keys};

const SHARD: ShardId = ShardId(5);
const ACCOUNT: AccountId = AccountId(1);

/// How long a few messages of garbage may stay.
const WORKED_OFF_MAX: std::time::Duration = std::time::Duration::from_secs(60);

async fn open(member: &Arc<Member>, options: ShardOptions) -> Arc<Shard> {
    let spec = ReplicaSpec::alone(GroupId(SHARD.0), "node-1");
    let group = member.open_group(spec).await.expect("opens");
    let shard = Shard::open(Arc::clone(member), group, options);
    shard.set_formed();
    shard
}

struct Rig {
    folder: tempfile::TempDir,
    member: Arc<Member>,
    shard: Arc<Shard>,
}

impl Rig {
    async fn new(options: ShardOptions) -> Self {
        let folder = tempfile::tempdir().expect("tempdir");
        let member = Member::open(folder.path(), MemberOptions::default()).expect("opens");
        let shard = open(&member, options).await;
        let put = proto::PutAccount {
            shard: SHARD.0,
            account: ACCOUNT.0,
            generation: 1,
            quota_bytes: 0,
        };
        shard
            .mutate(mutation(Command::PutAccount(put)))
            .await
            .expect("creates");
        Self {
            folder,
            member,
            shard,
        }
    }

    async fn reopen(self) -> Self {
        let Self {
            folder,
            member,
            shard,
        } = self;
        shard.close().await;
        member.close().await;
        drop((shard, member));
        let member = Member::open(folder.path(), MemberOptions::default()).expect("opens again");
        let shard = open(&member, ShardOptions::default()).await;
        Self {
            folder,
            member,
            shard,
        }
    }

    fn uids(&self) -> UidRanges {
        let view = self.shard.snapshot();
        Reader::new(&view, SHARD, ACCOUNT)
            .uids(MailboxId::INBOX)
            .expect("reads")
    }
}

fn mutation(command: Command) -> Mutation {
    Mutation {
        account: ACCOUNT,
        key: None,
        command,
    }
}

fn append(text: &str) -> Command {
    let body = PreparedBody {
        hash: BodyHash::of(text.as_bytes()),
        source: BodySource::Chunks(vec![encode_chunk(text.as_bytes())]),
        analysis: Bytes::new(),
        header_len: 0,
    };
    let message = AppendMessage {
        body,
        flags: proto::Flags::default(),
        internal_date: None,
    };
    Command::Append(Append {
        mailbox: MailboxId::INBOX.0,
        messages: vec![message],
    })
}

fn uid(reply: Result<Reply, Status>) -> u32 {
    match reply.expect("appends").call {
        Some(reply::Call::Appended(appended)) => appended.uids.expect("UIDs").bounds[0],
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_are_each_stored_once_and_stay() {
    let rig = Rig::new(ShardOptions::default()).await;
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let shard = Arc::clone(&rig.shard);
            tokio::spawn(async move { uid(shard.mutate(mutation(append(&format!("message {n}")))).await) })
        })
        .collect();
    let mut uids = BTreeSet::new();
    for task in tasks {
        assert!(uids.insert(task.await.expect("ends")), "a UID came twice");
    }
    assert_eq!(uids, (1..=200).collect());
    let rig = rig.reopen().await;
    assert_eq!(rig.uids(), UidRanges::range(Uid(1), Uid(200)));
    assert_eq!(uid(rig.shard.mutate(mutation(append("later"))).await), 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_entry_has_no_room_for_comes_with_the_next() {
    let rig = Rig::new(ShardOptions {
        entry_bytes_max: 2000,
        ..ShardOptions::default()
    })
    .await;
    let appends = (0..50).map(|n| {
        let command = append(&format!("message {n}"));
        rig.shard.mutate(mutation(command))
    });
    // All are queued before the first is taken, and the shard closes while they wait.
    let (answers, ()) = tokio::join!(futures_util::future::join_all(appends), rig.shard.close());
    let uids: Vec<u32> = answers.into_iter().map(uid).collect();
    assert_eq!(uids, (1..=50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_key_in_flight_is_run_once() {
    let rig = Rig::new(ShardOptions::default()).await;
    let key = MutationKey {
        session: [9; 16],
        number: 1,
        issued_at_millis: rig.shard.now_millis(),
    };
    let keyed = || {
        rig.shard.mutate(Mutation {
            key: Some(key),
            ..mutation(append("once"))
        })
    };
    let (first, second) = tokio::join!(keyed(), keyed());
    assert_eq!(first.expect("appends"), second.expect("appends"));
    assert_eq!(
        keyed().await.map(|_| rig.uids()),
        Ok(UidRanges::range(Uid(1), Uid(1)))
    );
    let old = MutationKey {
        number: 2,
        issued_at_millis: 1,
        ..key
    };
    let refused = rig
        .shard
        .mutate(Mutation {
            key: Some(old),
            ..mutation(append("late"))
        })
        .await;
    assert_eq!(refused.expect_err("is too old").reason, Reason::ExpiredKey);
}

#[tokio::test]
async fn a_panic_costs_its_own_command_only() {
    let rig = Rig::new(ShardOptions::default()).await;
    let (before, panicked, after) = tokio::join!(
        rig.shard.mutate(mutation(append("a"))),
        rig.shard.mutate(mutation(Command::Panic)),
        rig.shard.mutate(mutation(append("b"))),
    );
    assert_eq!(panicked.expect_err("is told").reason, Reason::Internal);
    assert_eq!((uid(before), uid(after)), (1, 2));
}

#[tokio::test]
async fn more_than_may_wait_is_refused() {
    let rig = Rig::new(ShardOptions {
        queue_bytes_max: 1200,
        ..ShardOptions::default()
    })
    .await;
    let (a, b, c) = tokio::join!(
        rig.shard.mutate(mutation(append("a"))),
        rig.shard.mutate(mutation(append("b"))),
        rig.shard.mutate(mutation(append("c"))),
    );
    assert_eq!((uid(a), uid(b)), (1, 2));
    assert_eq!(c.expect_err("is too much").reason, Reason::Unavailable);
    assert_eq!(uid(rig.shard.mutate(mutation(append("c"))).await), 3);
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_no_mail_until_it_has_room() {
    let free = Arc::new(std::sync::atomic::AtomicU64::new(100));
    let probe: FreeSpace = {
        let free = Arc::clone(&free);
        Arc::new(move || Some(free.load(std::sync::atomic::Ordering::SeqCst)))
    };
    let disk = DiskSpace::new(probe, 100, std::time::Duration::ZERO);
    let rig = Rig::new(ShardOptions {
        disk: Some(Arc::new(disk)),
        ..ShardOptions::default()
    })
    .await;
    assert_eq!(uid(rig.shard.mutate(mutation(append("a"))).await), 1);
    free.store(99, std::sync::atomic::Ordering::SeqCst);
    let refused = rig.shard.mutate(mutation(append("b"))).await;
    assert_eq!(refused.expect_err("is refused").reason, Reason::NoSpace);
    rig.shard.maintain().await.expect("goes on");
    free.store(100, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(uid(rig.shard.mutate(mutation(append("b"))).await), 2);
}

#[tokio::test]
async fn events_come_when_it_is_durable() {
    let rig = Rig::new(ShardOptions::default()).await;
    let mut events = rig.shard.events();
    uid(rig.shard.mutate(mutation(append("a"))).await);
    let event = events.next().await.expect("open");
    assert_eq!(
        event.mailboxes,
        [MailboxEvent {
            account: ACCOUNT.0,
            mailbox: 1,
            modseq: 2
        }]
    );
    rig.shard.close().await;
    assert_eq!(events.next().await, None);
    let refused = rig.shard.mutate(mutation(append("b"))).await;
    assert_eq!(refused.expect_err("is closed").reason, Reason::Unavailable);
}

#[tokio::test]
async fn a_lost_leadership_voids_the_plan_and_is_taken_anew() {
    let rig = Rig::new(ShardOptions::default()).await;
    assert_eq!(uid(rig.shard.mutate(mutation(append("a"))).await), 1);
    drop(rig.shard.group().lead().await.expect("leads"));
    let void = rig.shard.mutate(mutation(append("b"))).await;
    assert_eq!(void.expect_err("is void").reason, Reason::Replan);
    assert_eq!(uid(rig.shard.mutate(mutation(append("b"))).await), 2);
    assert_eq!(rig.uids(), UidRanges::range(Uid(1), Uid(2)));
}

#[tokio::test]
async fn what_sessions_took_is_written_when_it_is_to_be_and_at_the_end() {
    let rig = Rig::new(ShardOptions::default()).await;
    let stored = |rig: &Rig| {
        let view = rig.shard.snapshot();
        let record = Reader::new(&view, SHARD, ACCOUNT).existing_mailbox(MailboxId::INBOX);
        record.expect("reads").recent_from
    };
    for text in ["a", "b", "c"] {
        uid(rig.shard.mutate(mutation(append(text))).await);
    }
    let entries = |rig: &Rig| rig.shard.group().applied();
    let before = entries(&rig);
    let take = |rig: &Rig, below| {
        let stored = stored(rig);
        rig.shard
            .recent()
            .take(ACCOUNT, MailboxId::INBOX, stored, Uid(below))
    };
    assert_eq!((take(&rig, 2), take(&rig, 3)), (Uid(1), Uid(2)));
    assert_eq!((stored(&rig), entries(&rig)), (Uid(1), before));
    rig.shard.write_recent(None).await;
    assert_eq!(stored(&rig), Uid(3));
    let after = entries(&rig);
    // Written once.
    rig.shard.write_recent(None).await;
    assert_eq!(entries(&rig), after);
    assert_eq!(take(&rig, 4), Uid(3));
    let rig = rig.reopen().await;
    assert_eq!(stored(&rig), Uid(4));
}

#[tokio::test]
async fn what_nobody_refers_to_is_removed() {
    let rig = Rig::new(ShardOptions::default()).await;
    uid(rig.shard.mutate(mutation(append("gone soon"))).await);
    let hash = BodyHash::of(b"gone soon");
    let stored = |rig: &Rig| {
        let chunk = keys::body_chunk(SHARD, &hash, 0);
        rig.shard.store().contains(Column::Bodies, &chunk).expect("reads")
    };
    assert!(stored(&rig));
    let uids = Some(proto::UidSet { bounds: vec![1, 1] });
    let flags = Some(proto::Flags {
        system: 8,
        keywords: Vec::new(),
    });
    let mode = proto::store::Mode::Add.into();
    let store = proto::Store {
        mailbox: 1,
        uids,
        mode,
        flags,
        unchanged_since: 0,
    };
    rig.shard
        .mutate(mutation(Command::Store(store)))
        .await
        .expect("stores");
    let expunge = proto::Expunge {
        mailbox: 1,
        only: false,
        uids: None,
    };
    rig.shard
        .mutate(mutation(Command::Expunge(expunge)))
        .await
        .expect("expunges");
    assert!(rig.uids().is_empty());
    // The writer does it by itself.
    let worked_off = async {
        while stored(&rig) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WORKED_OFF_MAX, worked_off)
        .await
        .expect("garbage is worked off");
}
