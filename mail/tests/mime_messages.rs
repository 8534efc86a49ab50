//! What FETCH gives for each message in `messages/`: ENVELOPE, BODY, BODYSTRUCTURE and every section, beside
//! the message in a file of the same name. `UPDATE_EXPECT=1` writes them anew; read the difference.

use std::path::{Path, PathBuf};

use expect_test::expect_file;
use rookery_mail::mime::section::{locate, part_at};
use rookery_mail::mime::{
    Analysis, Outcome, PartKind, Section, SectionBytes, SectionItem, analyze_guarded, header_fields,
};

fn messages() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages");
    let entries = std::fs::read_dir(folder).expect("the folder of messages");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a message").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
    files.sort();
    assert!(files.len() >= 18, "messages are missing: {files:?}");
    files
}

fn bytes_of(message: &[u8], analysis: &Analysis, path: &[u32], item: SectionItem) -> Option<Vec<u8>> {
    let section = Section {
        path: path.to_vec(),
        item,
    };
    Some(match locate(&analysis.parts, &section)? {
        SectionBytes::Range(span) => span.of(message).to_vec(),
        SectionBytes::Fields { header, names, not } => header_fields(header.of(message), names, not),
    })
}

/// All paths of part numbers that lead to a part.
fn paths(analysis: &Analysis, path: &mut Vec<u32>, found: &mut Vec<Vec<u32>>) {
    for number in 1.. {
        path.push(number);
        let exists = part_at(&analysis.parts, path).is_some();
        if exists {
            found.push(path.clone());
            paths(analysis, path, found);
        }
        path.pop();
        if !exists {
            break;
        }
    }
}

fn push_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    *text += &format!("{line}\n");
}

fn shown(message: &[u8]) -> String {
    let (analysis, outcome) = analyze_guarded(message);
    assert_eq!(outcome, Outcome::Parsed);
    let mut text = String::new();
    for (name, value) in [
        ("ENVELOPE", &analysis.envelope),
        ("BODY", &analysis.body),
        ("BODYSTRUCTURE", &analysis.bodystructure),
    ] {
        assert!(value.is_ascii(), "{name} is not 7-bit");
        push_line(
            &mut text,
            format_args!("{name} {}", String::from_utf8_lossy(value)),
        );
    }
    push_line(
        &mut text,
        format_args!("sent {:?} on day {:?}", analysis.sent_date, analysis.sent_day),
    );
    push_line(
        &mut text,
        format_args!(
            "ids {:?} {:?} {:?}",
            analysis.message_id, analysis.in_reply_to, analysis.references
        ),
    );
    let mut all = vec![Vec::new()];
    paths(&analysis, &mut Vec::new(), &mut all);
    for path in all {
        let number: Vec<_> = path.iter().map(u32::to_string).collect();
        let number = number.join(".");
        let fields = |not| SectionItem::HeaderFields {
            names: vec![b"subject".to_vec(), b"x".to_vec()],
            not,
        };
        let items = [
            ("", SectionItem::Whole),
            ("HEADER", SectionItem::Header),
            ("HEADER.FIELDS (subject x)", fields(false)),
            ("HEADER.FIELDS.NOT (subject x)", fields(true)),
            ("TEXT", SectionItem::Text),
            ("MIME", SectionItem::Mime),
        ];
        for (name, item) in items {
            if let Some(bytes) = bytes_of(message, &analysis, &path, item) {
                let dot = if number.is_empty() || name.is_empty() {
                    ""
                } else {
                    "."
                };
                push_line(
                    &mut text,
                    format_args!("BODY[{number}{dot}{name}] \"{}\"", bytes.escape_ascii()),
                );
            }
        }
    }
    for part in &analysis.parts {
        let kind = match part.kind {
            PartKind::Leaf => "leaf",
            PartKind::Multipart => "multipart",
            PartKind::Message => "message",
        };
        let (header, body) = (part.header.range(), part.body.range());
        let (encoding, charset) = (part.encoding, part.charset.as_deref());
        push_line(
            &mut text,
            format_args!(
                "{kind} {header:?} {body:?} {} {encoding:?} {charset:?}",
                part.media_type
            ),
        );
    }
    text
}

#[test]
fn messages_are_served_as_their_files_say() {
    for path in messages() {
        let message = std::fs::read(&path).expect("a message");
        expect_file![path.with_extension("expected")].assert_eq(&shown(&message));
    }
}
