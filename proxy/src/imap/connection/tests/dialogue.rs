//! Commands that need a mailbox, against canned replies.

use std::time::Duration;

use bytes::Bytes;
use rookery_proto::mailstore::v1::{
    Copied, Expunged, FetchedRow, FetchedRows, Flags, Mailbox, MailboxChanges, Mailboxes, MessageFlags,
    OpenedMailbox, SectionData, Stored, UidSet, new_body, reply, request,
};
use rookery_proto::{Reason, Status};

use super::fake::{Server, Setup, plain};
use crate::imap::ImapOptions;

fn row(uid: u32, data: &'static [u8], total: u64, more: bool) -> Result<reply::Call, Status> {
    let section = SectionData {
        total,
        data: Bytes::from_static(data),
        ..SectionData::default()
    };
    let rows = vec![FetchedRow {
        uid,
        flags: Some(Flags::default()),
        sections: vec![section],
        more,
        ..FetchedRow::default()
    }];
    Ok(reply::Call::Rows(FetchedRows { rows }))
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let script = |call: &request::Call| match call {
        request::Call::Fetch(_) => vec![
            row(1, b"hel", 5, true),
            row(1, b"lo", 5, false),
            row(3, b"x", 1, false),
        ],
        _ => vec![plain(call)],
    };
    let setup = Setup {
        script: Box::new(script),
        ..Setup::default()
    };
    let input = b"a LOGIN {4+}\r\nuser {6+}\r\nsecret\r\nb SELECT INBOX\r\nc FETCH 1:* BODY.PEEK[]\r\nd NOOP\r\ne LOGOUT\r\n";
    let heard = Server::all(setup, input).await;
    let at = |text: &str| heard.find(text).unwrap_or_else(|| panic!("{text}: {heard}"));
    let order = [
        at("a OK [CAPABILITY"),
        at("* 3 EXISTS\r\n"),
        at("b OK [READ-WRITE]"),
        at("* 1 FETCH (BODY[] {5}\r\nhello)\r\n"),
        at("* 3 FETCH (BODY[] {1}\r\nx)\r\n"),
        at("c OK "),
        at("d OK "),
        at("* BYE "),
        at("e OK "),
    ];
    assert!(order.is_sorted(), "{heard}");
}

#[tokio::test]
async fn a_fetch_that_breaks_off_goes_on() {
    let script = |call: &request::Call| match call {
        request::Call::Fetch(fetch) if fetch.sections[0].partial => vec![row(2, b"lo", 2, false)],
        request::Call::Fetch(fetch) if fetch.uids == Some(UidSet { bounds: vec![3, 3] }) => {
            vec![row(3, b"x", 1, false)]
        }
        request::Call::Fetch(_) => {
            vec![
                row(1, b"a", 1, false),
                row(2, b"hel", 5, true),
                Err(Status::unavailable("the leader died")),
            ]
        }
        _ => vec![plain(call)],
    };
    let setup = Setup {
        script: Box::new(script),
        ..Setup::default()
    };
    let heard = Server::all(
        setup,
        b"a LOGIN user secret\r\nb EXAMINE INBOX\r\nc FETCH 1:* (UID BODY[])\r\nd LOGOUT\r\n",
    )
    .await;
    let wanted = "* 1 FETCH (UID 1 BODY[] {1}\r\na)\r\n* 2 FETCH (UID 2 BODY[] {5}\r\nhello)\r\n\
                  * 3 FETCH (UID 3 BODY[] {1}\r\nx)\r\nc OK ";
    assert!(heard.contains(wanted), "{heard}");
}

#[tokio::test]
async fn reading_sets_seen_and_says_so() {
    let script = |call: &request::Call| match call {
        request::Call::Fetch(_) => vec![row(2, b"x", 1, false)],
        request::Call::Store(_) => {
            let flags = Some(Flags {
                system: 1,
                keywords: Vec::new(),
            });
            let messages = vec![MessageFlags {
                uid: 2,
                flags,
                modseq: 6,
            }];
            vec![Ok(reply::Call::Stored(Stored {
                messages,
                modified: None,
                modseq: 6,
            }))]
        }
        _ => vec![plain(call)],
    };
    let mut server = Server::start(Setup {
        script: Box::new(script),
        ..Setup::default()
    })
    .await;
    server
        .send("a LOGIN user secret\r\nb SELECT INBOX\r\nc FETCH 2 BODY[]\r\n")
        .await;
    let heard = server.until("c OK FETCH completed\r\n").await;
    assert!(
        heard.contains("* 2 FETCH (FLAGS (\\Seen) BODY[] {1}\r\nx)\r\n"),
        "{heard}"
    );
    let stored = server.mailstore.calls().into_iter().any(|call| match call {
        request::Call::Store(store) => store.uids == Some(UidSet { bounds: vec![2, 2] }),
        _ => false,
    });
    assert!(stored);
    server
        .send("d STORE 2 +FLAGS.SILENT (\\Seen)\r\ne STORE 2 FLAGS (\\Seen)\r\nf STORE 9 FLAGS ()\r\n")
        .await;
    let heard = server.until("f BAD no message has such a number\r\n").await;
    let wanted = "d OK STORE completed\r\n* 2 FETCH (FLAGS (\\Seen))\r\ne OK STORE completed\r\n";
    assert!(heard.starts_with(wanted), "{heard}");
}

