//! An account that goes from one shard to another is the same there, whatever happened to it on the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rookery_proto::mailstore::v1 as proto;
use rookery_proto::{Reason, Status};
use rookery_replication::{Column, MemoryStore, View};

use super::super::*;
use super::prepared;
use crate::read::MovedCursor;
use crate::schema::body::{BODY_CHUNK_BYTES, encode_chunk};
use crate::schema::{AccountState, BodyHash, Reader, Value, keys};

const FROM: ShardId = ShardId(1);
const TO: ShardId = ShardId(2);
const ACCOUNT: AccountId = AccountId(9);
const NEIGHBOUR: AccountId = AccountId(10);

/// Two shards, and the number of the last idempotency key.
struct World {
    from: MemoryStore,
    to: MemoryStore,
    keys: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            from: MemoryStore::new(),
            to: MemoryStore::new(),
            keys: 0,
        };
        world.at(FROM, ACCOUNT, put(FROM, ACCOUNT, 1)).unwrap();
        world.at(FROM, NEIGHBOUR, put(FROM, NEIGHBOUR, 1)).unwrap();
        world
    }

    fn store(&self, shard: ShardId) -> &MemoryStore {
        if shard == FROM { &self.from } else { &self.to }
    }

    fn at(&mut self, shard: ShardId, account: AccountId, command: Command) -> Result<u64, Status> {
        let context = PlanContext {
            shard,
            now_millis: 1_000,
            limits: PlanLimits::default(),
            disk_nearly_full: false,
        };
        self.keys += 1;
        let is_control = matches!(
            command,
            Command::PutAccount(_)
                | Command::LeaveAccount(_)
                | Command::FreezeAccount(_)
                | Command::ReceiveAccount(_)
                | Command::TakeRows(_)
                | Command::DepartAccount(_)
                | Command::SettleAccount(_)
                | Command::Collect
        );
        let key = MutationKey {
            session: [7; 16],
            number: self.keys,
            issued_at_millis: 1_000,
        };
        let mutation = Mutation {
            account,
            key: (!is_control).then_some(key),
            command,
        };
        let plan = plan(self.store(shard), &context, &mutation)?;
        let store = if shard == FROM {
            &mut self.from
        } else {
            &mut self.to
        };
        store.apply(&plan.batch);
        match plan.reply.call {
            Some(reply::Call::Done(done)) => Ok(done.modseq),
            _ => Ok(0),
        }
    }

    /// Works off what is left over.
    fn collect(&mut self, shard: ShardId) {
        let (from, to) = keys::kind_range(shard, keys::Kind::Garbage);
        loop {
            let mut is_left = false;
            let store = self.store(shard);
            store
                .scan(Column::Rows, &from, &to, &mut |_, _| {
                    is_left = true;
                    false
                })
                .unwrap();
            if !is_left {
                return;
            }
            self.at(shard, AccountId(0), Command::Collect).unwrap();
        }
    }

    fn leave(&mut self, generation: u64) -> Result<u64, Status> {
        let leave = proto::LeaveAccount {
            shard: FROM.0,
            account: ACCOUNT.0,
            generation,
        };
        self.at(FROM, ACCOUNT, Command::LeaveAccount(leave))
    }

    fn receive(&mut self, generation: u64, attempt: u32) -> Result<u64, Status> {
        let receive = proto::ReceiveAccount {
            shard: TO.0,
            account: ACCOUNT.0,
            generation,
            attempt,
        };
        self.at(TO, ACCOUNT, Command::ReceiveAccount(receive))
    }

    fn freeze(&mut self, generation: u64) -> Result<u64, Status> {
        let freeze = proto::FreezeAccount {
            shard: FROM.0,
            account: ACCOUNT.0,
            generation,
        };
        self.at(FROM, ACCOUNT, Command::FreezeAccount(freeze))
    }

    fn depart(&mut self, shard: ShardId, generation: u64, to: ShardId) -> Result<u64, Status> {
        let depart = proto::DepartAccount {
            shard: shard.0,
            account: ACCOUNT.0,
            generation,
            to_shard: to.0,
        };
        self.at(shard, ACCOUNT, Command::DepartAccount(depart))
    }

    fn settle(&mut self, generation: u64, modseq: u64) -> Result<u64, Status> {
        let settle = proto::SettleAccount {
            shard: TO.0,
            account: ACCOUNT.0,
            generation,
            modseq,
            quota_bytes: 5_000_000,
        };
        self.at(TO, ACCOUNT, Command::SettleAccount(settle))
    }

    fn cursor(&self, since: Option<u64>) -> MovedCursor {
        MovedCursor::new(Arc::new(self.from.clone()), FROM, ACCOUNT, 2, since).unwrap()
    }

    /// Copies what there is, or what has changed; answers the next note. `pieces` ends it early.
    fn pass(&mut self, attempt: u32, since: Option<u64>, pieces: usize) -> u64 {
        let mut cursor = self.cursor(since);
        for _ in 0..pieces {
            if let Some(next) = self.copy_piece(&mut cursor, attempt).unwrap() {
                return next;
            }
        }
        0
    }

    fn copy_piece(&mut self, cursor: &mut MovedCursor, attempt: u32) -> Result<Option<u64>, Status> {
        let piece = cursor.next_piece().unwrap();
        if !piece.rows.is_empty() {
            let take = TakeRows {
                account: ACCOUNT,
                generation: 2,
                attempt,
                rows: piece.rows,
            };
            self.at(TO, ACCOUNT, Command::TakeRows(take))?;
        }
        Ok(piece.next)
    }

    /// Chunks of bodies that a shard holds.
    fn chunks(&self, shard: ShardId) -> usize {
        let (from, to) = keys::kind_range(shard, keys::Kind::Body);
        let mut chunks = 0;
        let count = &mut |_: &[u8], _: &[u8]| {
            chunks += 1;
            true
        };
        self.store(shard).scan(Column::Bodies, &from, &to, count).unwrap();
        chunks
    }

    /// Bodies of which a shard has noted that chunks came.
    fn arriving(&self, shard: ShardId) -> usize {
        let (from, to) = keys::all_arriving(shard, ACCOUNT);
        let mut noted = 0;
        let count = &mut |_: &[u8], _: &[u8]| {
            noted += 1;
            true
        };
        self.store(shard).scan(Column::Rows, &from, &to, count).unwrap();
        noted
    }

    /// What the account has in a shard, by keys without the shard's number, and the bodies of its messages with how many of
    /// the account's messages refer to each.
    fn rows(&self, shard: ShardId) -> BTreeMap<(Column, Bytes), Bytes> {
        let store = self.store(shard);
        let mut rows = BTreeMap::new();
        for column in [Column::Rows, Column::Counters] {
            let (from, to) = keys::shard_range(shard);
            store
                .scan(column, &from, &to, &mut |key, value| {
                    if keys::carried_account(key) == Some(ACCOUNT) {
                        let key = keys::without_shard(&Bytes::copy_from_slice(key));
                        rows.insert((column, key), Bytes::copy_from_slice(value));
                    }
                    true
                })
                .unwrap();
        }
        rows
    }

    /// Every body of a shard has its chunks and as many references as there are messages with it.
    fn check_bodies(&self, shard: ShardId) {
        let store = self.store(shard);
        let mut expected: BTreeMap<Bytes, i64> = BTreeMap::new();
        let (from, to) = keys::shard_range(shard);
        store
            .scan(Column::Rows, &from, &to, &mut |key, value| {
                if keys::is_message(key) {
                    let record = crate::schema::MessageRecord::decode(value).unwrap();
                    *expected.entry(keys::body(shard, &record.body)).or_insert(-1) += 1;
                }
                true
            })
            .unwrap();
        let mut found = BTreeMap::new();
        let (from, to) = keys::kind_range(shard, keys::Kind::Body);
        let reader = Reader::new(store, shard, ACCOUNT);
        store
            .scan(Column::Rows, &from, &to, &mut |key, _| {
                let key = Bytes::copy_from_slice(key);
                found.insert(key.clone(), reader.counter(&key).unwrap());
                true
            })
            .unwrap();
        assert_eq!(found, expected, "references to bodies in shard {shard}");
        assert_eq!(
            self.chunks(shard),
            found.len(),
            "chunks of bodies in shard {shard}"
        );
        assert_eq!(self.arriving(shard), 0, "bodies that arrive in shard {shard}");
    }
}

