//! What SEARCH finds in a message: decoded, whatever its case, and only where it should look.

use rookery_mail::mime::{Limits, SearchText, analyze};

const ALTERNATIVE: &[u8] = include_bytes!("messages/alternative.eml");
const NESTED: &[u8] = include_bytes!("messages/nested.eml");
const EIGHT_BIT: &[u8] = include_bytes!("messages/eight_bit.eml");

#[test]
fn headers_are_searched_decoded() {
    let text = SearchText::build(ALTERNATIVE);
    assert!(text.contains_subject("GRÜß"));
    assert!(text.contains_from("Sender.Example"));
    assert!(!text.contains_from("secretary"));
    assert!(text.contains_to("dora@") && text.contains_to("TEAM:"));
    assert!(!text.contains_cc("bob") && !text.contains_bcc("bob"));
    assert!(text.contains_header("message-id", "<alt@"));
    assert!(text.contains_header("MIME-Version", ""));
    assert!(!text.contains_header("X-None", ""));
    assert!(SearchText::build(EIGHT_BIT).contains_subject("alle ä ö"));
    assert!(SearchText::build(EIGHT_BIT).contains_to("RENÉ"));
    assert!(SearchText::build(EIGHT_BIT).contains_from("JÖRG@"));
}

#[test]
fn bodies_are_searched_decoded() {
    let text = SearchText::build(ALTERNATIVE);
    assert!(text.contains_body("GRÜßE AUS köln"), "quoted-printable");
    assert!(text.contains_body("<b>grü"), "base64 of iso-8859-1");
    assert!(!text.contains_body("Gr=C3"), "encoded text");
    assert!(!text.contains_body("preamble") && !text.contains_body("epilogue"));
    assert!(!text.contains_body("sender.example"), "a header");
    assert!(text.contains_text("sender.example") && text.contains_text("subject: grüße"));
    assert!(text.contains_text("köln"));
}

#[test]
fn nested_messages_are_searched_and_attachments_are_not() {
    let text = SearchText::build(NESTED);
    for found in [
        "two.one",
        "<p>TWO.three",
        "three.one",
        "subject: inner",
        "Leaf Inside",
    ] {
        assert!(text.contains_body(found), "{found}");
    }
    for not_found in ["AQID", "\u{1}\u{2}\u{3}", "GIF", "data.bin"] {
        assert!(!text.contains_body(not_found), "{not_found}");
    }
    assert!(
        !text.contains_subject("inner"),
        "a nested header is not the message's"
    );
    assert!(!text.contains_body("one\0"), "no match spans two parts");
}

#[test]
fn trace_fields_before_the_message_are_searched() {
    let analysis = analyze(NESTED, &Limits::default());
    let text = SearchText::new(b"Received: from mx.example\r\n by y\r\n", NESTED, &analysis.parts);
    assert!(text.contains_header("received", "mx.EXAMPLE by"));
    assert!(text.contains_text("received: from"));
    assert!(text.contains_subject("outer"));
    assert_eq!(text.body(), SearchText::build(NESTED).body());
}

#[test]
fn charsets_of_bodies() {
    let table: [(&str, &[u8], &str); 6] = [
        ("koi8-r", b"\xf0\xd2\xc9\xd7\xc5\xd4", "привет"),
        ("iso-2022-jp", b"\x1b$B%O%m!<\x1b(B", "ハロー"),
        ("GB2312", b"\xc4\xe3\xba\xc3", "你好"),
        ("us-ascii", "ünlabelled".as_bytes(), "Ünlabelled"),
        ("x-unknown", b"caf\xe9", "CAFÉ"),
        ("utf-7", b"a+AOk-", "aé"),
    ];
    for (charset, body, needle) in table {
        let mut message = format!("Content-Type: text/plain; charset={charset}\r\n\r\n").into_bytes();
        message.extend_from_slice(body);
        assert!(
            SearchText::build(&message).contains_body(needle),
            "{needle} in {charset}"
        );
    }
}
