//! LMTP: one answer for each recipient, and no hand-off.

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
             C: RCPT TO:<everybody@example.test>
             C: DATA
             S: 250 2.1.0 *
             S: 250 2.1.5 *
             S: 250 2.1.5 *
             S: 550 5.1.1 *
             S: 250 2.1.5 *
             S: 250 2.1.5 *
             S: 250 2.1.5 *
             S: 354 *
             C: hello
             C: .
             S: 250 2.1.5 <user1@example.test> Stored as *
             S: 451 4.3.0 *
             S: 452 4.2.2 *
             S: 250 2.1.5 <user1@example.test> Stored as *
             S: 451 4.3.0 *
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
