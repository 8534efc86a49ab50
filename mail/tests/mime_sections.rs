//! Sections of one nested message, byte by byte, as RFC 3501 §6.4.5 has them, and of the same message served
//! after trace fields.

use rookery_mail::mime::section::{locate, locate_served};
use rookery_mail::mime::{
    Limits, Section, SectionBytes, SectionItem, Span, TwoPiece, analyze, header_fields,
};

const MESSAGE: &[u8] = b"Subject: outer\r\n\
Content-Type: multipart/mixed; boundary=o\r\n\
\r\n\
preamble\r\n\
--o\r\n\
X-Part: one\r\n\
\r\n\
one\r\n\
\r\n\
--o\r\n\
Content-Type: message/rfc822\r\n\
\r\n\
Subject: inner\r\n\
X-Fold: a\r\n b\r\n\
Content-Type: multipart/mixed; boundary=i\r\n\
\r\n\
--i\r\n\
\r\n\
two one\r\n\
--i\r\n\
Content-Type: text/html\r\n\
\r\n\
two two\r\n\
--i--\r\n\
inner epilogue\r\n\
--o\r\n\
Content-Type: message/rfc822\r\n\
\r\n\
Subject: leaf\r\n\
\r\n\
three\r\n\
--o--\r\n\
epilogue\r\n";

const PREFIX: &[u8] = b"Return-Path: <a@b>\r\nReceived: from x\r\n by y\r\n";

fn item(name: &str) -> SectionItem {
    let fields = |list: &str, not| SectionItem::HeaderFields {
        names: list.split(' ').map(|name| name.as_bytes().to_vec()).collect(),
        not,
    };
    match name.split_once(' ') {
        Some(("FIELDS", list)) => fields(list, false),
        Some(("NOT", list)) => fields(list, true),
        _ => match name {
            "" => SectionItem::Whole,
            "HEADER" => SectionItem::Header,
            "TEXT" => SectionItem::Text,
            "MIME" => SectionItem::Mime,
            other => panic!("no such item: {other}"),
        },
    }
}

fn fetch(message: TwoPiece<'_>, path: &[u32], name: &str) -> Option<String> {
    let analysis = analyze(message.body, &Limits::default());
    let section = Section {
        path: path.to_vec(),
        item: item(name),
    };
    let located = locate_served(&analysis.parts, &section, message.prefix.len() as u64)?;
    if message.prefix.is_empty() {
        assert_eq!(locate(&analysis.parts, &section), Some(located));
    }
    let bytes = match located {
        SectionBytes::Range(span) => message.bytes(span),
        SectionBytes::Fields { header, names, not } => header_fields(&message.bytes(header), names, not),
    };
    Some(String::from_utf8(bytes).expect("text"))
}

#[test]
fn sections_of_a_nested_message() {
    let whole = std::str::from_utf8(MESSAGE).unwrap();
    let body = whole.split_once("\r\n\r\n").unwrap().1;
    let inner = "Subject: inner\r\nX-Fold: a\r\n b\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n\
        --i\r\n\r\ntwo one\r\n--i\r\nContent-Type: text/html\r\n\r\ntwo two\r\n--i--\r\ninner epilogue";
    let (inner_header, inner_body) = inner.split_at(inner.find("\r\n\r\n").unwrap() + 4);
    let table: &[(&[u32], &str, Option<&str>)] = &[
        (&[], "", Some(whole)),
        (
            &[],
            "HEADER",
            Some("Subject: outer\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n"),
        ),
        (&[], "TEXT", Some(body)),
        (&[], "MIME", None),
        (&[1], "", Some("one\r\n")),
        (&[1], "MIME", Some("X-Part: one\r\n\r\n")),
        (&[1], "HEADER", None),
        (&[1], "TEXT", None),
        (&[1, 1], "", None),
        (&[2], "", Some(inner)),
        (&[2], "MIME", Some("Content-Type: message/rfc822\r\n\r\n")),
        (&[2], "HEADER", Some(inner_header)),
        (&[2], "TEXT", Some(inner_body)),
        (
            &[2],
            "FIELDS x-fold SUBJECT",
            Some("Subject: inner\r\nX-Fold: a\r\n b\r\n\r\n"),
        ),
        (&[2], "FIELDS none", Some("\r\n")),
        (&[2], "NOT x-fold content-type", Some("Subject: inner\r\n\r\n")),
        (&[2, 1], "", Some("two one")),
        (&[2, 1], "MIME", Some("\r\n")),
        (&[2, 2], "", Some("two two")),
        (&[2, 2], "MIME", Some("Content-Type: text/html\r\n\r\n")),
        (&[2, 3], "", None),
        (&[3], "", Some("Subject: leaf\r\n\r\nthree")),
        (&[3, 1], "", Some("three")),
        (&[3, 1], "MIME", Some("Subject: leaf\r\n\r\n")),
        (&[3, 1, 1], "", None),
        (&[3, 2], "", None),
        (&[4], "", None),
        (&[0], "", None),
    ];
    for &(path, name, expected) in table {
        let found = fetch(
            TwoPiece {
                prefix: b"",
                body: MESSAGE,
            },
            path,
            name,
        );
        assert_eq!(found.as_deref(), expected, "for {path:?} {name:?}");
    }
}

