//! Properties of the analysis: parts of generated messages are found exactly where they were put, and junk
//! neither panics nor leads outside the message.

use proptest::prelude::*;
use rookery_mail::mime::section::part_at;
use rookery_mail::mime::{Analysis, Limits, Outcome, PartKind, SearchText, analyze, analyze_guarded};

/// A message to be built.
#[derive(Clone, Debug)]
enum Tree {
    Leaf(String),
    Message(Box<Tree>),
    Multipart {
        preamble: bool,
        epilogue: bool,
        parts: Vec<Tree>,
    },
}

fn tree() -> impl Strategy<Value = Tree> {
    let line = prop_oneof![
        "[ -~]{0,20}",
        Just("--".to_owned()),
        Just("--b1 x".to_owned()),
        Just(String::new())
    ];
    let leaf = prop::collection::vec(line, 0..4).prop_map(|lines| Tree::Leaf(lines.join("\r\n")));
    leaf.prop_recursive(5, 30, 4, |inner| {
        let parts = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            inner.prop_map(|nested| Tree::Message(Box::new(nested))),
            (any::<bool>(), any::<bool>(), parts).prop_map(|(preamble, epilogue, parts)| Tree::Multipart {
                preamble,
                epilogue,
                parts
            }),
        ]
    })
}

/// What was put where: kind, header and body.
type Placed = (PartKind, std::ops::Range<usize>, std::ops::Range<usize>);

fn build(tree: &Tree, level: usize, out: &mut Vec<u8>, placed: &mut Vec<Placed>) {
    let index = placed.len();
    placed.push((PartKind::Leaf, 0..0, 0..0));
    let start = out.len();
    let boundary = format!("b{level}");
    let content_type = match tree {
        Tree::Leaf(_) => "text/plain".to_owned(),
        Tree::Message(_) => "message/rfc822".to_owned(),
        Tree::Multipart { .. } => format!("multipart/mixed; boundary=\"{boundary}\""),
    };
    out.extend_from_slice(format!("Content-Type: {content_type}\r\n\r\n").as_bytes());
    let body = out.len();
    let kind = match tree {
        Tree::Leaf(text) => {
            out.extend_from_slice(text.as_bytes());
            PartKind::Leaf
        }
        Tree::Message(nested) => {
            build(nested, level + 1, out, placed);
            PartKind::Message
        }
        Tree::Multipart {
            preamble,
            epilogue,
            parts,
        } => {
            if *preamble {
                out.extend_from_slice(b"preamble\r\n");
            }
            for part in parts {
                out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
                build(part, level + 1, out, placed);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(format!("--{boundary}--").as_bytes());
            if *epilogue {
                out.extend_from_slice(b"\r\nepilogue\r\n");
            }
            PartKind::Multipart
        }
    };
    placed[index] = (kind, start..body, body..out.len());
}

fn assert_nested(message: &[u8], analysis: &Analysis) -> Result<(), TestCaseError> {
    prop_assert_eq!(analysis.parts[0].parent, None);
    prop_assert_eq!(analysis.parts[0].header.start, 0);
    prop_assert_eq!(analysis.parts[0].body.end, message.len() as u64);
    for (index, part) in analysis.parts.iter().enumerate() {
        prop_assert!(part.header.start <= part.header.end && part.header.end <= part.body.start);
        prop_assert!(part.body.start <= part.body.end);
        prop_assert_eq!(part.lines, memchr_lines(part.body.of(message)));
        if index > 0 {
            let parent = &analysis.parts[part.parent.expect("a parent") as usize];
            prop_assert!(parent.body.start <= part.header.start && part.body.end <= parent.body.end);
            prop_assert!(parent.kind != PartKind::Leaf);
        }
        let children = analysis
            .parts
            .iter()
            .filter(|other| other.parent == Some(index as u32))
            .count();
        match part.kind {
            PartKind::Leaf => prop_assert_eq!(children, 0),
            PartKind::Multipart => prop_assert!(children > 0),
            PartKind::Message => prop_assert_eq!(children, 1),
        }
    }
    Ok(())
}

fn memchr_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Bytes that look like mail, cut and put together at random.
fn junk() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(&b"Content-Type: multipart/mixed; boundary=b\r\n"[..]),
        Just(&b"Content-Type: multipart/digest; boundary=\"c\"\r\n"[..]),
        Just(&b"Content-Type: message/rfc822\r\n"[..]),
        Just(&b"Content-Transfer-Encoding: base64\r\n"[..]),
        Just(&b"Content-Disposition: x; a*0*=\"b\xff"[..]),
        Just(&b"\r\n"[..]),
        Just(&b"\n"[..]),
        Just(&b"\r"[..]),
        Just(&b"--b"[..]),
        Just(&b"--b\r\n"[..]),
        Just(&b"--c\r\n"[..]),
        Just(&b"--b--\r\n"[..]),
        Just(&b"From: \"a <b@c>, (d\r\n"[..]),
        Just(&b"To: g: <@x:a@b>;\r\n"[..]),
        Just(&b"Subject: =?utf-8?Q?=C3?= =?utf-7?B?+?=\r\n"[..]),
        Just(&b"Date: Mon, 99 Foo 20 99:99:99 +9999\r\n"[..]),
        Just(&b"\0\xff\x80"[..]),
        Just(&b" \t"[..]),
    ];
    let any_bytes = prop::collection::vec(any::<u8>(), 0..20);
    prop::collection::vec(
        prop_oneof![8 => piece.prop_map(<[u8]>::to_vec), 1 => any_bytes],
        0..60,
    )
    .prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_are_found_where_they_were_put(tree in tree()) {
        let (mut message, mut placed) = (Vec::new(), Vec::new());
        build(&tree, 0, &mut message, &mut placed);
        let analysis = analyze(&message, &Limits::default());
        let found: Vec<Placed> =
            analysis.parts.iter().map(|part| (part.kind, part.header.range(), part.body.range())).collect();
        prop_assert_eq!(found, placed);
        assert_nested(&message, &analysis)?;
    }

    #[test]
    fn junk_is_served(message in junk(), path in prop::collection::vec(0_u32..4, 0..4)) {
        let (analysis, outcome) = analyze_guarded(&message);
        prop_assert_eq!(outcome, Outcome::Parsed);
        assert_nested(&message, &analysis)?;
        for value in [&analysis.envelope, &analysis.body, &analysis.bodystructure] {
            prop_assert!(value.is_ascii() && !value.iter().any(|byte| b"\r\n\0".contains(byte)));
        }
        let _ = part_at(&analysis.parts, &path);
        let _ = SearchText::build(&message);
        prop_assert_eq!(Analysis::decode(analysis.encode()), Ok(analysis));
    }

    #[test]
    fn corrupt_stored_bytes_are_refused_or_read(
        message in junk(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut stored = analyze(&message, &Limits::default()).encode().to_vec();
        for (at, byte) in changes {
            let at = at.index(stored.len());
            stored[at] = byte;
        }
        let _ = Analysis::decode(stored.clone().into());
        stored.truncate(cut.index(stored.len()));
        prop_assert!(Analysis::decode(stored.into()).is_err());
    }
}
