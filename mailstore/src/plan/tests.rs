//! Planners one by one, where the model test does not look.

mod import;
mod levels;
mod moving;
mod recent;

use bytes::Bytes;
use rookery_proto::mailstore::v1::{self as proto, SpecialUse, reply, store::Mode};
use rookery_proto::{Reason, Status};
use rookery_replication::{Column, MemoryStore};

use super::*;
use crate::schema::body::{BODY_CHUNK_BYTES, encode_chunk};
use crate::schema::change::{LOG_ENTRIES_KEPT, LOG_ENTRIES_SLACK};
use crate::schema::flags::KEYWORDS_MAX;
use crate::schema::*;

mod collect;
mod damage;
mod limits;
mod uploads;

const SHARD: ShardId = ShardId(1);
const ACCOUNT: AccountId = AccountId(9);

struct Rig {
    store: MemoryStore,
    now: u64,
    limits: PlanLimits,
}

impl Rig {
    fn new() -> Self {
        let mut rig = Self {
            store: MemoryStore::new(),
            now: 10_000_000,
            limits: PlanLimits::default(),
        };
        rig.run(put_account(1, 0)).expect("creates");
        rig
    }

    fn run(&mut self, command: Command) -> Result<reply::Call, Status> {
        let context = PlanContext {
            shard: SHARD,
            now_millis: self.now,
            limits: self.limits,
            disk_nearly_full: false,
        };
        let plan = plan(
            &self.store,
            &context,
            &Mutation {
                account: ACCOUNT,
                key: None,
                command,
            },
        )?;
        self.store.apply(&plan.batch);
        Ok(plan.reply.call.expect("a reply"))
    }

    fn refused(&mut self, command: Command) -> Reason {
        let before = self.store.clone();
        let reason = self.run(command).expect_err("is refused").reason;
        assert_eq!(self.store, before);
        reason
    }

    fn reader(&self) -> Reader<'_> {
        Reader::new(&self.store, SHARD, ACCOUNT)
    }

    fn mailbox(&self, id: u32) -> MailboxRecord {
        self.reader()
            .mailbox(MailboxId(id))
            .expect("reads")
            .expect("is there")
    }

    fn append(&mut self, body: PreparedBody) -> Result<reply::Call, Status> {
        let message = AppendMessage {
            body,
            flags: proto::Flags::default(),
            internal_date: None,
        };
        self.run(Command::Append(Append {
            mailbox: 1,
            messages: vec![message],
        }))
    }
}

fn put_account(generation: u64, quota_bytes: u64) -> Command {
    Command::PutAccount(proto::PutAccount {
        shard: SHARD.0,
        account: ACCOUNT.0,
        generation,
        quota_bytes,
    })
}

fn create(name: &str, special_use: SpecialUse) -> Command {
    Command::CreateMailbox(proto::CreateMailbox {
        name: name.into(),
        special_use: special_use.into(),
    })
}

fn prepared(text: &[u8]) -> PreparedBody {
    let source = BodySource::Chunks(vec![encode_chunk(text)]);
    PreparedBody {
        hash: BodyHash::of(text),
        source,
        analysis: Bytes::new(),
        header_len: 0,
    }
}

fn store(mode: Mode, keywords: &[String]) -> Command {
    let flags = Some(proto::Flags {
        system: 0,
        keywords: keywords.to_vec(),
    });
    let uids = Some(proto::UidSet { bounds: vec![1, 1] });
    Command::Store(proto::Store {
        mailbox: 1,
        uids,
        mode: mode.into(),
        flags,
        unchanged_since: 0,
    })
}

#[test]
fn a_new_account_has_its_mailboxes() {
    let rig = Rig::new();
    let mailboxes = rig.reader().mailboxes().expect("reads");
    let names: Vec<(u32, &str, SpecialUse)> = mailboxes
        .iter()
        .map(|(id, mailbox)| (id.0, mailbox.name.as_str(), mailbox.special_use))
        .collect();
    assert_eq!(names[0], (1, "INBOX", SpecialUse::Unspecified));
    assert_eq!(names[2], (3, "Sent", SpecialUse::Sent));
    assert_eq!(rig.reader().subscriptions().expect("reads").len(), 6);
    assert!(mailboxes.iter().all(|(_, mailbox)| mailbox.uid_validity.0 > 0));
}

