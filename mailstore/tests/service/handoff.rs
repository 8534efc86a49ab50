//! Hand-offs: kept, leased, completed.

use bytes::Bytes;
use rookery_proto::Reason;
use rookery_proto::mailstore::v1::{self as proto, reply, request::Call as Wire};

use crate::support::*;

/// Leases, and joins the pieces of bodies.
async fn lease(client: &Client, lease_millis: u32) -> Vec<proto::HandOffRow> {
    let lease = proto::LeaseHandOffs {
        shard: SHARD,
        limit: 10,
        lease_millis,
    };
    let mut replies = client.start(request(Wire::LeaseHandOffs(lease)), Bytes::new(), None);
    let mut rows: Vec<proto::HandOffRow> = Vec::new();
    while let Some(reply) = replies.next().await {
        let Some(reply::Call::HandOffs(leased)) = reply.unwrap().call else {
            panic!("not rows")
        };
        assert!(leased.rows.iter().map(|row| row.body.len()).sum::<usize>() <= 1024 * 1024);
        for row in leased.rows {
            match rows.last_mut() {
                Some(known) if known.id == row.id => {
                    let joined = [&known.body[..], &row.body[..]].concat();
                    *known = proto::HandOffRow {
                        body: joined.into(),
                        ..row
                    };
                }
                _ => rows.push(row),
            }
        }
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_of_an_unreachable_shard_is_kept_until_it_is_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    let body = b"Subject: for later\r\n\r\nbody\r\n";
    let first = delivery(&[ANN], inline(body));
    client.deliver(first.clone()).await.unwrap();
    let hand_off = proto::HandOff {
        delivery: Some(first.clone()),
        recipients: vec![proto::HandOffRecipient {
            address: "user13@example.test".into(),
            prefix: prefix(CAT).into(),
            account: CAT,
        }],
    };
    for _ in 0..2 {
        client
            .ask(Wire::HandOff(hand_off.clone()), deliverer(ANN))
            .await
            .unwrap();
    }
    // Survives a restart.
    drop(client);
    fixture.stop().await;
    let fixture = Fixture::start(folder.path()).await;
    let client = fixture.proxy();
    let rows = lease(&client, 600_000).await;
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(
        (&row.body[..], &row.transaction, row.attempts),
        (&body[..], &first.transaction, 1)
    );
    assert_eq!(row.recipient, Some(hand_off.recipients[0].clone()));
    // Leased: nobody else gets it.
    assert!(lease(&client, 600_000).await.is_empty());
    // The proxy delivers it under the same transaction, twice as it happens.
    for _ in 0..2 {
        let mut later = delivery(&[CAT], inline(&row.body));
        later.transaction = row.transaction.clone();
        client.deliver(later).await.unwrap();
    }
    assert_eq!(
        client.messages(CAT, 1).await,
        [(1, [&prefix(CAT)[..], body].concat())]
    );
    for _ in 0..2 {
        let complete = proto::CompleteHandOff {
            shard: SHARD,
            ids: vec![row.id.clone()],
        };
        client
            .ask(Wire::CompleteHandOff(complete), Bytes::new())
            .await
            .unwrap();
    }
    let refused = client
        .ask(Wire::HandOff(proto::HandOff::default()), deliverer(ANN))
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::InvalidArgument);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_runs_out_gives_the_row_back() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    let hand_off = proto::HandOff {
        delivery: Some(delivery(&[ANN], inline(b"\r\n"))),
        recipients: vec![proto::HandOffRecipient::default()],
    };
    client.ask(Wire::HandOff(hand_off), deliverer(ANN)).await.unwrap();
    assert_eq!(lease(&client, 1).await[0].attempts, 1);
    loop {
        let rows = lease(&client, 600_000).await;
        if let Some(row) = rows.first() {
            assert_eq!(row.attempts, 2);
            break;
        }
        tokio::task::yield_now().await;
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_any_size_comes_in_pieces_and_small_ones_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    let large: Bytes = b"0123456789abcdef".repeat(32 * 1024 * 1024 / 16 + 1).into();
    let id = unique();
    client.upload(deliverer(ANN), id, large.clone()).await.unwrap();
    for body in [inline(b""), uploaded(id), inline(b"small\r\n")] {
        let hand_off = proto::HandOff {
            delivery: Some(delivery(&[ANN], body)),
            recipients: vec![proto::HandOffRecipient::default()],
        };
        client.ask(Wire::HandOff(hand_off), deliverer(ANN)).await.unwrap();
    }
    // What does not fit beside the large one comes with a lease of its own.
    let mut sizes = Vec::new();
    for _ in 0..3 {
        for row in lease(&client, 600_000).await {
            assert!(row.body.len() < 100 || row.body == large);
            sizes.push(row.body.len());
        }
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [0, 7, large.len()]);
    fixture.stop().await;
}
