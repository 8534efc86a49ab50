//! The stored form of an analysis, each version pinned by a file: what was written once must be read for ever.

use bytes::Bytes;
use rookery_mail::mime::{
    Analysis, CodecError, Encoding, FieldText, Limits, Needle, PartKind, PartSpan, SearchField, SearchFields,
    Span, Stored, analyze,
};

const MESSAGE: &[u8] = include_bytes!("messages/nested.eml");
const GOLDEN_1: &[u8] = include_bytes!("golden/analysis_v1.bin");
const GOLDEN: &[u8] = include_bytes!("golden/analysis_v2.bin");

/// A value with something in every field of version 2, and each way in which a field for SEARCH is stored.
fn sample() -> Analysis {
    let text = |text: &str| FieldText::Text(text.to_owned());
    Analysis {
        envelope: Bytes::from_static(b"(\"DATE\" \"SUBJECT\" ENVELOPE)"),
        search_fields: SearchFields([
            text("f\u{fc}r <f@x>\0g@x"),
            FieldText::Unknown,
            FieldText::Absent,
            text(""),
            text("subject"),
        ]),
        ..sample_1()
    }
}

/// A value with something in every field of version 1; not what any message gives, so that a better analysis does not
/// change it.
fn sample_1() -> Analysis {
    let part = |parent, position, kind, header: (u64, u64), body: (u64, u64), encoding| PartSpan {
        parent,
        position,
        kind,
        header: Span::new(header.0, header.1),
        body: Span::new(body.0, body.1),
        lines: body.1 / 40,
        encoding,
        media_type: "text/x".to_owned(),
        charset: (kind == PartKind::Leaf).then(|| "utf-8".to_owned()),
    };
    use PartKind::{Leaf, Message, Multipart};
    Analysis {
        header_len: 300,
        envelope: Bytes::from_static(b"(ENVELOPE)"),
        body: Bytes::from_static(b"(BODY)"),
        bodystructure: Bytes::from_static(b"(BODYSTRUCTURE)"),
        parts: vec![
            part(
                None,
                1,
                Multipart,
                (0, 300),
                (300, 5_000_000_000),
                Encoding::Binary,
            ),
            part(Some(0), 1, Leaf, (310, 400), (400, 4_000), Encoding::Base64),
            part(
                Some(0),
                2,
                Message,
                (4_010, 4_050),
                (4_060, 9_000),
                Encoding::EightBit,
            ),
            part(
                Some(2),
                1,
                Leaf,
                (4_060, 4_060),
                (4_060, 9_000),
                Encoding::QuotedPrintable,
            ),
            part(
                Some(0),
                300,
                Leaf,
                (9_000, 9_002),
                (9_002, 9_002),
                Encoding::Other,
            ),
            part(
                Some(0),
                301,
                Leaf,
                (9_000, 9_002),
                (9_002, 9_002),
                Encoding::SevenBit,
            ),
        ],
        sent_date: Some(-86_401),
        sent_day: Some(-2),
        message_id: Some("<m@x>".to_owned()),
        in_reply_to: vec!["<i@x>".to_owned()],
        references: vec!["<r@x>".to_owned(), "<ü@x>".to_owned()],
        search_fields: SearchFields::default(),
    }
}

#[test]
fn version_one_is_read_as_ever() {
    let bytes = Bytes::from_static(GOLDEN_1);
    assert_eq!(Analysis::decode(bytes.clone()).unwrap(), sample_1());
    let stored = Stored::new(bytes).unwrap();
    assert_eq!(stored.sent_day(), Ok(Some(-2)));
    for field in SearchField::ALL {
        assert_eq!(stored.has_field(field, &Needle::new("")), None);
    }
}

#[test]
fn version_two_is_written_and_read_as_ever() {
    let analysis = sample();
    let encoded = analysis.encode();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/analysis_v2.bin");
        std::fs::write(path, &encoded).unwrap();
    }
    assert_eq!(
        encoded, GOLDEN,
        "the stored form changed: add a version, and keep reading this one"
    );
    assert_eq!(Analysis::decode(Bytes::from_static(GOLDEN)).unwrap(), analysis);
}

#[test]
fn fields_are_searched_as_they_are_stored() {
    let stored = Stored::new(Bytes::from_static(GOLDEN)).unwrap();
    assert_eq!(stored.sent_day(), Ok(Some(-2)));
    use SearchField::{Bcc, Cc, From, Subject, To};
    let table = [
        (From, "F\u{dc}R", Some(true)),
        (From, "g@x", Some(true)),
        (From, "x>g", Some(false)),
        (From, "\0", Some(false)),
        (To, "", None),
        (To, "a", None),
        (Cc, "", Some(false)),
        (Bcc, "", Some(true)),
        (Bcc, "a", Some(false)),
        (Subject, "SUBJ", Some(true)),
        (Subject, "date", Some(false)),
    ];
    for (field, text, expected) in table {
        assert_eq!(
            stored.has_field(field, &Needle::new(text)),
            expected,
            "{text:?} in {field:?}"
        );
    }
}