#[test]
fn an_account_is_put_by_generation_and_gone_for_ever() {
    let mut rig = Rig::new();
    rig.run(put_account(2, 77)).expect("updates");
    assert_eq!(
        rig.reader()
            .account_record()
            .expect("reads")
            .map(|record| record.quota_bytes),
        Some(77)
    );
    assert_eq!(rig.refused(put_account(1, 0)), Reason::WrongGeneration);
    let purge = |generation| {
        Command::PurgeAccount(proto::PurgeAccount {
            shard: SHARD.0,
            account: ACCOUNT.0,
            generation,
        })
    };
    assert_eq!(rig.refused(purge(1)), Reason::WrongGeneration);
    rig.run(purge(2)).expect("purges");
    rig.run(purge(2)).expect("is idempotent");
    assert_eq!(rig.refused(put_account(3, 0)), Reason::NoAccount);
    assert_eq!(
        rig.refused(create("a", SpecialUse::Unspecified)),
        Reason::NoAccount
    );
}

#[test]
fn frozen_and_moved_accounts_are_not_changed() {
    let mut rig = Rig::new();
    for (state, reason) in [
        (AccountState::Frozen, Reason::Frozen),
        (AccountState::MovedTo(ShardId(2)), Reason::Moved),
        (AccountState::Tombstone, Reason::NoAccount),
    ] {
        let mut batch = Batch::new();
        let record = AccountRecord {
            generation: 1,
            state,
            quota_bytes: 0,
        };
        batch.put(Column::Rows, keys::account(SHARD, ACCOUNT), record.encode());
        rig.store.apply(&batch);
        assert_eq!(rig.refused(create("a", SpecialUse::Unspecified)), reason);
    }
}

#[test]
fn names_are_checked() {
    let mut rig = Rig::new();
    let long = "x".repeat(1001);
    let deep = ["a"; 21].join("/");
    for name in [
        "",
        "/a",
        "a/",
        "a//b",
        "a\r\nb",
        "a*",
        long.as_str(),
        deep.as_str(),
    ] {
        assert_eq!(
            rig.refused(create(name, SpecialUse::Unspecified)),
            Reason::InvalidArgument,
            "{name}"
        );
    }
    for name in ["INBOX", "inbox", "Sent"] {
        assert_eq!(
            rig.refused(create(name, SpecialUse::Unspecified)),
            Reason::MailboxExists,
            "{name}"
        );
    }
    assert_eq!(
        rig.refused(create("Drafts 2", SpecialUse::Drafts)),
        Reason::MailboxExists
    );
    rig.run(create("inbox/a/b", SpecialUse::All)).expect("creates");
    let names: Vec<String> = rig
        .reader()
        .mailboxes()
        .expect("reads")
        .into_iter()
        .map(|(_, mailbox)| mailbox.name)
        .collect();
    assert!(names.contains(&"INBOX/a".to_owned()) && names.contains(&"INBOX/a/b".to_owned()));
    let rename = |mailbox, new_name: &str| {
        Command::RenameMailbox(proto::RenameMailbox {
            mailbox,
            new_name: new_name.into(),
            ..proto::RenameMailbox::default()
        })
    };
    assert_eq!(rig.refused(rename(3, "Sent/below")), Reason::MailboxRefused);
    assert_eq!(rig.refused(rename(3, "Inbox")), Reason::MailboxExists);
    assert_eq!(rig.refused(rename(99, "x")), Reason::NoMailbox);
}

#[test]
fn subscriptions_need_no_mailbox() {
    let mut rig = Rig::new();
    let set = |name: &str, subscribed| {
        Command::SetSubscription(proto::SetSubscription {
            name: name.into(),
            subscribed,
        })
    };
    rig.run(set("not there", true)).expect("subscribes");
    rig.run(set("Sent", false)).expect("unsubscribes");
    rig.run(set("Sent", false)).expect("is idempotent");
    let names = rig.reader().subscriptions().expect("reads");
    assert!(names.contains(&"not there".to_owned()) && !names.contains(&"Sent".to_owned()));
}

