//! Rows of a backup come in once, however often they are sent, and count their bodies anew.

use bytes::Bytes;
use rookery_proto::Reason;
use rookery_proto::mailstore::v1::ImportAccount;
use rookery_proto::rows::{Row, RowColumn};
use rookery_replication::{Column, MemoryStore, View};

use super::super::{Command, Mutation, PlanContext, PlanLimits, plan};
use crate::schema::body::encode_chunk;
use crate::schema::{
    AccountCounters, AccountId, AccountState, BodyHash, HandOffRecord, MailboxId, MessageNumber,
    MessageRecord, MessageRow, Reader, ReplyRecord, SentDay, ShardId, Uid, Value, keys,
};

const SHARD: ShardId = ShardId(4);
const ONE: AccountId = AccountId(1);
const TWO: AccountId = AccountId(2);
const NOW: u64 = 1_000_000;

struct Rig {
    store: MemoryStore,
}

impl Rig {
    fn run(&mut self, command: Command) -> Result<(), rookery_proto::Status> {
        let context = PlanContext {
            shard: SHARD,
            now_millis: NOW,
            limits: PlanLimits::default(),
            disk_nearly_full: false,
        };
        let mutation = Mutation {
            account: AccountId(0),
            key: None,
            command,
        };
        let plan = plan(&self.store, &context, &mutation)?;
        self.store.apply(&plan.batch);
        Ok(())
    }

    fn import(&mut self, rows: &[Row]) -> Result<(), rookery_proto::Status> {
        self.run(Command::ImportRows(rows.to_vec()))
    }

    fn finish(&mut self, account: AccountId) -> Result<(), rookery_proto::Status> {
        self.run(Command::ImportAccount(ImportAccount {
            shard: SHARD.0,
            account: account.0,
            generation: 3,
            quota_bytes: 9,
        }))
    }

    fn references(&self, key: &[u8]) -> i64 {
        Reader::new(&self.store, SHARD, ONE).counter(key).unwrap()
    }
}

fn row(column: RowColumn, key: Bytes, value: Bytes) -> Row {
    Row { column, key, value }
}

fn hash() -> BodyHash {
    BodyHash::of(b"text")
}

fn chunk() -> Row {
    let key = keys::body_chunk(SHARD, &hash(), 0);
    row(RowColumn::Bodies, key, encode_chunk(b"text"))
}

/// An account with one message that is in its INBOX twice.
fn account(account: AccountId) -> Vec<Row> {
    let number = MessageNumber(1);
    let record = MessageRecord {
        body: hash(),
        prefix: Bytes::new(),
        header_len: 0,
        analysis: Bytes::new(),
    };
    let in_mailbox = MessageRow {
        number,
        size: 4,
        internal_date: Default::default(),
        saved_seconds: 0,
        sent_day: SentDay::Unknown,
    };
    let reply = ReplyRecord {
        expires_millis: NOW + 5,
        reply: Bytes::from_static(b"ok"),
    };
    let key = keys::message(SHARD, account, number);
    vec![
        row(
            RowColumn::Rows,
            keys::account_counters(SHARD, account),
            AccountCounters::default().encode(),
        ),
        row(
            RowColumn::Rows,
            keys::message_row(SHARD, account, MailboxId::INBOX, Uid(1)),
            in_mailbox.encode(),
        ),
        row(
            RowColumn::Rows,
            keys::message_row(SHARD, account, MailboxId::INBOX, Uid(2)),
            in_mailbox.encode(),
        ),
        row(RowColumn::Rows, key.clone(), record.encode()),
        row(
            RowColumn::Counters,
            key,
            Bytes::copy_from_slice(&1i64.to_le_bytes()),
        ),
        row(
            RowColumn::Rows,
            keys::reply(SHARD, account, &[1; 16], 0),
            reply.encode(),
        ),
    ]
}

