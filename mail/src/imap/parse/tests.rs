//! Command lines as clients send them, and what they mean.

use super::*;
use crate::imap::types::*;

pub(super) fn parse(line: &str) -> Result<Command, CommandError> {
    parse_command(&RawCommand::from_line(line.as_bytes()))
}

fn body_of(line: &str) -> CommandBody {
    parse(&format!("t {line}"))
        .map(|command| command.body)
        .unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn set(text: &str) -> SequenceSet {
    parse_sequence_set(text.as_bytes()).unwrap()
}

fn name(text: &str) -> MailboxName {
    MailboxName::new(text)
}

fn date(year: u16, month: u8, day: u8) -> Date {
    Date::new(year, month, day).unwrap()
}

#[test]
fn commands_without_arguments() {
    for (line, wanted) in [
        ("CAPABILITY", CommandBody::Capability),
        ("noop", CommandBody::Noop),
        ("LogOut", CommandBody::Logout),
        ("STARTTLS", CommandBody::StartTls),
        ("NAMESPACE", CommandBody::Namespace),
        ("IDLE", CommandBody::Idle),
        ("CHECK", CommandBody::Check),
        ("CLOSE", CommandBody::Close),
        ("UNSELECT", CommandBody::Unselect),
        ("EXPUNGE", CommandBody::Expunge { uids: None }),
        (
            "UID EXPUNGE 1:3",
            CommandBody::Expunge {
                uids: Some(set("1:3")),
            },
        ),
        (
            "XYZZY what(ever \"",
            CommandBody::Unknown {
                name: "XYZZY".to_owned(),
            },
        ),
        (
            "UID NOOP",
            CommandBody::Unknown {
                name: "UID NOOP".to_owned(),
            },
        ),
        (
            "ENABLE CONDSTORE utf8=accept",
            CommandBody::Enable(vec!["CONDSTORE".into(), "UTF8=ACCEPT".into()]),
        ),
    ] {
        assert_eq!(body_of(line), wanted, "{line}");
    }
}

#[test]
fn authentication() {
    let plain = |response: Option<&[u8]>| CommandBody::Authenticate {
        mechanism: "PLAIN".to_owned(),
        initial_response: response.map(Secret::new),
    };
    assert_eq!(body_of("AUTHENTICATE PLAIN"), plain(None));
    assert_eq!(
        body_of("authenticate plain AHRlc3QAdGVzdA=="),
        plain(Some(b"\0test\0test"))
    );
    assert_eq!(body_of("AUTHENTICATE PLAIN ="), plain(Some(b"")));
    assert_eq!(body_of("AUTHENTICATE PLAIN "), plain(None));
    let login = |username: &str, password: &str| CommandBody::Login {
        username: username.to_owned(),
        password: Secret::new(password),
    };
    assert_eq!(
        body_of(r#"LOGIN "joe@example.test" "a\\b\"c""#),
        login("joe@example.test", r#"a\b"c"#)
    );
    assert_eq!(body_of("LOGIN joe p]ss"), login("joe", "p]ss"));
    assert_eq!(body_of("LOGIN \"jö\" \"ß\""), login("jö", "ß"));
    assert_eq!(body_of("LOGIN joe \"\""), login("joe", ""));
}

#[test]
fn identification() {
    // iOS, Outlook, Thunderbird.
    let pair = |field: &str, value: &str| (field.to_owned(), Some(value.to_owned()));
    assert_eq!(
        body_of(r#"ID ("name" "iPhone Mail" "version" "21D61" "os-version" NIL)"#),
        CommandBody::Id(vec![
            pair("name", "iPhone Mail"),
            pair("version", "21D61"),
            ("os-version".to_owned(), None)
        ])
    );
    assert_eq!(
        body_of(r#"ID ("name" "Thunderbird")"#),
        CommandBody::Id(vec![pair("name", "Thunderbird")])
    );
    assert_eq!(body_of("ID NIL"), CommandBody::Id(vec![]));
    assert_eq!(body_of("ID ()"), CommandBody::Id(vec![]));
}

#[test]
fn mailboxes() {
    assert_eq!(body_of("SELECT inbox"), CommandBody::Select(name("INBOX")));
    assert_eq!(
        body_of("SELECT \"R&D &- x\""),
        CommandBody::Select(name("R&D & x"))
    );
    assert_eq!(
        body_of("EXAMINE Entw&APw-rfe"),
        CommandBody::Examine(name("Entwürfe"))
    );
    assert_eq!(
        body_of("SELECT \"Entwürfe\""),
        CommandBody::Select(name("Entwürfe"))
    );
    let create = |text, special_use| CommandBody::Create {
        mailbox: name(text),
        special_use,
    };
    assert_eq!(body_of("CREATE Archive/"), create("Archive/", vec![]));
    assert_eq!(
        body_of("CREATE x (USE (\\Sent \\drafts))"),
        create("x", vec![SpecialUse::Sent, SpecialUse::Drafts])
    );
    assert_eq!(
        parse("t CREATE x (USE (\\Odd))").unwrap_err().kind,
        ErrorKind::BadUse
    );
    assert_eq!(
        body_of("RENAME a \"b c\""),
        CommandBody::Rename {
            from: name("a"),
            to: name("b c")
        }
    );
    assert_eq!(body_of("DELETE a"), CommandBody::Delete(name("a")));
    assert_eq!(body_of("SUBSCRIBE \"a\""), CommandBody::Subscribe(name("a")));
    assert_eq!(body_of("UNSUBSCRIBE a"), CommandBody::Unsubscribe(name("a")));
    assert_eq!(
        body_of("STATUS INBOX (UIDNEXT MESSAGES UIDNEXT size)"),
        CommandBody::Status {
            mailbox: name("INBOX"),
            items: vec![StatusItem::UidNext, StatusItem::Messages, StatusItem::Size]
        }
    );
    let (numbering, mailbox) = (Numbering::Uid, name("Trash"));
    assert_eq!(
        body_of("UID MOVE 4,7 Trash"),
        CommandBody::Move {
            numbering,
            set: set("4,7"),
            mailbox
        }
    );
    let (numbering, mailbox) = (Numbering::Sequence, name("Trash"));
    assert_eq!(
        body_of("COPY 1:* \"Trash\""),
        CommandBody::Copy {
            numbering,
            set: set("1:*"),
            mailbox
        }
    );
}

#[test]
fn lists() {
    let plain = ListCommand {
        patterns: vec!["*".to_owned()],
        ..ListCommand::default()
    };
    assert_eq!(body_of("LIST \"\" *"), CommandBody::List(plain.clone()));
    assert_eq!(body_of("LIST \"\" \"*\""), CommandBody::List(plain.clone()));
    assert_eq!(
        body_of("LIST \"\" \"\""),
        CommandBody::List(ListCommand {
            patterns: vec![String::new()],
            ..ListCommand::default()
        })
    );
    assert_eq!(
        body_of(
            "LIST (SUBSCRIBED RECURSIVEMATCH) \"a/\" (\"%\" Entw&APw-%) RETURN (CHILDREN STATUS (UNSEEN))"
        ),
        CommandBody::List(ListCommand {
            extended: true,
            selection: ListSelection {
                subscribed: true,
                recursive_match: true,
                ..Default::default()
            },
            reference: "a/".to_owned(),
            patterns: vec!["%".to_owned(), "Entwü%".to_owned()],
            returns: ListReturn {
                children: true,
                status: vec![StatusItem::Unseen],
                ..Default::default()
            },
        })
    );
    // Outlook.
    assert_eq!(
        body_of("LIST \"\" \"*\" return (special-use)"),
        CommandBody::List(ListCommand {
            extended: true,
            returns: ListReturn {
                special_use: true,
                ..Default::default()
            },
            ..plain
        })
    );
    assert_eq!(
        body_of("LSUB \"\" \"%\""),
        CommandBody::Lsub {
            reference: String::new(),
            pattern: "%".to_owned()
        }
    );
}

#[test]
fn fetches() {
    use FetchItem::*;
    let items = |line: &str| match body_of(line) {
        CommandBody::Fetch { items, .. } => items,
        other => panic!("{other:?}"),
    };
    assert_eq!(items("FETCH 1 fast"), [Flags, InternalDate, Rfc822Size]);
    assert_eq!(items("FETCH 1 ALL"), [Flags, InternalDate, Rfc822Size, Envelope]);
    assert_eq!(
        items("FETCH 1 FULL"),
        [Flags, InternalDate, Rfc822Size, Envelope, Body]
    );
    assert_eq!(items("UID FETCH 1:* (FLAGS)"), [Flags]);
    assert_eq!(items("FETCH 1 RFC822"), [Rfc822]);
    assert_eq!(
        items("FETCH 1 (RFC822.HEADER RFC822.TEXT RFC822.SIZE BODY BODYSTRUCTURE UID)"),
        [Rfc822Header, Rfc822Text, Rfc822Size, Body, BodyStructure, Uid]
    );
    let body = |peek, part: &[u32], text, partial| BodySection {
        peek,
        section: Section {
            part: part.to_vec(),
            text,
        },
        partial,
    };
    // iOS fetches bodies in ranges of 384 KiB.
    let partial = Some(Partial {
        offset: 393_216,
        length: 393_216,
    });
    assert_eq!(
        items("UID FETCH 7 (BODY.PEEK[2]<393216.393216>)"),
        [body(true, &[2], None, partial)]
    );
    assert_eq!(items("FETCH 1 BODY[]"), [body(false, &[], None, None)]);
    assert_eq!(
        items("FETCH 1 BODY[HEADER]"),
        [body(false, &[], Some(SectionText::Header), None)]
    );
    assert_eq!(
        items("FETCH 1 BODY.PEEK[TEXT]"),
        [body(true, &[], Some(SectionText::Text), None)]
    );
    assert_eq!(
        items("FETCH 1 BODY[1.2.3.MIME]"),
        [body(false, &[1, 2, 3], Some(SectionText::Mime), None)]
    );
    assert_eq!(
        items("FETCH 1 BODY[4.header]"),
        [body(false, &[4], Some(SectionText::Header), None)]
    );
    // Thunderbird.
    let fields = vec!["From".to_owned(), "To".to_owned(), "X-a]b".to_owned()];
    assert_eq!(
        items("UID fetch 1:3 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From \"To\" X-a]b)])"),
        [
            Uid,
            Rfc822Size,
            Flags,
            body(true, &[], Some(SectionText::HeaderFields(fields)), None)
        ]
    );
    assert_eq!(
        items("FETCH 1 BODY[1.HEADER.FIELDS.NOT (a)]<0.1>"),
        [body(
            false,
            &[1],
            Some(SectionText::HeaderFieldsNot(vec!["a".to_owned()])),
            Some(Partial { offset: 0, length: 1 })
        )]
    );
    assert_eq!(
        items("FETCH 1 (BINARY.PEEK[1.2]<0.9> BINARY.SIZE[])"),
        [
            Binary {
                peek: true,
                part: vec![1, 2],
                partial: Some(Partial { offset: 0, length: 9 })
            },
            BinarySize(vec![])
        ]
    );
}

#[test]
fn stores() {
    let store = |numbering, action, silent, flags: &[Flag]| CommandBody::Store {
        numbering,
        set: set("1:2"),
        action,
        silent,
        flags: flags.to_vec(),
    };
    use Numbering::*;
    assert_eq!(
        body_of("STORE 1:2 +FLAGS (\\deleted)"),
        store(Sequence, StoreAction::Add, false, &[Flag::Deleted])
    );
    assert_eq!(
        body_of("UID STORE 1:2 -flags.silent \\Seen $Junk \\SEEN"),
        store(
            Uid,
            StoreAction::Remove,
            true,
            &[Flag::Seen, Flag::Keyword("$Junk".into())]
        )
    );
    assert_eq!(
        body_of("STORE 1:2 FLAGS ()"),
        store(Sequence, StoreAction::Replace, false, &[])
    );
    for bad in [
        "FLAGS",
        "FLAGS (\\Recent)",
        "FLAGS (\\Odd)",
        "+FLAGS (a",
        "*FLAGS (a)",
        "FLAG (a)",
        "FLAGS (\\)",
    ] {
        assert!(parse(&format!("t STORE 1 {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn searches() {
    use SearchKey::*;
    let key = |line: &str| match body_of(line) {
        CommandBody::Search { search, .. } => search.key,
        other => panic!("{other:?}"),
    };
    assert_eq!(key("SEARCH ALL"), All);
    assert_eq!(key("SEARCH ALL "), All);
    assert_eq!(
        key("UID SEARCH 1:* NOT DELETED SINCE 1-Feb-1994"),
        And(vec![
            Sequence(set("1:*")),
            Not(Box::new(Deleted)),
            Since(date(1994, 2, 1))
        ])
    );
    assert_eq!(
        key("SEARCH CHARSET UTF-8 OR (FROM \"ä\" UNSEEN) UID 4,6"),
        Or(
            Box::new(And(vec![From("ä".to_owned()), Unseen])),
            Box::new(Uid(set("4,6")))
        )
    );
    assert_eq!(
        key("SEARCH HEADER Message-ID \"<a@b>\""),
        Header("Message-ID".to_owned(), "<a@b>".to_owned())
    );
    assert_eq!(key("SEARCH ((SEEN))"), Seen);
    assert_eq!(
        key("SEARCH KEYWORD $Junk UNKEYWORD x LARGER 5 SMALLER 6"),
        And(vec![
            Keyword("$Junk".to_owned()),
            Unkeyword("x".to_owned()),
            Larger(5),
            Smaller(6)
        ])
    );
    for (name, wanted) in [
        ("ANSWERED", Answered),
        ("DELETED", Deleted),
        ("DRAFT", Draft),
        ("FLAGGED", Flagged),
        ("NEW", New),
        ("OLD", Old),
        ("RECENT", Recent),
        ("SEEN", Seen),
        ("UNANSWERED", Unanswered),
        ("UNDELETED", Undeleted),
        ("UNDRAFT", Undraft),
        ("UNFLAGGED", Unflagged),
        ("UNSEEN", Unseen),
        ("BCC x", Bcc("x".to_owned())),
        ("BODY x", Body("x".to_owned())),
        ("CC x", Cc("x".to_owned())),
        ("SUBJECT \"\"", Subject(String::new())),
        ("TEXT x", Text("x".to_owned())),
        ("TO x", To("x".to_owned())),
        ("BEFORE 1-Feb-1994", Before(date(1994, 2, 1))),
        ("ON \"01-Feb-1994\"", On(date(1994, 2, 1))),
        ("SENTBEFORE 1-Feb-1994", SentBefore(date(1994, 2, 1))),
        ("SENTON 1-Feb-1994", SentOn(date(1994, 2, 1))),
        ("SENTSINCE 1-Feb-1994", SentSince(date(1994, 2, 1))),
    ] {
        assert_eq!(key(&format!("SEARCH {name}")), wanted);
        assert_eq!(
            key(&format!("search {}", name.to_lowercase().replace("feb", "FEB"))),
            wanted
        );
    }
}

#[test]
fn search_charsets() {
    let of = |charset: &str, text: &[u8]| {
        let line = [
            b"t SEARCH CHARSET ",
            charset.as_bytes(),
            b" SUBJECT \"",
            text,
            b"\"",
        ]
        .concat();
        parse_command(&RawCommand::from_line(&line))
    };
    let subject = |text: &str| SearchKey::Subject(text.to_owned());
    for (charset, text) in [
        ("ISO-8859-1", &b"\xe4"[..]),
        ("utf-8", "ä".as_bytes()),
        ("\"windows-1252\"", b"\xe4"),
    ] {
        match of(charset, text).unwrap().body {
            CommandBody::Search { search, .. } => assert_eq!(search.key, subject("ä")),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(of("X-ODD", b"a").unwrap_err().kind, ErrorKind::BadCharset);
    assert_eq!(of("UTF-8", b"\xff").unwrap_err().kind, ErrorKind::Syntax);
}

#[test]
fn search_results() {
    let result = |line: &str| match body_of(line) {
        CommandBody::Search { search, .. } => search.result,
        other => panic!("{other:?}"),
    };
    assert_eq!(result("SEARCH ALL"), None);
    assert_eq!(
        result("SEARCH RETURN () ALL"),
        Some(SearchReturn {
            all: true,
            ..Default::default()
        })
    );
    assert_eq!(
        result("UID SEARCH RETURN (MIN COUNT) CHARSET US-ASCII ALL"),
        Some(SearchReturn {
            min: true,
            count: true,
            ..Default::default()
        })
    );
    assert!(parse("t SEARCH RETURN (SAVE) ALL").is_err());
}