fn put(shard: ShardId, account: AccountId, generation: u64) -> Command {
    Command::PutAccount(proto::PutAccount {
        shard: shard.0,
        account: account.0,
        generation,
        quota_bytes: 0,
    })
}

/// A text of three chunks that no compression makes smaller, so that it comes in two pieces.
fn large_text() -> Vec<u8> {
    let mut text = vec![0; 2 * BODY_CHUNK_BYTES + 1_000];
    StdRng::seed_from_u64(1).fill(&mut text[..]);
    text
}

fn append_large() -> Command {
    let text = large_text();
    append_body(PreparedBody {
        hash: BodyHash::of(&text),
        source: BodySource::Chunks(text.chunks(BODY_CHUNK_BYTES).map(encode_chunk).collect()),
        analysis: Bytes::new(),
        header_len: 0,
    })
}

fn append(text: u8) -> Command {
    append_body(prepared(&[text; 30]))
}

fn append_body(body: PreparedBody) -> Command {
    let message = AppendMessage {
        body,
        flags: proto::Flags::default(),
        internal_date: None,
    };
    Command::Append(Append {
        mailbox: 1,
        messages: vec![message],
    })
}

fn one(uid: u32) -> Option<proto::UidSet> {
    Some(proto::UidSet {
        bounds: vec![uid, uid],
    })
}

