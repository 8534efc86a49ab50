//! Reads over a store in memory, against the plain meaning of the messages in it.

use std::sync::Arc;

use bytes::Bytes;
use rookery_mail::mime::analyze_guarded;
use rookery_proto::Reason;
use rookery_proto::mailstore::v1::search_key::{And, DayRange, Header, Key as Wire, Or};
use rookery_proto::mailstore::v1::section::Kind;
use rookery_proto::mailstore::v1::{self as proto, SpecialUse};
use rookery_replication::memory::MemoryStore;
use rookery_replication::{Batch, Column};

mod fields;

use super::*;
use crate::body::{ColumnBodies, EncodedBody};
use crate::schema::flags::block_of;
use crate::schema::{
    BodyHash, BodyLocation, BodyRecord, Change, FlagBits, FlagEntry, InternalDate, MailboxRecord,
    MessageNumber, MessageRecord, MessageRow, ModSeq, SentDay, Uid, UidValidity, Value, keys,
};

const SHARD: ShardId = ShardId(3);
const ACCOUNT: AccountId = AccountId(7);
const INBOX: MailboxId = MailboxId::INBOX;

struct Fixture {
    store: MemoryStore,
    record: MailboxRecord,
    recent: Arc<RecentClaims>,
    messages: Vec<(Uid, FlagBits, Vec<u8>, Vec<u8>)>,
    /// Rows without it are as version 1 has them.
    rows_have_days: bool,
}

impl Fixture {
    fn new() -> Self {
        let mut record =
            MailboxRecord::new("INBOX".into(), UidValidity(9), SpecialUse::Unspecified, ModSeq(1));
        record.keywords = vec!["$Work".into()];
        Self {
            store: MemoryStore::new(),
            record,
            recent: Arc::default(),
            messages: Vec::new(),
            rows_have_days: true,
        }
    }

    /// Adds a message; its modseq is its UID + 100.
    fn add(&mut self, uid: u32, flags: FlagBits, prefix: &[u8], body: &[u8]) {
        let (uid, number) = (Uid(uid), MessageNumber(u64::from(uid)));
        let mut batch = Batch::new();
        let prepared = EncodedBody::new(body, BodyHash::of(body));
        let reader = Reader::new(&self.store, SHARD, ACCOUNT);
        let mut block = reader.flag_block(INBOX, block_of(uid)).unwrap();
        block.push(FlagEntry {
            uid,
            flags,
            modseq: ModSeq(u64::from(uid.0) + 100),
        });
        batch.put(
            Column::Rows,
            keys::flag_block(SHARD, ACCOUNT, INBOX, block_of(uid)),
            block.encode(),
        );
        let analysis = analyze_guarded(body).0;
        let sent_day = match self.rows_have_days {
            true => SentDay::of_analysis(&analysis.encode()),
            false => SentDay::Unknown,
        };
        let row = MessageRow {
            number,
            size: (prefix.len() + body.len()) as u64,
            internal_date: InternalDate {
                unix_seconds: i64::from(uid.0) * 86_400 - 1,
                zone_minutes: 60,
            },
            saved_seconds: 0,
            sent_day,
        };
        batch.put(
            Column::Rows,
            keys::message_row(SHARD, ACCOUNT, INBOX, uid),
            row.encode(),
        );
        let record = MessageRecord {
            body: prepared.hash,
            prefix: Bytes::copy_from_slice(prefix),
            header_len: analysis.header_len,
            analysis: analysis.encode(),
        };
        batch.put(
            Column::Rows,
            keys::message(SHARD, ACCOUNT, number),
            record.encode(),
        );
        let location = BodyRecord {
            location: BodyLocation::Own,
        };
        batch.put(Column::Rows, keys::body(SHARD, &prepared.hash), location.encode());
        for (index, chunk) in prepared.chunks.into_iter().enumerate() {
            batch.put(
                Column::Bodies,
                keys::body_chunk(SHARD, &prepared.hash, index as u32),
                chunk,
            );
        }
        self.record.uid_next = Uid(uid.0 + 1);
        self.record.messages += 1;
        self.record.recent = self.record.recent.map(|recent| recent + 1);
        self.record.highest_modseq = ModSeq(u64::from(uid.0) + 100);
        batch.put(
            Column::Rows,
            keys::mailbox(SHARD, ACCOUNT, INBOX),
            self.record.encode(),
        );
        self.store.apply(&batch);
        self.messages.push((uid, flags, prefix.to_vec(), body.to_vec()));
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            view: Arc::new(self.store.clone()),
            shard: SHARD,
            account: ACCOUNT,
            bodies: Arc::new(ColumnBodies::default()),
            recent: Arc::clone(&self.recent),
            threads: Arc::default(),
        }
    }

    fn fetch(&self, request: proto::Fetch) -> Vec<proto::FetchedRow> {
        let mut cursor = FetchCursor::new(self.snapshot(), &request).unwrap();
        let mut rows = Vec::new();
        while let Some(reply) = cursor.next().unwrap() {
            assert!(!reply.rows.is_empty() && reply.rows.len() <= REPLY_ROWS_MAX);
            let bytes: usize = reply
                .rows
                .iter()
                .flat_map(|row| &row.sections)
                .map(|section| section.data.len())
                .sum();
            assert!(bytes <= REPLY_BYTES_TARGET + 8 * 1024, "{bytes}");
            // One that is not full is the last, and is known to be.
            if reply.rows.len() < REPLY_ROWS_MAX && bytes < REPLY_BYTES_TARGET / 2 {
                assert!(cursor.is_at_end());
            }
            rows.extend(reply.rows);
            if cursor.is_at_end() {
                assert!(cursor.next().unwrap().is_none());
                break;
            }
        }
        rows
    }

    fn search(&self, key: Wire) -> Result<Vec<u32>, Status> {
        let request = proto::Search {
            mailbox: 1,
            key: Some(proto::SearchKey { key: Some(key) }),
            recent_from: 3,
        };
        let mut cursor = SearchCursor::new(self.snapshot(), &request)?;
        loop {
            if let Some(result) = cursor.step()? {
                return Ok(uids(&result.uids.unwrap()));
            }
        }
    }
}

