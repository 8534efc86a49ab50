//! The change feed.

use rookery_mailstore::shard::EVENTS_WAITING_MAX;
use rookery_proto::Reason;
use rookery_proto::mailstore::v1 as proto;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn events_come_after_the_commit_and_lead_to_the_change() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    let mut feed = client.watch(SHARD).await;
    let mut since = client.open(ANN, 1).await.mailbox.unwrap().highest_modseq;
    for _ in 0..20 {
        let delivering = {
            let client = client.clone();
            tokio::spawn(async move { client.deliver_to(ANN, b"Subject: x\r\n\r\n").await })
        };
        let event = next_event(&mut feed).await;
        let told = event
            .mailboxes
            .iter()
            .find(|told| (told.account, told.mailbox) == (ANN, 1))
            .unwrap();
        let changes = client.changes(ANN, 1, since).await;
        assert!(
            changes.modseq >= told.modseq && changes.changed.len() == 1,
            "{changes:?} {told:?}"
        );
        since = changes.modseq;
        delivering.await.unwrap();
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_subscription_of_a_proxy_ends_the_older() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    let mut first = client.watch(SHARD).await;
    let mut second = client.watch(SHARD).await;
    assert_eq!(
        first.next().await.unwrap().unwrap_err().reason,
        Reason::Unavailable
    );
    client.deliver_to(BOB, b"\r\n").await;
    assert_eq!(next_event(&mut second).await.mailboxes[0].account, BOB);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_delays_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    let mut slow = client.watch(SHARD).await;
    // Far more commits than fit between feed and reader, each to the same mailbox: they are joined.
    for _ in 0..200 {
        client.deliver_to(ANN, b"\r\n").await;
    }
    let last = client.open(ANN, 1).await.mailbox.unwrap().highest_modseq;
    let mut told = 0;
    let mut events = 0;
    while told < last {
        let event: proto::ShardEvent = next_event(&mut slow).await;
        assert!(!event.overflow && event.mailboxes.len() <= EVENTS_WAITING_MAX);
        told = event.mailboxes.iter().map(|told| told.modseq).max().unwrap_or(0);
        events += 1;
    }
    assert!(events < 60, "{events} events for 200 commits");
    fixture.stop().await;
}
