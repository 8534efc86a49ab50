//! Messages made to cost: each is analysed at once, within its limits, and served as something.

use rookery_mail::mime::{Analysis, LimitReached, Limits, Outcome, SearchText, analyze, analyze_guarded};

const ENVELOPE_NIL: &str = "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("ready values are 7-bit")
}

/// What must hold for every message: ready values on one 7-bit line, not much longer than the message, and
/// spans that lie in it.
fn assert_sound(message: &[u8], analysis: &Analysis) {
    for value in [&analysis.envelope, &analysis.body, &analysis.bodystructure] {
        assert!(value.is_ascii() && !value.iter().any(|byte| b"\r\n\0".contains(byte)));
        assert!(
            value.len() <= 16 * message.len() + 4_096,
            "{} of {}",
            value.len(),
            message.len()
        );
    }
    for part in &analysis.parts {
        assert!(part.header.start <= part.header.end && part.header.end <= part.body.start);
        assert!(part.body.start <= part.body.end && part.body.end <= message.len() as u64);
    }
    assert_eq!(Analysis::decode(analysis.encode()).as_ref(), Ok(analysis));
}

fn outcome_of(message: &[u8]) -> Outcome {
    let (analysis, outcome) = analyze_guarded(message);
    assert_sound(message, &analysis);
    let found = SearchText::build(message);
    assert!(found.body().len() <= 4 * message.len() + 4_096);
    outcome
}

#[test]
fn ten_thousand_nested_multiparts() {
    let mut message = b"From: a@b\r\n".to_vec();
    for level in 0..10_000 {
        message.extend_from_slice(
            format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n").as_bytes(),
        );
    }
    assert_eq!(outcome_of(&message), Outcome::Limited(LimitReached::NestingDepth));
    let (analysis, _) = analyze_guarded(&message);
    assert_eq!(analysis.parts.len(), 1);
    assert!(text(&analysis.envelope).contains(r#"((NIL NIL "a" "b"))"#));
    assert!(text(&analysis.body).starts_with(r#"("text" "plain""#));
}

#[test]
fn ten_thousand_nested_messages() {
    let message = b"Content-Type: message/rfc822\r\n\r\n".repeat(10_000);
    assert_eq!(outcome_of(&message), Outcome::Limited(LimitReached::NestingDepth));
}

#[test]
fn nesting_up_to_the_limit_is_understood() {
    let limits = Limits::default();
    let nested = |levels: usize| b"Content-Type: message/rfc822\r\n\r\n".repeat(levels);
    let deepest = nested(limits.nesting_depth_max - 1);
    assert_eq!(outcome_of(&deepest), Outcome::Parsed);
    assert_eq!(analyze(&deepest, &limits).parts.len(), limits.nesting_depth_max);
    assert_eq!(
        outcome_of(&nested(limits.nesting_depth_max)),
        Outcome::Limited(LimitReached::NestingDepth)
    );
}

#[test]
fn a_million_boundary_lines() {
    let mut message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec();
    message.extend_from_slice(&b"--b\r\n".repeat(1_000_000));
    assert_eq!(outcome_of(&message), Outcome::Limited(LimitReached::Parts));
}

#[test]
fn a_million_lines_that_almost_are_boundaries() {
    let mut message = Vec::new();
    for level in 0..40 {
        let boundary = format!("{}{level:02}", "b".repeat(60));
        message.extend_from_slice(
            format!("Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n--{boundary}\r\n").as_bytes(),
        );
    }
    message.extend_from_slice(b"\r\n");
    message.extend_from_slice(&format!("--{}xx\r\n", "b".repeat(60)).as_bytes().repeat(200_000));
    assert_eq!(outcome_of(&message), Outcome::Parsed);
}

#[test]
fn header_lines_of_a_megabyte() {
    let pieces: [&[u8]; 14] = [
        b"a",
        b"a@b, ",
        b"<@,",
        b"<@",
        b"(",
        b"\"",
        b"=?",
        b"=?utf-8?Q?",
        b"=?a?b?",
        b"?=",
        b"g:",
        b"; a*0=b",
        b"\xff ",
        b"\r\n ",
    ];
    for piece in pieces {
        let long = piece.repeat(1_000_000 / piece.len());
        for name in [
            "From",
            "To",
            "Subject",
            "Date",
            "References",
            "Content-Type",
            "Content-Language",
            "X",
        ] {
            let mut message = format!("{name}: text/plain; a=b").into_bytes();
            message.extend_from_slice(&long);
            message.extend_from_slice(b"\r\n\r\nbody\r\n");
            assert_eq!(outcome_of(&message), Outcome::Parsed, "for {name} and {piece:?}");
        }
    }
}

#[test]
fn a_million_header_fields() {
    assert_eq!(
        outcome_of(&b"To: a\r\n".repeat(1_000_000)),
        Outcome::Limited(LimitReached::HeaderFields)
    );
    assert_eq!(outcome_of(&b"To: a\r\n".repeat(50_000)), Outcome::Parsed);
}

#[test]
fn a_bodystructure_that_grows_too_long() {
    let header = format!("Content-Description: {}\r\n\r\n", "x".repeat(10_000));
    let mut message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec();
    for _ in 0..1_000 {
        message.extend_from_slice(b"--b\r\n");
        message.extend_from_slice(header.as_bytes());
    }
    assert_eq!(
        outcome_of(&message),
        Outcome::Limited(LimitReached::BodyStructure)
    );
}

#[test]
fn opaque_serves_any_bytes() {
    for message in [
        &b""[..],
        b"\r\n",
        b"no header",
        b"A: b\r\n\r\n\xff\n\n",
        &[0; 100],
        &[b'\n'; 100],
    ] {
        let analysis = Analysis::opaque(message);
        assert_sound(message, &analysis);
        assert_eq!(text(&analysis.envelope), ENVELOPE_NIL);
        assert_eq!(analysis.parts[0].header.end, analysis.header_len);
        assert_eq!(analysis.parts[0].body.end, message.len() as u64);
    }
    let analysis = Analysis::opaque(b"A: b\r\n\r\n\xff\n\n");
    assert_eq!(
        text(&analysis.bodystructure),
        r#"("text" "plain" ("charset" "us-ascii") NIL NIL "8bit" 3 2 NIL NIL NIL NIL)"#
    );
}
