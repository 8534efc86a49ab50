//! curl: mail up by SMTP and submission; list, fetch, search, flag and append by IMAP.

use std::process::{Command, Output};

use rookery_tests::{Cluster, messages, peers};

use super::{PASSWORD, ca, messages_of, port, scratch};

const USER: &str = "user1@example.test";

fn curl(cluster: &Cluster, arguments: &[&str]) -> Output {
    let mut command = Command::new(peers::find("curl"));
    command
        .args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
        .arg(ca(cluster));
    command.args(arguments).output().unwrap()
}

fn done(output: Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn login() -> String {
    format!("{USER}:{PASSWORD}")
}

#[test]
fn curl_sends_by_smtp_and_submission() {
    let cluster = Cluster::three();
    let file = scratch(&cluster, "upload.eml", messages::numbered(1, 30_000));
    let file = file.to_str().unwrap();
    let send = |url: &str, more: &[&str]| {
        let mut arguments = vec![
            "--url",
            url,
            "--upload-file",
            file,
            "--mail-from",
            "sender@remote.test",
        ];
        arguments.extend([
            "--mail-rcpt",
            "user2@example.test",
            "--mail-rcpt",
            "user3@example.test",
        ]);
        arguments.extend(more);
        curl(&cluster, &arguments)
    };
    let url = |scheme: &str, endpoint: &str| format!("{scheme}://localhost:{}/client.test", port(endpoint));
    let login = login();
    done(send(&url("smtp", &cluster.proxy(0).smtp), &[]));
    done(send(&url("smtp", &cluster.proxy(1).smtp), &["--ssl-reqd"]));
    let submission = url("smtp", &cluster.proxy(0).submission);
    done(send(
        &submission,
        &["--ssl-reqd", "--user", &login, "--login-options", "AUTH=PLAIN"],
    ));
    done(send(
        &submission,
        &["--ssl-reqd", "--user", &login, "--login-options", "AUTH=LOGIN"],
    ));
    done(send(
        &url("smtps", &cluster.proxy(1).submissions),
        &["--user", &login],
    ));
    let wrong = send(&submission, &["--ssl-reqd", "--user", "user1@example.test:wrong"]);
    assert_eq!(
        wrong.status.code(),
        Some(67),
        "curl says that the login was denied"
    );
    for user in ["user2@example.test", "user3@example.test"] {
        let held = messages_of(&cluster, user, "INBOX");
        assert_eq!(held.len(), 5, "{user}");
        assert!(
            held.iter()
                .all(|text| text.ends_with(&messages::numbered(1, 30_000))),
            "{user}"
        );
    }
}

#[test]
fn curl_reads_and_writes_mailboxes() {
    let cluster = Cluster::three();
    let login = login();
    let root = format!("imaps://localhost:{}", port(&cluster.proxy(0).imaps));
    let imap = |path: &str, more: &[&str]| {
        let url = format!("{root}/{path}");
        let mut arguments = vec!["--url", &url, "--user", &login];
        arguments.extend(more);
        done(curl(&cluster, &arguments))
    };
    let listed = imap("", &[]);
    for (mailbox, attribute) in [
        ("INBOX", ""),
        ("Sent", "\\Sent"),
        ("Drafts", "\\Drafts"),
        ("Trash", "\\Trash"),
        ("Junk", "\\Junk"),
    ] {
        let row = listed.lines().find(|line| line.contains(mailbox));
        assert!(
            row.is_some_and(|row| row.contains(attribute)),
            "{mailbox} is listed as {attribute}: {listed}"
        );
    }
    for number in [1u64, 2, 3] {
        let file = scratch(&cluster, "append.eml", messages::numbered(number, 8_000));
        imap("Drafts", &["--upload-file", file.to_str().unwrap()]);
    }
    let found = imap("Drafts?SUBJECT%20%22message%202%22", &[]);
    assert_eq!(found.trim(), "* SEARCH 2");
    assert_eq!(imap("Drafts;MAILINDEX=2", &[]), messages::numbered(2, 8_000));
    let uids = imap("Drafts", &["--request", "UID SEARCH ALL"]);
    let last = uids.split_whitespace().last().unwrap();
    assert_eq!(
        imap(&format!("Drafts;UID={last}"), &[]),
        messages::numbered(3, 8_000)
    );
    let header = imap("Drafts;MAILINDEX=1;SECTION=HEADER.FIELDS%20(SUBJECT)", &[]);
    assert_eq!(header, "Subject: message 1\r\n\r\n");
    assert_eq!(imap("Drafts;MAILINDEX=1;SECTION=1;PARTIAL=0.4", &[]), "This");
    imap("Drafts", &["--request", "STORE 1 +FLAGS.SILENT (\\Flagged)"]);
    let flags = imap("Drafts", &["--request", "FETCH 1 (FLAGS)"]);
    assert!(flags.contains("\\Flagged"), "{flags}");
    let examined = imap("", &["--request", "EXAMINE Drafts"]);
    assert!(examined.contains("* 3 EXISTS"), "{examined}");
    imap("", &["--request", "CREATE Projects"]);
    imap("Drafts", &["--request", "COPY 2 Projects"]);
    assert_eq!(
        messages_of(&cluster, USER, "Projects"),
        [messages::numbered(2, 8_000)]
    );

    let starttls = format!(
        "imap://localhost:{}/Drafts;MAILINDEX=3",
        port(&cluster.proxy(1).imap)
    );
    let fetched = done(curl(
        &cluster,
        &["--url", &starttls, "--ssl-reqd", "--user", &login],
    ));
    assert_eq!(fetched, messages::numbered(3, 8_000));
    let denied = curl(&cluster, &["--url", &root, "--user", "user1@example.test:wrong"]);
    assert_eq!(
        denied.status.code(),
        Some(67),
        "curl says that the login was denied"
    );
}