#[derive(Debug, Clone)]
enum Step {
    /// Which text, for whom.
    Append(u8, bool),
    Store(u32, u32),
    Copy(u32, u32, bool),
    Delete(u32),
    Create(u8),
    DeleteMailbox(u8),
    Subscribe(u8, bool),
    Collect,
}

fn steps(random: &mut StdRng) -> Vec<Step> {
    let count = random.random_range(0..25);
    let step = |random: &mut StdRng| match random.random_range(0..15) {
        0..4 => Step::Append(random.random_range(0..6), random.random()),
        4..6 => Step::Store(random.random_range(1..12), random.random_range(1..32)),
        6..8 => Step::Copy(
            random.random_range(1..12),
            random.random_range(1..9),
            random.random(),
        ),
        8..10 => Step::Delete(random.random_range(1..12)),
        10 => Step::Create(random.random_range(0..4)),
        11 => Step::DeleteMailbox(random.random_range(0..4)),
        12 => Step::Subscribe(random.random_range(0..4), random.random()),
        _ => Step::Collect,
    };
    (0..count).map(|_| step(random)).collect()
}

fn take_steps(world: &mut World, steps: &[Step]) {
    for step in steps {
        let (account, command) = match step {
            Step::Append(text, neighbour) => {
                let account = if *neighbour { NEIGHBOUR } else { ACCOUNT };
                (account, append(*text))
            }
            Step::Store(uid, bits) => {
                let store = proto::Store {
                    mailbox: 1,
                    uids: one(*uid),
                    mode: proto::store::Mode::Replace.into(),
                    flags: Some(proto::Flags {
                        system: *bits,
                        keywords: Vec::new(),
                    }),
                    unchanged_since: 0,
                };
                (ACCOUNT, Command::Store(store))
            }
            Step::Copy(uid, to, moves) => {
                let copy = proto::Copy {
                    from: 1,
                    uids: one(*uid),
                    to: *to,
                    r#move: *moves,
                };
                (ACCOUNT, Command::Copy(copy))
            }
            Step::Delete(uid) => {
                let mark = Step::Store(*uid, 8);
                take_steps(world, &[mark]);
                let expunge = proto::Expunge {
                    mailbox: 1,
                    only: false,
                    uids: None,
                };
                (ACCOUNT, Command::Expunge(expunge))
            }
            Step::Create(name) => {
                let create = proto::CreateMailbox {
                    name: format!("box{name}"),
                    special_use: 0,
                };
                (ACCOUNT, Command::CreateMailbox(create))
            }
            Step::DeleteMailbox(name) => {
                let reader = Reader::new(&world.from, FROM, ACCOUNT);
                let mailboxes = reader.mailboxes().unwrap();
                let found = mailboxes.iter().find(|(_, one)| one.name == format!("box{name}"));
                let Some((id, _)) = found else { continue };
                let delete = proto::DeleteMailbox { mailbox: id.0 };
                (ACCOUNT, Command::DeleteMailbox(delete))
            }
            Step::Subscribe(name, subscribed) => {
                let set = proto::SetSubscription {
                    name: format!("box{name}"),
                    subscribed: *subscribed,
                };
                (ACCOUNT, Command::SetSubscription(set))
            }
            Step::Collect => {
                world.collect(FROM);
                continue;
            }
        };
        match world.at(FROM, account, command) {
            Ok(_) => {}
            Err(status) => assert!(
                matches!(status.reason, Reason::MailboxExists | Reason::NoMailbox),
                "{status}"
            ),
        }
    }
}