fn uids(set: &proto::UidSet) -> Vec<u32> {
    UidRanges::from_proto(set)
        .unwrap()
        .iter()
        .map(|uid| uid.0)
        .collect()
}

fn all() -> Option<proto::UidSet> {
    Some(proto::UidSet {
        bounds: vec![1, u32::MAX],
    })
}

/// The data of a section over all rows of each message: (total, bytes).
fn sections(rows: &[proto::FetchedRow], index: u32) -> Vec<(u64, Vec<u8>)> {
    let mut found: Vec<(u32, u64, Vec<u8>)> = Vec::new();
    for row in rows {
        for section in row.sections.iter().filter(|section| section.index == index) {
            match found.last_mut() {
                Some((uid, _, data)) if *uid == row.uid => data.extend_from_slice(&section.data),
                _ => found.push((row.uid, section.total, section.data.to_vec())),
            }
        }
    }
    found.into_iter().map(|(_, total, data)| (total, data)).collect()
}

fn section(part: &[u32], kind: Kind) -> proto::Section {
    proto::Section {
        part: part.to_vec(),
        kind: kind.into(),
        ..proto::Section::default()
    }
}

const MULTIPART: &[u8] = b"From: Ann <a@example.test>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\
Date: Wed, 01 Jan 2020 23:30:00 -0500\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n\
--x\r\n\r\nplain text\r\n--x\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n\
PGI+aGVsbG88L2I+\r\n--x--\r\n";

