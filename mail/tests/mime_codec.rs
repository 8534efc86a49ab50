//! The stored form of an analysis, version 1, pinned by a file: what was written once must be read for ever.

use bytes::Bytes;
use rookery_mail::mime::{Analysis, CodecError, Encoding, Limits, PartKind, PartSpan, Span, Stored, analyze};

const MESSAGE: &[u8] = include_bytes!("messages/nested.eml");
const GOLDEN: &[u8] = include_bytes!("golden/analysis_v1.bin");

/// A value with something in every field; not what any message gives, so that a better analysis does not
/// change it.
fn sample() -> Analysis {
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
    }
}

#[test]
fn version_one_is_written_and_read_as_ever() {
    let analysis = sample();
    let encoded = analysis.encode();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/analysis_v1.bin");
        std::fs::write(path, &encoded).unwrap();
    }
    assert_eq!(
        encoded, GOLDEN,
        "the stored form changed: add a version, and keep reading this one"
    );
    assert_eq!(Analysis::decode(Bytes::from_static(GOLDEN)).unwrap(), analysis);
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
        (with(&[&[2, 0, 0]]), CodecError::Version(2)),
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
}

#[test]
fn the_smallest_form_is_small() {
    let size = |message: &[u8]| {
        let analysis = analyze(message, &Limits::default());
        let ready = analysis.envelope.len() + analysis.body.len() + analysis.bodystructure.len();
        analysis.encode().len() - ready
    };
    assert!(size(b"\r\n") < 50, "{}", size(b"\r\n"));
    let parts = |analysis: Analysis| -> Vec<PartSpan> { analysis.parts };
    assert!(size(MESSAGE) < 40 * parts(analyze(MESSAGE, &Limits::default())).len());
}