#[test]
fn trace_fields_belong_to_the_header_and_move_all_else() {
    let message = TwoPiece {
        prefix: PREFIX,
        body: MESSAGE,
    };
    let prefix = std::str::from_utf8(PREFIX).unwrap();
    let plain = TwoPiece {
        prefix: b"",
        body: MESSAGE,
    };
    for path in [&[][..], &[1], &[2], &[2, 1], &[2, 2], &[3], &[3, 1]] {
        for name in ["", "HEADER", "TEXT", "MIME", "FIELDS subject"] {
            let in_front = path.is_empty() && (name.is_empty() || name == "HEADER");
            let expected =
                fetch(plain, path, name).map(|text| if in_front { prefix.to_owned() + &text } else { text });
            assert_eq!(fetch(message, path, name), expected, "for {path:?} {name:?}");
        }
    }
    assert_eq!(
        fetch(message, &[], "FIELDS received").as_deref(),
        Some("Received: from x\r\n by y\r\n\r\n")
    );
    assert_eq!(message.len(), (PREFIX.len() + MESSAGE.len()) as u64);
}

#[test]
fn a_plain_message_is_its_own_first_part() {
    let body: &[u8] = b"Subject: s\r\n\r\ntext\r\n";
    for prefix in [&b""[..], PREFIX] {
        let message = TwoPiece { prefix, body };
        let header = format!("{}Subject: s\r\n\r\n", std::str::from_utf8(prefix).unwrap());
        assert_eq!(fetch(message, &[1], "").as_deref(), Some("text\r\n"));
        assert_eq!(fetch(message, &[1], "MIME"), Some(header));
        assert_eq!(fetch(message, &[1, 1], ""), None);
        assert_eq!(fetch(message, &[2], ""), None);
        assert_eq!(fetch(message, &[1], "TEXT"), None);
    }
}

#[test]
fn partial_fetches_cut_a_section() {
    let message = TwoPiece {
        prefix: PREFIX,
        body: MESSAGE,
    };
    let whole = message.bytes(Span::new(0, message.len()));
    for (start, count) in [(0, 10), (40, 20), (500, 10_000), (5, 0), (100_000, 1)] {
        let span = Span::new(0, message.len()).partial(start, count);
        let expected: Vec<u8> = whole
            .iter()
            .copied()
            .skip(start as usize)
            .take(count as usize)
            .collect();
        assert_eq!(message.bytes(span), expected);
    }
}

#[test]
fn a_header_without_a_blank_line_gets_none() {
    assert_eq!(header_fields(b"A: 1\r\nB: 2\r\n", &["b"], false), b"B: 2\r\n");
    assert_eq!(header_fields(b"A: 1\nB: 2\n\n", &["b"], true), b"A: 1\n\n");
    assert_eq!(
        header_fields(b"From here\r\nA: 1\r\n\r\n", &["a"], true),
        b"From here\r\n\r\n"
    );
}