#[test]
fn sections_come_over_prefix_and_body() {
    let mut fixture = Fixture::new();
    let prefix = b"Return-Path: <b@example.test>\r\n";
    fixture.add(5, FlagBits::SEEN, prefix, MULTIPART);
    let request = proto::Fetch {
        mailbox: 1,
        uids: all(),
        flags: true,
        size: true,
        envelope: true,
        sections: vec![
            section(&[], Kind::Unspecified),
            section(&[], Kind::Header),
            section(&[], Kind::Text),
            section(&[2], Kind::Binary),
            section(&[2], Kind::BinarySize),
            section(&[3], Kind::Unspecified),
            proto::Section {
                fields: vec!["subject".into()],
                ..section(&[], Kind::HeaderFields)
            },
            proto::Section {
                partial: true,
                offset: 25,
                length: 20,
                ..section(&[], Kind::Unspecified)
            },
            section(&[1], Kind::Mime),
            proto::Section {
                partial: true,
                offset: 10_000,
                length: 20,
                ..section(&[], Kind::Unspecified)
            },
        ],
        ..proto::Fetch::default()
    };
    let rows = fixture.fetch(request);
    let whole = [prefix, MULTIPART].concat();
    assert_eq!(rows[0].uid, 5);
    assert_eq!(rows[0].size, whole.len() as u64);
    assert!(
        rows[0].envelope.starts_with(b"(\"Wed, 01 Jan 2020"),
        "{:?}",
        rows[0].envelope
    );
    let data = |index| sections(&rows, index).remove(0);
    assert_eq!(data(0), (whole.len() as u64, whole.clone()));
    let text_at = whole.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(data(1).1, &whole[..text_at]);
    assert_eq!(data(2).1, &whole[text_at..]);
    assert_eq!(data(3), (12, b"<b>hello</b>".to_vec()));
    assert_eq!(data(4), (12, Vec::new()));
    assert!(
        rows[0]
            .sections
            .iter()
            .any(|section| section.index == 5 && section.absent)
    );
    assert_eq!(data(6).1, b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n");
    assert_eq!(data(7), (20, whole[25..45].to_vec()));
    assert_eq!(data(8).1, b"\r\n");
    assert_eq!(data(9), (0, Vec::new()));
}

#[test]
fn large_and_many_sections_come_in_rows_that_go_on() {
    let mut fixture = Fixture::new();
    let mut large = b"Subject: large\r\n\r\n".to_vec();
    large.extend((0..1_000_000u32).flat_map(|at| at.to_le_bytes().map(|byte| byte | 1)));
    for (uid, body) in [
        (1, &large[..]),
        (2, b"\r\nsmall"),
        (900, &large[..300_000]),
        (901, b""),
    ] {
        fixture.add(uid, FlagBits(0), b"A: b\r\n", body);
    }
    let request = proto::Fetch {
        mailbox: 1,
        uids: all(),
        flags: true,
        sections: vec![
            section(&[], Kind::Unspecified),
            proto::Section {
                partial: true,
                offset: 500_000,
                length: 600_000,
                ..section(&[], Kind::Unspecified)
            },
            section(&[9], Kind::Unspecified),
        ],
        ..proto::Fetch::default()
    };
    let rows = fixture.fetch(request);
    for index in [0, 1] {
        for ((total, data), (_, _, prefix, body)) in std::iter::zip(sections(&rows, index), &fixture.messages)
        {
            let mut expected = [&prefix[..], body].concat();
            if index == 1 {
                expected = expected.into_iter().skip(500_000).take(600_000).collect();
            }
            assert_eq!(total, expected.len() as u64);
            assert!(data == expected, "section {index} differs");
        }
        assert_eq!(sections(&rows, index).len(), 4);
    }
    // All but the last row of a message say that more follow; only the first has the flags.
    for pair in rows.windows(2) {
        assert_eq!(pair[0].more, pair[0].uid == pair[1].uid);
        assert_eq!(pair[1].flags.is_some(), pair[0].uid != pair[1].uid);
    }
}

#[test]
fn sets_dense_and_sparse_give_the_same_rows() {
    let mut fixture = Fixture::new();
    for uid in (1..3000).filter(|uid| uid % 7 != 0) {
        fixture.add(
            uid,
            FlagBits(u64::from(uid % 32)),
            b"",
            format!("Subject: {uid}\r\n\r\n").as_bytes(),
        );
    }
    let sets: [Vec<u32>; 4] = [
        vec![1, u32::MAX],
        vec![1, 1, 3, 3, 5, 6, 127, 129, 1000, 1000, 2999, 2999, 5000, 6000],
        (1..3000).step_by(2).flat_map(|uid| [uid, uid]).collect(),
        vec![7, 7],
    ];
    for bounds in sets {
        let set = UidRanges::from_ranges(bounds.chunks(2).map(|pair| (pair[0], pair[1])));
        for (size, changed_since) in [(false, 0), (true, 0), (true, 1100)] {
            let request = proto::Fetch {
                mailbox: 1,
                uids: Some(proto::UidSet {
                    bounds: bounds.clone(),
                }),
                flags: true,
                size,
                envelope: size,
                changed_since,
                ..proto::Fetch::default()
            };
            let got: Vec<(u32, u32)> = fixture
                .fetch(request)
                .iter()
                .map(|row| (row.uid, row.flags.clone().unwrap().system))
                .collect();
            let expected: Vec<(u32, u32)> = fixture
                .messages
                .iter()
                .filter(|(uid, ..)| set.contains(*uid) && u64::from(uid.0) + 100 > changed_since)
                .map(|(uid, flags, ..)| (uid.0, flags.system()))
                .collect();
            assert_eq!(got, expected);
        }
    }
}

fn open(mailbox: u32, claim_recent: bool) -> proto::OpenMailbox {
    proto::OpenMailbox {
        mailbox,
        claim_recent,
    }
}

#[test]
fn opening_gives_the_set_and_the_first_unseen() {
    let mut fixture = Fixture::new();
    for uid in 1..=2000 {
        let flags = if uid < 500 { FlagBits::SEEN } else { FlagBits(0) };
        fixture.add(uid, flags, b"", b"\r\n");
    }
    let cache = OpenCache::default();
    for _ in 0..2 {
        let opened = open_mailbox(&fixture.snapshot(), &cache, &open(1, false)).unwrap();
        assert_eq!(opened.uids.unwrap().bounds, [1, 2000]);
        assert_eq!((opened.first_unseen, opened.recent_from), (500, 1));
        assert_eq!(opened.keywords, ["$Work"]);
        assert_eq!(opened.mailbox.unwrap().recent, 2000);
    }
    // The log of this mailbox does not reach back: it is read anew.
    fixture.record.log_from = ModSeq(2103);
    fixture.add(2003, FlagBits(0), b"", b"\r\n");
    let opened = open_mailbox(&fixture.snapshot(), &cache, &open(1, false)).unwrap();
    assert_eq!(opened.uids.unwrap().bounds, [1, 2000, 2003, 2003]);
    assert_eq!(
        open_mailbox(&fixture.snapshot(), &cache, &open(2, false))
            .unwrap_err()
            .reason,
        Reason::NoMailbox
    );
}

#[test]
fn recent_messages_are_one_sessions_before_that_is_stored() {
    let mut fixture = Fixture::new();
    for uid in 1..=3 {
        fixture.add(uid, FlagBits(0), b"", b"\r\n");
    }
    let cache = OpenCache::default();
    let opens = |fixture: &Fixture, claim_recent| {
        let opened = open_mailbox(&fixture.snapshot(), &cache, &open(1, claim_recent)).unwrap();
        let mailbox = opened.mailbox.unwrap();
        assert_eq!(mailbox.recent_from, opened.recent_from);
        (opened.recent_from, mailbox.recent)
    };
    let listed = |fixture: &Fixture| {
        let listed = list_mailboxes(&fixture.snapshot()).unwrap().mailboxes;
        (listed[0].recent_from, listed[0].recent)
    };
    assert_eq!(opens(&fixture, false), (1, 3));
    assert_eq!(opens(&fixture, true), (1, 3));
    assert_eq!((opens(&fixture, false), listed(&fixture)), ((4, 0), (4, 0)));
    assert_eq!(opens(&fixture, true), (4, 0));
    fixture.add(4, FlagBits(0), b"", b"\r\n");
    assert_eq!((opens(&fixture, false), listed(&fixture)), ((4, 1), (4, 1)));
    // A session that was told of it leaves.
    let claim = |mailbox, below| proto::ClaimRecent { mailbox, below };
    fixture.add(5, FlagBits(0), b"", b"\r\n");
    claim_recent(&fixture.snapshot(), &claim(1, 5)).unwrap();
    assert_eq!((opens(&fixture, false), listed(&fixture)), ((5, 1), (5, 1)));
    for below in [0, 1, 5] {
        claim_recent(&fixture.snapshot(), &claim(1, below)).unwrap();
        assert_eq!(opens(&fixture, false), (5, 1), "{below}");
    }
    claim_recent(&fixture.snapshot(), &claim(1, u32::MAX)).unwrap();
    fixture.add(6, FlagBits(0), b"", b"\r\n");
    assert_eq!(opens(&fixture, true), (6, 1), "the next message is recent");
    assert_eq!(
        claim_recent(&fixture.snapshot(), &claim(99, 2))
            .unwrap_err()
            .reason,
        Reason::NoMailbox
    );
}

#[test]
fn changes_tell_what_is_new_and_what_has_gone() {
    let mut fixture = Fixture::new();
    for uid in [2, 4, 5, 9] {
        fixture.add(uid, FlagBits(0), b"", b"\r\n");
    }
    let log = [
        (
            104,
            Change::new(UidRanges::range(Uid(2), Uid(4)), UidRanges::new()),
        ),
        // Coarse: it names what is still there.
        (
            106,
            Change::new(UidRanges::range(Uid(5), Uid(5)), UidRanges::range(Uid(1), Uid(8))),
        ),
        (
            109,
            Change::new(UidRanges::range(Uid(9), Uid(9)), UidRanges::new()),
        ),
    ];
    let mut batch = Batch::new();
    for (modseq, change) in log {
        batch.put(
            Column::Rows,
            keys::change(SHARD, ACCOUNT, INBOX, ModSeq(modseq)),
            change.encode(),
        );
    }
    fixture.record.log_from = ModSeq(100);
    batch.put(
        Column::Rows,
        keys::mailbox(SHARD, ACCOUNT, INBOX),
        fixture.record.encode(),
    );
    fixture.store.apply(&batch);
    let ask = |since| changes(&fixture.snapshot(), &proto::Changes { mailbox: 1, since }).unwrap();
    let changed =
        |answer: &proto::MailboxChanges| -> Vec<u32> { answer.changed.iter().map(|row| row.uid).collect() };
    let answer = ask(104);
    assert_eq!(changed(&answer), [5, 9]);
    assert_eq!(answer.vanished.unwrap().bounds, [1, 1, 3, 3, 6, 8]);
    assert_eq!((answer.modseq, answer.uid_next, answer.reset), (109, 10, false));
    let answer = ask(109);
    assert!(answer.changed.is_empty() && answer.vanished.is_none());
    let answer = ask(99);
    assert!(answer.reset && changed(&answer) == [2, 4, 5, 9]);
    assert_eq!(answer.uids.unwrap().bounds, [2, 2, 4, 5, 9, 9]);
}

#[test]
fn searches_are_exact() {
    for rows_have_days in [true, false] {
        searches_are_exact_with(rows_have_days);
    }
}

fn searches_are_exact_with(rows_have_days: bool) {
    let mut fixture = Fixture {
        rows_have_days,
        ..Fixture::new()
    };
    let work = FlagBits::keyword(0);
    fixture.add(
        1,
        FlagBits::SEEN.with(FlagBits::FLAGGED),
        b"",
        b"Subject: one\r\n\r\nA needle in it\r\n",
    );
    fixture.add(2, FlagBits(0), b"Received: from needle\r\n", MULTIPART);
    fixture.add(3, work, b"", b"Subject: needle\r\nX-Empty:\r\n\r\nNothing\r\n");
    fixture.add(4, FlagBits::SEEN, b"", b"");
    let key = |key| proto::SearchKey { key: Some(key) };
    let header = |name: &str, value: &str| {
        Wire::Header(Header {
            name: name.into(),
            value: value.into(),
        })
    };
    let days = |from, to| DayRange { from, to };
    let not = |wire| Wire::Not(Box::new(key(wire)));
    let cases: Vec<(Wire, &[u32])> = vec![
        (Wire::All(Default::default()), &[1, 2, 3, 4]),
        (Wire::SystemFlags(5), &[1]),
        (not(Wire::SystemFlags(1)), &[2, 3]),
        (Wire::Keyword("$WORK".into()), &[3]),
        (Wire::Keyword("unknown".into()), &[]),
        (
            Wire::Uids(proto::UidSet {
                bounds: vec![2, 3, 9, 20],
            }),
            &[2, 3],
        ),
        (Wire::Larger(60), &[2]),
        (Wire::Smaller(1), &[4]),
        (Wire::Recent(Default::default()), &[3, 4]),
        (Wire::Modseq(103), &[3, 4]),
        // 23:59:59 UTC the day before is the next day at +0100.
        (Wire::InternalDay(days(Some(2), Some(3))), &[2, 3]),
        (Wire::SentDay(days(Some(18_262), Some(18_262))), &[2]),
        (Wire::SentDay(days(None, Some(18_261))), &[]),
        (not(Wire::SentDay(days(None, None))), &[1, 3, 4]),
        (header("subject", "GRÜSS"), &[]),
        (header("subject", "grüß"), &[2]),
        (header("SUBJECT", ""), &[1, 2, 3]),
        (header("x-empty", ""), &[3]),
        (header("received", "NEEDLE"), &[2]),
        (Wire::Body("needle".into()), &[1]),
        (Wire::Body("<B>HELLO".into()), &[2]),
        (Wire::Text("needle".into()), &[1, 2, 3]),
        (Wire::Text("zzz".into()), &[]),
        (
            Wire::Or(Or {
                keys: vec![key(Wire::Body("needle".into())), key(Wire::SystemFlags(1))],
            }),
            &[1, 4],
        ),
        (
            Wire::And(And {
                keys: vec![key(Wire::Text("needle".into())), key(not(Wire::Larger(60)))],
            }),
            &[1, 3],
        ),
        (Wire::And(And { keys: vec![] }), &[1, 2, 3, 4]),
        (Wire::Or(Or { keys: vec![] }), &[]),
    ];
    for (wire, expected) in cases {
        assert_eq!(fixture.search(wire.clone()).unwrap(), expected, "{wire:?}");
    }
}

#[test]
fn when_a_message_was_sent_is_told_by_its_row() {
    let mut fixture = Fixture::new();
    fixture.add(1, FlagBits(0), b"", MULTIPART);
    fixture.add(2, FlagBits(0), b"", b"Subject: no date\r\n\r\n");
    let mut batch = Batch::new();
    for number in [1, 2] {
        batch.delete(Column::Rows, keys::message(SHARD, ACCOUNT, MessageNumber(number)));
    }
    fixture.store.apply(&batch);
    let sent = DayRange {
        from: Some(18_262),
        to: None,
    };
    assert_eq!(fixture.search(Wire::SentDay(sent)).unwrap(), [1]);
    let subject = Header {
        name: "subject".into(),
        value: "no".into(),
    };
    assert_eq!(
        fixture.search(Wire::Header(subject)).unwrap_err().reason,
        Reason::Internal
    );
}

#[test]
fn searches_have_limits() {
    let mut fixture = Fixture::new();
    fixture.add(1, FlagBits(0), b"", b"\r\n");
    let mut deep = Wire::SystemFlags(1);
    for _ in 0..SEARCH_DEPTH_MAX {
        deep = Wire::Not(Box::new(proto::SearchKey { key: Some(deep) }));
    }
    assert_eq!(fixture.search(deep).unwrap_err().reason, Reason::LimitExceeded);
    let many = vec![
        proto::SearchKey {
            key: Some(Wire::SystemFlags(1))
        };
        SEARCH_KEYS_MAX
    ];
    assert_eq!(
        fixture.search(Wire::Or(Or { keys: many })).unwrap_err().reason,
        Reason::LimitExceeded
    );
    assert_eq!(
        fixture.search(Wire::Not(Box::default())).unwrap_err().reason,
        Reason::InvalidArgument
    );
    let unordered = proto::UidSet { bounds: vec![5, 3] };
    assert_eq!(
        fixture.search(Wire::Uids(unordered)).unwrap_err().reason,
        Reason::InvalidArgument
    );
}

#[test]
fn an_unreadable_analysis_is_opaque_and_a_missing_body_is_an_error() {
    let mut fixture = Fixture::new();
    fixture.add(1, FlagBits(0), b"", MULTIPART);
    let mut batch = Batch::new();
    let key = keys::message(SHARD, ACCOUNT, MessageNumber(1));
    let mut record = fixture
        .snapshot()
        .reader()
        .message(MessageNumber(1))
        .unwrap()
        .unwrap();
    record.analysis = Bytes::from_static(b"\xff");
    batch.put(Column::Rows, key, record.encode());
    fixture.store.apply(&batch);
    let request = proto::Fetch {
        mailbox: 1,
        uids: all(),
        body_structure: true,
        sections: vec![section(&[1], Kind::Unspecified), section(&[2], Kind::Unspecified)],
        ..proto::Fetch::default()
    };
    let rows = fixture.fetch(request.clone());
    assert!(
        rows[0].body_structure.starts_with(b"(\"text\" \"plain\""),
        "{:?}",
        rows[0].body_structure
    );
    assert!(rows[0].sections[1].absent);
    let mut batch = Batch::new();
    batch.delete(Column::Rows, keys::body(SHARD, &record.body));
    batch.delete(Column::Bodies, keys::body_chunk(SHARD, &record.body, 0));
    fixture.store.apply(&batch);
    let failed = FetchCursor::new(fixture.snapshot(), &request)
        .unwrap()
        .next()
        .unwrap_err();
    assert_eq!(failed.reason, Reason::Internal);
}