#[tokio::test]
async fn idle_tells_at_once_and_takes_lower_case() {
    let changes = |since: u64| MailboxChanges {
        modseq: 8,
        changed: vec![MessageFlags {
            uid: 4,
            modseq: 8,
            ..MessageFlags::default()
        }],
        vanished: Some(UidSet { bounds: vec![1, 1] }),
        ..MailboxChanges {
            modseq: since,
            ..MailboxChanges::default()
        }
    };
    let news = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = std::sync::Arc::clone(&news);
    let script = move |call: &request::Call| match call {
        request::Call::Changes(asked) if told.load(std::sync::atomic::Ordering::SeqCst) => {
            vec![Ok(reply::Call::Changes(changes(asked.since)))]
        }
        _ => vec![plain(call)],
    };
    let mut server = Server::start(Setup {
        script: Box::new(script),
        ..Setup::default()
    })
    .await;
    // iOS sends IDLE behind other commands.
    server
        .send("a LOGIN user secret\r\nb SELECT INBOX\r\nc IDLE\r\n")
        .await;
    server.until("+ idling\r\n").await;
    news.store(true, std::sync::atomic::Ordering::SeqCst);
    server.mailstore.changed(1, 8);
    assert_eq!(
        server.until("RECENT\r\n").await,
        "* 1 EXPUNGE\r\n* 3 EXISTS\r\n* 1 RECENT\r\n"
    );
    server.send("done\r\nd LOGOUT\r\n").await;
    server.until("c OK ").await;
}

#[tokio::test]
async fn idle_ends_by_done_and_by_commands() {
    let input = b"a LOGIN user secret\r\nb IDLE\r\n\r\nDONE \r\nc IDLE\r\nd NOOP\r\ne IDLE\r\n\
                  f EXAMINE {5+}\r\nINBOX\r\ng LOGOUT\r\n";
    let heard = Server::all(Setup::default(), input).await;
    let at = |text: &str| heard.find(text).unwrap_or_else(|| panic!("{text}: {heard}"));
    let order = [
        at("b OK IDLE completed\r\n"),
        at("c BAD expected DONE\r\n"),
        at("d OK "),
        at("e BAD expected DONE\r\n"),
        at("f OK [READ-ONLY]"),
        at("g OK "),
    ];
    assert!(order.is_sorted(), "{heard}");
}

#[tokio::test]
async fn idle_gives_signs_of_life() {
    let mut server = Server::start(Setup {
        options: ImapOptions {
            plaintext_login: true,
            keepalive_interval: Duration::from_millis(20),
            ..ImapOptions::default()
        },
        ..Setup::default()
    })
    .await;
    server.send("a LOGIN user secret\r\nb IDLE\r\n").await;
    server.until("+ idling\r\n").await;
    assert_eq!(server.until("\r\n").await, "* OK Still here\r\n");
    assert_eq!(server.until("\r\n").await, "* OK Still here\r\n");
}

#[tokio::test]
async fn small_messages_go_with_the_append_and_large_ones_before_it() {
    let mut server = Server::start(Setup::default()).await;
    let large = "x".repeat(300 * 1024);
    server.send("a LOGIN user secret\r\n").await;
    server
        .send(&format!(
            "b APPEND INBOX (\\Seen) {{5+}}\r\nhello {{{}+}}\r\n{large}\r\n",
            large.len()
        ))
        .await;
    let heard = server.until("APPEND completed\r\n").await;
    assert!(heard.contains("b OK [APPENDUID 9 4:5]"), "{heard}");
    let calls = server.mailstore.calls();
    assert!(calls.iter().any(|call| matches!(call, request::Call::Upload(_))));
    let Some(request::Call::Append(append)) = calls.last() else {
        panic!("{calls:?}")
    };
    let bodies: Vec<_> = append
        .messages
        .iter()
        .filter_map(|message| message.body.clone()?.source)
        .collect();
    assert!(matches!(&bodies[0], new_body::Source::Inline(bytes) if bytes == "hello"));
    assert!(matches!(&bodies[1], new_body::Source::Upload(_)));
    assert_eq!(
        append.messages[0].flags.as_ref().map(|flags| flags.system),
        Some(1)
    );

    server
        .send("c APPEND nowhere {5}\r\nd APPEND INBOX {99999999}\r\ne APPEND INBOX {0+}\r\n\r\nf LOGOUT\r\n")
        .await;
    let heard = server.rest().await;
    for wanted in ["c NO [TRYCREATE]", "d NO [TOOBIG]", "e NO ", "f OK "] {
        assert!(heard.contains(wanted), "{wanted}: {heard}");
    }
}

