//! Delivery, and reading what was delivered.

use rookery_proto::Reason;
use rookery_proto::mailstore::v1 as proto;
use rookery_proto::mailstore::v1::section::Kind;
use rookery_replication::{Column, View};

use crate::support::*;

const BODY: &[u8] = b"From: a@example.test\r\nSubject: hello\r\n\r\nHow are you?\r\n";

/// Number of bodies that the shards store.
fn bodies(fixture: &Fixture) -> usize {
    let mut count = 0;
    let visit = &mut |_: &[u8], _: &[u8]| {
        count += 1;
        true
    };
    fixture
        .member
        .store()
        .scan(Column::Bodies, &[0], &[0xff; 8], visit)
        .unwrap();
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_reaches_each_recipient_and_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    for round in 1..=3 {
        let outcomes = client.deliver(delivery(&[ANN, BOB], inline(BODY))).await.unwrap();
        let told: Vec<_> = outcomes
            .iter()
            .map(|o| (o.account, o.mailbox, o.uid, o.error.is_none()))
            .collect();
        assert_eq!(told, [(ANN, 1, round, true), (BOB, 1, round, true)]);
    }
    assert_eq!(bodies(&fixture), 1);
    for account in [ANN, BOB] {
        let expected = [&prefix(account), BODY].concat();
        assert_eq!(
            client.messages(account, 1).await,
            (1..=3).map(|uid| (uid, expected.clone())).collect::<Vec<_>>()
        );
        let opened = client.open(account, 1).await;
        let mailbox = opened.mailbox.unwrap();
        assert_eq!(
            (mailbox.messages, mailbox.unseen, mailbox.uid_next, mailbox.recent),
            (3, 3, 4, 3)
        );
        assert_eq!(mailbox.size, 3 * expected.len() as u64);
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_transaction_stores_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    let first = delivery(&[ANN], inline(BODY));
    let mut wider = first.clone();
    wider.recipients.push(recipient(BOB));
    let before = client.deliver(first).await.unwrap();
    // At the same time as well.
    let tries = futures_util::future::join_all((0..8).map(|_| client.deliver(wider.clone()))).await;
    for outcomes in tries {
        assert_eq!(outcomes.unwrap()[0], before[0]);
    }
    assert_eq!(client.messages(ANN, 1).await.len(), 1);
    assert_eq!(client.messages(BOB, 1).await.len(), 1);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_are_each_recipients_own() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    fixture.put_account(BOB, 10).await;
    let client = fixture.proxy();
    // Over quota, unknown here, of another shard, with no token, with a broken prefix.
    let mut mixed = delivery(&[ANN, BOB, 999, CAT, ANN, ANN], inline(BODY));
    mixed.recipients[4].token = bytes::Bytes::new();
    mixed.recipients[5].prefix = bytes::Bytes::from_static(b"X: y");
    let outcomes = client.deliver(mixed).await.unwrap();
    let reasons: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.error.as_ref().map(|e| e.reason()))
        .collect();
    assert_eq!(
        reasons,
        [
            None,
            Some(Reason::OverQuota),
            Some(Reason::NoAccount),
            Some(Reason::Moved),
            Some(Reason::PermissionDenied),
            Some(Reason::InvalidArgument)
        ]
    );
    assert!(client.messages(BOB, 1).await.is_empty());
    // Room again: it is stored.
    fixture.put_account(BOB, 10_000).await;
    assert_eq!(client.deliver_to(BOB, BODY).await, 1);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    for number in 0..20 {
        client
            .deliver_to(
                ANN,
                format!("Subject: {number}\r\n\r\nbody {number}\r\n").as_bytes(),
            )
            .await;
    }
    let (messages, mailboxes) = (client.messages(ANN, 1).await, client.mailboxes(ANN).await);
    drop(client);
    fixture.stop().await;
    let fixture = Fixture::start(folder.path()).await;
    let client = fixture.proxy();
    assert_eq!(client.messages(ANN, 1).await, messages);
    assert_eq!(client.mailboxes(ANN).await, mailboxes);
    assert_eq!(client.deliver_to(ANN, BODY).await, 21);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_item_can_be_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    let uid = client.deliver_to(ANN, BODY).await;
    let fetch = proto::Fetch {
        mailbox: 1,
        uids: set(&[uid, uid]),
        flags: true,
        modseq: true,
        size: true,
        internal_date: true,
        envelope: true,
        body: true,
        body_structure: true,
        email_id: true,
        sections: vec![
            proto::Section {
                kind: Kind::Header.into(),
                ..proto::Section::default()
            },
            proto::Section {
                kind: Kind::Text.into(),
                ..proto::Section::default()
            },
            proto::Section {
                part: vec![1],
                kind: Kind::BinarySize.into(),
                ..proto::Section::default()
            },
        ],
        changed_since: 0,
    };
    let rows = client.fetch(ANN, fetch.clone()).await.unwrap();
    let row = &rows[0];
    assert_eq!((rows.len(), row.uid, row.more), (1, uid, false));
    assert_eq!(row.flags, Some(proto::Flags::default()));
    assert_eq!(
        row.modseq,
        client.open(ANN, 1).await.mailbox.unwrap().highest_modseq
    );
    assert_eq!(row.size, (prefix(ANN).len() + BODY.len()) as u64);
    assert!(
        row.internal_date
            .as_ref()
            .unwrap()
            .unix_seconds
            .abs_diff((now_millis() / 1000) as i64)
            < 600
    );
    assert!(row.envelope.windows(5).any(|bytes| bytes == b"hello"));
    assert!(
        row.body.starts_with(b"(\"text\" \"plain\"")
            && row.body_structure.starts_with(b"(\"text\" \"plain\"")
    );
    assert_ne!(row.email_id, 0);
    let text = |index: u32| -> Vec<u8> {
        row.sections
            .iter()
            .filter(|section| section.index == index)
            .flat_map(|section| section.data.to_vec())
            .collect()
    };
    assert_eq!(
        text(0),
        [
            &prefix(ANN)[..],
            b"From: a@example.test\r\nSubject: hello\r\n\r\n"
        ]
        .concat()
    );
    assert_eq!(text(1), b"How are you?\r\n");
    assert_eq!(row.sections.last().unwrap().total, 14);
    // Nothing newer; no such mailbox.
    let newer = proto::Fetch {
        changed_since: row.modseq,
        ..fetch.clone()
    };
    assert!(client.fetch(ANN, newer).await.unwrap().is_empty());
    let elsewhere = proto::Fetch { mailbox: 77, ..fetch };
    assert_eq!(
        client.fetch(ANN, elsewhere).await.unwrap_err().reason,
        Reason::NoMailbox
    );
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_find_what_was_delivered() {
    use proto::search_key::Key;
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    for number in 0..600 {
        let body = format!(
            "Subject: number {number}\r\n\r\nThis is {}\r\n",
            if number % 100 == 7 { "ODD" } else { "even" }
        );
        client.deliver_to(ANN, body.as_bytes()).await;
    }
    assert_eq!(
        client.search(ANN, Key::Body("odd".into())).await.unwrap(),
        [8, 108, 208, 308, 408, 508]
    );
    assert_eq!(
        client
            .search(ANN, Key::Text("user11@example.test".into()))
            .await
            .unwrap()
            .len(),
        600
    );
    assert!(
        client
            .search(ANN, Key::Body("user11@example.test".into()))
            .await
            .unwrap()
            .is_empty()
    );
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_goes_on_when_its_caller_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    for round in 1..=30 {
        let message = delivery(&[ANN], inline(format!("Subject: {round}\r\n\r\n").as_bytes()));
        let call = proto::request::Call::Deliver(message.clone());
        // Cancelled at some moment: before it begins, or while it is under way.
        let abandoned = client.start(request(call), deliverer(ANN), None);
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        drop(abandoned);
        // Whatever became of it, the retry ends with one message.
        let outcomes = client.deliver(message).await.unwrap();
        assert_eq!((outcomes[0].uid, outcomes[0].error.is_none()), (round, true));
    }
    assert_eq!(client.messages(ANN, 1).await.len(), 30);
    fixture.stop().await;
}
