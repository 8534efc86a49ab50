//! APPENDs that are sent before the one before them was answered.

use rookery_proto::mailstore::v1::{Append, Mailbox, Mailboxes, new_body, reply, request};
use rookery_proto::{Reason, Status};
use tokio::io::AsyncWriteExt;

use super::fake::{Server, Setup, plain};

const LOGIN: &str = "a LOGIN user secret\r\n";

/// Longer than what a connection at rest reads, so that what follows it is read with its end.
const LONG: &str = "1111111111111111111111111111111111111111111111111111111111111111111111111111111111111111";

/// The first of several commands.
fn first() -> String {
    format!("b APPEND INBOX {{{}+}}\r\n{LONG}\r\n", LONG.len())
}

/// Of each call that appended, the mailbox and its messages.
fn appended(server: &Server) -> Vec<(u32, Vec<String>)> {
    let calls = server.mailstore.calls();
    let appends = calls.iter().filter_map(|call| match call {
        request::Call::Append(append) => Some(append),
        _ => None,
    });
    appends.map(|append| (append.mailbox, bodies(append))).collect()
}

fn bodies(append: &Append) -> Vec<String> {
    let sources = append
        .messages
        .iter()
        .filter_map(|message| message.body.clone()?.source);
    sources
        .map(|source| match source {
            new_body::Source::Inline(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            new_body::Source::Upload(_) => "uploaded".into(),
        })
        .collect()
}

fn in_order(heard: &str, wanted: &[&str]) {
    let at: Vec<_> = wanted
        .iter()
        .map(|text| heard.find(text).unwrap_or_else(|| panic!("{text}: {heard}")))
        .collect();
    assert!(at.is_sorted(), "{wanted:?}: {heard}");
}

fn two_mailboxes(call: &request::Call) -> Result<reply::Call, Status> {
    let mailbox = |id, name: &str| Mailbox {
        id,
        name: name.into(),
        ..Mailbox::default()
    };
    match call {
        request::Call::ListMailboxes(_) => Ok(reply::Call::Mailboxes(Mailboxes {
            mailboxes: vec![mailbox(1, "INBOX"), mailbox(2, "Sent")],
            ..Mailboxes::default()
        })),
        _ => plain(call),
    }
}

#[tokio::test]
async fn those_that_have_come_are_stored_by_one_call_and_answered_one_by_one() {
    let mut server = Server::start(Setup::default()).await;
    server.send(LOGIN).await;
    let then = "c APPEND INBOX {1+}\r\n2 {1+}\r\n3\r\nd APPEND INBOX {1+}\r\n4\r\ne NOOP\r\n";
    server.send(&(first() + then)).await;
    let heard = server.until("e OK completed\r\n").await;
    in_order(
        &heard,
        &[
            "b OK [APPENDUID 9 4]",
            "c OK [APPENDUID 9 5:6]",
            "d OK [APPENDUID 9 7]",
            "e OK",
        ],
    );
    let one: Vec<String> = [LONG, "2", "3", "4"].map(String::from).to_vec();
    assert_eq!(appended(&server), [(1, one)]);
}

#[tokio::test]
async fn each_mailbox_has_a_call_of_its_own_and_the_order_stays() {
    let setup = Setup {
        script: Box::new(|call| vec![two_mailboxes(call)]),
        ..Setup::default()
    };
    let mut server = Server::start(setup).await;
    server.send(LOGIN).await;
    server
        .send("b APPEND INBOX {1+}\r\n1\r\nc APPEND Sent {1+}\r\n2\r\nd APPEND INBOX {1+}\r\n3\r\n")
        .await;
    let heard = server.until("d OK [APPENDUID 9 4] APPEND completed\r\n").await;
    in_order(&heard, &["b OK", "c OK", "d OK"]);
    let wanted = [(1, "1"), (2, "2"), (1, "3")].map(|(mailbox, body)| (mailbox, vec![body.to_string()]));
    assert_eq!(appended(&server), wanted);
}

/// A quota that has room for small messages.
#[tokio::test]
async fn what_is_refused_together_is_asked_for_one_by_one() {
    let script = |call: &request::Call| match call {
        request::Call::Append(append)
            if bodies(append).iter().map(String::len).sum::<usize>() > LONG.len() + 2 =>
        {
            vec![Err(Status::new(Reason::OverQuota, "full"))]
        }
        _ => vec![plain(call)],
    };
    let setup = Setup {
        script: Box::new(script),
        ..Setup::default()
    };
    let mut server = Server::start(setup).await;
    server.send(LOGIN).await;
    let large = LONG.repeat(2);
    let then = format!(
        "c APPEND INBOX {{{}+}}\r\n{large}\r\nd APPEND INBOX {{2+}}\r\n33\r\ne NOOP\r\n",
        large.len()
    );
    server.send(&(first() + &then)).await;
    let heard = server.until("e OK completed\r\n").await;
    in_order(
        &heard,
        &["b OK [APPENDUID", "c NO [OVERQUOTA]", "d OK [APPENDUID", "e OK"],
    );
    assert_eq!(appended(&server).len(), 4);
}

/// Whether something was stored is not known then, and each would be waited for as long again.
#[tokio::test]
async fn what_nobody_answers_is_not_asked_for_again() {
    let script = |call: &request::Call| match call {
        request::Call::Append(_) => vec![Err(Status::new(Reason::DeadlineExceeded, "no answer"))],
        _ => vec![plain(call)],
    };
    let setup = Setup {
        script: Box::new(script),
        ..Setup::default()
    };
    let mut server = Server::start(setup).await;
    server.send(LOGIN).await;
    server
        .send(&(first() + "c APPEND INBOX {1+}\r\n2\r\nd NOOP\r\n"))
        .await;
    let heard = server.until("d OK completed\r\n").await;
    in_order(&heard, &["b NO [UNAVAILABLE]", "c NO [UNAVAILABLE]", "d OK"]);
    assert_eq!(appended(&server).len(), 1);
}

#[tokio::test]
async fn refusals_wait_for_their_turn() {
    let mut server = Server::start(Setup::default()).await;
    server.send(LOGIN).await;
    server
        .send(concat!(
            "b APPEND INBOX {1+}\r\n1\r\nc APPEND nowhere {1+}\r\n2\r\nd APPEND INBOX {1+}\r\n3\r\n",
            "e APPEND INBOX {0+}\r\n\r\nf APPEND INBOX {1+}\r\n4\r\ng nonsense\r\n",
            "h APPEND INBOX {1+}\r\n5\r\ni APPEND INBOX {99999999}\r\nj LOGOUT\r\n",
        ))
        .await;
    let heard = server.rest().await;
    in_order(
        &heard,
        &[
            "b OK",
            "c NO [TRYCREATE]",
            "d OK",
            "e NO ",
            "f OK",
            "g BAD",
            "h OK",
            "i NO [TOOBIG]",
            "j OK",
        ],
    );
}

/// More than may be under way, small ones and large ones.
#[tokio::test]
async fn many_are_taken_within_bounds() {
    let setup = Setup {
        script: Box::new(|call| vec![plain(call)]),
        ..Setup::default()
    };
    let mut server = Server::start(setup).await;
    server.send(LOGIN).await;
    let mut input = String::new();
    for number in 0..250 {
        input += &format!("s{number} APPEND INBOX {{1+}}\r\n1\r\n");
    }
    let large = "x".repeat(100 * 1024);
    for number in 0..7 {
        input += &format!("l{number} APPEND INBOX {{{}+}}\r\n{large}\r\n", large.len());
    }
    let sending = server.send(&input);
    sending.await;
    let heard = server.until("l6 OK [APPENDUID 9 4] APPEND completed\r\n").await;
    assert_eq!(heard.matches(" OK [APPENDUID").count(), 257, "{heard}");
    let calls = appended(&server);
    assert_eq!(calls.iter().map(|(_, bodies)| bodies.len()).sum::<usize>(), 257);
    for (_, bodies) in &calls {
        let bytes: usize = bodies.iter().map(String::len).sum();
        assert!(
            bodies.len() <= 100 && bytes <= 256 * 1024,
            "{} {bytes}",
            bodies.len()
        );
    }
}

/// A mailstore that answers an APPEND when it is told to, and a client that has sent the first.
async fn storing_the_first() -> Server {
    let setup = Setup {
        script: Box::new(|call| vec![two_mailboxes(call)]),
        holds_appends: true,
        ..Setup::default()
    };
    let mut server = Server::start(setup).await;
    server.send(LOGIN).await;
    server.until("a OK").await;
    server.send(&first()).await;
    until_called(&server, 1).await;
    server
}

async fn until_called(server: &Server, times: usize) {
    while appended(server).len() < times {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_comes_while_some_are_stored_goes_with_the_next_call() {
    let mut server = storing_the_first().await;
    // A server that asks for the literal has taken all that was before it.
    server
        .send("c APPEND INBOX {1+}\r\n2\r\nd APPEND INBOX {1+}\r\n3\r\ne APPEND INBOX {1}\r\n")
        .await;
    server.until("+ go on\r\n").await;
    server.send("4\r\nf APPEND INBOX {1}\r\n").await;
    let heard = server.until("+ go on\r\n").await;
    assert_eq!(heard, "+ go on\r\n", "nothing is stored yet");
    server.mailstore.release_append();
    let heard = server.until("APPEND completed\r\n").await;
    assert_eq!(heard, "b OK [APPENDUID 9 4] APPEND completed\r\n");
    until_called(&server, 2).await;
    server.mailstore.release_append();
    let heard = server.until("e OK [APPENDUID 9 6] APPEND completed\r\n").await;
    in_order(&heard, &["c OK [APPENDUID 9 4]", "d OK [APPENDUID 9 5]", "e OK"]);
    server.send("5\r\n").await;
    server.mailstore.release_append();
    server.until("f OK").await;
    let bodies: Vec<_> = appended(&server).into_iter().map(|(_, bodies)| bodies).collect();
    assert_eq!(bodies, [vec![LONG], vec!["2", "3", "4"], vec!["5"]]);
}

#[tokio::test]
async fn what_was_uploaded_goes_alone() {
    let mut server = Server::start(Setup::default()).await;
    server.send(LOGIN).await;
    let large = "x".repeat(300 * 1024);
    let upload = format!("c APPEND INBOX {{{}+}}\r\n{large}\r\n", large.len());
    let last = "d APPEND INBOX {1+}\r\n2\r\n";
    server.send(&(first() + &upload + last)).await;
    let heard = server.until("d OK [APPENDUID").await;
    in_order(&heard, &["b OK", "c OK", "d OK"]);
    let bodies: Vec<_> = appended(&server).into_iter().map(|(_, bodies)| bodies).collect();
    assert_eq!(bodies, [vec![LONG], vec!["uploaded"], vec!["2"]]);
}

#[tokio::test]
async fn what_has_come_whole_is_stored_when_the_client_hangs_up() {
    let mut server = storing_the_first().await;
    server
        .send("c APPEND Sent {1+}\r\n2\r\nd APPEND INBOX {9}\r\n")
        .await;
    server.until("+ go on\r\n").await;
    server.send("half").await;
    server.client.shutdown().await.unwrap();
    server.mailstore.release_append();
    server.mailstore.release_append();
    let mailstore = std::sync::Arc::clone(&server.mailstore);
    let heard = server.rest().await;
    in_order(&heard, &["b OK [APPENDUID", "c OK [APPENDUID"]);
    let appends = mailstore.calls();
    let appends = appends
        .iter()
        .filter(|call| matches!(call, request::Call::Append(_)));
    assert_eq!(appends.count(), 2);
}

#[tokio::test]
async fn a_server_that_goes_down_answers_first_what_it_stores() {
    let server = storing_the_first().await;
    server.shutdown.cancel();
    server.mailstore.release_append();
    in_order(
        &server.rest().await,
        &["b OK [APPENDUID", "* BYE the server is going down"],
    );
}

#[tokio::test]
async fn a_session_that_must_end_does_so_though_there_is_always_more_to_store() {
    let mut server = storing_the_first().await;
    server.directory.end_sessions();
    server
        .send("c APPEND INBOX {1+}\r\n2\r\nd APPEND INBOX {9}\r\n")
        .await;
    server.mailstore.release_append();
    server.mailstore.release_append();
    in_order(
        &server.rest().await,
        &["b OK [APPENDUID", "* BYE the account was changed"],
    );
}