#[tokio::test]
async fn calls_name_what_the_client_wrote_and_not_what_the_mailbox_holds() {
    // Every second message was expunged: with a range for each a call would be too large to be taken.
    let script = |call: &request::Call| match call {
        request::Call::OpenMailbox(_) => vec![plain(call).map(|opened| match opened {
            reply::Call::OpenedMailbox(opened) => reply::Call::OpenedMailbox(OpenedMailbox {
                uids: Some(UidSet {
                    bounds: (1..=300_000).flat_map(|n| [n * 2, n * 2]).collect(),
                }),
                ..opened
            }),
            other => other,
        })],
        request::Call::Fetch(_) => vec![],
        request::Call::Store(_) => vec![Ok(reply::Call::Stored(Stored::default()))],
        request::Call::Copy(_) => vec![Ok(reply::Call::Copied(Copied::default()))],
        request::Call::Expunge(_) => vec![Ok(reply::Call::Expunged(Expunged::default()))],
        _ => vec![plain(call)],
    };
    let mut server = Server::start(Setup {
        script: Box::new(script),
        ..Setup::default()
    })
    .await;
    server
        .send(
            "a LOGIN user secret\r\nb SELECT INBOX\r\nc FETCH 2:* FLAGS\r\nd UID STORE 3:900000 +FLAGS (\\Deleted)\r\n\
             e COPY 1:299999 INBOX\r\nf UID EXPUNGE 1:*\r\ng UID FETCH 600001 FLAGS\r\n",
        )
        .await;
    let heard = server.until("g OK FETCH completed\r\n").await;
    assert!(heard.contains("e OK ") && heard.contains("f OK "), "{heard}");
    let named: Vec<Vec<u32>> = server
        .mailstore
        .calls()
        .into_iter()
        .filter_map(|call| match call {
            request::Call::Fetch(fetch) => fetch.uids,
            request::Call::Store(store) => store.uids,
            request::Call::Copy(copy) => copy.uids,
            request::Call::Expunge(expunge) => expunge.uids,
            _ => None,
        })
        .map(|uids| uids.bounds)
        .collect();
    // Never beyond what the session knows: something newer must not be changed unseen.
    assert_eq!(named, [[4, 600_000], [4, 600_000], [2, 599_998], [2, 600_000]]);
}

/// What a session claims that opens INBOX, has a message come, and then does something.
async fn claimed(open: &str, then: &str) -> Vec<u32> {
    let script = |call: &request::Call| match call {
        request::Call::Changes(_) => vec![Ok(reply::Call::Changes(MailboxChanges {
            modseq: 8,
            changed: vec![MessageFlags {
                uid: 7,
                modseq: 8,
                ..MessageFlags::default()
            }],
            ..MailboxChanges::default()
        }))],
        request::Call::Expunge(_) => vec![Ok(reply::Call::Expunged(Expunged::default()))],
        _ => vec![plain(call)],
    };
    let mut server = Server::start(Setup {
        script: Box::new(script),
        ..Setup::default()
    })
    .await;
    let mailstore = std::sync::Arc::clone(&server.mailstore);
    server.send("a LOGIN user secret\r\n").await;
    server.until("a OK ").await;
    server.send(&format!("{open}{then}")).await;
    if then.is_empty() {
        server.until("c OK ").await;
        drop(server.client);
        server.task.await.unwrap();
        server.cluster.stop().await;
    } else {
        server.until("d OK ").await;
    }
    let claims = mailstore.calls().into_iter().filter_map(|call| match call {
        request::Call::ClaimRecent(claim) if claim.mailbox == 1 => Some(claim.below),
        _ => None,
    });
    claims.collect()
}

#[tokio::test]
async fn a_session_takes_what_came_while_it_lasted() {
    let open = "b SELECT INBOX\r\nc NOOP\r\n";
    for then in [
        "d SELECT INBOX\r\n",
        "d EXAMINE INBOX\r\n",
        "d CLOSE\r\n",
        "d UNSELECT\r\n",
        "d LOGOUT\r\n",
        // The connection breaks.
        "",
    ] {
        assert_eq!(claimed(open, then).await, [8], "{then}");
    }
    // Nothing came, or the session may take nothing.
    for open in ["b SELECT INBOX\r\n", "b EXAMINE INBOX\r\nc NOOP\r\n"] {
        let claims = claimed(open, "d UNSELECT\r\n").await;
        assert!(claims.is_empty(), "{open}: {claims:?}");
    }
}

