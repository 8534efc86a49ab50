//! LMTP: one answer for each recipient, and no hand-off but within one.

use super::World;
use crate::smtp::Kind;

const LHLO: &str = "S: 220 mx.test LMTP ready
    C: LHLO relay.test
    S: 250-mx.test
    S: 250-P*
    S: 250-SI*
    S: 250-8*
    S: 250-E*
    S: 250-C*
    S: 250 SMTPUTF8";

#[tokio::test]
async fn each_recipient_has_an_answer_of_its_own() {
    let world = World::new().await;
    world.stores[2].state.lock().down = true;
    world.stores[0].state.lock().over_quota.insert(3);
    let mut client = world.connect(Kind::Lmtp);
    client.plays(LHLO).await;
    client
        .plays(
            "C: MAIL FROM:<a@far.test>
             C: RCPT TO:<user1@example.test>
             C: RCPT TO:<user2@example.test>
             C: RCPT TO:<nobody@example.test>
             C: RCPT TO:<user3@example.test>
             C: RCPT TO:<user1@example.test>
             C: DATA
             S: 250 2.1.0 *
             S: 250 2.1.5 *
             S: 250 2.1.5 *
             S: 550 5.1.1 *
             S: 250 2.1.5 *
             S: 250 2.1.5 *
             S: 354 *
             C: hello
             C: .
             S: 250 2.1.5 <user1@example.test> Stored as *
             S: 451 4.3.0 *
             S: 452 4.2.2 *
             S: 250 2.1.5 <user1@example.test> Stored as *
             C: QUIT
             S: 221 *",
        )
        .await;
    assert_eq!(world.mails(1).len(), 1, "named twice, stored once");
    assert!(world.mails(1)[0].prefix.contains(" with LMTP id "));
    assert!(
        world
            .stores
            .iter()
            .all(|store| store.state.lock().rows.is_empty()),
        "no hand-off"
    );
}

/// Sends to recipients, with these answers.
async fn send(world: &World, recipients: &[(&str, &str)]) {
    let mut dialog = format!("{LHLO}\nC: MAIL FROM:<a@far.test>\nS: 250 *\n");
    for (name, _) in recipients {
        dialog += &format!("C: RCPT TO:<{name}@example.test>\nS: 250 *\n");
    }
    dialog += "C: DATA\nS: 354 *\nC: hello\nC: .\n";
    for (_, answer) in recipients {
        dialog += &format!("S: {answer} *\n");
    }
    world.connect(Kind::Lmtp).plays(&dialog).await;
}

/// The accounts that rows are kept for, ascending.
fn handed_off(world: &World) -> Vec<u64> {
    let mut accounts = Vec::new();
    for store in &world.stores {
        let state = store.state.lock();
        accounts.extend(
            state
                .rows
                .iter()
                .map(|row| row.recipient.clone().unwrap().account),
        );
    }
    accounts.sort_unstable();
    accounts
}

#[tokio::test]
async fn members_of_an_alias_are_handed_off_where_another_has_the_message() {
    let world = World::new().await;
    world.stores[2].state.lock().down = true;
    world.stores[0].state.lock().over_quota.insert(3);
    send(&world, &[("everybody", "250 2.1.5"), ("user8", "451 4.3.0")]).await;
    assert_eq!(handed_off(&world), [2, 3, 5], "user8 is asked for again");
    assert_eq!(world.count(), 3);
}

#[tokio::test]
async fn an_alias_none_of_whose_members_has_the_message_is_asked_for_again() {
    let world = World::new().await;
    for number in [0, 1, 2] {
        world.stores[number].state.lock().over_quota.extend(1..=6);
    }
    send(&world, &[("user7", "250 2.1.5"), ("everybody", "452 4.2.2")]).await;
    assert_eq!((handed_off(&world), world.count()), (Vec::new(), 1));
}

#[tokio::test]
async fn refusals_of_content_come_once_for_each_recipient() {
    let world = World::new().await;
    let mut client = world.connect(Kind::Lmtp);
    client.plays(LHLO).await;
    client.plays("C: HELO x\nS: 500 5.5.1 Use LHLO\nC: MAIL FROM:<>\nC: DATA\nS: 250 *\nS: 503 *\nC: RSET\nS: 250 *").await;
    client
        .plays(
            "C: MAIL FROM:<a@far.test>
             C: RCPT TO:<user1@example.test>
             C: RCPT TO:<user2@example.test>
             C: DATA
             S: 250 *
             S: 250 *
             S: 250 *
             S: 354 *",
        )
        .await;
    client.send(b"bare\nfeed\r\n.\r\n").await;
    client
        .plays("S: 550 5.6.11 *\nS: 550 5.6.11 *\nC: NOOP\nS: 250 *")
        .await;
    assert_eq!(world.count(), 0);
}
