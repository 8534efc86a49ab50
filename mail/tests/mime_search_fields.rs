//! What a stored analysis says of From, To, Cc, Bcc and Subject is what the header says: for every message, field and text.

use proptest::prelude::*;
use rookery_mail::mime::limits::SEARCH_FIELD_BYTES_MAX;
use rookery_mail::mime::text::fold;
use rookery_mail::mime::{
    Analysis, FieldText, Limits, Needle, SearchField, SearchText, Stored, analyze, analyze_guarded, has_field,
};

/// Pieces of a header: fields that are kept and some that are not, folded, encoded, empty, in charsets and in none.
fn header() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        6 => prop::sample::select(vec!["From", "To", "Cc", "Bcc", "Subject"]),
        1 => prop::sample::select(vec!["from", "SUBJECT", "tO ", "X-To", "Sender", "Subjec", "Date", " From", ""]),
    ];
    let piece = prop_oneof![
        4 => "[ -~]{0,12}".prop_map(String::into_bytes),
        2 => "\\PC{0,6}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..6),
        1 => prop::sample::select(vec![
            &b"\r\n "[..], b"\n\t", b"\r\n", b"\n", b"\r", b"\0", b"  ", b"\"", b"\\", b"\"A \\\"B\" <a@b>, c@d",
            b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", b"=?utf-8?Q?=C3?= =?utf-8?Q?=BC?=", b"=?ISO-8859-1?B?3A==?=",
            b"=?utf-7?Q?+AOk-?=", b"=?", b"?=", b"=?x?q?=00a?=", b"\xff\xfe", "\u{feff}ΟΔΟΣ ſ ı İ ẞ".as_bytes(),
        ]).prop_map(<[u8]>::to_vec),
    ];
    let line_end = prop::sample::select(vec![&b"\r\n"[..], b"\r\n", b"\n"]);
    let field = (name, prop::collection::vec(piece, 0..5), line_end)
        .prop_map(|(name, pieces, end)| [name.as_bytes(), b":", &pieces.concat(), end].concat());
    prop::collection::vec(field, 0..8).prop_map(|fields| fields.concat())
}

/// Texts that are looked for in a message: its own values whole, in pieces, over their ends and in another case.
fn needles(text: &SearchText) -> Vec<String> {
    let mut needles = vec![String::new(), "a".into(), "zzz".into(), "\0".into(), "a\0".into()];
    for (_, value) in text.headers() {
        let characters: Vec<char> = value.chars().collect();
        needles.push(value.clone());
        needles.push(value.to_uppercase());
        needles.push(format!("{value}x"));
        for (from, to) in [(0, 1), (0, 3), (1, 4), (3, 9)] {
            if to <= characters.len() {
                let front: String = characters[from..to].iter().collect();
                let back: String = characters[characters.len() - to..characters.len() - from]
                    .iter()
                    .collect();
                needles.extend([front, back]);
            }
        }
    }
    // Over the end of one value into the next.
    for pair in text.headers().windows(2) {
        needles.push(format!("{}{}", pair[0].1, pair[1].1));
        needles.push(format!("{}\0{}", pair[0].1, pair[1].1));
    }
    needles
}

/// Bytes that the values of a field take together.
fn bytes_together(text: &SearchText, field: SearchField) -> usize {
    let values = text.headers().iter().filter(|(name, _)| name == field.name());
    values.map(|(_, value)| value.len() + 1).sum::<usize>()
}

