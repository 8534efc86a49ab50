//! Mutations of mailboxes and messages, and what sessions see of them.

use rookery_proto::Reason;
use rookery_proto::mailstore::v1::store::Mode;
use rookery_proto::mailstore::v1::{self as proto, reply, request::Call as Wire};

use crate::support::*;

fn flags(system: u32, keywords: &[&str]) -> proto::Flags {
    proto::Flags {
        system,
        keywords: keywords.iter().map(ToString::to_string).collect(),
    }
}

async fn copied(client: &Client, copy: proto::Copy) -> proto::Copied {
    match client.mutate(Wire::Copy(copy), ANN, unique(), 1).await.unwrap() {
        reply::Call::Copied(copied) => copied,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_copies_moves_and_expunges_show_in_changes() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    for number in 0..10 {
        client
            .deliver_to(ANN, format!("Subject: {number}\r\n\r\n").as_bytes())
            .await;
    }
    let archive = client.mailbox_id(ANN, "Archive").await;
    let start = client.open(ANN, 1).await.mailbox.unwrap().highest_modseq;

    let store = proto::Store {
        mailbox: 1,
        uids: set(&[2, 4, 50, 60]),
        mode: Mode::Add.into(),
        flags: Some(flags(1, &["$Label"])),
        unchanged_since: 0,
    };
    let stored = client.store(ANN, store.clone()).await.unwrap();
    assert_eq!(
        stored.messages.iter().map(|row| row.uid).collect::<Vec<_>>(),
        [2, 3, 4]
    );
    let changes = client.changes(ANN, 1, start).await;
    assert_eq!(
        changes.changed.iter().map(|row| row.uid).collect::<Vec<_>>(),
        [2, 3, 4]
    );
    assert_eq!(changes.changed[0].flags, Some(flags(1, &["$Label"])));
    assert_eq!((changes.modseq, changes.vanished), (stored.modseq, None));
    assert_eq!(
        client
            .search(ANN, proto::search_key::Key::Keyword("$LABEL".into()))
            .await
            .unwrap(),
        [2, 3, 4]
    );
    let refused = client
        .store(
            ANN,
            proto::Store {
                unchanged_since: start,
                ..store
            },
        )
        .await
        .unwrap();
    assert_eq!(uids(refused.modified.as_ref()), [2, 3, 4]);

    let copy = copied(
        &client,
        proto::Copy {
            from: 1,
            uids: set(&[1, 3]),
            to: archive,
            r#move: false,
        },
    )
    .await;
    assert_eq!(
        (uids(copy.source.as_ref()), uids(copy.target.as_ref())),
        (vec![1, 2, 3], vec![1, 2, 3])
    );
    let moved = copied(
        &client,
        proto::Copy {
            from: 1,
            uids: set(&[9, 20]),
            to: archive,
            r#move: true,
        },
    )
    .await;
    assert_eq!(
        (uids(moved.source.as_ref()), uids(moved.target.as_ref())),
        (vec![9, 10], vec![4, 5])
    );
    let archived = client.messages(ANN, archive).await;
    assert_eq!(archived.len(), 5);
    assert!(archived[4].1.ends_with(b"Subject: 9\r\n\r\n"));

    let delete = proto::Store {
        mailbox: 1,
        uids: set(&[1, 2, 5, 5]),
        mode: Mode::Add.into(),
        flags: Some(flags(8, &[])),
        unchanged_since: 0,
    };
    client.store(ANN, delete).await.unwrap();
    let expunge = |only, set| {
        Wire::Expunge(proto::Expunge {
            mailbox: 1,
            only,
            uids: set,
        })
    };
    match client
        .mutate(expunge(true, set(&[2, 3])), ANN, unique(), 1)
        .await
        .unwrap()
    {
        reply::Call::Expunged(expunged) => assert_eq!(uids(expunged.uids.as_ref()), [2]),
        other => panic!("{other:?}"),
    }
    match client
        .mutate(expunge(false, None), ANN, unique(), 1)
        .await
        .unwrap()
    {
        reply::Call::Expunged(expunged) => assert_eq!(uids(expunged.uids.as_ref()), [1, 5]),
        other => panic!("{other:?}"),
    }
    let changes = client.changes(ANN, 1, start).await;
    assert_eq!(uids(changes.vanished.as_ref()), [1, 2, 5, 9, 10]);
    assert_eq!(
        changes.changed.iter().map(|row| row.uid).collect::<Vec<_>>(),
        [3, 4]
    );
    assert_eq!(uids(client.open(ANN, 1).await.uids.as_ref()), [3, 4, 6, 7, 8]);
    // Copies outlive their source.
    assert!(
        client.messages(ANN, archive).await[0]
            .1
            .ends_with(b"Subject: 0\r\n\r\n")
    );
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_away_for_long_starts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    client.deliver_to(ANN, b"Subject: a\r\n\r\n").await;
    client.deliver_to(ANN, b"Subject: b\r\n\r\n").await;
    // Before the mailbox was.
    let changes = client.changes(ANN, 1, 0).await;
    assert!(changes.reset || changes.changed.len() == 2);
    assert_eq!(
        changes.changed.iter().map(|row| row.uid).collect::<Vec<_>>(),
        [1, 2]
    );
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_are_whole_and_their_retry_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    let message = |text: &str, zone_minutes| proto::AppendMessage {
        body: Some(inline(text.as_bytes())),
        flags: Some(flags(5, &["$A"])),
        internal_date: Some(proto::InternalDate {
            unix_seconds: 1_000_000_000,
            zone_minutes,
        }),
    };
    let append = proto::Append {
        mailbox: 1,
        messages: vec![message("A: 1\r\n\r\n1", 90), message("A: 2\r\n\r\n2", -90)],
    };
    let session = unique();
    let first = client
        .mutate(Wire::Append(append.clone()), ANN, session, 7)
        .await
        .unwrap();
    let retries = futures_util::future::join_all(
        (0..5).map(|_| client.mutate(Wire::Append(append.clone()), ANN, session, 7)),
    )
    .await;
    assert!(retries.into_iter().all(|retry| retry.unwrap() == first));
    let reply::Call::Appended(appended) = first else {
        panic!("not an append")
    };
    assert_eq!(uids(appended.uids.as_ref()), [1, 2]);
    let messages = client.messages(ANN, 1).await;
    assert_eq!(
        messages,
        [(1, b"A: 1\r\n\r\n1".to_vec()), (2, b"A: 2\r\n\r\n2".to_vec())]
    );
    let fetch = proto::Fetch {
        mailbox: 1,
        uids: all(),
        internal_date: true,
        flags: true,
        ..proto::Fetch::default()
    };
    let rows = client.fetch(ANN, fetch).await.unwrap();
    assert_eq!(
        rows[1].internal_date,
        Some(proto::InternalDate {
            unix_seconds: 1_000_000_000,
            zone_minutes: -90
        })
    );
    assert_eq!(rows[0].flags, Some(flags(5, &["$A"])));

    // One that cannot be stored keeps the others out.
    let mut broken = append.clone();
    broken.messages[1].body = None;
    let refused = client
        .mutate(Wire::Append(broken), ANN, session, 8)
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::InvalidArgument);
    let strange = proto::Append {
        mailbox: 1,
        messages: vec![message("x", 100_000)],
    };
    assert_eq!(
        client
            .mutate(Wire::Append(strange), ANN, session, 9)
            .await
            .unwrap_err()
            .reason,
        Reason::InvalidArgument
    );
    let elsewhere = proto::Append {
        mailbox: 99,
        ..append
    };
    assert_eq!(
        client
            .mutate(Wire::Append(elsewhere), ANN, session, 10)
            .await
            .unwrap_err()
            .reason,
        Reason::NoMailbox
    );
    assert_eq!(client.messages(ANN, 1).await.len(), 2);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mailboxes_are_made_renamed_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    let names = |mailboxes: &proto::Mailboxes| -> Vec<String> {
        mailboxes
            .mailboxes
            .iter()
            .map(|mailbox| mailbox.name.clone())
            .collect()
    };
    assert_eq!(
        names(&client.mailboxes(ANN).await),
        ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]
    );
    let create = |name: &str| {
        Wire::CreateMailbox(proto::CreateMailbox {
            name: name.into(),
            special_use: 0,
        })
    };
    client
        .mutate(create("Work/2024"), ANN, unique(), 1)
        .await
        .unwrap();
    let taken = client.mutate(create("Work"), ANN, unique(), 1).await.unwrap_err();
    assert_eq!(taken.reason, Reason::MailboxExists);
    let work = client.mailbox_id(ANN, "Work").await;
    let rename = Wire::RenameMailbox(proto::RenameMailbox {
        mailbox: work,
        new_name: "Job".into(),
        ..proto::RenameMailbox::default()
    });
    client.mutate(rename, ANN, unique(), 1).await.unwrap();
    let subscribe = proto::SetSubscription {
        name: "Job/2024".into(),
        subscribed: true,
    };
    client
        .mutate(Wire::SetSubscription(subscribe), ANN, unique(), 1)
        .await
        .unwrap();
    let listed = client.mailboxes(ANN).await;
    assert!(names(&listed).contains(&"Job/2024".to_owned()) && !names(&listed).contains(&"Work".to_owned()));
    assert!(listed.subscriptions.contains(&"Job/2024".to_owned()));
    assert_eq!(client.mailbox_id(ANN, "Job").await, work);
    let delete = |mailbox| Wire::DeleteMailbox(proto::DeleteMailbox { mailbox });
    client.mutate(delete(work), ANN, unique(), 1).await.unwrap();
    assert_eq!(
        client
            .mutate(delete(1), ANN, unique(), 1)
            .await
            .unwrap_err()
            .reason,
        Reason::MailboxRefused
    );
    assert!(names(&client.mailboxes(ANN).await).contains(&"Job/2024".to_owned()));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recent_messages_are_one_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    client.deliver_to(ANN, b"\r\n").await;
    client.deliver_to(ANN, b"\r\n").await;
    let claim = |claim_recent| {
        Wire::OpenMailbox(proto::OpenMailbox {
            mailbox: 1,
            claim_recent,
        })
    };
    let recent = |opened: reply::Call| match opened {
        reply::Call::OpenedMailbox(opened) => (opened.recent_from, uids(opened.uids.as_ref()).len()),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        recent(client.ask(claim(false), owner(ANN)).await.unwrap()),
        (1, 2)
    );
    assert_eq!(recent(client.ask(claim(true), owner(ANN)).await.unwrap()), (1, 2));
    assert_eq!(recent(client.ask(claim(true), owner(ANN)).await.unwrap()), (3, 2));
    client.deliver_to(ANN, b"\r\n").await;
    assert_eq!(client.mailboxes(ANN).await.mailboxes[2].recent, 1);
    assert_eq!(recent(client.ask(claim(true), owner(ANN)).await.unwrap()), (3, 3));
    // One who leaves takes what came while it was there.
    client.deliver_to(ANN, b"\r\n").await;
    let leave = Wire::ClaimRecent(proto::ClaimRecent { mailbox: 1, below: 5 });
    client.ask(leave, owner(ANN)).await.unwrap();
    assert_eq!(client.mailboxes(ANN).await.mailboxes[2].recent, 0);
    // It is written in time when the node stops.
    drop(client);
    fixture.stop().await;
    let fixture = Fixture::start(folder.path()).await;
    assert_eq!(fixture.proxy().mailboxes(ANN).await.mailboxes[2].recent, 0);
    fixture.stop().await;
}
