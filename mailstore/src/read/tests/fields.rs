//! Searches in From, To, Cc, Bcc and Subject: the same answers from what is stored of these fields and from the header, and
//! no body read for the former.

use rookery_mail::mime::limits::SEARCH_FIELD_BYTES_MAX;

use super::*;

/// Messages with every form that the fields take; UIDs from 1.
fn messages() -> Vec<(&'static [u8], Vec<u8>)> {
    let long = "x".repeat(SEARCH_FIELD_BYTES_MAX);
    vec![
        (b"", MULTIPART.to_vec()),
        (
            b"",
            b"FROM: \"B, Ann\" <b@x>\r\nfrom : c@y\r\nCc:\r\nSubject: Plain Text\r\n\r\n".to_vec(),
        ),
        (
            b"",
            b"To: Team: =?utf-8?q?J=C3=B6rg?=\r\n <j@x>;\r\nTO: k@z\r\nBcc: \xfcber@x\r\n\r\nSubject: no"
                .to_vec(),
        ),
        (
            b"Received: from subject\r\nSubject: Before\r\n",
            b"Subject: Before all\r\nsubject: After\r\n\r\n".to_vec(),
        ),
        (b"To: prefix@x\r\n", b"X: y\r\n\r\n".to_vec()),
        (b"", format!("Subject: {long}\r\nTo: k@z\r\n\r\n").into_bytes()),
        (
            b"",
            format!("Subject: {long} end\r\nTo: k@z\r\n\r\n").into_bytes(),
        ),
        (
            b"",
            format!("Subject: a\r\nSubject: {long}\r\nSubject: plain end\r\n\r\n").into_bytes(),
        ),
        (b"", b"".to_vec()),
        (b"", b"\r\nFrom: a@example.test\r\n".to_vec()),
    ]
}

const TEXTS: [&str; 18] = [
    "",
    "a",
    "x",
    "GRÜSSE",
    "grüße",
    "ann",
    "\"b, ann\" <",
    "@xc@",
    "c@Y",
    "jörg <j@x>;",
    "über@",
    "prefix",
    "plain",
    "before",
    "before allafter",
    "after",
    "x end",
    "plain text",
];

/// Searches of one field for one text, in all their forms of writing the name.
fn keys() -> Vec<Wire> {
    let mut keys = Vec::new();
    for name in ["from", "To", "CC", "bcc", "SUBJECT", "x"] {
        for value in TEXTS {
            keys.push(Wire::Header(Header {
                name: name.into(),
                value: value.into(),
            }));
        }
    }
    keys
}

/// The number at the front of `bytes` and its own bytes.
fn number(bytes: &[u8]) -> (usize, &[u8]) {
    let end = bytes.iter().position(|byte| *byte < 0x80).unwrap() + 1;
    let number = bytes[..end]
        .iter()
        .rev()
        .fold(0, |number, byte| (number << 7) | usize::from(byte & 0x7f));
    (number, &bytes[..end])
}

/// A stored analysis as version 1 wrote it, without the fields.
fn version_1(stored: &[u8]) -> Bytes {
    assert_eq!(stored[0], 2);
    let mut old = vec![1];
    let mut rest = &stored[1..];
    let mut lengths = Vec::new();
    for _ in 0..5 {
        let (length, own) = number(rest);
        rest = &rest[own.len()..];
        lengths.push(length);
        if lengths.len() < 5 {
            old.extend_from_slice(own);
        }
    }
    let (ready, rest) = rest.split_at(lengths[1..4].iter().sum());
    old.extend_from_slice(ready);
    old.extend_from_slice(&rest[lengths[4]..]);
    old.into()
}

impl Fixture {
    /// Changes the stored analysis of each message.
    fn with_analyses(mut self, change: impl Fn(&[u8]) -> Bytes) -> Self {
        let mut batch = Batch::new();
        for (uid, ..) in &self.messages {
            let number = MessageNumber(u64::from(uid.0));
            let mut record = self.snapshot().reader().message(number).unwrap().unwrap();
            record.analysis = change(&record.analysis);
            batch.put(
                Column::Rows,
                keys::message(SHARD, ACCOUNT, number),
                record.encode(),
            );
        }
        self.store.apply(&batch);
        self
    }

    /// Removes what is needed to read a body of any message but these.
    fn without_bodies_but(mut self, kept: &[u32]) -> Self {
        let mut batch = Batch::new();
        for (uid, _, _, body) in &self.messages {
            if !kept.contains(&uid.0) {
                let hash = BodyHash::of(body);
                batch.delete(Column::Rows, keys::body(SHARD, &hash));
                batch.delete(Column::Bodies, keys::body_chunk(SHARD, &hash, 0));
            }
        }
        self.store.apply(&batch);
        self
    }
}

fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    for (index, (prefix, body)) in messages().iter().enumerate() {
        fixture.add(index as u32 + 1, FlagBits(0), prefix, body);
    }
    fixture
}

#[test]
fn stored_fields_answer_as_headers_do_and_read_no_body() {
    let (stored, old) = (fixture(), fixture().with_analyses(version_1));
    let unreadable = fixture().with_analyses(|_| Bytes::from_static(b"\xff"));
    let absent = fixture().with_analyses(|_| Bytes::new());
    let mut matches = 0;
    for key in keys() {
        let expected: Vec<u32> = std::iter::zip(1.., messages())
            .filter(|(_, (prefix, body))| {
                let Wire::Header(header) = &key else {
                    unreachable!()
                };
                let analysis = analyze_guarded(body).0;
                rookery_mail::mime::SearchText::new(prefix, body, &analysis.parts)
                    .contains_header(&header.name, &header.value)
            })
            .map(|(uid, _)| uid)
            .collect();
        matches += expected.len();
        for fixture in [&stored, &old, &unreadable, &absent] {
            assert_eq!(fixture.search(key.clone()).unwrap(), expected, "{key:?}");
        }
    }
    assert!(matches > 40, "only {matches}");

    // Two subjects are too long to be kept: of these messages alone the header is read.
    let without = fixture().without_bodies_but(&[7, 8]);
    let none = fixture().without_bodies_but(&[]);
    let old = old.without_bodies_but(&[7, 8]);
    for key in keys() {
        let Wire::Header(header) = &key else {
            unreachable!()
        };
        let is_kept = header.name != "x";
        let is_subject = header.name == "SUBJECT";
        assert_eq!(
            without.search(key.clone()).ok(),
            stored.search(key.clone()).ok().filter(|_| is_kept)
        );
        assert_eq!(
            none.search(key.clone()).is_ok(),
            is_kept && !is_subject,
            "{key:?}"
        );
        assert!(old.search(key).is_err());
    }
}

#[test]
fn what_a_field_decides_reads_no_body() {
    let fixture = fixture().without_bodies_but(&[]);
    let key = |key| proto::SearchKey { key: Some(key) };
    let from = |value: &str| {
        Wire::Header(Header {
            name: "From".into(),
            value: value.into(),
        })
    };
    let both = |wire| {
        Wire::And(And {
            keys: vec![key(Wire::Text("needle".into())), key(wire)],
        })
    };
    assert_eq!(fixture.search(both(from("nobody"))).unwrap(), [0; 0]);
    assert!(fixture.search(both(from("c@y"))).is_err());
    let either = Wire::Or(Or {
        keys: vec![
            key(Wire::Not(Box::new(key(from("nobody"))))),
            key(Wire::Body("needle".into())),
        ],
    });
    assert_eq!(fixture.search(either).unwrap().len(), messages().len());
}
