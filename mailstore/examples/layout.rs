//! Measures the key layout on a mailbox of 100,000 messages: what each command costs, and what other sizes of flag
//! blocks would cost. Prints the tables of `docs/decisions/0001-key-layout.md`.
#![allow(clippy::print_stdout, clippy::expect_used, clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rookery_mailstore::plan::{BodySource, Command, Deliver, DeliverRecipient, Mutation, PreparedBody};
use rookery_mailstore::schema::body::encode_chunk;
use rookery_mailstore::schema::{
    AccountId, BodyHash, FlagBits, FlagBlock, FlagEntry, MailboxId, MessageNumber, ModSeq, Reader, ShardId,
    Uid, UidRanges, Value,
};
use rookery_mailstore::shard::{Shard, ShardOptions};
use rookery_proto::mailstore::v1::{self as proto, reply};
use rookery_replication::group::{Leader, Member, MemberOptions, ReplicaSpec};
use rookery_replication::{Batch, Column, GroupId, View};
use tokio::runtime::Runtime;

const SHARD: ShardId = ShardId(1);
const ACCOUNT: AccountId = AccountId(1);
const INBOX: MailboxId = MailboxId::INBOX;
const ARCHIVE: u32 = 6;

fn main() {
    let messages: u32 = std::env::args()
        .nth(1)
        .map_or(100_000, |count| count.parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runtime");
    let folder = tempfile::tempdir().expect("tempdir");
    let member = Member::open(folder.path(), MemberOptions::default()).expect("opens");
    println!("## Flags of {messages} messages, by messages in a block\n");
    println!("| a block | blocks | bytes | STORE 1:* | its bytes | flags of all | change one | its bytes |");
    println!("|---|---|---|---|---|---|---|---|");
    for (group, size) in [1, 32, 128, 512].into_iter().enumerate() {
        flag_blocks(&runtime, &member, GroupId(1000 + group as u32), messages, size);
    }
    runtime.block_on(commands(Arc::clone(&member), messages));
}

async fn lead(member: &Arc<Member>, group: GroupId) -> Leader {
    let spec = ReplicaSpec::alone(group, member.node());
    let group = member.open_group(spec).await.expect("opens");
    assert!(group.until_leading().await);
    group.lead().await.expect("leads")
}

/// The same flags in blocks of another size; a size of 1 is a row a message.
fn flag_blocks(runtime: &Runtime, member: &Arc<Member>, group: GroupId, messages: u32, size: u32) {
    let leader = runtime.block_on(lead(member, group));
    let key = |block: u32| [&group.0.to_be_bytes()[..], &[1], &block.to_be_bytes()].concat();
    let store = member.store();
    let mut batch = Batch::new();
    let mut entries: Vec<FlagEntry> = Vec::new();
    let mut bytes = 0;
    for uid in 1..=messages {
        entries.push(entry(uid));
        if (uid + 1).is_multiple_of(size) || uid == messages {
            let block = FlagBlock {
                entries: std::mem::take(&mut entries),
            }
            .encode();
            bytes += block.len() + 9;
            batch.put(Column::Rows, key(uid / size), block);
        }
    }
    let blocks = batch.writes().len();
    commit(&leader, batch);
    store.flush().expect("flushes");

    let (from, to) = (key(0), key(u32::MAX));
    let scan = || {
        let mut found: Vec<(Bytes, FlagBlock)> = Vec::new();
        store
            .scan(Column::Rows, &from, &to, &mut |key, value| {
                found.push((
                    Bytes::copy_from_slice(key),
                    FlagBlock::decode(value).expect("decodes"),
                ));
                true
            })
            .expect("scans");
        found
    };
    let read = best(5, || assert_eq!(scan().len(), blocks));
    // One message changed or added, without its sync: its block read, changed and coded anew.
    let mut one_bytes = 0;
    let one = average(2000, |n| {
        let uid = n.wrapping_mul(7919) % messages + 1;
        let key = key(uid / size);
        let before = store.get(Column::Rows, &key).expect("reads").expect("is there");
        let mut block = FlagBlock::decode(&before).expect("decodes");
        for entry in block.entries.iter_mut().filter(|entry| entry.uid.0 == uid) {
            entry.flags = entry.flags.with(FlagBits::FLAGGED);
            entry.modseq = ModSeq(2_000_000 + u64::from(n));
        }
        one_bytes += block.encode().len() + key.len();
    });
    let mut written = 0;
    let stored = best(5, || {
        let mut batch = Batch::new();
        for (key, mut block) in scan() {
            for entry in &mut block.entries {
                entry.flags = entry.flags.with(FlagBits::SEEN);
                entry.modseq = ModSeq(1_000_000);
            }
            batch.put(Column::Rows, key, block.encode());
        }
        written = batch.bytes();
        commit(&leader, batch);
    });
    println!(
        "| {size} | {blocks} | {bytes} | {} | {written} | {} | {} | {} |",
        show(stored),
        show(read),
        show(one),
        one_bytes / 2000
    );
    let mut clear = Batch::new();
    clear.delete_range(Column::Rows, from, to);
    commit(&leader, clear);
}

fn entry(uid: u32) -> FlagEntry {
    // Most are read, some answered or flagged, as in a mailbox that has been used.
    let flags = FlagBits(u64::from(!uid.is_multiple_of(7)) | (u64::from(uid.is_multiple_of(10)) * 2));
    FlagEntry {
        uid: Uid(uid),
        flags,
        // A quarter has been changed since it came, in no order.
        modseq: ModSeq(if uid.is_multiple_of(4) {
            100_000 + u64::from(uid.wrapping_mul(7919) % 50_000)
        } else {
            u64::from(uid) + 1
        }),
    }
}

fn commit(leader: &Leader, batch: Batch) {
    leader.propose_blocking(batch).blocking_wait().expect("commits");
}

async fn commands(member: Arc<Member>, messages: u32) {
    let spec = ReplicaSpec::alone(GroupId(SHARD.0), member.node());
    let group = member.open_group(spec).await.expect("opens");
    let shard = Shard::open(Arc::clone(&member), group, ShardOptions::default());
    shard.set_formed();
    let put = proto::PutAccount {
        shard: SHARD.0,
        account: ACCOUNT.0,
        generation: 1,
        quota_bytes: 0,
    };
    mutate(&shard, Command::PutAccount(put)).await;

    let started = Instant::now();
    let window = Arc::new(tokio::sync::Semaphore::new(256));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..messages {
        let (shard, permit) = (
            Arc::clone(&shard),
            Arc::clone(&window).acquire_owned().await.expect("open"),
        );
        let command = delivery(&shard, n);
        tasks.spawn(async move {
            let _permit = permit;
            mutate(&shard, command).await;
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("delivers");
    }
    let filled = started.elapsed();
    tokio::task::block_in_place(|| member.store().flush()).expect("flushes");

    println!("\n## Commands on a mailbox of {messages} messages\n\n| what | time |\n|---|---|");
    let row = |what: &str, time: Duration| println!("| {what} | {} |", show(time));
    let rate = f64::from(messages) / filled.as_secs_f64();
    println!(
        "| deliver all, 256 at a time | {} ({rate:.0} a second) |",
        show(filled)
    );

    let mut total = Duration::ZERO;
    for n in 0..200 {
        let command = delivery(&shard, messages + n);
        let started = Instant::now();
        mutate(&shard, command).await;
        total += started.elapsed();
    }
    row("deliver one, alone, with its sync", total / 200);

    let all = || {
        Some(proto::UidSet {
            bounds: vec![1, messages],
        })
    };
    let store = |system: u32, uids: Option<proto::UidSet>| {
        let flags = Some(proto::Flags {
            system,
            keywords: Vec::new(),
        });
        Command::Store(proto::Store {
            mailbox: 1,
            uids,
            mode: 1,
            flags,
            unchanged_since: 0,
        })
    };
    row("STORE 1:* +FLAGS (\\Seen)", timed(&shard, store(1, all())).await);
    row(
        "STORE 1:* +FLAGS (\\Seen), nothing to change",
        timed(&shard, store(1, all())).await,
    );
    let half = Some(proto::UidSet {
        bounds: (0..messages / 2).flat_map(|n| [2 * n + 1, 2 * n + 1]).collect(),
    });
    row(
        "STORE every second +FLAGS (\\Deleted)",
        timed(&shard, store(8, half)).await,
    );
    tokio::task::block_in_place(|| read_all(&shard, messages, &row));
    let copy = |r#move| {
        Command::Copy(proto::Copy {
            from: 1,
            uids: all(),
            to: ARCHIVE,
            r#move,
        })
    };
    row("COPY 1:*", timed(&shard, copy(false)).await);
    let expunge = Command::Expunge(proto::Expunge {
        mailbox: 1,
        only: false,
        uids: None,
    });
    row("EXPUNGE every second", timed(&shard, expunge).await);
    row("MOVE the rest", timed(&shard, copy(true)).await);
    let delete = Command::DeleteMailbox(proto::DeleteMailbox { mailbox: ARCHIVE });
    row("DELETE the mailbox they went to", timed(&shard, delete).await);
    shard.close().await;
}

fn read_all(shard: &Shard, messages: u32, row: &dyn Fn(&str, Duration)) {
    let uids = UidRanges::range(Uid(1), Uid(messages));
    let flags = best(5, || {
        let view = shard.snapshot();
        let mut count = 0;
        Reader::new(&view, SHARD, ACCOUNT)
            .flags_of(INBOX, &uids, |_| count += 1)
            .expect("reads");
        assert_eq!(count, messages);
    });
    row("read flags of all", flags);
    let mut numbers: Vec<MessageNumber> = Vec::new();
    let rows = best(5, || {
        let view = shard.snapshot();
        numbers.clear();
        let visit = |_, row: rookery_mailstore::schema::MessageRow| {
            numbers.push(row.number);
            true
        };
        Reader::new(&view, SHARD, ACCOUNT)
            .message_rows(INBOX, &uids, visit)
            .expect("reads");
        assert_eq!(numbers.len(), messages as usize);
    });
    row("read (UID, size, internal date) of all", rows);
    let envelopes = best(3, || {
        let view = shard.snapshot();
        let reader = Reader::new(&view, SHARD, ACCOUNT);
        let bytes: usize = numbers
            .iter()
            .map(|number| {
                reader
                    .message(*number)
                    .expect("reads")
                    .expect("is there")
                    .analysis
                    .len()
            })
            .sum();
        assert!(bytes > 0);
    });
    row("read analyses (ENVELOPE) of all, one by one", envelopes);
    let scanned = best(3, || {
        let view = shard.snapshot();
        let (from, to) = rookery_mailstore::schema::keys::messages(SHARD, ACCOUNT);
        let mut bytes = 0;
        view.scan(Column::Rows, &from, &to, &mut |_, value| {
            bytes += rookery_mailstore::schema::MessageRecord::decode(value)
                .expect("decodes")
                .analysis
                .len();
            true
        })
        .expect("scans");
        assert!(bytes > 0);
    });
    row("read analyses (ENVELOPE) of all, by a scan", scanned);
}

fn delivery(shard: &Shard, n: u32) -> Command {
    let subject = format!(
        "Subject: message {n}\r\nFrom: someone{}@example.test\r\n\r\n",
        n % 100
    );
    // Unlike each other, so that nothing is stored once for many.
    let text = format!(
        "{subject}{}",
        format!("{:x} is what this line says.\r\n", u64::from(n) * 0x9E37_79B9).repeat(80)
    );
    let body = PreparedBody {
        hash: BodyHash::of(text.as_bytes()),
        source: BodySource::Chunks(vec![encode_chunk(text.as_bytes())]),
        analysis: Bytes::from(format!("{n:0>900}")),
        header_len: subject.len() as u64,
    };
    let mut transaction = [0; 16];
    transaction[..4].copy_from_slice(&n.to_be_bytes());
    let prefix = Bytes::from_static(b"Return-Path: <someone@example.test>\r\nReceived: from a by b; now\r\n");
    let recipients = vec![Ok(DeliverRecipient {
        account: ACCOUNT,
        prefix,
    })];
    Command::Deliver(Deliver {
        transaction,
        issued_at_millis: shard.now_millis(),
        body,
        recipients,
    })
}

async fn mutate(shard: &Shard, command: Command) -> reply::Call {
    let mutation = Mutation {
        account: ACCOUNT,
        key: None,
        command,
    };
    shard
        .mutate(mutation)
        .await
        .expect("is done")
        .call
        .expect("a reply")
}

async fn timed(shard: &Shard, command: Command) -> Duration {
    let started = Instant::now();
    mutate(shard, command).await;
    started.elapsed()
}

fn best(times: u32, mut run: impl FnMut()) -> Duration {
    let runs = (0..times).map(|_| {
        let started = Instant::now();
        run();
        started.elapsed()
    });
    runs.min().expect("runs")
}

fn average(times: u32, mut run: impl FnMut(u32)) -> Duration {
    let started = Instant::now();
    (0..times).for_each(&mut run);
    started.elapsed() / times
}

fn show(time: Duration) -> String {
    match time.as_micros() {
        micros @ 0..10_000 => format!("{micros} µs"),
        micros => format!("{} ms", micros / 1000),
    }
}