#[test]
fn keywords_keep_their_first_case_and_end_at_the_limit() {
    let mut rig = Rig::new();
    rig.append(prepared(b"a")).expect("appends");
    rig.run(store(Mode::Add, &["Work".into()])).expect("stores");
    rig.run(store(Mode::Add, &["wORK".into()])).expect("stores");
    assert_eq!(rig.mailbox(1).keywords, ["Work"]);
    let many: Vec<String> = (1..KEYWORDS_MAX).map(|n| format!("k{n}")).collect();
    let keywords_free = |rig: &mut Rig| rig.mailbox(1).keywords_free() as usize;
    assert_eq!(keywords_free(&mut rig), KEYWORDS_MAX - 1);
    rig.run(store(Mode::Replace, &many)).expect("stores");
    assert_eq!(keywords_free(&mut rig), 0);
    assert_eq!(
        rig.refused(store(Mode::Add, &["one too many".replace(' ', "")])),
        Reason::LimitExceeded
    );
    assert_eq!(
        rig.refused(store(Mode::Add, &["with space".into()])),
        Reason::InvalidArgument
    );
    rig.run(store(Mode::Remove, &["unknown".into()]))
        .expect("has nothing to do");
    assert_eq!(rig.mailbox(1).keywords.len(), KEYWORDS_MAX);
}

#[test]
fn a_copy_takes_along_the_keywords_of_what_it_copies_alone() {
    let mut rig = Rig::new();
    rig.append(prepared(b"a")).expect("appends");
    let many: Vec<String> = (0..KEYWORDS_MAX).map(|n| format!("k{n}")).collect();
    rig.run(store(Mode::Replace, &many)).expect("stores");
    rig.run(store(Mode::Replace, &["k7".into()])).expect("stores");
    rig.run(Command::Copy(proto::Copy {
        from: 1,
        to: 2,
        uids: Some(proto::UidSet { bounds: vec![1, 1] }),
        r#move: false,
    }))
    .expect("copies");
    assert_eq!(rig.mailbox(2).keywords, ["k7"]);
    let block = rig.reader().flag_block(MailboxId(2), 0).expect("reads");
    assert_eq!(block.entries[0].flags, FlagBits::keyword(0));
}

#[test]
fn the_change_log_is_bounded() {
    let mut rig = Rig::new();
    rig.append(prepared(b"a")).expect("appends");
    for n in 0..LOG_ENTRIES_KEPT + LOG_ENTRIES_SLACK + 10 {
        let mode = if n % 2 == 0 { Mode::Add } else { Mode::Remove };
        rig.run(store(mode, &["k".into()])).expect("stores");
    }
    let record = rig.mailbox(1);
    let mut entries = Vec::new();
    let visit = |modseq: ModSeq, _| {
        entries.push(modseq);
        true
    };
    rig.reader()
        .changes(MailboxId(1), ModSeq(0), visit)
        .expect("reads");
    assert_eq!(entries.len() as u32, record.log_entries);
    assert!(
        record.log_entries >= LOG_ENTRIES_KEPT && record.log_entries <= LOG_ENTRIES_KEPT + LOG_ENTRIES_SLACK
    );
    // Every change after `log_from` is there.
    assert_eq!(entries[0].0, record.log_from.0 + 1);
    assert_eq!(entries.last(), Some(&record.highest_modseq));
}

#[test]
fn uploads_are_used_once_whole_and_expire_unused() {
    let mut rig = Rig::new();
    let raw = vec![b'x'; BODY_CHUNK_BYTES + 10];
    let upload = UploadId([4; 16]);
    let chunk = |index: u32, raw: &[u8]| {
        Command::UploadChunk(UploadChunk {
            upload,
            index,
            raw_len: raw.len(),
            stored: encode_chunk(raw),
            within_quota: true,
        })
    };
    let hash = BodyHash::of(&raw);
    let finish = Command::FinishUpload(FinishUpload {
        upload,
        blake3: *blake3::hash(&raw).as_bytes(),
        hash,
    });
    let source = BodySource::Upload(ACCOUNT, upload);
    let body = PreparedBody {
        hash,
        source,
        analysis: Bytes::new(),
        header_len: 0,
    };
    assert_eq!(rig.refused(chunk(1, &raw[..10])), Reason::FailedPrecondition);
    rig.run(chunk(0, &raw[..BODY_CHUNK_BYTES])).expect("stores");
    rig.run(chunk(0, &raw[..BODY_CHUNK_BYTES]))
        .expect("is idempotent");
    assert_eq!(rig.refused(finish.clone()), Reason::FailedPrecondition);
    rig.run(chunk(1, &raw[BODY_CHUNK_BYTES..])).expect("stores");
    assert_eq!(
        rig.append(body.clone()).expect_err("is not finished").reason,
        Reason::FailedPrecondition
    );
    rig.run(finish.clone()).expect("finishes");
    rig.run(finish).expect("is idempotent");
    let unused = rig.store.clone();
    rig.append(body.clone()).expect("appends");
    rig.append(body).expect("appends the same again");
    let record = rig.reader().body(&hash).expect("reads").expect("is there");
    assert_eq!(record.location, BodyLocation::Upload(ACCOUNT, upload));
    let stored = rig
        .reader()
        .body_chunk(&hash, record.location, 1)
        .expect("reads")
        .expect("is there");
    assert_eq!(crate::schema::body::decode_chunk(&stored, 10), Ok(vec![b'x'; 10]));
    rig.now += PlanLimits::default().upload_kept_millis + 1;
    rig.run(Command::Collect).expect("collects");
    assert_eq!(rig.store.len(Column::Bodies), 2);
    rig.store = unused;
    rig.run(Command::Collect).expect("collects");
    assert_eq!(rig.store.len(Column::Bodies), 0);
    assert_eq!(rig.reader().upload(upload).expect("reads"), None);
}

