//! A shard that goes away in the midst of a command: what can be gone on with is, what cannot is said, and the client stays.

use std::time::Duration;

use bytes::Bytes;
use rookery_proto::mailstore::v1::{FetchedRow, FetchedRows, SectionData, reply, request};
use rookery_proto::{Reason, Status};

use super::fake::{Server, Setup, plain};

/// Nobody waits for so long here.
const LONG: Duration = Duration::from_secs(30);

/// What a test waits for.
const PATIENCE: Duration = Duration::from_millis(300);

fn row(uid: u32, sections: Vec<SectionData>, more: bool) -> Result<reply::Call, Status> {
    let row = FetchedRow {
        uid,
        sections,
        more,
        ..FetchedRow::default()
    };
    Ok(reply::Call::Rows(FetchedRows { rows: vec![row] }))
}

fn piece(index: u32, total: u64, data: &'static [u8]) -> SectionData {
    SectionData {
        index,
        total,
        data: Bytes::from_static(data),
        ..SectionData::default()
    }
}

fn died() -> Result<reply::Call, Status> {
    Err(Status::unavailable("the leader died"))
}

/// A client that fetches two sections of message 2. The first call brings so much of them and breaks off, and the others
/// are answered by `rest`.
async fn fetch(
    patience: Duration,
    first: impl Fn() -> Vec<SectionData> + Send + Sync + 'static,
    rest: impl Fn() -> Vec<Result<reply::Call, Status>> + Send + Sync + 'static,
) -> String {
    let script = move |call: &request::Call| match call {
        request::Call::Fetch(fetch) if fetch.sections.len() == 2 && !fetch.sections[0].partial => {
            vec![row(2, first(), true), died()]
        }
        request::Call::Fetch(_) => rest(),
        _ => vec![plain(call)],
    };
    let setup = Setup {
        script: Box::new(script),
        patience,
        ..Setup::default()
    };
    Server::all(
        setup,
        b"a LOGIN user secret\r\nb EXAMINE INBOX\r\nc FETCH 2 (BODY[1] BODY[2])\r\nd NOOP\r\ne LOGOUT\r\n",
    )
    .await
}

#[tokio::test]
async fn a_message_that_has_gone_between_two_literals_is_nil_from_there() {
    let heard = fetch(LONG, || vec![piece(0, 1, b"x")], Vec::new).await;
    let wanted = "* 2 FETCH (BODY[1] {1}\r\nx BODY[2] NIL)\r\nc OK ";
    assert!(heard.contains(wanted) && heard.contains("\r\nd OK "), "{heard}");
    // The whole mailbox has gone.
    let no_mailbox = || vec![Err(Status::new(Reason::NoMailbox, "deleted"))];
    let heard = fetch(LONG, || vec![piece(0, 1, b"x")], no_mailbox).await;
    assert!(heard.contains("BODY[2] NIL)\r\nc NO [NONEXISTENT]"), "{heard}");
}

#[tokio::test]
async fn within_a_literal_nothing_but_its_rest_is_said() {
    // The message has gone; or nobody answers for as long as the client is kept waiting.
    for rest in [|| Vec::new(), || vec![died()]] {
        let heard = fetch(PATIENCE, || vec![piece(0, 5, b"hel")], rest).await;
        // What was sent of it is the last that the client gets.
        let (_, last) = heard.split_once("\r\nb OK ").unwrap();
        assert!(
            !last.contains("* BYE") && !last.contains("\r\nc ") && !last.contains("\r\nd "),
            "{heard}"
        );
    }
}

#[tokio::test]
async fn a_shard_that_stays_away_is_said_to_be_unavailable_and_the_client_stays() {
    let script = |call: &request::Call| match call {
        request::Call::Upload(_) | request::Call::Append(_) | request::Call::Fetch(_) => vec![died()],
        _ => vec![plain(call)],
    };
    let setup = Setup {
        script: Box::new(script),
        patience: PATIENCE,
        ..Setup::default()
    };
    let (small, large) = ("s".repeat(1_000), "l".repeat(3_000_000));
    let input = format!(
        "a LOGIN user secret\r\nb SELECT INBOX\r\nc APPEND INBOX {{1000+}}\r\n{small}\r\n\
         d APPEND INBOX {{3000000+}}\r\n{large}\r\ne FETCH 1 BODY.PEEK[]\r\nf NOOP\r\ng LOGOUT\r\n"
    );
    let heard = Server::all(setup, input.as_bytes()).await;
    for tag in ["c", "d", "e"] {
        assert!(heard.contains(&format!("\r\n{tag} NO [UNAVAILABLE]")), "{heard}");
    }
    assert!(
        heard.contains("\r\nf OK ") && heard.contains("\r\ng OK "),
        "{heard}"
    );
}
