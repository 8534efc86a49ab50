//! Connections as they arrive and what the reader makes of them, in one piece and in pieces of every small size.

use bytes::BytesMut;

use super::{CommandReader, Event, Limits, LineEvent, Recovery};
use crate::imap::fuzz::transcript;

const LIMITS: Limits = Limits {
    line_bytes_max: 200,
    literal_bytes_max: 50,
    command_bytes_max: 300,
    append_bytes_max: 100,
    discard_bytes_max: 1000,
};

/// Asserts the steps; of each only the beginning needs to be given.
fn assert_steps(input: &[u8], wanted: &[&str]) {
    for piece in (1..8).chain([input.len().max(1)]) {
        let steps = transcript(input, piece, LIMITS);
        let alike = steps.len() == wanted.len()
            && steps
                .iter()
                .zip(wanted)
                .all(|(step, wanted)| step.starts_with(wanted));
        assert!(
            alike,
            "{}\nin pieces of {piece} gave {steps:#?}\nnot {wanted:#?}",
            input.escape_ascii()
        );
    }
}

const NOOP: &str = "Command { tag: Tag(n), body: Noop }";

#[test]
fn lines() {
    assert_steps(b"n NOOP\r\n", &[NOOP]);
    assert_steps(b"n NOOP\nn noop\r\n", &[NOOP, NOOP]);
    assert_steps(b"\r\n\r\n\nn NOOP\r\n", &[NOOP]);
    assert_steps(b"n NOOP", &[]);
    assert_steps(b"n NOOP \r\n", &[NOOP]);
    assert_steps(b"n NO\0OP\r\nn NOOP\r\n", &["n Syntax NUL", NOOP]);
    assert_steps(b"n NOOP\rx\r\nn NOOP\r\n", &["n Syntax NUL or bare CR", NOOP]);
    assert_steps(b"n NOOP\r\r\n", &["n Syntax NUL or bare CR"]);
    assert_steps(
        b"\xff\xfe NOOP\r\n\xc3\xa4\r\nn \xff\r\n",
        &["* Syntax malformed tag", "* Syntax", "n Syntax"],
    );
    assert_steps(
        b"+ x\r\n( )\r\nn\r\n",
        &["* Syntax malformed tag", "* Syntax", "n Syntax missing command"],
    );
}

#[test]
fn literals() {
    let login = "Command { tag: Tag(a), body: Login { username: \"joe\", password: Secret(..) } }";
    assert_steps(
        b"a LOGIN {3}\r\njoe {2}\r\n\r\n\r\nn NOOP\r\n",
        &["+ 3", "+ 2", login, NOOP],
    );
    assert_steps(b"a LOGIN {3+}\r\njoe {0+}\r\n\r\nn NOOP\r\n", &[login, NOOP]);
    assert_steps(
        b"a LOGIN {3-}\r\njoe ~{1+}\r\nx\r\n",
        &["a Syntax binary literal"],
    );
    assert_steps(
        b"a LOGIN joe {3+}\r\na\0b\r\n",
        &["a Syntax binary literal or NUL"],
    );
    assert_steps(b"a LOGIN joe {3}x\r\n", &["a Syntax"]);
    assert_steps(b"a LOGIN joe{3+}\r\nabc\r\n", &["a Syntax"]);
}

#[test]
fn too_large_literals() {
    let reason =
        |tag: &str, size: &str, max: u32| format!("{tag} literal of {size} bytes is larger than {max} ");
    // The client waits, sees the answer, and goes on with its next command.
    for size in ["51", "4294967296", "9223372036854775808"] {
        let input = format!("a LOGIN {{{size}}}\r\nn NOOP\r\n");
        assert_steps(input.as_bytes(), &[&(reason("a", size, 50) + "Ready"), NOOP]);
    }
    assert_steps(
        b"a LOGIN {99999999999999999999999999}\r\n",
        &[&reason("a", "18446744073709551615", 50)],
    );
    // The bytes are on their way: skipped with the rest of the command, or too many to be skipped.
    let input = [
        b"a LOGIN {60+}\r\n".as_slice(),
        &[b'\n'; 60],
        b" {1+}\r\nx y\r\nn NOOP\r\n",
    ]
    .concat();
    assert_steps(&input, &[&(reason("a", "60", 50) + "Discarding"), NOOP]);
    let input = [
        b"a LOGIN {60+}\r\n".as_slice(),
        &[b'x'; 60],
        b" {3}\r\nn NOOP\r\n",
    ]
    .concat();
    assert_steps(&input, &[&(reason("a", "60", 50) + "Discarding"), NOOP]);
    for size in ["1001", "4294967296", "9223372036854775808"] {
        let input = format!("a LOGIN {{{size}+}}\r\nn NOOP\r\n");
        assert_steps(input.as_bytes(), &[&(reason("a", size, 50) + "Close")]);
    }
}

#[test]
fn too_long() {
    let line = [b"a ".as_slice(), &[b'('; 300], b"\r\nn NOOP\r\n"].concat();
    assert_steps(&line, &["a line longer than 200 bytes Discarding", NOOP]);
    let line = [[b'a'; 300].as_slice(), b" NOOP {3+}\r\nx\r\n\r\nn NOOP\r\n"].concat();
    assert_steps(&line, &["* line longer than 200 bytes Discarding", NOOP]);
    let exact = [
        b"n NOOP".as_slice(),
        &[b' '; 194],
        b"\r\nn NOOP",
        &[b' '; 195],
        b"\nn NOOP\r\n",
    ]
    .concat();
    assert_steps(&exact, &[NOOP, "n line longer", NOOP]);
    let endless = [b"a ".as_slice(), &[b'x'; 2000], b"\r\nn NOOP\r\n"].concat();
    assert_steps(
        &endless,
        &["a line longer than 200 bytes Discarding", "* too much data"],
    );
    let many = [
        b"a LOGIN".as_slice(),
        &b" {40+}\r\n0123456789012345678901234567890123456789".repeat(7),
    ]
    .concat();
    assert_steps(&many, &["a command longer than 300 bytes Discarding"]);
}

