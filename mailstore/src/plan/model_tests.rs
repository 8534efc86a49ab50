//! Random commands against a naive model of an account: after each, what is stored must say what the model says.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rookery_proto::mailstore::v1::{self as proto, Reply, reply, store::Mode};
use rookery_proto::{Reason, Status};
use rookery_replication::{Column, MemoryStore, Overlay};

use super::*;
use crate::schema::body::encode_chunk;
use crate::schema::keys::Kind;
use crate::schema::*;

const SHARD: ShardId = ShardId(3);
const ACCOUNT: AccountId = AccountId(42);

type Flags = BTreeSet<String>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    flags: Flags,
    text: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Mailbox {
    name: String,
    uid_next: u32,
    messages: BTreeMap<u32, Message>,
}

/// What a session remembered of a mailbox, to be brought up to date by the change log.
#[derive(Debug, Clone)]
struct Remembered {
    mailbox: u32,
    modseq: u64,
    messages: BTreeMap<u32, Flags>,
}

struct World {
    stored: MemoryStore,
    overlay: Overlay,
    in_flight: Vec<(u64, Batch)>,
    number: u64,
    now: u64,
    mailboxes: BTreeMap<u32, Mailbox>,
    remembered: Vec<Remembered>,
    modseq: u64,
}

fn flag_names(flags: &proto::Flags) -> Flags {
    let system = (0..5)
        .filter(|bit| flags.system & (1 << bit) != 0)
        .map(|bit| format!("\\{bit}"));
    system.chain(flags.keywords.iter().cloned()).collect()
}

fn random_flags(rng: &mut StdRng) -> proto::Flags {
    let keywords = ["$Forwarded", "$Junk", "work"]
        .into_iter()
        .filter(|_| rng.random_bool(0.2))
        .map(String::from);
    proto::Flags {
        keywords: keywords.collect(),
        system: rng.random_range(0..32),
    }
}

fn prepared(text: &[u8]) -> PreparedBody {
    let source = BodySource::Chunks(vec![encode_chunk(text)]);
    PreparedBody {
        hash: BodyHash::of(text),
        source,
        analysis: Bytes::from_static(b"analysis"),
        header_len: 3,
    }
}

