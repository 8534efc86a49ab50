//! What the client says to a server that follows a script, and what it makes of its answers.

use super::*;
use crate::mock;

#[tokio::test]
async fn a_session_counts_messages_and_keeps_no_body() {
    let big = "x".repeat(10_000);
    let text = format!(
        "* OK [CAPABILITY IMAP4rev1] hi\r\n1 OK [CAPABILITY IMAP4rev1 LITERAL+] in\r\n* 3 EXISTS\r\n\
         2 OK [READ-WRITE] ok\r\n* 1 FETCH (UID 9 BODY[] {{10000}}\r\n{big})\r\n* 3 EXPUNGE\r\n3 OK done\r\n\
         * BYE\r\n4 OK bye\r\n"
    );
    let endpoint = mock::saying(text.into_bytes(), 100_000).await;
    let mut imap = Imap::connect(&endpoint, 0).await.unwrap();
    imap.login("user", "pass").await.unwrap();
    assert_eq!(imap.select("INBOX").await.unwrap(), 3);
    let mut seen = Vec::new();
    imap.ask("FETCH 1 (UID BODY.PEEK[])", |response| {
        if let Some(number) = response.fetched() {
            seen.push((number, response.literal_bytes(), response.text().len()));
        }
    })
    .await
    .unwrap();
    assert_eq!(seen, [(1, 10_000, 32)]);
    assert_eq!(imap.exists(), 2);
    imap.logout().await.unwrap();
}

#[tokio::test]
async fn append_waits_for_the_server_where_it_must() {
    let (endpoint, server) = mock::following(
        "S: * OK hi
         C: 1 CAPABILITY
         S: * CAPABILITY IMAP4rev1 MULTIAPPEND
         S: 1 OK done
         C: 2 APPEND \"INBOX\" {5}
         S: + go on
         C*5
         C: {3}
         S: + go on
         C*3
         C:
         S: 2 OK done",
    )
    .await;
    let mut imap = Imap::connect(&endpoint, 0).await.unwrap();
    imap.append("INBOX", &[b"first".to_vec(), b"two".to_vec()])
        .await
        .unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn append_sends_all_at_once_where_it_may_and_one_by_one_without_multiappend() {
    let (endpoint, server) = mock::following(
        "S: * OK [CAPABILITY IMAP4rev1 LITERAL+] hi
         C: 1 LOGIN \"u\" \"p\\\"w\"
         S: 1 OK [CAPABILITY IMAP4rev1 LITERAL+] in
         C: 2 APPEND \"INBOX\" {5+}
         C: first
         S: 2 OK done
         C: 3 APPEND \"INBOX\" {3+}
         C: two
         S: 3 NO [OVERQUOTA] full",
    )
    .await;
    let mut imap = Imap::connect(&endpoint, 0).await.unwrap();
    imap.login("u", "p\"w").await.unwrap();
    let refused = imap
        .append("INBOX", &[b"first".to_vec(), b"two".to_vec()])
        .await
        .unwrap_err();
    assert!(format!("{refused:#}").contains("OVERQUOTA"), "{refused:#}");
    server.await.unwrap();
}

#[tokio::test]
async fn pipelined_appends_are_sent_before_the_first_answer_is_read() {
    let (endpoint, server) = mock::following(
        "S: * OK [CAPABILITY IMAP4rev1 LITERAL+] hi
         C: 1 APPEND \"INBOX\" {5+}
         C: first
         C: 2 APPEND \"INBOX\" {3+}
         C: two
         S: 1 OK done
         S: * 2 EXISTS
         S: 2 OK done",
    )
    .await;
    let mut imap = Imap::connect(&endpoint, 0).await.unwrap();
    imap.heed_capabilities();
    let mut answered = Vec::new();
    imap.append_pipelined("INBOX", &[b"first".to_vec(), b"two".to_vec()], |position| {
        answered.push(position);
    })
    .await
    .unwrap();
    assert_eq!((answered, imap.exists()), (vec![0, 1], 2));
    server.await.unwrap();

    let without = b"* OK [CAPABILITY IMAP4rev1] hi\r\n".to_vec();
    let mut imap = Imap::connect(&mock::saying(without, 1_000).await, 0)
        .await
        .unwrap();
    imap.heed_capabilities();
    let refused = imap.append_pipelined("INBOX", &[b"first".to_vec()], |_| {}).await;
    let refused = format!("{:#}", refused.unwrap_err());
    assert!(refused.contains("LITERAL+"), "{refused}");
}

#[tokio::test]
async fn idle_hears_of_new_messages() {
    let (endpoint, server) = mock::following(
        "S: * OK hi
         C: 1 IDLE
         S: + idling
         S: * 4 EXISTS
         C: DONE
         S: 1 OK done",
    )
    .await;
    let mut imap = Imap::connect(&endpoint, 0).await.unwrap();
    imap.idle().await.unwrap();
    assert_eq!(imap.hear().await.unwrap(), 4);
    imap.done().await.unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_and_a_bye_are_errors() {
    let refusing = b"* OK hi\r\n1 NO [AUTHENTICATIONFAILED] no\r\n".to_vec();
    let mut imap = Imap::connect(&mock::saying(refusing, 1_000).await, 0)
        .await
        .unwrap();
    let error = format!("{:#}", imap.login("u", "secret").await.unwrap_err());
    assert!(
        error.contains("LOGIN of u") && error.contains("AUTHENTICATIONFAILED"),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
    let closing = b"* OK hi\r\n* BYE overloaded\r\n".to_vec();
    let mut imap = Imap::connect(&mock::saying(closing, 1_000).await, 0)
        .await
        .unwrap();
    let error = format!("{:#}", imap.command("NOOP").await.unwrap_err());
    assert!(error.contains("BYE overloaded"), "{error}");
}

#[test]
fn strings_are_quoted_or_refused() {
    assert_eq!(quoted("a\"b\\c").unwrap(), "\"a\\\"b\\\\c\"");
    assert!(quoted("a\r\nb").is_err());
}