/// One try that breaks off, then one that comes to the end, with changes at every point.
#[test]
fn it_is_the_same_in_the_other_shard() {
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let random = &mut random;
        let mut world = World::new();
        // The other shard has one of the bodies already.
        let neighbour = AccountId(11);
        world.at(TO, neighbour, put(TO, neighbour, 1)).unwrap();
        world.at(TO, neighbour, append(0)).unwrap();

        take_steps(&mut world, &steps(random));
        world.leave(2).unwrap();
        world.receive(2, 1).unwrap();
        take_steps(&mut world, &steps(random));
        world.pass(1, None, random.random_range(0..4));
        take_steps(&mut world, &steps(random));
        world.receive(2, 2).unwrap();
        world.pass(2, None, usize::MAX);
        take_steps(&mut world, &steps(random));
        let since = world.pass(2, Some(0), usize::MAX);
        take_steps(&mut world, &steps(random));
        world.collect(FROM);
        let modseq = world.freeze(2).unwrap();
        world.pass(2, Some(since), usize::MAX);
        assert_eq!(world.come_to(2), Ok(modseq), "seed {seed}");
        let expected = world.rows(FROM);
        assert_eq!(world.rows(TO), expected, "seed {seed}");
        world.depart(FROM, 2, TO).unwrap();
        world.settle(2, modseq).unwrap();
        assert_eq!(world.rows(TO), expected, "seed {seed}");
        world.check_bodies(TO);
        world.collect(FROM);
        assert!(world.rows(FROM).is_empty(), "seed {seed}");
        world.check_bodies(FROM);
    }
}

fn reason(result: Result<u64, Status>) -> Reason {
    result.expect_err("is refused").reason
}

fn state(world: &World, shard: ShardId) -> Option<AccountState> {
    let reader = Reader::new(world.store(shard), shard, ACCOUNT);
    reader.account_record().unwrap().map(|record| record.state)
}

#[test]
fn late_steps_of_a_move_that_was_taken_back_change_nothing() {
    let mut world = World::new();
    take_steps(&mut world, &[Step::Append(1, false)]);
    world.leave(2).unwrap();
    world.receive(2, 1).unwrap();
    world.pass(1, None, usize::MAX);
    world.freeze(2).unwrap();
    // Taken back, under a generation above the move's.
    world.at(FROM, ACCOUNT, put(FROM, ACCOUNT, 3)).unwrap();
    world.depart(TO, 3, FROM).unwrap();
    let (from, to) = (world.from.clone(), world.to.clone());
    assert_eq!(reason(world.leave(2)), Reason::WrongGeneration);
    assert_eq!(reason(world.freeze(2)), Reason::WrongGeneration);
    assert_eq!(reason(world.depart(FROM, 2, TO)), Reason::WrongGeneration);
    assert_eq!(reason(world.receive(2, 9)), Reason::WrongGeneration);
    assert_eq!(reason(world.settle(2, 0)), Reason::WrongGeneration);
    assert!(world.from == from && world.to == to);
    assert_eq!(state(&world, FROM), Some(AccountState::Live));
    assert_eq!(state(&world, TO), Some(AccountState::MovedTo(FROM)));
    world.collect(TO);
    assert!(world.rows(TO).is_empty());
    world.check_bodies(TO);
    // Nothing is noted any more, and it may leave again.
    assert!(
        Reader::new(&world.from, FROM, ACCOUNT)
            .leaving()
            .unwrap()
            .accounts
            .is_empty()
    );
    world.leave(4).unwrap();
    world.receive(4, 1).unwrap();
}