#[test]
fn messages_are_streamed() {
    assert_steps(
        b"a APPEND INBOX (\\Seen) {5}\r\nab\r\nc\r\nn NOOP\r\n",
        &[
            "append AppendHead { tag: Tag(a), mailbox: MailboxName(\"INBOX\"), index: 0, flags: [Seen], date: None, \
             size: 5, synchronising: true, binary: false }",
            "octets ab\\r\\nc",
            "Command { tag: Tag(a), body: Append { mailbox: MailboxName(\"INBOX\"), messages: [AppendMessage { \
             flags: [Seen], date: None, data: Streamed { size: 5 } }] } }",
            NOOP,
        ],
    );
    // RFC 3502: several messages; the mailbox's name as a literal is none.
    assert_steps(
        b"a APPEND {1+}\r\nx {2+}\r\nab (\\Draft) {0+}\r\n ~{1+}\r\n\0\r\n",
        &[
            "append AppendHead { tag: Tag(a), mailbox: MailboxName(\"x\"), index: 0,",
            "octets ab",
            "append AppendHead { tag: Tag(a), mailbox: MailboxName(\"x\"), index: 1, flags: [Draft],",
            "append AppendHead { tag: Tag(a), mailbox: MailboxName(\"x\"), index: 2, flags: [],",
            "octets \\x00",
            "Command { tag: Tag(a), body: Append",
        ],
    );
    assert_steps(
        b"a APPEND x {2+}\r\nab junk\r\nn NOOP\r\n",
        &["append", "octets ab", "a Syntax", NOOP],
    );
    assert_steps(b"a APPEND x {9+}\r\nab", &["append", "octets ab"]);
}

#[test]
fn messages_are_refused() {
    assert_steps(
        b"a APPEND refused {5}\r\nn NOOP\r\n",
        &["append", "refused Ready", NOOP],
    );
    assert_steps(
        b"a APPEND refused {5+}\r\n12\r\n5 {1+}\r\nx\r\nn NOOP\r\n",
        &["append", "refused Discarding", NOOP],
    );
    assert_steps(
        b"a APPEND x {101}\r\nn NOOP\r\n",
        &["a message of 101 bytes is larger than 100 Ready", NOOP],
    );
    assert_steps(
        b"a APPEND x {4294967296}\r\n",
        &["a message of 4294967296 bytes is larger than 100 Ready"],
    );
    assert_steps(
        b"a APPEND x (\\Recent) {5}\r\nn NOOP\r\n",
        &["a flag that cannot be stored Ready", NOOP],
    );
    assert_steps(
        b"a APPEND x \"yesterday\" {2+}\r\nab\r\nn NOOP\r\n",
        &["a malformed date Discarding", NOOP],
    );
    assert_steps(b"a APPEND x\0 {2}\r\n", &["a NUL or bare CR"]);
    assert_steps(b"a APPEND x{2}\r\n", &["a missing message Ready"]);
}

#[test]
fn lines_within_a_command() {
    let mut reader = CommandReader::new(LIMITS);
    let mut input = BytesMut::from(&b"dGVzdA==\r\ndone\n"[..]);
    assert_eq!(reader.next_line(&mut input), LineEvent::Line("dGVzdA==".into()));
    assert_eq!(reader.next_line(&mut input), LineEvent::Line("done".into()));
    assert_eq!(reader.next_line(&mut input), LineEvent::NeedMore);
    input.extend_from_slice(&[b'x'; 300]);
    assert_eq!(reader.next_line(&mut input), LineEvent::TooLong);
    assert_eq!(reader.next_line(&mut input), LineEvent::NeedMore);
    input.extend_from_slice(b"\r\nDONE\r\n");
    assert_eq!(reader.next_line(&mut input), LineEvent::Line("DONE".into()));
}

#[test]
fn reset_forgets_pipelined_input() {
    let mut reader = CommandReader::new(LIMITS);
    let mut input = BytesMut::from(&b"a STARTTLS\r\nb LOGIN {3+}\r\nj"[..]);
    assert!(matches!(reader.next(&mut input), Event::Command(_)));
    assert!(reader.is_between_commands());
    assert_eq!(reader.next(&mut input), Event::NeedMore);
    assert!(!reader.is_between_commands());
    input.clear();
    reader.reset();
    input.extend_from_slice(b"n NOOP\r\n");
    assert!(matches!(reader.next(&mut input), Event::Command(_)));
}

#[test]
fn an_endless_line_is_not_held() {
    let mut reader = CommandReader::new(Limits::default());
    let mut input = BytesMut::new();
    let mut rejections = 0;
    for _ in 0..2000 {
        input.extend_from_slice(&[b'('; 50_000]);
        while let Event::Rejected(rejection) = reader.next(&mut input) {
            rejections += 1;
            assert_eq!(rejection.recovery, Recovery::Discarding);
        }
        assert!(input.len() < 200_000 && input.capacity() < 400_000);
    }
    assert_eq!(rejections, 1);
}
