//! Malformed and hostile command lines: every one is refused, with its tag where it has one.

use super::tests::parse;
use super::*;
use crate::imap::types::Tag;

#[test]
fn malformed_fetches_are_refused() {
    for items in [
        "",
        "()",
        "(FLAGS",
        "FLAGS)",
        "(FLAGS  UID)",
        "(FLAGS,UID)",
        "( FLAGS)",
        "(FLAGS )",
        "(ALL)",
        "(ALL FLAGS)",
        "FLAGS UID",
        "BODY[",
        "BODY[]]",
        "BODY[1",
        "BODY[.1]",
        "BODY[1.]",
        "BODY[1..2]",
        "BODY[0]",
        "BODY[1.0]",
        "BODY[MIME]",
        "BODY[HEADER.]",
        "BODY[1HEADER]",
        "BODY[HEADER.1]",
        "BODY[TEXT.1]",
        "BODY[X]",
        "BODY[ ]",
        "BODY[HEADER.FIELDS]",
        "BODY[HEADER.FIELDS ()]",
        "BODY[HEADER.FIELDS(a)]",
        "BODY[HEADER.FIELDS (a]",
        "BODY[HEADER.FIELDS (\"a b\")]",
        "BODY[HEADER.FIELDS (a:)]",
        "BODY[HEADER.FIELDS (\"\")]",
        "BODY[HEADER.FIELDS.NOT.X (a)]",
        "BODY[]<",
        "BODY[]<1>",
        "BODY[]<1.0>",
        "BODY[]<.1>",
        "BODY[]<1.2",
        "BODY[]<-1.2>",
        "BODY[]<4294967296.1>",
        "BODY[4294967296]",
        "BODY.PEEK",
        "BODY.PEAK[]",
        "FLAGS[]",
        "RFC822[1]",
        "BODYSTRUCTURE[]",
        "BINARY",
        "BINARY[TEXT]",
        "BINARY[1.]",
        "BINARY.SIZE[1]<0.1>",
        "MODSEQ",
        "1",
        "\"FLAGS\"",
        "BODY[1.HEADER.FIELDS (a) ]",
        "BODY [1]",
    ] {
        let line = format!("t FETCH 1 {items}");
        assert!(parse(&line).is_err(), "{line}");
    }
    for set in [
        "",
        "0",
        "1,,2",
        "1:",
        "a",
        "1-2",
        "*:*:*",
        "(1)",
        "1.2",
        "18446744073709551616",
    ] {
        for command in [
            "FETCH {} FLAGS",
            "UID FETCH {} FLAGS",
            "STORE {} FLAGS ()",
            "COPY {} a",
            "UID EXPUNGE {}",
        ] {
            let line = format!("t {}", command.replace("{}", set));
            assert!(parse(&line).is_err(), "{line}");
        }
    }
}

#[test]
fn malformed_searches_are_refused() {
    for keys in [
        "",
        " ",
        "  ALL",
        "ODD",
        "(",
        ")",
        "()",
        "( ALL)",
        "(ALL )",
        "(ALL",
        "NOT",
        "OR ALL",
        "OR ALL  ALL",
        "FROM",
        "SINCE yesterday",
        "SINCE 31-Feb-2024",
        "LARGER x",
        "LARGER -1",
        "UID",
        "UID a",
        "HEADER a",
        "KEYWORD \\Seen",
        "ALL)",
        "1:",
        "FROM \"a",
        "FROM \"a\\b\"",
        "CHARSET UTF-8",
        "CHARSET",
        "BODY {x}",
    ] {
        assert!(parse(&format!("t SEARCH {keys}")).is_err(), "{keys}");
    }
}

#[test]
fn keywords_are_as_long_as_a_mailbox_stores() {
    let longest = "k".repeat(crate::imap::types::KEYWORD_BYTES_MAX);
    for command in ["STORE 1 +FLAGS (@)", "SEARCH KEYWORD @"] {
        let with = |keyword: &str| parse(&format!("t {}", command.replace("@", keyword)));
        let accepted = with(&longest);
        let refused = with(&format!("{longest}k"));
        assert!(accepted.is_ok() && refused.is_err(), "{command}");
    }
}