#[test]
fn it_is_live_in_one_shard_at_most() {
    let mut world = World::new();
    take_steps(&mut world, &[Step::Append(1, false)]);
    assert_eq!(
        reason(world.freeze(2)),
        Reason::FailedPrecondition,
        "it does not leave"
    );
    world.leave(2).unwrap();
    world.leave(2).unwrap();
    assert_eq!(
        reason(world.depart(FROM, 2, TO)),
        Reason::FailedPrecondition,
        "it is live"
    );
    world.receive(2, 1).unwrap();
    let create = || {
        Command::CreateMailbox(proto::CreateMailbox {
            name: "a".to_owned(),
            special_use: 0,
        })
    };
    assert_eq!(
        reason(world.at(TO, ACCOUNT, create())),
        Reason::Frozen,
        "it is not there yet"
    );
    world.at(TO, ACCOUNT, put(TO, ACCOUNT, 2)).unwrap();
    assert_eq!(
        state(&world, TO),
        Some(AccountState::Incoming(1)),
        "the directory's word alone is not enough"
    );
    world.pass(1, None, usize::MAX);
    let modseq = world.freeze(2).unwrap();
    assert_eq!(reason(world.at(FROM, ACCOUNT, create())), Reason::Frozen);
    assert_eq!(
        reason(world.settle(2, modseq + 1)),
        Reason::FailedPrecondition,
        "rows are missing"
    );
    world.depart(FROM, 2, TO).unwrap();
    assert_eq!(reason(world.at(FROM, ACCOUNT, create())), Reason::Moved);
    assert_eq!(
        reason(world.at(FROM, ACCOUNT, put(FROM, ACCOUNT, 1))),
        Reason::WrongGeneration
    );
    world.settle(2, modseq).unwrap();
    world.settle(2, modseq).unwrap();
    world.at(TO, ACCOUNT, create()).unwrap();
    let rows = world.rows(TO);
    let late = TakeRows {
        account: ACCOUNT,
        generation: 2,
        attempt: 1,
        rows: Vec::new(),
    };
    assert_eq!(
        reason(world.at(TO, ACCOUNT, Command::TakeRows(late))),
        Reason::WrongGeneration
    );
    assert_eq!(world.rows(TO), rows);
}

#[test]
fn an_older_try_ends_with_a_newer_one() {
    let mut world = World::new();
    world.leave(2).unwrap();
    world.receive(2, 2).unwrap();
    assert_eq!(reason(world.receive(2, 1)), Reason::WrongGeneration);
    let late = TakeRows {
        account: ACCOUNT,
        generation: 2,
        attempt: 1,
        rows: Vec::new(),
    };
    assert_eq!(
        reason(world.at(TO, ACCOUNT, Command::TakeRows(late))),
        Reason::WrongGeneration
    );
}

#[test]
fn chunks_whose_message_never_came_go_with_the_move() {
    let mut world = World::new();
    world.at(FROM, ACCOUNT, append_large()).unwrap();
    world.leave(2).unwrap();
    world.receive(2, 1).unwrap();
    world.pass(1, None, 1);
    assert_eq!((world.chunks(TO), world.arriving(TO)), (2, 1));
    let (from, to) = (world.from.clone(), world.to.clone());

    // Taken back.
    world.at(FROM, ACCOUNT, put(FROM, ACCOUNT, 3)).unwrap();
    world.depart(TO, 3, FROM).unwrap();
    world.collect(TO);
    assert_eq!((world.chunks(TO), world.arriving(TO)), (0, 0));

    // The message goes before the next try, and the move ends well.
    (world.from, world.to) = (from.clone(), to.clone());
    take_steps(&mut world, &[Step::Delete(1), Step::Collect]);
    world.receive(2, 2).unwrap();
    world.pass(2, None, usize::MAX);
    assert_eq!(world.arriving(TO), 1);
    let modseq = world.freeze(2).unwrap();
    world.pass(2, Some(0), usize::MAX);
    world.depart(FROM, 2, TO).unwrap();
    world.settle(2, modseq).unwrap();
    assert_eq!((world.chunks(TO), world.arriving(TO)), (0, 0));

    // The next try brings all of it.
    (world.from, world.to) = (from, to);
    world.receive(2, 2).unwrap();
    world.pass(2, None, usize::MAX);
    assert_eq!((world.chunks(TO), world.arriving(TO)), (3, 0));
}

/// Of the shard that gets the account.
const OTHER: AccountId = AccountId(11);

impl World {
    /// The account has begun to come to a shard that has another one.
    fn coming_with_a_large_body() -> Self {
        let mut world = Self::new();
        world.at(FROM, ACCOUNT, append_large()).unwrap();
        world.at(TO, OTHER, put(TO, OTHER, 1)).unwrap();
        world.leave(2).unwrap();
        world.receive(2, 1).unwrap();
        world
    }