fn random_text(rng: &mut StdRng) -> Vec<u8> {
    format!("A: b\r\n\r\nbody {}", rng.random_range(0..6)).into_bytes()
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            stored: MemoryStore::new(),
            overlay: Overlay::new(),
            in_flight: Vec::new(),
            number: 0,
            now: 1_000_000_000,
            mailboxes: BTreeMap::new(),
            remembered: Vec::new(),
            modseq: 0,
        };
        let put = proto::PutAccount {
            shard: SHARD.0,
            account: ACCOUNT.0,
            generation: 1,
            quota_bytes: 5_000,
        };
        world.run(Command::PutAccount(put)).expect("creates");
        let names = ["INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"];
        for (id, name) in (1..).zip(names) {
            world.mailboxes.insert(
                id,
                Mailbox {
                    name: name.into(),
                    uid_next: 1,
                    ..Mailbox::default()
                },
            );
        }
        world
    }

    fn run(&mut self, command: Command) -> Result<reply::Call, Status> {
        self.run_with(Mutation {
            account: ACCOUNT,
            key: None,
            command,
        })
    }

    fn run_with(&mut self, mutation: Mutation) -> Result<reply::Call, Status> {
        self.now += 10;
        let context = PlanContext {
            shard: SHARD,
            now_millis: self.now,
            limits: PlanLimits::default(),
            disk_nearly_full: false,
        };
        let Plan {
            batch,
            reply: Reply { call },
            ..
        } = plan(&self.overlay.over(&self.stored), &context, &mutation)?;
        self.number += 1;
        self.overlay
            .push(self.number, &batch, &self.stored)
            .expect("pushes");
        self.in_flight.push((self.number, batch));
        Ok(call.expect("a reply"))
    }

    fn settle(&mut self, count: usize) {
        for (number, batch) in self.in_flight.drain(..count.min(self.in_flight.len())) {
            self.stored.apply(&batch);
            self.overlay.applied(number);
        }
    }

    fn collect(&mut self) {
        for _ in 0..1000 {
            let context = PlanContext {
                shard: SHARD,
                now_millis: self.now,
                limits: PlanLimits::default(),
                disk_nearly_full: false,
            };
            let mutation = Mutation {
                account: AccountId(0),
                key: None,
                command: Command::Collect,
            };
            let plan = plan(&self.overlay.over(&self.stored), &context, &mutation).expect("collects");
            let more = plan.garbage;
            self.number += 1;
            self.overlay
                .push(self.number, &plan.batch, &self.stored)
                .expect("pushes");
            self.in_flight.push((self.number, plan.batch));
            if !more {
                return;
            }
        }
        panic!("garbage has no end");
    }

    fn used(&self) -> u64 {
        let messages = self
            .mailboxes
            .values()
            .flat_map(|mailbox| mailbox.messages.values());
        messages.map(|message| message.text.len() as u64).sum()
    }

    fn random_mailbox(&self, rng: &mut StdRng) -> u32 {
        *self
            .mailboxes
            .keys()
            .nth(rng.random_range(0..self.mailboxes.len()))
            .expect("INBOX stays")
    }

    fn random_uids(&self, rng: &mut StdRng, mailbox: u32) -> UidRanges {
        let top = self.mailboxes[&mailbox].uid_next + 3;
        UidRanges::from_ranges((0..rng.random_range(0..5)).map(|_| {
            let first = rng.random_range(1..top);
            (first, first + rng.random_range(0..20))
        }))
    }

    fn step(&mut self, rng: &mut StdRng) {
        let mailbox = self.random_mailbox(rng);
        let uids = self.random_uids(rng, mailbox);
        match rng.random_range(0..100) {
            0..25 => self.append(rng, mailbox),
            25..40 => self.deliver(rng),
            40..58 => self.store(rng, mailbox, &uids),
            58..72 => self.copy(rng, mailbox, &uids),
            72..84 => self.expunge(rng, mailbox, &uids),
            84..88 => self.create(rng),
            88..91 => self.delete(mailbox),
            91..95 => self.rename(rng, mailbox),
            95 => self.claim_recent(rng, mailbox),
            96 => self.collect(),
            _ => self.remember(mailbox),
        }
    }

    fn claim_recent(&mut self, rng: &mut StdRng, mailbox: u32) {
        let below = rng.random_range(0..=self.mailboxes[&mailbox].uid_next + 1);
        let claim = RecentClaim {
            account: ACCOUNT,
            mailbox: MailboxId(mailbox),
            below: Uid(below),
        };
        self.run(Command::ClaimRecent(vec![claim])).expect("claims");
    }

    fn append(&mut self, rng: &mut StdRng, mailbox: u32) {
        let texts: Vec<Vec<u8>> = (0..rng.random_range(1..20)).map(|_| random_text(rng)).collect();
        let flags: Vec<proto::Flags> = texts.iter().map(|_| random_flags(rng)).collect();
        let messages = texts.iter().zip(&flags).map(|(text, flags)| AppendMessage {
            body: prepared(text),
            flags: flags.clone(),
            internal_date: None,
        });
        let command = Command::Append(Append {
            mailbox,
            messages: messages.collect(),
        });
        let size: u64 = texts.iter().map(|text| text.len() as u64).sum();
        let result = self.run(command);
        if self.used() + size > 5_000 {
            assert_eq!(result.expect_err("is over quota").reason, Reason::OverQuota);
            return;
        }
        let Ok(reply::Call::Appended(appended)) = result else {
            panic!("{result:?}")
        };
        let model = self.mailboxes.get_mut(&mailbox).expect("is there");
        let first = model.uid_next;
        assert_eq!(
            appended.uids.expect("UIDs").bounds,
            [first, first + texts.len() as u32 - 1]
        );
        for (text, flags) in texts.into_iter().zip(flags) {
            model.messages.insert(
                model.uid_next,
                Message {
                    flags: flag_names(&flags),
                    text,
                },
            );
            model.uid_next += 1;
        }
    }

    fn deliver(&mut self, rng: &mut StdRng) {
        let text = random_text(rng);
        let recipient = DeliverRecipient {
            account: ACCOUNT,
            prefix: Bytes::from_static(b"P: q\r\n"),
        };
        let stranger = DeliverRecipient {
            account: AccountId(7),
            prefix: Bytes::new(),
        };
        let deliver = Deliver {
            transaction: rng.random(),
            issued_at_millis: self.now,
            body: prepared(&text),
            recipients: vec![Ok(stranger), Ok(recipient.clone()), Ok(recipient)],
        };
        let full = self.used() + text.len() as u64 + 6 > 5_000;
        for _ in 0..2 {
            let result = self.run(Command::Deliver(deliver.clone()));
            let Ok(reply::Call::Delivered(delivered)) = result else {
                panic!("{result:?}")
            };
            assert_eq!(
                delivered.outcomes[0].error.as_ref().map(|e| e.reason()),
                Some(Reason::NoAccount)
            );
            assert_eq!(delivered.outcomes[1], delivered.outcomes[2]);
            let expected = full.then_some(Reason::OverQuota);
            assert_eq!(delivered.outcomes[1].error.as_ref().map(|e| e.reason()), expected);
        }
        if !full {
            let inbox = self.mailboxes.get_mut(&1).expect("INBOX stays");
            let text = [b"P: q\r\n".as_slice(), &text].concat();
            inbox.messages.insert(
                inbox.uid_next,
                Message {
                    flags: Flags::new(),
                    text,
                },
            );
            inbox.uid_next += 1;
        }
    }

    fn store(&mut self, rng: &mut StdRng, mailbox: u32, uids: &UidRanges) {
        let mode = [Mode::Add, Mode::Remove, Mode::Replace][rng.random_range(0..3)];
        let flags = random_flags(rng);
        let unchanged_since = if rng.random_bool(0.3) {
            rng.random_range(1..=self.modseq.max(1))
        } else {
            0
        };
        let modseqs = self.modseqs(mailbox);
        let key = MutationKey {
            session: rng.random(),
            number: 1,
            issued_at_millis: self.now,
        };
        let command = Command::Store(proto::Store {
            mailbox,
            uids: Some(uids.to_proto()),
            mode: mode.into(),
            flags: Some(flags.clone()),
            unchanged_since,
        });
        let mutation = Mutation {
            account: ACCOUNT,
            key: Some(key),
            command,
        };
        let result = self.run_with(mutation.clone());
        let Ok(reply::Call::Stored(stored)) = result else {
            panic!("{result:?}")
        };
        let model = self.mailboxes.get_mut(&mailbox).expect("is there");
        let mut modified = UidRanges::new();
        let names = flag_names(&flags);
        let mut changed = false;
        for (uid, message) in model
            .messages
            .iter_mut()
            .filter(|(uid, _)| uids.contains(Uid(**uid)))
        {
            if unchanged_since != 0 && modseqs[uid] > unchanged_since {
                modified.push(Uid(*uid));
                continue;
            }
            let after = match mode {
                Mode::Add => message.flags.union(&names).cloned().collect(),
                Mode::Remove => message.flags.difference(&names).cloned().collect(),
                _ => names.clone(),
            };
            changed |= message.flags != after;
            message.flags = after;
        }
        assert_eq!(stored.modified, Some(modified.to_proto()));
        let answered: BTreeMap<u32, Flags> = stored
            .messages
            .iter()
            .map(|m| (m.uid, flag_names(m.flags.as_ref().expect("flags"))))
            .collect();
        let named = model.messages.iter().filter(|(uid, _)| uids.contains(Uid(**uid)));
        assert_eq!(
            answered,
            named
                .map(|(uid, message)| (*uid, message.flags.clone()))
                .collect()
        );
        assert_eq!(stored.modseq > self.modseq, changed);
        if changed {
            // The same key again: the same answer.
            assert_eq!(self.run_with(mutation).ok(), Some(reply::Call::Stored(stored)));
        }
    }

    fn copy(&mut self, rng: &mut StdRng, from: u32, uids: &UidRanges) {
        let (to, moves) = (self.random_mailbox(rng), rng.random_bool(0.5));
        let chosen: Vec<(u32, Message)> = {
            let messages = self.mailboxes[&from].messages.iter();
            messages
                .filter(|(uid, _)| uids.contains(Uid(**uid)))
                .map(|(uid, m)| (*uid, m.clone()))
                .collect()
        };
        let size: u64 = chosen.iter().map(|(_, message)| message.text.len() as u64).sum();
        let command = proto::Copy {
            from,
            uids: Some(uids.to_proto()),
            to,
            r#move: moves,
        };
        let result = self.run(Command::Copy(command));
        if !moves && self.used() + size > 5_000 {
            assert_eq!(result.expect_err("is over quota").reason, Reason::OverQuota);
            return;
        }
        let Ok(reply::Call::Copied(copied)) = result else {
            panic!("{result:?}")
        };
        let source: UidRanges = chosen.iter().map(|(uid, _)| Uid(*uid)).collect();
        assert_eq!(copied.source, Some(source.to_proto()));
        if moves {
            let model = self.mailboxes.get_mut(&from).expect("is there");
            chosen
                .iter()
                .for_each(|(uid, _)| drop(model.messages.remove(uid)));
        }
        let model = self.mailboxes.get_mut(&to).expect("is there");
        let mut target = UidRanges::new();
        for (_, message) in chosen {
            target.push(Uid(model.uid_next));
            model.messages.insert(model.uid_next, message);
            model.uid_next += 1;
        }
        assert_eq!(copied.target, Some(target.to_proto()));
    }

    fn expunge(&mut self, rng: &mut StdRng, mailbox: u32, uids: &UidRanges) {
        let only = rng.random_bool(0.5);
        let result = self.run(Command::Expunge(proto::Expunge {
            mailbox,
            only,
            uids: Some(uids.to_proto()),
        }));
        let Ok(reply::Call::Expunged(expunged)) = result else {
            panic!("{result:?}")
        };
        let model = self.mailboxes.get_mut(&mailbox).expect("is there");
        let doomed: UidRanges = {
            let deleted = model
                .messages
                .iter()
                .filter(|(_, message)| message.flags.contains("\\3"));
            deleted
                .map(|(uid, _)| Uid(*uid))
                .filter(|uid| !only || uids.contains(*uid))
                .collect()
        };
        assert_eq!(expunged.uids, Some(doomed.to_proto()));
        model.messages.retain(|uid, _| !doomed.contains(Uid(*uid)));
    }

    fn create(&mut self, rng: &mut StdRng) {
        let levels = rng.random_range(1..4);
        let name: Vec<String> = (0..levels)
            .map(|_| ["a", "b", "c"][rng.random_range(0..3)].to_owned())
            .collect();
        let name = name.join("/");
        let result = self.run(Command::CreateMailbox(proto::CreateMailbox {
            name: name.clone(),
            special_use: 0,
        }));
        if self.mailboxes.values().any(|mailbox| mailbox.name == name) {
            assert_eq!(result.expect_err("exists").reason, Reason::MailboxExists);
            return;
        }
        let Ok(reply::Call::Mailbox(created)) = result else {
            panic!("{result:?}")
        };
        assert_eq!(created.name, name);
        self.learn_new_mailboxes();
        assert_eq!(self.mailboxes[&created.id].name, name);
    }

    /// Parents that are created on the way.
    fn learn_new_mailboxes(&mut self) {
        let view = self.overlay.over(&self.stored);
        let reader = Reader::new(&view, SHARD, ACCOUNT);
        for (id, record) in reader.mailboxes().expect("reads") {
            self.mailboxes.entry(id.0).or_insert_with(|| Mailbox {
                name: record.name,
                uid_next: 1,
                messages: BTreeMap::new(),
            });
        }
    }

    fn delete(&mut self, mailbox: u32) {
        let result = self.run(Command::DeleteMailbox(proto::DeleteMailbox { mailbox }));
        if mailbox == 1 {
            assert_eq!(result.expect_err("INBOX stays").reason, Reason::MailboxRefused);
            return;
        }
        result.expect("deletes");
        self.mailboxes.remove(&mailbox);
        self.remembered.retain(|remembered| remembered.mailbox != mailbox);
    }

    fn rename(&mut self, rng: &mut StdRng, mailbox: u32) {
        let new_name = format!(
            "{}/{}",
            ["a", "x", "y"][rng.random_range(0..3)],
            rng.random_range(0..100)
        );
        let command = proto::RenameMailbox {
            mailbox,
            new_name: new_name.clone(),
            ..proto::RenameMailbox::default()
        };
        let old_name = self.mailboxes[&mailbox].name.clone();
        match self.run(Command::RenameMailbox(command)) {
            Ok(reply::Call::Mailbox(renamed)) if mailbox == 1 => {
                self.learn_new_mailboxes();
                let inbox = self.mailboxes.get_mut(&1).expect("INBOX stays");
                let messages = std::mem::take(&mut inbox.messages);
                let target = self.mailboxes.get_mut(&renamed.id).expect("learnt");
                target.uid_next = 1 + messages.len() as u32;
                target.messages = (1..).zip(messages.into_values()).collect();
            }
            Ok(_) => {
                self.learn_new_mailboxes();
                for model in self.mailboxes.values_mut() {
                    if model.name == old_name {
                        model.name.clone_from(&new_name);
                    } else if let Some(rest) = model.name.strip_prefix(&format!("{old_name}/")) {
                        // A parent of the new name, just created, is below nothing old.
                        model.name = format!("{new_name}/{rest}");
                    }
                }
            }
            Err(status) => assert!(
                matches!(
                    status.reason,
                    Reason::MailboxExists | Reason::MailboxRefused | Reason::InvalidArgument
                ),
                "{status}"
            ),
        }
    }

    fn remember(&mut self, mailbox: u32) {
        let messages = self.mailboxes[&mailbox].messages.iter();
        let messages = messages
            .map(|(uid, message)| (*uid, message.flags.clone()))
            .collect();
        self.remembered.push(Remembered {
            mailbox,
            modseq: self.modseq,
            messages,
        });
        if self.remembered.len() > 20 {
            self.remembered.remove(0);
        }
    }

    fn modseqs(&self, mailbox: u32) -> BTreeMap<u32, u64> {
        let view = self.overlay.over(&self.stored);
        let reader = Reader::new(&view, SHARD, ACCOUNT);
        let mut modseqs = BTreeMap::new();
        let all = UidRanges::range(Uid(1), Uid(u32::MAX - 1));
        let visit = |entry: &FlagEntry| {
            modseqs.insert(entry.uid.0, entry.modseq.0);
        };
        reader.flags_of(MailboxId(mailbox), &all, visit).expect("reads");
        modseqs
    }

    fn check(&mut self) {
        let view = self.overlay.over(&self.stored);
        let reader = Reader::new(&view, SHARD, ACCOUNT);
        let counters = reader.counters().expect("reads");
        assert!(counters.modseq.0 >= self.modseq, "modseq ascends");
        assert_eq!(counters.used_bytes, self.used());
        assert_eq!(
            counters.used_messages,
            self.mailboxes
                .values()
                .map(|m| m.messages.len() as u64)
                .sum::<u64>()
        );
        assert_eq!(counters.mailboxes as usize, self.mailboxes.len());
        let records = reader.mailboxes().expect("reads");
        assert_eq!(
            records.iter().map(|(id, _)| id.0).collect::<Vec<_>>(),
            self.mailboxes.keys().copied().collect::<Vec<_>>()
        );
        let validities: BTreeSet<u32> = records.iter().map(|(_, record)| record.uid_validity.0).collect();
        assert_eq!(validities.len(), records.len());
        for (id, record) in &records {
            check_mailbox(&reader, *id, record, &self.mailboxes[&id.0]);
            assert!(record.highest_modseq <= counters.modseq);
        }
        for remembered in &self.remembered {
            check_changes(&reader, remembered, &self.mailboxes[&remembered.mailbox]);
        }
        self.modseq = counters.modseq.0;
    }

    /// With no garbage left, exactly what rows refer to is stored, with the right counts.
    fn check_references(&mut self) {
        self.collect();
        self.settle(usize::MAX);
        let reader = Reader::new(&self.stored, SHARD, ACCOUNT);
        let mut expected: BTreeMap<Bytes, i64> = BTreeMap::new();
        let mut records = BTreeSet::new();
        for mailbox in self.mailboxes.keys() {
            let all = UidRanges::range(Uid(1), Uid(u32::MAX - 1));
            let count = |_, row: MessageRow| {
                let key = keys::message(SHARD, ACCOUNT, row.number);
                *expected.entry(key).or_insert(-1) += 1;
                records.insert(row.number);
                true
            };
            reader
                .message_rows(MailboxId(*mailbox), &all, count)
                .expect("reads");
        }
        let mut chunks = BTreeSet::new();
        for number in &records {
            let record = reader
                .message(*number)
                .expect("reads")
                .expect("a row refers to it");
            *expected.entry(keys::body(SHARD, &record.body)).or_insert(-1) += 1;
            chunks.insert(keys::body_chunk(SHARD, &record.body, 0));
        }
        let stored: BTreeSet<Bytes> = [Kind::Message, Kind::Body]
            .into_iter()
            .flat_map(|kind| rows(&self.stored, Column::Rows, kind))
            .collect();
        assert_eq!(stored, expected.keys().cloned().collect());
        for (key, count) in expected {
            assert_eq!(reader.counter(&key).expect("reads"), count);
        }
        assert_eq!(
            rows(&self.stored, Column::Bodies, Kind::Body).collect::<BTreeSet<_>>(),
            chunks
        );
    }
}