#[test]
fn hostile_input_is_bounded() {
    let deep = SEARCH_PARENTHESES_MAX;
    assert!(parse(&format!("t SEARCH {}ALL{}", "(".repeat(deep), ")".repeat(deep))).is_ok());
    for hostile in [
        format!("t SEARCH {}ALL{}", "(".repeat(deep + 1), ")".repeat(deep + 1)),
        format!("t SEARCH {}", "(".repeat(10_000)),
        format!("t SEARCH {}ALL", "NOT ".repeat(10_000)),
        format!("t SEARCH {}ALL", "OR ALL ".repeat(10_000)),
        format!("t SEARCH {}ALL", "OR ".repeat(10_000)),
        format!("t SEARCH {}", "ALL ".repeat(SEARCH_KEYS_MAX + 1)),
        format!("t FETCH 1 ({}UID)", "UID ".repeat(FETCH_ITEMS_MAX)),
        format!("t FETCH 1 BODY[{}1]", "1.".repeat(PART_DEPTH_MAX)),
        format!(
            "t FETCH 1 BODY[HEADER.FIELDS ({}a)]",
            "a ".repeat(HEADER_FIELDS_MAX)
        ),
        format!("t FETCH {} FLAGS", vec!["1"; SET_RANGES_MAX + 1].join(",")),
        format!("t STORE 1 FLAGS ({}a)", "a ".repeat(FLAGS_MAX)),
        format!("t LIST \"\" ({}a)", "a ".repeat(LIST_PATTERNS_MAX)),
        format!("t LIST {}", "(".repeat(10_000)),
        format!("t ID ({}a NIL)", "a NIL ".repeat(30)),
        format!("t {}", "X".repeat(10_000)),
        format!("{} NOOP", "X".repeat(10_000)),
    ] {
        let front = &hostile[..hostile.len().min(60)];
        let error = parse(&hostile)
            .map(|command| format!("{command:?}")[..60].to_owned())
            .expect_err(front);
        assert_eq!(error.tag.is_some(), hostile.starts_with("t "), "{front}");
    }
}

#[test]
fn malformed_commands_are_refused_with_their_tag() {
    for line in [
        "t",
        "t ",
        "t  NOOP",
        "t NOOP x",
        "t LOGIN",
        "t LOGIN a",
        "t LOGIN a b c",
        "t LOGIN \"a b",
        "t LOGIN a\\ b",
        "t LOGIN a \"b\\c\"",
        "t SELECT",
        "t SELECT  a",
        "t SELECT a b",
        "t SELECT \"a\"b",
        "t SELECT ä",
        "t AUTHENTICATE",
        "t AUTHENTICATE PLAIN AAA",
        "t AUTHENTICATE PLAIN AA== x",
        "t ENABLE",
        "t ID",
        "t ID (\"a\")",
        "t STATUS a",
        "t STATUS a ()",
        "t STATUS a (ODD)",
        "t STATUS a MESSAGES",
        "t RENAME a",
        "t LIST",
        "t LIST \"\"",
        "t LIST (ODD) \"\" *",
        "t LIST \"\" ()",
        "t LIST (RECURSIVEMATCH) \"\" *",
        "t LIST \"\" * RETURN",
        "t LIST \"\" * RETURN (ODD)",
        "t LIST \"\" \"*\" (CHILDREN)",
        "t CREATE a (USE",
        "t CREATE a (ODD (\\Sent))",
        "t APPEND INBOX",
        "t APPEND INBOX abc",
        "t APPEND INBOX (\\Seen)",
        "t UID",
        "t UID FETCH",
        "t COPY 1",
        "t MOVE 1 ",
        "t EXPUNGE 1",
        "t UID EXPUNGE",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.tag, Tag::new(b"t"), "{line}");
        assert!(!error.reason.is_empty() && error.reason.is_ascii());
    }
    for line in ["", " NOOP", "+ NOOP", "* NOOP", "\"t\" NOOP", "t\tNOOP"] {
        assert_eq!(parse(line).expect_err(line).tag, None, "{line}");
    }
}