    /// How far the account has come.
    fn come_to(&mut self, attempt: u32) -> Result<u64, Status> {
        let take = TakeRows {
            account: ACCOUNT,
            generation: 2,
            attempt,
            rows: Vec::new(),
        };
        self.at(TO, ACCOUNT, Command::TakeRows(take))
    }
}

#[test]
fn a_shared_body_that_goes_while_the_account_comes_is_sent_again() {
    let mut world = World::coming_with_a_large_body();
    let forget = |world: &mut World, uid: u32| {
        let store = proto::Store {
            mailbox: 1,
            uids: one(uid),
            mode: proto::store::Mode::Add.into(),
            flags: Some(proto::Flags {
                system: 8,
                keywords: Vec::new(),
            }),
            unchanged_since: 0,
        };
        world.at(TO, OTHER, Command::Store(store)).unwrap();
        let expunge = proto::Expunge {
            mailbox: 1,
            only: false,
            uids: None,
        };
        world.at(TO, OTHER, Command::Expunge(expunge)).unwrap();
        world.collect(TO);
    };

    // The neighbour has it when its first chunks come, and not when its last one does.
    world.at(TO, OTHER, append_large()).unwrap();
    let mut cursor = world.cursor(None);
    assert_eq!(world.copy_piece(&mut cursor, 1), Ok(None));
    forget(&mut world, 1);
    assert_eq!(world.chunks(TO), 0);
    let refused = world.copy_piece(&mut cursor, 1);
    assert_eq!(refused.unwrap_err().reason, Reason::FailedPrecondition);

    // The first chunks are there, and go with those that the neighbour gets and drops.
    world.receive(2, 2).unwrap();
    let mut cursor = world.cursor(None);
    assert_eq!(world.copy_piece(&mut cursor, 2), Ok(None));
    world.at(TO, OTHER, append_large()).unwrap();
    forget(&mut world, 2);
    let refused = world.copy_piece(&mut cursor, 2);
    assert_eq!(refused.unwrap_err().reason, Reason::FailedPrecondition);

    world.receive(2, 3).unwrap();
    assert_eq!(world.come_to(3), Ok(0), "nothing but chunks has come");
    world.pass(3, None, usize::MAX);
    let modseq = world.freeze(2).unwrap();
    world.pass(3, Some(0), usize::MAX);
    world.depart(FROM, 2, TO).unwrap();
    world.settle(2, modseq).unwrap();
    assert_eq!((world.chunks(TO), world.arriving(TO)), (3, 0));
    let hash = BodyHash::of(&large_text());
    let reader = Reader::new(world.store(TO), TO, ACCOUNT);
    assert!(reader.body(&hash).unwrap().is_some());
}

/// The shard gets the body by an upload between two of its pieces: what has come of it is not needed.
#[test]
fn chunks_of_a_body_that_an_upload_brought_meanwhile_go() {
    let mut world = World::coming_with_a_large_body();
    let mut cursor = world.cursor(None);
    assert_eq!(world.copy_piece(&mut cursor, 1), Ok(None));
    assert_eq!((world.chunks(TO), world.arriving(TO)), (2, 1));

    let (text, upload) = (large_text(), crate::schema::UploadId([5; 16]));
    for (index, raw) in (0..).zip(text.chunks(BODY_CHUNK_BYTES)) {
        let chunk = Command::UploadChunk(UploadChunk {
            upload,
            index,
            raw_len: raw.len(),
            stored: encode_chunk(raw),
            within_quota: true,
        });
        world.at(TO, OTHER, chunk).unwrap();
    }
    let finish = Command::FinishUpload(FinishUpload {
        upload,
        blake3: *blake3::hash(&text).as_bytes(),
        hash: BodyHash::of(&text),
    });
    world.at(TO, OTHER, finish).unwrap();
    let appended = append_body(PreparedBody {
        hash: BodyHash::of(&text),
        source: BodySource::Upload(OTHER, upload),
        analysis: Bytes::new(),
        header_len: 0,
    });
    world.at(TO, OTHER, appended).unwrap();

    while world.copy_piece(&mut cursor, 1).unwrap().is_none() {}
    assert_eq!((world.chunks(TO), world.arriving(TO)), (0, 0));
    let reader = Reader::new(world.store(TO), TO, ACCOUNT);
    let hash = BodyHash::of(&text);
    let body = reader.body(&hash).unwrap().unwrap();
    for index in 0..3 {
        assert!(reader.body_chunk(&hash, body.location, index).unwrap().is_some());
    }
}