#[track_caller]
fn assert_as_the_header(message: &[u8], analysis: &Analysis) {
    let text = SearchText::build(message);
    let header = analysis.parts[0].header.of(message);
    let encoded = analysis.encode();
    assert_eq!(Analysis::decode(encoded.clone()).as_ref(), Ok(analysis));
    let stored = Stored::new(encoded).expect("what was just written");
    for name in SearchField::ALL {
        let is_known = bytes_together(&text, name) <= SEARCH_FIELD_BYTES_MAX + 1;
        assert_eq!(*analysis.search_fields.get(name) != FieldText::Unknown, is_known);
        for looked_for in needles(&text) {
            let needle = Needle::new(&looked_for);
            let expected = text.has_header(name.name(), &needle);
            let found = stored.has_field(name, &needle);
            assert_eq!(found, is_known.then_some(expected), "{looked_for:?} in {name:?}");
            assert_eq!(has_field(header, name, &needle), expected);
            assert_eq!(
                text.contains_header(&name.name().to_uppercase(), &looked_for),
                expected
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_headers(header in header(), body in prop::option::of("\r\n[ -~]{0,20}")) {
        let message = [&header, body.unwrap_or_default().as_bytes()].concat();
        assert_as_the_header(&message, &analyze(&message, &Limits::default()));
    }
}

#[test]
fn messages_of_the_corpus() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for folder in ["tests/messages", "../fuzz/corpus/mime_analyze"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let message = std::fs::read(entry.unwrap().path()).unwrap();
            assert_as_the_header(&message, &analyze_guarded(&message).0);
            count += 1;
        }
    }
    assert!(count >= 30, "only {count} messages");
}

#[test]
fn values_around_the_limit() {
    for length in SEARCH_FIELD_BYTES_MAX - 2..=SEARCH_FIELD_BYTES_MAX + 2 {
        let value = "X".repeat(length);
        for message in [
            format!("Subject: {value}\r\nTo: a\r\n\r\n"),
            format!("Subject: {}\r\nSubject:  y \r\nTo: a\r\n\r\n", &value[2..]),
            format!("Subject: y\r\nTo: {value}\r\nSubject: {value}\r\n\r\n"),
        ] {
            let message = message.as_bytes();
            assert_as_the_header(message, &analyze(message, &Limits::default()));
        }
    }
}

#[test]
fn a_message_served_opaque_keeps_its_fields_or_says_that_it_does_not() {
    let limits = Limits {
        parts_max: 1,
        ..Limits::default()
    };
    let multipart =
        b"Subject: Outer\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\na\r\n--b--\r\n";
    let analysis = analyze(multipart, &limits);
    assert_eq!(analysis.parts.len(), 1);
    assert_as_the_header(multipart, &analysis);
    let long = [format!("X: {}\r\n", "x".repeat(64 * 1024)).as_bytes(), multipart].concat();
    let analysis = analyze(&long, &limits);
    assert_eq!(analysis.parts.len(), 1);
    let unknown = [Analysis::opaque(multipart), analysis].map(|analysis| analysis.search_fields);
    assert_eq!(
        unknown,
        [const { rookery_mail::mime::SearchFields([const { FieldText::Unknown }; 5]) }; 2]
    );
    let stored = Stored::new(Analysis::opaque(multipart).encode()).unwrap();
    assert_eq!(
        stored.has_field(SearchField::Subject, &Needle::new("outer")),
        None
    );
}

#[test]
fn one_plain_subject_is_stored_once() {
    let stored = |subject: &str| {
        let message = format!("Date: Wed, 01 Jan 2020 23:30:00 -0500\r\n{subject}\r\n\r\n");
        let analysis = analyze(message.as_bytes(), &Limits::default());
        assert_as_the_header(message.as_bytes(), &analysis);
        analysis.encode()
    };
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!has(&stored("Subject: The Meeting"), "the meeting"));
    assert!(has(&stored("Subject: The \"Meeting\""), "the \"meeting\""));
    assert!(has(&stored("Subject: The\tMeeting"), "the\tmeeting"));
    assert!(has(&stored("Subject: =?utf-8?q?The_M?="), "the m"));
    assert!(has(
        &stored("Subject: The Meeting\r\nSubject: b"),
        "the meeting\0b"
    ));
}

/// Folded texts are on disks, and a text that is searched for is folded by the program of the day: both must fold alike.
#[test]
fn folding_is_as_it_was() {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for character in '\0'..=char::MAX {
        for byte in fold(character.encode_utf8(&mut [0; 4])).bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    assert_eq!(
        hash, 0x1fcb_ec95_9972_6a99,
        "a new Unicode folds otherwise: give the stored analysis a new version, whose readers take older texts for unknown"
    );
}
