//! The draining of hand-off rows.

use std::sync::Arc;
use std::time::Duration;

use rookery_proto::mailstore::v1::{HandOffRecipient, HandOffRow};
use tokio_util::sync::CancellationToken;

use super::World;
use crate::smtp::{HandOffOptions, Kind, handoff};

fn options() -> HandOffOptions {
    HandOffOptions {
        sweep_interval: Duration::from_millis(2),
        busy_interval: Duration::from_millis(5),
        ..HandOffOptions::default()
    }
}

/// Sends to accounts 1 and 2 while shard 2 is away; shard 1 keeps the row.
async fn one_row(world: &World) {
    world.stores[2].state.lock().down = true;
    world
        .connect(Kind::Smtp)
        .plays(
            "S: 220 *
             C: HELO x
             C: MAIL FROM:<a@far.test>
             C: RCPT TO:<user1@example.test>
             C: RCPT TO:<user2@example.test>
             C: DATA
             S: 250 *
             S: 250 *
             S: 250 *
             S: 250 *
             S: 354 *
             C: hello
             C: .
             S: 250 2.0.0 Stored *",
        )
        .await;
    assert_eq!(world.stores[1].state.lock().rows.len(), 1);
}

/// Drains until shard 1 has no rows.
async fn drain(world: &World) {
    drain_with(world, options(), 0).await;
}

/// Drains until shard 1 has no more than so many rows.
async fn drain_to(world: &World, left: usize) {
    drain_with(world, options(), left).await;
}

async fn drain_with(world: &World, options: HandOffOptions, left: usize) {
    let cancel = CancellationToken::new();
    let draining = tokio::spawn(handoff::run(Arc::clone(&world.cluster), options, cancel.clone()));
    let drained = async {
        loop {
            let changed = world.stores[1].changed.notified();
            if world.stores[1].state.lock().rows.len() <= left {
                return;
            }
            changed.await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), drained)
        .await
        .expect("the row goes");
    cancel.cancel();
    draining.await.unwrap();
}

#[tokio::test]
async fn a_row_is_delivered_once_its_shard_is_back() {
    let world = World::new().await;
    one_row(&world).await;
    world.stores[2].state.lock().down = false;
    drain(&world).await;
    let [mail] = &world.mails(2)[..] else {
        panic!("one message")
    };
    assert_eq!(
        (mail.body.as_slice(), mail.sender.as_str()),
        (&b"hello\r\n"[..], "a@far.test")
    );
    assert!(mail.prefix.contains("Delivered-To: user2@example.test\r\n"));
    assert_eq!(world.mails(1).len(), 1);
}

#[tokio::test]
async fn a_delivery_whose_outcome_was_unknown_is_not_stored_twice() {
    let world = World::new().await;
    // Shard 2 stores it, and dies before it can say so.
    world.stores[2].state.lock().lost_answers = u32::MAX;
    let mut client = world.connect(Kind::Smtp);
    client
        .plays(
            "S: 220 *
             C: HELO x
             C: MAIL FROM:<a@far.test>
             C: RCPT TO:<user1@example.test>
             C: RCPT TO:<user2@example.test>
             C: DATA
             S: 250 *
             S: 250 *
             S: 250 *
             S: 250 *
             S: 354 *
             C: hello
             C: .
             S: 250 2.0.0 Stored *",
        )
        .await;
    assert_eq!(
        (world.mails(2).len(), world.stores[1].state.lock().rows.len()),
        (1, 1)
    );
    world.stores[2].state.lock().lost_answers = 0;
    drain(&world).await;
    assert_eq!(world.mails(2).len(), 1);
}

#[tokio::test]
async fn a_row_whose_recipient_is_gone_is_dropped() {
    let world = World::new().await;
    one_row(&world).await;
    world.directory.gone.lock().push("user2@example.test".to_owned());
    drain(&world).await;
    assert_eq!(world.count(), 1);
}

#[tokio::test]
async fn a_member_of_an_alias_who_is_suspended_meanwhile_gets_its_mail_later() {
    let world = World::new().await;
    world.stores[2].state.lock().down = true;
    let dialog = "S: 220 *
        C: HELO x
        C: MAIL FROM:<a@far.test>
        C: RCPT TO:<everybody@example.test>
        C: DATA
        S: 250 *
        S: 250 *
        S: 250 *
        S: 354 *
        C: hello
        C: .
        S: 250 2.0.0 Stored *";
    world.connect(Kind::Smtp).plays(dialog).await;
    assert_eq!(world.stores[1].state.lock().rows.len(), 2);
    world.stores[2].state.lock().down = false;
    world.directory.suspended.lock().push(2);
    // One lease has both rows, and their completion is one call.
    drain_to(&world, 1).await;
    assert_eq!((world.mails(2).len(), world.mails(5).len()), (0, 1));
    world.directory.suspended.lock().clear();
    world.stores[1].state.lock().leased.clear();
    drain(&world).await;
    assert_eq!(world.mails(2).len(), 1);
}

#[tokio::test]
async fn a_large_row_goes_by_upload_to_whoever_has_the_address_now() {
    let world = World::new().await;
    let body = b"0123456789abcdef".repeat(60_000);
    // The address led to account 9 then, and leads to account 2 now.
    let recipient = HandOffRecipient {
        address: "user2@example.test".to_owned(),
        account: 9,
        ..Default::default()
    };
    world.stores[1].state.lock().rows.push(HandOffRow {
        id: "row".into(),
        transaction: [7; 16].to_vec().into(),
        recipient: Some(recipient),
        body: body.clone().into(),
        ..Default::default()
    });
    drain(&world).await;
    assert_eq!(world.stores[2].state.lock().uploads.len(), 1);
    assert!(world.mails(2)[0].body == body && world.count() == 1);
}

#[tokio::test]
async fn rows_that_came_before_a_stream_broke_are_done_and_half_a_row_is_not_delivered() {
    let world = World::new().await;
    let body = b"0123456789abcdef".repeat(60_000);
    for (id, account) in [("first", 2), ("second", 5)] {
        world.stores[1].state.lock().rows.push(HandOffRow {
            id: id.into(),
            transaction: [7; 16].to_vec().into(),
            recipient: Some(HandOffRecipient {
                address: format!("user{account}@example.test"),
                account,
                ..Default::default()
            }),
            body: body.clone().into(),
            ..Default::default()
        });
    }
    // Four pieces each.
    world.stores[1].state.lock().lease_breaks_after = Some(6);
    drain_to(&world, 1).await;
    assert_eq!((world.mails(2).len(), world.mails(5).len()), (1, 0));
    {
        let mut state = world.stores[1].state.lock();
        state.lease_breaks_after = None;
        state.leased.clear();
    }
    drain(&world).await;
    assert!(world.mails(5)[0].body == body && world.count() == 2);
}

#[tokio::test]
async fn rows_are_worked_off_even_when_that_takes_longer_than_their_lease() {
    let world = World::with_patience(Duration::from_secs(30)).await;
    // More pieces than a call's window holds, so that the mailstore waits for the delivery.
    let body = b"0123456789abcdef".repeat(600_000);
    world.stores[1].state.lock().rows.push(HandOffRow {
        id: "row".into(),
        transaction: [7; 16].to_vec().into(),
        recipient: Some(HandOffRecipient {
            address: "user2@example.test".to_owned(),
            account: 2,
            ..Default::default()
        }),
        body: body.clone().into(),
        ..Default::default()
    });
    let options = HandOffOptions {
        lease: Duration::from_millis(1),
        ..options()
    };
    drain_with(&world, options, 0).await;
    assert!(world.mails(2)[0].body == body);
}