#[test]
fn ready_values_are_slices_of_the_stored_bytes() {
    let bytes = Bytes::from_static(GOLDEN);
    let analysis = sample();
    let stored = Stored::new(bytes.clone()).unwrap();
    assert_eq!(stored.envelope(), analysis.envelope);
    assert_eq!(stored.body(), analysis.body);
    assert_eq!(stored.bodystructure(), analysis.bodystructure);
    assert_eq!(stored.header_len(), analysis.header_len);
    let memory = bytes.as_ptr_range();
    for value in [stored.envelope(), stored.body(), stored.bodystructure()] {
        assert!(memory.contains(&value.as_ptr()), "a ready value was copied");
    }
}

#[test]
fn every_field_survives() {
    let analysis = Analysis {
        sent_date: Some(i64::MIN),
        sent_day: Some(i32::MIN),
        message_id: Some("<ü@x>".to_owned()),
        in_reply_to: vec!["<a>".to_owned(), String::new()],
        references: vec!["<b>".to_owned(); 100],
        ..analyze(MESSAGE, &Limits::default())
    };
    assert_eq!(Analysis::decode(analysis.encode()), Ok(analysis));
}

#[test]
fn a_cut_form_is_refused_at_every_length() {
    for length in 0..GOLDEN.len() {
        let cut = Bytes::from_static(&GOLDEN[..length]);
        assert!(Analysis::decode(cut).is_err(), "{length} bytes were read");
    }
    let longer = [GOLDEN, b"x"].concat();
    assert_eq!(
        Analysis::decode(longer.into()),
        Err(CodecError::Corrupt("bytes after the end"))
    );
}

#[test]
fn hostile_forms_are_refused() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let overlong = [0xff; 11];
    let with = |pieces: &[&[u8]]| Bytes::from(pieces.concat());
    let table = [
        (with(&[]), CodecError::Short),
        (with(&[&[0]]), CodecError::Version(0)),
        (with(&[&[3, 0, 0]]), CodecError::Version(3)),
        (with(&[&[1], &overlong]), CodecError::Corrupt("number")),
        (with(&[&[1, 0], &huge, &[0, 0]]), CodecError::Short),
        (with(&[&[1, 0, 0, 0], &huge]), CodecError::Short),
        // Counts beyond what the bytes can hold end with the bytes, not with memory.
        (with(&[&[1, 0, 0, 0, 0, 0, 0], &huge]), CodecError::Short),
        (with(&[&[1, 0, 0, 0, 0, 0, 0, 0, 0], &huge]), CodecError::Short),
        (
            with(&[&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]]),
            CodecError::Corrupt("no parts"),
        ),
        (with(&[&[1, 0, 0, 0, 0, 7]]), CodecError::Corrupt("option")),
        (
            with(&[&[1, 0, 0, 0, 0, 0, 1, 1, 0xff]]),
            CodecError::Corrupt("text"),
        ),
        // The first part has a parent; a part is its own parent.
        (
            with(&[&[1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]]),
            CodecError::Corrupt("parent"),
        ),
        (
            with(&[
                &[1, 0, 0, 0, 0, 0, 0, 0, 0, 2],
                &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                &[2, 1],
            ]),
            CodecError::Corrupt("parent"),
        ),
        // A span that ends beyond all numbers.
        (
            with(&[&[1, 0, 0, 0, 0, 0, 0, 0, 0, 1], &[0, 1, 0, 0, 1], &huge]),
            CodecError::Corrupt("span"),
        ),
    ];
    for (bytes, expected) in table {
        assert_eq!(Analysis::decode(bytes.clone()), Err(expected), "for {bytes:?}");
    }
    // The same with fields for SEARCH, none of them known or otherwise: version, header, lengths, fields, the rest.
    let rest: &[u8] = &[0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let fields = |fields: &[u8]| with(&[&[2, 0, 0, 0, 0, fields.len() as u8], fields, rest]);
    assert!(Analysis::decode(fields(&[0, 0, 0, 0, 0])).is_ok());
    let table = [
        (fields(&[0, 0, 0, 0]), CodecError::Short),
        (fields(&[0, 0, 0, 0, 4]), CodecError::Short),
        (
            fields(&[0, 0, 0, 0, 0, 0]),
            CodecError::Corrupt("bytes after the fields"),
        ),
        (fields(&[4, 0xff, 0, 0, 0, 0]), CodecError::Corrupt("text")),
        // As in the envelope, which has no subject, and for another field than Subject.
        (fields(&[0, 0, 0, 0, 2]), CodecError::Corrupt("field")),
        (fields(&[2, 0, 0, 0, 0]), CodecError::Corrupt("field")),
        (fields(&huge), CodecError::Short),
        (with(&[&[2, 0, 0, 0, 0], &huge]), CodecError::Short),
    ];
    for (bytes, expected) in table {
        assert_eq!(Analysis::decode(bytes.clone()), Err(expected), "for {bytes:?}");
        // A search reads the header then.
        if let Ok(stored) = Stored::new(bytes) {
            for field in SearchField::ALL {
                let _ = stored.has_field(field, &Needle::new("a"));
            }
        }
    }
}

#[test]
fn the_smallest_form_is_small() {
    let size = |message: &[u8]| {
        let analysis = analyze(message, &Limits::default());
        let ready = analysis.envelope.len() + analysis.body.len() + analysis.bodystructure.len();
        analysis.encode().len() - ready
    };
    assert!(size(b"\r\n") < 60, "{}", size(b"\r\n"));
    let parts = |analysis: Analysis| -> Vec<PartSpan> { analysis.parts };
    assert!(size(MESSAGE) < 40 * parts(analyze(MESSAGE, &Limits::default())).len());
}
