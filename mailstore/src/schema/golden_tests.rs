//! The stored bytes of every value and key. A failure here means: data on disk can no longer be read.
//! Write a new version beside the old one instead of changing these.

use bytes::Bytes;
use rookery_proto::mailstore::v1::SpecialUse;

use super::body::FinishedUpload;
use super::*;

#[track_caller]
fn golden<T: Value + PartialEq + std::fmt::Debug>(value: &T, hex: &str) {
    let bytes = value.encode();
    assert_eq!(to_hex(&bytes), hex);
    assert_eq!(&T::decode(&bytes).expect("decodes"), value);
    for end in 0..bytes.len() {
        assert!(T::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    let mut long = bytes.to_vec();
    long.push(0);
    assert_eq!(T::decode(&long), Err(DecodeError::Trailing));
    long[0] = T::VERSION + 1;
    assert_eq!(T::decode(&long), Err(DecodeError::Version(T::VERSION + 1)));
    // Hostile bytes: any answer, no panic.
    for at in 1..bytes.len() {
        for byte in [0, 1, 0x7f, 0x80, 0xff] {
            let mut hostile = bytes.to_vec();
            hostile[at] = byte;
            let _ = T::decode(&hostile);
        }
    }
}

/// What an earlier program wrote.
#[track_caller]
fn is_read<T: Value + PartialEq + std::fmt::Debug>(hex: &str, value: &T) {
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("digits"))
        .collect();
    assert_eq!(&T::decode(&bytes).expect("decodes"), value);
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash() -> BodyHash {
    BodyHash {
        blake3: [0xab; 16],
        size: 300,
    }
}

const HASH: &str = "abababababababababababababababab";

#[test]
fn values_as_they_are_written() {
    let moved = AccountState::MovedTo(ShardId(9));
    golden(
        &AccountRecord {
            generation: 3,
            state: moved,
            quota_bytes: 1000,
        },
        "01030209e807",
    );
    golden(
        &AccountRecord {
            generation: 3,
            state: AccountState::Incoming(7),
            quota_bytes: 1000,
        },
        "01030407e807",
    );
    let leaving = LeavingAccount {
        account: AccountId(2),
        generation: 3,
        next: 300,
    };
    golden(
        &Leaving {
            accounts: vec![leaving],
        },
        "01010203ac02",
    );
    let key = |byte: u8| Bytes::copy_from_slice(&[byte]);
    golden(
        &Touched(vec![
            TouchedKey::Range(key(1), key(2)),
            TouchedKey::Row(key(3)),
            TouchedKey::Counter(key(4)),
        ]),
        "01030001010102010103020104",
    );
    golden(
        &AccountCounters {
            modseq: ModSeq(200),
            ..AccountCounters::default()
        },
        "01c80100010101000000",
    );
    let mut mailbox = MailboxRecord::new("Sent".into(), UidValidity(7), SpecialUse::Sent, ModSeq(5));
    mailbox.keywords.push("$Old".into());
    golden(
        &mailbox,
        "020453656e740701050600000000010500 01 04244f6c64 01"
            .replace(' ', "")
            .as_str(),
    );
    mailbox.recent = None;
    golden(
        &mailbox,
        "020453656e74070105060000000001050001 04244f6c64 00"
            .replace(' ', "")
            .as_str(),
    );
    let entries = [(1, 1, 5), (2, 1, 6), (3, 1, 7), (9, 3, 2)].map(|(uid, flags, modseq)| FlagEntry {
        uid: Uid(uid),
        flags: FlagBits(flags),
        modseq: ModSeq(modseq),
    });
    golden(
        &FlagBlock {
            entries: entries.to_vec(),
        },
        "01040105020101060301010302020109",
    );
    golden(&FlagBlock::default(), "0100");
    let date = InternalDate {
        unix_seconds: 1_700_000_000,
        zone_minutes: -90,
    };
    let row = MessageRow {
        number: MessageNumber(5),
        size: 300,
        internal_date: date,
        saved_seconds: 1_700_000_001,
        sent_day: SentDay::Day(-1),
    };
    golden(&row, "0205ac0280c49fd50cb301020201");
    for (sent_day, hex) in [(SentDay::Absent, "01"), (SentDay::Unknown, "00")] {
        golden(
            &MessageRow { sent_day, ..row },
            &format!("0205ac0280c49fd50cb30102{hex}"),
        );
    }
    let older = MessageRow {
        sent_day: SentDay::Unknown,
        ..row
    };
    is_read("0105ac0280c49fd50cb30102", &older);
    let record = MessageRecord {
        body: hash(),
        prefix: Bytes::from_static(b"P\r\n"),
        header_len: 128,
        analysis: Bytes::from_static(b"A"),
    };
    golden(&record, &format!("01{HASH}ac0203500d0a80010141"));
    golden(
        &BodyRecord {
            location: BodyLocation::Own,
        },
        "0100",
    );
    let location = BodyLocation::Upload(AccountId(2), UploadId([0xab; 16]));
    golden(&BodyRecord { location }, &format!("010102{HASH}"));
    let finished = Some(FinishedUpload {
        hash: hash(),
        used: true,
    });
    golden(
        &UploadRecord {
            chunks: 2,
            size: 300,
            expires_millis: 128,
            finished,
        },
        &format!("0102ac02800102{HASH}ac02"),
    );
    let change = Change::new(
        UidRanges::range(Uid(3), Uid(4)),
        [Uid(1), Uid(9)].into_iter().collect(),
    );
    golden(&change, "0101030102010008 00".replace(' ', "").as_str());
    golden(
        &ReplyRecord {
            expires_millis: 128,
            reply: Bytes::from_static(b"R"),
        },
        "018001000152",
    );
    let hand_off = HandOffRecord {
        transaction: [0xab; 16],
        sender: "s".into(),
        address: "a".into(),
        prefix: Bytes::from_static(b"P"),
        account: AccountId(2),
        body: hash(),
        issued_at_millis: 1,
        due_millis: 2,
        attempts: 3,
    };
    golden(&hand_off, &format!("01{HASH}01730161015002{HASH}ac02010203"));
    golden(
        &Garbage::Messages(vec![MessageNumber(5), MessageNumber(3)]),
        "0100020a03",
    );
    golden(&Garbage::Account, "0101");
}

#[test]
fn values_of_older_versions() {
    let mut mailbox = MailboxRecord::new("Sent".into(), UidValidity(7), SpecialUse::Sent, ModSeq(5));
    mailbox.keywords.push("$Old".into());
    mailbox.recent = None;
    is_read(
        "010453656e74070105060000000001050001 04244f6c64"
            .replace(' ', "")
            .as_str(),
        &mailbox,
    );
}

#[test]
fn long_replies_are_compressed_and_come_back() {
    let reply = ReplyRecord {
        expires_millis: 1,
        reply: vec![7; 100_000].into(),
    };
    let bytes = reply.encode();
    assert!(bytes.len() < 1000);
    assert_eq!(ReplyRecord::decode(&bytes), Ok(reply));
}

#[test]
fn chunks_come_back() {
    let text = b"to be compressed ".repeat(100);
    let stored = body::encode_chunk(&text);
    assert!(stored.len() < text.len());
    assert_eq!(body::decode_chunk(&stored, text.len()), Ok(text.clone()));
    assert!(body::decode_chunk(&stored, text.len() - 1).is_err());
    assert!(body::decode_chunk(&stored, text.len() + 1).is_err());
    let short = body::encode_chunk(b"x");
    assert_eq!(to_hex(&short), "0178");
    assert_eq!(body::decode_chunk(&short, 1), Ok(b"x".to_vec()));
    assert!(body::decode_chunk(&[], 0).is_err());
}

#[test]
fn keys_of_the_layout() {
    let (shard, account) = (ShardId(1), AccountId(2));
    let account_hex = "0000000000000002";
    let expect = |key: Bytes, hex: String| assert_eq!(to_hex(&key), format!("00000001{hex}"));
    expect(keys::shard_record(shard), "01".into());
    expect(keys::account(shard, account), format!("10{account_hex}"));
    expect(keys::account_counters(shard, account), format!("11{account_hex}"));
    expect(
        keys::mailbox(shard, account, MailboxId(3)),
        format!("12{account_hex}00000003"),
    );
    expect(
        keys::subscription(shard, account, "a"),
        format!("13{account_hex}61"),
    );
    expect(
        keys::flag_block(shard, account, MailboxId(3), 4),
        format!("14{account_hex}0000000300000004"),
    );
    expect(
        keys::message_row(shard, account, MailboxId(3), Uid(4)),
        format!("15{account_hex}0000000300000004"),
    );
    expect(
        keys::message(shard, account, MessageNumber(4)),
        format!("16{account_hex}0000000000000004"),
    );
    expect(
        keys::change(shard, account, MailboxId(3), ModSeq(4)),
        format!("17{account_hex}000000030000000000000004"),
    );
    let session = [0xab; 16];
    expect(
        keys::reply(shard, account, &session, 5),
        format!("18{account_hex}{HASH}0000000000000005"),
    );
    expect(
        keys::upload(shard, account, UploadId(session)),
        format!("19{account_hex}{HASH}"),
    );
    expect(
        keys::upload_chunk(shard, account, UploadId(session), 6),
        format!("19{account_hex}{HASH}00000006"),
    );
    expect(keys::body(shard, &hash()), format!("30{HASH}000000000000012c"));
    expect(
        keys::body_chunk(shard, &hash(), 1),
        format!("30{HASH}000000000000012c00000001"),
    );
    expect(
        keys::garbage(shard, account, ModSeq(7), 1),
        format!("31{account_hex}000000000000000700000001"),
    );
    let expiry = keys::reply_expiry(shard, 8, account, &session, 5);
    assert_eq!(
        keys::reply_of_expiry(shard, &expiry),
        Some(keys::reply(shard, account, &session, 5))
    );
    expect(
        expiry,
        format!("320000000000000008{account_hex}{HASH}0000000000000005"),
    );
    let expiry = keys::upload_expiry(shard, 8, account, UploadId(session));
    assert_eq!(
        keys::upload_of_expiry(&expiry),
        Some((account, UploadId(session)))
    );
    expect(expiry, format!("330000000000000008{account_hex}{HASH}"));
    expect(keys::hand_off(shard, &session), format!("34{HASH}"));
    let due = keys::hand_off_due(shard, 8, &session);
    assert_eq!(
        (keys::due_millis(&due), keys::hand_off_of_due(&due)),
        (Some(8), Some(session))
    );
    expect(due, format!("350000000000000008{HASH}"));
}

#[test]
fn ranges_hold_exactly_their_keys() {
    let (shard, account, mailbox) = (ShardId(1), AccountId(u64::MAX), MailboxId(u32::MAX));
    let (from, to) = keys::changes(shard, account, mailbox, ModSeq(5));
    assert!(keys::change(shard, account, mailbox, ModSeq(5)) < from);
    assert_eq!(keys::change(shard, account, mailbox, ModSeq(6)), from);
    assert!(keys::change(shard, account, mailbox, ModSeq(u64::MAX)) < to);
    assert_eq!(to_hex(&to), "0000000118");
    let (from, to) = keys::message_rows(shard, account, mailbox, Uid(2), Uid(3));
    assert_eq!(from, keys::message_row(shard, account, mailbox, Uid(2)));
    assert_eq!(to, keys::message_row(shard, account, mailbox, Uid(4)));
}

#[test]
fn sets_of_uids() {
    let set = UidRanges::from_ranges([(5, 9), (1, 2), (3, 3), (8, 12)]);
    assert_eq!(set.to_proto().bounds, [1, 3, 5, 12]);
    assert_eq!(set.count(), 11);
    assert!(set.contains(Uid(3)) && !set.contains(Uid(4)) && set.contains(Uid(12)) && !set.contains(Uid(13)));
    assert_eq!(UidRanges::from_proto(&set.to_proto()), Some(set));
    for bounds in [
        vec![1],
        vec![0, 1],
        vec![2, 1],
        vec![3, 4, 4, 5],
        vec![3, 4, 1, 2],
    ] {
        assert_eq!(
            UidRanges::from_proto(&rookery_proto::mailstore::v1::UidSet { bounds }),
            None
        );
    }
}
