//! Submission: who may send, and how a password is asked for.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Client, World};
use crate::smtp::Kind;

const EHLO: &str = "S: 220 mx.test ESMTP ready
    C: EHLO x
    S: 250-mx.test
    S: 250-P*
    S: 250-SI*
    S: 250-8*
    S: 250-E*
    S: 250-C*
    S: 250-SM*
    S: 250 AUTH PLAIN LOGIN";

async fn submission(world: &mut World) -> Client {
    world.options.plaintext_login = true;
    let mut client = world.connect(Kind::Submission);
    client.plays(EHLO).await;
    client
}

fn plain(user: &str, password: &str) -> String {
    STANDARD.encode(format!("\0{user}\0{password}"))
}

#[tokio::test]
async fn only_who_has_logged_in_may_send_and_only_to_us() {
    let mut world = World::new().await;
    let mut client = submission(&mut world).await;
    let right = plain("user1@example.test", "secret");
    client
        .plays(&format!(
            "C: MAIL FROM:<user1@example.test>
             S: 530 5.7.0 Authentication required
             C: AUTH PLAIN {right}
             S: 235 2.7.0 Authentication succeeded
             C: MAIL FROM:<user1@example.test>
             C: RCPT TO:<user2@example.test>
             C: RCPT TO:<friend@far.test>
             C: DATA
             S: 250 2.1.0 Sender OK
             S: 250 2.1.5 Recipient OK
             S: 550 5.7.1 Relaying denied
             S: 354 *
             C: Subject: x
             C: .
             S: 250 2.0.0 Stored *"
        ))
        .await;
    assert!(world.mails(2)[0].prefix.contains(" with ESMTPA id "));
}

#[tokio::test]
async fn both_mechanisms_with_and_without_an_initial_response() {
    let mut world = World::new().await;
    let right = plain("user1@example.test", "secret");
    let (name, password) = (STANDARD.encode("user1@example.test"), STANDARD.encode("secret"));
    for dialog in [
        format!("C: AUTH PLAIN\nS: 334 \nC: {right}\nS: 235 2.7.0 *"),
        format!(
            "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: {name}\nS: 334 UGFzc3dvcmQ6\nC: {password}\nS: 235 2.7.0 *"
        ),
        format!("C: AUTH LOGIN {name}\nS: 334 UGFzc3dvcmQ6\nC: {password}\nS: 235 2.7.0 *"),
        format!("C: AUTH PLAIN\nS: 334 \nC: *\nS: 501 5.7.0 *\nC: AUTH PLAIN {right}\nS: 235 2.7.0 *"),
    ] {
        submission(&mut world).await.plays(&dialog).await;
    }
}

#[tokio::test]
async fn what_is_said_of_bad_passwords_and_of_a_directory_that_is_away() {
    let mut world = World::new().await;
    let mut client = submission(&mut world).await;
    let wrong = plain("user1@example.test", "guess");
    let down = plain("down@example.test", "x");
    let suspended = plain("suspended@example.test", "secret");
    client
        .plays(&format!(
            "C: AUTH PLAIN {down}
             S: 454 4.7.0 *
             C: AUTH PLAIN {wrong}
             S: 535 5.7.8 Authentication credentials invalid
             C: AUTH PLAIN {suspended}
             S: 535 5.7.8 *
             C: AUTH PLAIN {wrong}
             S: 421 4.7.0 *
             S: closed"
        ))
        .await;
    *world.directory.silent.lock() = true;
    let right = plain("user1@example.test", "secret");
    submission(&mut world)
        .await
        .plays(&format!("C: AUTH PLAIN {right}\nS: 454 4.7.0 *"))
        .await;
}

#[tokio::test]
async fn no_password_in_plain_text_where_that_is_not_allowed() {
    let world = World::new().await;
    world
        .connect(Kind::Submission)
        .plays(
            "S: 220 *
             C: EHLO x
             S: 250-mx.test
             S: 250-P*
             S: 250-SI*
             S: 250-8*
             S: 250-E*
             S: 250-C*
             S: 250 SMTPUTF8
             C: AUTH PLAIN AGEAYg==
             S: 538 5.7.11 *
             C: MAIL FROM:<a@b.test>
             S: 530 5.7.0 Must issue a STARTTLS command first",
        )
        .await;
    world.connect(Kind::Smtp).plays("S: 220 *\nC: EHLO x\nC: AUTH PLAIN AGEAYg==\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250 *\nS: 502 5.5.1 *").await;
}

/// A client that has logged in as account 1.
async fn logged_in(world: &mut World) -> Client {
    let mut client = submission(world).await;
    let right = plain("user1@example.test", "secret");
    client
        .plays(&format!("C: AUTH PLAIN {right}\nS: 235 2.7.0 *"))
        .await;
    client
}

#[tokio::test]
async fn a_client_that_never_pauses_is_ended_all_the_same() {
    let mut world = World::new().await;
    let mut client = logged_in(&mut world).await;
    // Both are there when the connection looks next.
    world.cluster.feed().end(1, 1);
    client.plays("C: NOOP\nS: 421 *\nS: closed").await;
}

/// Breaks the directory's watch, and comes back when the proxy has begun it anew.
async fn lose_the_watch(world: &World) {
    let before = world.cluster.grants_epoch();
    world.directory.watch_breaks.notify_one();
    while world.cluster.grants_epoch() == before {
        world.cluster.changed_or(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn who_was_suspended_while_the_watch_was_lost_names_no_recipient() {
    let mut world = World::new().await;
    let mut client = logged_in(&mut world).await;
    lose_the_watch(&world).await;
    let transaction = "C: MAIL FROM:<user1@example.test>
        S: 250 *
        C: RCPT TO:<user2@example.test>
        S: ";
    client
        .plays(&(transaction.to_owned() + "250 *\nC: RSET\nS: 250 *"))
        .await;
    world.directory.suspended.lock().push(1);
    lose_the_watch(&world).await;
    client.plays(&(transaction.to_owned() + "421 *\nS: closed")).await;
}

#[tokio::test]
async fn who_is_suspended_before_the_end_of_the_content_stores_nothing() {
    let mut world = World::new().await;
    let mut client = logged_in(&mut world).await;
    client
        .plays(
            "C: MAIL FROM:<user1@example.test>
             S: 250 *
             C: RCPT TO:<user2@example.test>
             S: 250 *
             C: DATA
             S: 354 *",
        )
        .await;
    world.directory.suspended.lock().push(1);
    lose_the_watch(&world).await;
    client.plays("C: hello\nC: .\nS: 421 *\nS: closed").await;
    assert_eq!(world.count(), 0);
}

#[tokio::test]
async fn a_login_that_nobody_can_confirm_is_refused_for_now() {
    let mut world = World::new().await;
    *world.directory.tokens_expire_at_millis.lock() = Some(0);
    let mut client = logged_in(&mut world).await;
    *world.directory.renews_nothing.lock() = true;
    let recipient = "C: RCPT TO:<user2@example.test>\nS: ";
    client
        .plays(&format!(
            "C: MAIL FROM:<user1@example.test>\nS: 250 *\n{recipient}451 *"
        ))
        .await;
    *world.directory.renews_nothing.lock() = false;
    client.plays(&format!("{recipient}250 *")).await;
}
