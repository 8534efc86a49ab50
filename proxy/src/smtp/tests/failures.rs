//! Shards and directories that are away.

use super::World;
use crate::smtp::Kind;

fn send(recipients: &[u64]) -> String {
    let mut dialog =
        String::from("S: 220 *\nC: HELO x\nS: 250 mx.test\nC: MAIL FROM:<a@far.test>\nS: 250 *\n");
    for number in recipients {
        dialog += &format!("C: RCPT TO:<user{number}@example.test>\nS: 250 2.1.5 *\n");
    }
    dialog + "C: DATA\nS: 354 *\nC: hello\nC: .\n"
}

#[tokio::test]
async fn what_one_shard_cannot_take_is_kept_by_another() {
    let world = World::new().await;
    world.stores[2].state.lock().down = true;
    let dialog = send(&[1, 2, 3, 5]) + "S: 250 2.0.0 Stored *";
    world.connect(Kind::Smtp).plays(&dialog).await;
    assert_eq!(
        (world.mails(1).len(), world.mails(3).len(), world.count()),
        (1, 1, 2)
    );
    let rows: Vec<_> = world
        .stores
        .iter()
        .flat_map(|store| store.state.lock().rows.clone())
        .collect();
    let mut told: Vec<_> = rows.iter().map(|row| row.recipient.clone().unwrap()).collect();
    told.sort_by_key(|recipient| recipient.account);
    assert_eq!(told.iter().map(|one| one.account).collect::<Vec<_>>(), [2, 5]);
    assert_eq!(told[1].address, "user5@example.test");
    assert!(
        told[1]
            .prefix
            .starts_with(b"Return-Path: <a@far.test>\r\nDelivered-To: user5@example.test\r\nReceived: ")
    );
    assert_eq!(&rows[0].body[..], b"hello\r\n");
}

#[tokio::test]
async fn nothing_stored_is_a_passing_failure() {
    let world = World::new().await;
    world.stores[1].state.lock().down = true;
    world
        .connect(Kind::Smtp)
        .plays(&(send(&[1, 4]) + "S: 451 4.3.0 *\nC: NOOP\nS: 250 *"))
        .await;
    assert_eq!(world.count(), 0);
    assert!(
        world
            .stores
            .iter()
            .all(|store| store.state.lock().rows.is_empty())
    );
}

#[tokio::test]
async fn a_hand_off_that_cannot_be_kept_is_never_called_stored() {
    let world = World::new().await;
    world.stores[2].state.lock().down = true;
    world.stores[1].state.lock().no_hand_offs = true;
    world
        .connect(Kind::Smtp)
        .plays(&(send(&[1, 2]) + "S: 451 4.3.0 *"))
        .await;
}

#[tokio::test]
async fn a_full_mailbox_is_told_unless_somebody_else_got_it() {
    let world = World::new().await;
    world.stores[1].state.lock().over_quota.insert(1);
    world
        .connect(Kind::Smtp)
        .plays(&(send(&[1]) + "S: 452 4.2.2 *"))
        .await;
    world
        .connect(Kind::Smtp)
        .plays(&(send(&[1, 4]) + "S: 250 2.0.0 *"))
        .await;
    assert_eq!((world.mails(1).len(), world.mails(4).len()), (0, 1));
    assert_eq!(world.stores[1].state.lock().rows.len(), 1);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_stores_nothing_twice() {
    let world = World::new().await;
    for store in &world.stores {
        store.state.lock().lost_answers = 2;
    }
    world
        .connect(Kind::Smtp)
        .plays(&(send(&[1, 2, 3, 4]) + "S: 250 2.0.0 Stored *"))
        .await;
    assert_eq!(world.count(), 4);
    assert!(world.stores[1].state.lock().deliver_calls == 3);
}

#[tokio::test]
async fn a_silent_directory_is_never_an_unknown_user() {
    let world = World::new().await;
    *world.directory.silent.lock() = true;
    let mut client = world.connect(Kind::Smtp);
    client
        .plays(
            "S: 220 *
             C: HELO x
             C: MAIL FROM:<a@far.test>
             C: RCPT TO:<user1@example.test>
             S: 250 mx.test
             S: 250 *
             S: 451 4.3.0 *",
        )
        .await;
    *world.directory.silent.lock() = false;
    client
        .plays("C: RCPT TO:<user1@example.test>\nS: 250 2.1.5 *")
        .await;
}
