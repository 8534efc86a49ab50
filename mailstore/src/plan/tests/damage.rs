//! Rows that cannot be read cost what they hold, and nothing else.

use rookery_replication::{Batch, View, ViewError};

use super::*;

/// No value of any version.
const BAD: &[u8] = &[0xff, 0xff];

fn damage(rig: &mut Rig, key: Bytes) {
    let mut batch = Batch::new();
    batch.put(Column::Rows, key, BAD);
    rig.store.apply(&batch);
}

/// Three messages that were appended and then expunged; their garbage waits.
fn with_garbage() -> Rig {
    let mut rig = Rig::new();
    for text in [b"one", b"two", b"six"] {
        rig.append(prepared(text)).expect("appends");
    }
    let flags = Some(proto::Flags {
        system: FlagBits::DELETED.system(),
        keywords: Vec::new(),
    });
    rig.run(Command::Store(proto::Store {
        mailbox: 1,
        uids: Some(proto::UidSet { bounds: vec![1, 3] }),
        mode: Mode::Add.into(),
        flags,
        unchanged_since: 0,
    }))
    .expect("stores");
    rig.run(Command::Expunge(proto::Expunge {
        mailbox: 1,
        only: false,
        uids: None,
    }))
    .expect("expunges");
    rig
}

fn rows(rig: &Rig, range: keys::KeyRange) -> usize {
    let keys = rig.store.iter(Column::Rows);
    keys.filter(|(key, _)| **key >= range.0 && **key < range.1)
        .count()
}

fn garbage_rows(rig: &Rig) -> usize {
    rows(rig, keys::kind_range(SHARD, keys::Kind::Garbage))
}

#[test]
fn a_damaged_message_is_dropped_with_the_rest_of_its_garbage() {
    let mut rig = with_garbage();
    damage(&mut rig, keys::message(SHARD, ACCOUNT, MessageNumber(1)));
    assert_eq!((garbage_rows(&rig), rig.store.len(Column::Bodies)), (1, 3));
    rig.run(Command::Collect).expect("collects");
    assert_eq!(garbage_rows(&rig), 0);
    assert_eq!(rows(&rig, keys::messages(SHARD, ACCOUNT)), 0);
    // The body of the damaged one is not known any more.
    assert_eq!(rig.store.len(Column::Bodies), 1);
}

#[test]
fn a_damaged_body_stays_and_the_others_go() {
    let mut rig = with_garbage();
    damage(&mut rig, keys::body(SHARD, &BodyHash::of(b"two")));
    rig.run(Command::Collect).expect("collects");
    assert_eq!((garbage_rows(&rig), rig.store.len(Column::Bodies)), (0, 1));
}

#[test]
fn damaged_garbage_is_passed_over() {
    let mut rig = with_garbage();
    damage(&mut rig, keys::garbage(SHARD, AccountId(1), ModSeq(1), 0));
    damage(&mut rig, keys::garbage(SHARD, AccountId(2), ModSeq(1), 0));
    rig.run(Command::Collect).expect("collects");
    assert_eq!((garbage_rows(&rig), rig.store.len(Column::Bodies)), (2, 0));
    rig.run(Command::Collect).expect("has nothing to do");
}

/// A store of which one kind of row cannot be read.
struct Failing<'a>(&'a MemoryStore, keys::Kind);

impl View for Failing<'_> {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        self.0.get(column, key)
    }

    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: &[u8],
        visit: rookery_replication::view::Visitor<'_>,
    ) -> Result<(), ViewError> {
        if from == keys::kind_range(SHARD, self.1).0.as_ref() {
            return Err(ViewError::Failed("told to fail".to_owned()));
        }
        self.0.scan(column, from, to, visit)
    }
}

#[test]
fn what_has_expired_goes_though_garbage_cannot_be_collected() {
    let mut rig = with_garbage();
    let upload = |rig: &mut Rig, id: u8| {
        let chunk = UploadChunk {
            upload: UploadId([id; 16]),
            index: 0,
            raw_len: 1,
            stored: encode_chunk(b"x"),
            within_quota: true,
        };
        rig.run(Command::UploadChunk(chunk)).expect("stores");
    };
    upload(&mut rig, 1);
    upload(&mut rig, 2);
    damage(&mut rig, keys::upload(SHARD, ACCOUNT, UploadId([1; 16])));
    rig.now += PlanLimits::default().upload_kept_millis + 1;
    let context = PlanContext {
        shard: SHARD,
        now_millis: rig.now,
        limits: PlanLimits::default(),
        disk_nearly_full: false,
    };
    let view = Failing(&rig.store, keys::Kind::Garbage);
    let mutation = Mutation {
        account: ACCOUNT,
        key: None,
        command: Command::Collect,
    };
    let plan = plan(&view, &context, &mutation).expect("expires");
    rig.store.apply(&plan.batch);
    assert_eq!(garbage_rows(&rig), 1);
    assert_eq!(rows(&rig, keys::kind_range(SHARD, keys::Kind::UploadExpiry)), 0);
    // The damaged one may be in use; the other is gone.
    let chunks = |id: u8| {
        let key = keys::upload_chunk(SHARD, ACCOUNT, UploadId([id; 16]), 0);
        rig.store.contains(Column::Bodies, &key).expect("reads")
    };
    assert!(chunks(1) && !chunks(2));
}

const OTHER: AccountId = AccountId(10);

fn deliver() -> Command {
    let recipient = |account| {
        Ok(DeliverRecipient {
            account,
            prefix: Bytes::new(),
        })
    };
    Command::Deliver(Deliver {
        transaction: [8; 16],
        issued_at_millis: 10_000_000,
        body: prepared(b"for both"),
        recipients: vec![recipient(ACCOUNT), recipient(OTHER)],
    })
}

#[test]
fn a_damaged_account_is_refused_a_delivery_that_others_get() {
    let mut whole = Rig::new();
    let other = proto::PutAccount {
        shard: SHARD.0,
        account: OTHER.0,
        generation: 1,
        quota_bytes: 0,
    };
    whole.run(Command::PutAccount(other)).expect("creates");
    whole.append(prepared(b"there before")).expect("appends");
    for key in [
        keys::account(SHARD, ACCOUNT),
        keys::account_counters(SHARD, ACCOUNT),
        keys::mailbox(SHARD, ACCOUNT, MailboxId::INBOX),
        keys::flag_block(SHARD, ACCOUNT, MailboxId::INBOX, 0),
        keys::reply(SHARD, ACCOUNT, &[8; 16], 0),
    ] {
        let mut rig = Rig {
            store: whole.store.clone(),
            ..whole
        };
        damage(&mut rig, key.clone());
        let Ok(reply::Call::Delivered(delivered)) = rig.run(deliver()) else {
            panic!("delivers though {key:?} is damaged")
        };
        let reasons = delivered.outcomes.iter();
        let reasons: Vec<_> = reasons
            .map(|outcome| outcome.error.as_ref().map(|error| error.reason()))
            .collect();
        assert_eq!(reasons, [Some(Reason::Unavailable), None], "{key:?}");
        // The refused one left no reference to the body.
        assert_eq!(rig.store.len(Column::Counters), 0);
    }
    // What they share concerns both.
    damage(&mut whole, keys::body(SHARD, &BodyHash::of(b"for both")));
    assert_eq!(whole.refused(deliver()), Reason::Internal);
}