#[tokio::test]
async fn only_a_target_that_is_missing_is_worth_creating() {
    let listed = std::sync::atomic::AtomicBool::new(true);
    let script = move |call: &request::Call| match call {
        request::Call::ListMailboxes(_) => {
            let target = Mailbox {
                id: 4,
                name: "Target".into(),
                ..Mailbox::default()
            };
            vec![Ok(reply::Call::Mailboxes(Mailboxes {
                mailboxes: if listed.load(std::sync::atomic::Ordering::SeqCst) {
                    vec![target]
                } else {
                    Vec::new()
                },
                ..Mailboxes::default()
            }))]
        }
        request::Call::Copy(copy) => {
            // What is deleted between the look-up and the copy: with MOVE the target, with COPY the source.
            listed.store(!copy.r#move, std::sync::atomic::Ordering::SeqCst);
            vec![Err(Status::new(Reason::NoMailbox, "no such mailbox"))]
        }
        _ => vec![plain(call)],
    };
    let setup = Setup {
        script: Box::new(script),
        ..Setup::default()
    };
    let input = b"a LOGIN user secret\r\nb SELECT INBOX\r\nc COPY 1 Target\r\nd MOVE 1 Target\r\ne COPY 1 Target\r\nf LOGOUT\r\n";
    let heard = Server::all(setup, input).await;
    for wanted in ["c NO [NONEXISTENT] ", "d NO [TRYCREATE] ", "e NO [TRYCREATE] "] {
        assert!(heard.contains(wanted), "{wanted}: {heard}");
    }
}

#[tokio::test]
async fn new_keywords_are_offered_while_there_is_room() {
    for (keywords_free, wanted) in [(1, "\\Draft Work \\*)]"), (0, "\\Draft Work)]")] {
        let script = move |call: &request::Call| match call {
            request::Call::OpenMailbox(_) => vec![plain(call).map(|opened| match opened {
                reply::Call::OpenedMailbox(opened) => reply::Call::OpenedMailbox(OpenedMailbox {
                    keywords: vec!["Work".into()],
                    keywords_free,
                    ..opened
                }),
                other => other,
            })],
            _ => vec![plain(call)],
        };
        let setup = Setup {
            script: Box::new(script),
            ..Setup::default()
        };
        let heard = Server::all(setup, b"a LOGIN user secret\r\nb SELECT INBOX\r\nc LOGOUT\r\n").await;
        let line = heard
            .lines()
            .find(|line| line.contains("PERMANENTFLAGS"))
            .unwrap();
        assert!(line.contains(wanted), "{heard}");
    }
}

#[tokio::test]
async fn levels_are_renamed_by_name() {
    let script = |call: &request::Call| match call {
        request::Call::RenameMailbox(rename) if rename.level == "nothing" => {
            vec![Err(Status::new(Reason::NoMailbox, "nothing of this name"))]
        }
        _ => vec![plain(call)],
    };
    let mut server = Server::start(Setup {
        script: Box::new(script),
        ..Setup::default()
    })
    .await;
    server
        .send("a LOGIN user secret\r\nb RENAME x/ z\r\nc RENAME INBOX old\r\nd RENAME nothing z\r\n")
        .await;
    let heard = server.until("d NO [NONEXISTENT] no such mailbox\r\n").await;
    assert!(heard.contains("b OK ") && heard.contains("c OK "), "{heard}");
    let renames: Vec<(u32, String)> = server
        .mailstore
        .calls()
        .into_iter()
        .filter_map(|call| match call {
            request::Call::RenameMailbox(rename) => Some((rename.mailbox, rename.level)),
            _ => None,
        })
        .collect();
    assert_eq!(
        renames,
        [(0, "x".into()), (1, "INBOX".into()), (0, "nothing".into())]
    );
}

#[tokio::test]
async fn patterns_that_are_much_to_compare_are_refused() {
    let pattern = "%a".repeat(1_000);
    let input = format!(
        "a LOGIN user secret\r\nb LIST \"\" ({pattern} {pattern} {pattern})\r\nc LSUB \"\" {pattern}{pattern}{pattern}\r\n\
         d LIST \"\" (%BOX {pattern})\r\ne LSUB \"\" %\r\nf LOGOUT\r\n"
    );
    let heard = Server::all(Setup::default(), input.as_bytes()).await;
    for wanted in ["b NO [LIMIT]", "c NO [LIMIT]", "\"/\" INBOX\r\nd OK ", "e OK "] {
        assert!(heard.contains(wanted), "{wanted}: {heard}");
    }
}