#[test]
fn hand_offs_are_leased_and_completed() {
    let mut rig = Rig::new();
    let recipients = ["a@x", "b@x"].map(|address| proto::HandOffRecipient {
        address: address.into(),
        prefix: Bytes::from_static(b"P\r\n"),
        account: 77,
    });
    let hand_off = Command::HandOff(HandOff {
        transaction: [1; 16],
        issued_at_millis: rig.now,
        sender: "s@x".into(),
        body: prepared(b"handed off"),
        recipients: recipients.to_vec(),
    });
    rig.run(hand_off.clone()).expect("keeps");
    rig.run(hand_off).expect("is idempotent");
    let lease = |rig: &mut Rig| {
        let command = proto::LeaseHandOffs {
            shard: SHARD.0,
            limit: 10,
            lease_millis: 1000,
        };
        match rig.run(Command::LeaseHandOffs(command)) {
            Ok(reply::Call::HandOffs(hand_offs)) => hand_offs.rows,
            other => panic!("{other:?}"),
        }
    };
    let rows = lease(&mut rig);
    assert_eq!((rows.len(), rows[0].attempts), (2, 1));
    assert!(lease(&mut rig).is_empty());
    rig.now += 1001;
    let rows = lease(&mut rig);
    assert_eq!((rows.len(), rows[0].attempts), (2, 2));
    let complete = |id: &Bytes| {
        Command::CompleteHandOff(proto::CompleteHandOff {
            shard: SHARD.0,
            ids: vec![id.clone(), id.clone()],
        })
    };
    rig.run(complete(&rows[0].id)).expect("completes");
    rig.run(complete(&rows[0].id)).expect("is idempotent");
    assert_eq!(rig.store.len(Column::Bodies), 1);
    rig.run(complete(&rows[1].id)).expect("completes");
    assert_eq!(
        (rig.store.len(Column::Bodies), rig.store.len(Column::Counters)),
        (0, 0)
    );
    rig.now += 10_000;
    assert!(lease(&mut rig).is_empty());
}

#[test]
fn a_delivery_to_a_known_transaction_changes_nothing_and_an_old_one_is_refused() {
    let mut rig = Rig::new();
    let deliver = |issued_at_millis| {
        let recipient = DeliverRecipient {
            account: ACCOUNT,
            prefix: Bytes::new(),
        };
        Command::Deliver(Deliver {
            transaction: [8; 16],
            issued_at_millis,
            body: prepared(b"mail"),
            recipients: vec![Ok(recipient), Err(Status::new(Reason::PermissionDenied, "token"))],
        })
    };
    let issued = rig.now;
    let first = rig.run(deliver(issued)).expect("delivers");
    rig.now += PlanLimits::default().delivery_kept_millis;
    assert_eq!(rig.run(deliver(issued)), Ok(first.clone()));
    let reply::Call::Delivered(delivered) = first else {
        panic!("{first:?}")
    };
    assert_eq!(
        delivered.outcomes[1].error.as_ref().map(|error| error.reason()),
        Some(Reason::PermissionDenied)
    );
    assert_eq!(rig.mailbox(1).messages, 1);
    rig.now += 1;
    rig.run(Command::Collect).expect("collects");
    let Ok(reply::Call::Delivered(late)) = rig.run(deliver(issued)) else {
        panic!("answers")
    };
    assert_eq!(
        late.outcomes[0].error.as_ref().map(|error| error.reason()),
        Some(Reason::ExpiredKey)
    );
    assert_eq!(rig.mailbox(1).messages, 1);
}