fn rows(store: &MemoryStore, column: Column, kind: Kind) -> impl Iterator<Item = Bytes> {
    let (from, to) = keys::kind_range(SHARD, kind);
    store
        .iter(column)
        .map(|(key, _)| key.clone())
        .filter(move |key| *key >= from && *key < to)
}

fn check_mailbox(reader: &Reader<'_>, id: MailboxId, record: &MailboxRecord, model: &Mailbox) {
    assert_eq!((&record.name, record.uid_next.0), (&model.name, model.uid_next));
    let all = UidRanges::range(Uid(1), Uid(u32::MAX - 1));
    let mut flags = BTreeMap::new();
    let visit = |entry: &FlagEntry| {
        assert!(entry.modseq <= record.highest_modseq);
        flags.insert(entry.uid.0, flag_names(&record.flags_to_proto(entry.flags)));
    };
    reader.flags_of(id, &all, visit).expect("reads");
    let expected: BTreeMap<u32, Flags> = model
        .messages
        .iter()
        .map(|(uid, m)| (*uid, m.flags.clone()))
        .collect();
    assert_eq!(flags, expected, "{}", record.name);
    let uids: UidRanges = model.messages.keys().map(|uid| Uid(*uid)).collect();
    assert_eq!(reader.uids(id).expect("reads"), uids);
    let mut sizes = BTreeMap::new();
    let visit = |uid: Uid, row: MessageRow| {
        let message = reader
            .message(row.number)
            .expect("reads")
            .expect("a row refers to it");
        assert_eq!(message.size(), row.size);
        sizes.insert(uid.0, row.size);
        true
    };
    reader.message_rows(id, &all, visit).expect("reads");
    assert_eq!(
        sizes,
        model
            .messages
            .iter()
            .map(|(uid, m)| (*uid, m.text.len() as u64))
            .collect()
    );
    let with = |flag: &str| model.messages.values().filter(|m| m.flags.contains(flag)).count() as u32;
    assert_eq!(record.messages as usize, model.messages.len());
    assert_eq!(
        (record.unseen, record.deleted),
        (record.messages - with("\\0"), with("\\3"))
    );
    assert_eq!(record.size, sizes.values().sum::<u64>());
    let recent = reader.count_from(id, record.recent_from).expect("reads");
    assert_eq!(record.recent, Some(recent));
}