#[test]
fn rows_that_come_again_change_nothing() {
    let mut rig = Rig {
        store: MemoryStore::new(),
    };
    for _ in 0..3 {
        rig.import(&[chunk()]).unwrap();
        // In one command and in many.
        rig.import(&account(ONE)).unwrap();
        for row in account(TWO) {
            rig.import(&[row]).unwrap();
        }
    }
    let body = keys::body(SHARD, &hash());
    assert_eq!(rig.references(&body), 1, "two accounts refer to it");
    let message = keys::message(SHARD, ONE, MessageNumber(1));
    assert_eq!(rig.references(&message), 1, "it is in the mailbox twice");
    let reader = Reader::new(&rig.store, SHARD, ONE);
    assert_eq!(reader.account_record().unwrap(), None, "not live yet");
    let expiry = keys::reply_expiry(SHARD, NOW + 5, ONE, &[1; 16], 0);
    assert!(rig.store.contains(Column::Rows, &expiry).unwrap());

    rig.finish(ONE).unwrap();
    let record = Reader::new(&rig.store, SHARD, ONE)
        .account_record()
        .unwrap()
        .unwrap();
    assert_eq!(record.state, AccountState::Live);
    assert_eq!((record.generation, record.quota_bytes), (3, 9));
    // A live account's rows are its own.
    let mut changed = account(ONE);
    changed[0].value = AccountCounters {
        used_bytes: 77,
        ..AccountCounters::default()
    }
    .encode();
    rig.import(&changed).unwrap();
    rig.finish(ONE).unwrap();
    let reader = Reader::new(&rig.store, SHARD, ONE);
    assert_eq!(reader.counters().unwrap().used_bytes, 0);
    assert_eq!(rig.references(&body), 1);
}

#[test]
fn a_message_waits_for_its_body() {
    let mut rig = Rig {
        store: MemoryStore::new(),
    };
    let status = rig.import(&account(ONE)).unwrap_err();
    assert_eq!(status.reason, Reason::FailedPrecondition);
    let mut rows = vec![chunk()];
    rows.extend(account(ONE));
    rig.import(&rows).unwrap();
    assert_eq!(
        rig.finish(TWO).unwrap_err().reason,
        Reason::NoAccount,
        "it has no rows"
    );
}

#[test]
fn an_id_that_was_used_is_refused() {
    let mut rig = Rig {
        store: MemoryStore::new(),
    };
    rig.run(Command::PurgeAccount(
        rookery_proto::mailstore::v1::PurgeAccount {
            shard: SHARD.0,
            account: ONE.0,
            generation: 1,
        },
    ))
    .unwrap();
    rig.import(&[chunk()]).unwrap();
    assert_eq!(rig.import(&account(ONE)).unwrap_err().reason, Reason::NoAccount);
    assert_eq!(rig.finish(ONE).unwrap_err().reason, Reason::NoAccount);
}

#[test]
fn what_no_backup_has_is_refused() {
    let mut rig = Rig {
        store: MemoryStore::new(),
    };
    let elsewhere = keys::account_counters(ShardId(5), ONE);
    let counters = AccountCounters::default().encode();
    for bad in [
        row(RowColumn::Rows, elsewhere, counters.clone()),
        row(RowColumn::Rows, Bytes::from_static(b"junk"), counters),
        row(
            RowColumn::Rows,
            keys::account_counters(SHARD, ONE),
            Bytes::from_static(b"\xff"),
        ),
        row(
            RowColumn::Bodies,
            keys::body_chunk(SHARD, &hash(), 1),
            encode_chunk(b"text"),
        ),
        row(
            RowColumn::Counters,
            keys::body(SHARD, &hash()),
            Bytes::copy_from_slice(&1i64.to_le_bytes()),
        ),
    ] {
        assert_eq!(rig.import(&[bad]).unwrap_err().reason, Reason::InvalidArgument);
    }
}

#[test]
fn a_hand_off_is_due_at_once_and_kept_once() {
    let mut rig = Rig {
        store: MemoryStore::new(),
    };
    let record = HandOffRecord {
        transaction: [2; 16],
        sender: String::new(),
        address: "user@example.test".into(),
        prefix: Bytes::new(),
        account: ONE,
        body: hash(),
        issued_at_millis: 1,
        due_millis: NOW * 2,
        attempts: 4,
    };
    let id = record.id();
    let hand_off = row(RowColumn::Rows, keys::hand_off(SHARD, &id), record.encode());
    for _ in 0..2 {
        rig.import(&[chunk(), hand_off.clone()]).unwrap();
    }
    assert!(
        rig.store
            .contains(Column::Rows, &keys::hand_off_due(SHARD, NOW, &id))
            .unwrap()
    );
    assert_eq!(rig.references(&keys::body(SHARD, &hash())), 0);
    let stored = Reader::new(&rig.store, SHARD, ONE)
        .hand_off(&id)
        .unwrap()
        .unwrap();
    assert_eq!((stored.due_millis, stored.attempts), (NOW, 4));
}