fn check_changes(reader: &Reader<'_>, remembered: &Remembered, model: &Mailbox) {
    let id = MailboxId(remembered.mailbox);
    let record = reader.mailbox(id).expect("reads").expect("is there");
    if remembered.modseq < record.log_from.0 {
        return;
    }
    let (mut changed, mut vanished) = (BTreeSet::new(), BTreeSet::new());
    let visit = |_, change: Change| {
        changed.extend(change.changed.iter());
        vanished.extend(change.vanished.iter());
        true
    };
    reader
        .changes(id, ModSeq(remembered.modseq), visit)
        .expect("reads");
    let mut messages = remembered.messages.clone();
    messages.retain(|uid, _| !vanished.contains(&Uid(*uid)) || model.messages.contains_key(uid));
    let all = UidRanges::range(Uid(1), Uid(u32::MAX - 1));
    let visit = |entry: &FlagEntry| {
        if entry.modseq.0 > remembered.modseq {
            assert!(changed.contains(&entry.uid), "the log names every change");
            messages.insert(entry.uid.0, flag_names(&record.flags_to_proto(entry.flags)));
        }
    };
    reader.flags_of(id, &all, visit).expect("reads");
    let expected: BTreeMap<u32, Flags> = model
        .messages
        .iter()
        .map(|(uid, m)| (*uid, m.flags.clone()))
        .collect();
    assert_eq!(messages, expected, "since {}", remembered.modseq);
}

#[test]
fn what_is_stored_is_what_the_model_says() {
    for seed in 0..30 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World::new();
        for _ in 0..120 {
            world.step(&mut rng);
            world.settle(rng.random_range(0..4));
            world.check();
        }
        world.check_references();
        world
            .run(Command::PurgeAccount(proto::PurgeAccount {
                shard: SHARD.0,
                account: ACCOUNT.0,
                generation: 1,
            }))
            .expect("purges");
        world.collect();
        world.now += PlanLimits::default().delivery_kept_millis * 2;
        world.collect();
        world.settle(usize::MAX);
        let left: Vec<&Bytes> = world.stored.iter(Column::Rows).map(|(key, _)| key).collect();
        assert_eq!(left, [&keys::account(SHARD, ACCOUNT)], "seed {seed}");
        assert_eq!(
            (
                world.stored.len(Column::Bodies),
                world.stored.len(Column::Counters)
            ),
            (0, 0),
            "seed {seed}"
        );
    }
}
