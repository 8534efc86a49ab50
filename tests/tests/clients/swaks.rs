//! swaks: SMTP, submission with each way to log in, refusals, LMTP.

use std::path::Path;
use std::process::{Command, Output};

use rookery_tests::{Cluster, peers};

use super::{PASSWORD, ca, messages_of, port};

/// What one run of swaks said.
struct Run {
    output: Output,
    transcript: String,
}

impl Run {
    fn ok(self) -> String {
        assert!(self.output.status.success(), "{}", self.transcript);
        self.transcript
    }

    /// What the server said, refused commands included.
    fn refused(self) -> String {
        assert!(!self.output.status.success(), "{}", self.transcript);
        self.transcript
    }
}

fn swaks(endpoint: &str, arguments: &[&str]) -> Run {
    let mut command = Command::new(peers::find("swaks"));
    command.args([
        "--server",
        "localhost",
        "--port",
        port(endpoint),
        "--helo",
        "client.test",
    ]);
    let output = command
        .args(["--from", "sender@remote.test"])
        .args(arguments)
        .output()
        .unwrap();
    let transcript = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Run { output, transcript }
}

fn with_tls<'a>(ca: &'a Path, how: &'a str) -> Vec<&'a str> {
    vec![how, "--tls-verify", "--tls-ca-path", ca.to_str().unwrap()]
}

#[test]
fn swaks_sends_by_smtp_plain_and_over_starttls() {
    let cluster = Cluster::three();
    let ca = ca(&cluster);
    swaks(
        &cluster.proxy(0).smtp,
        &["--to", "user1@example.test", "--body", "first by swaks"],
    )
    .ok();
    let mut arguments = with_tls(&ca, "--tls");
    arguments.extend([
        "--to",
        "user1@example.test,user2@example.test",
        "--body",
        "second by swaks",
    ]);
    let transcript = swaks(&cluster.proxy(1).smtp, &arguments).ok();
    assert!(transcript.contains("=== TLS started"), "{transcript}");
    let held = messages_of(&cluster, "user1@example.test", "INBOX");
    assert_eq!(held.len(), 2);
    assert!(
        held[0].contains("first by swaks") && held[1].contains("second by swaks"),
        "{held:?}"
    );
    assert_eq!(messages_of(&cluster, "user2@example.test", "INBOX").len(), 1);

    let refused = swaks(&cluster.proxy(0).smtp, &["--to", "someone@elsewhere.test"]).refused();
    assert!(
        refused.contains("<** 550 5.7.1 "),
        "mail for others is refused: {refused}"
    );
    let refused = swaks(&cluster.proxy(0).smtp, &["--to", "nobody@example.test"]).refused();
    assert!(
        refused.contains("<** 550 5.1.1 "),
        "an unknown user is refused: {refused}"
    );
}

#[test]
fn swaks_submits_after_each_way_to_log_in() {
    let cluster = Cluster::three();
    let ca = ca(&cluster);
    let ways = [
        (&cluster.proxy(0).submission, "--tls", "PLAIN"),
        (&cluster.proxy(0).submission, "--tls", "LOGIN"),
        (&cluster.proxy(1).submissions, "--tls-on-connect", "PLAIN"),
        (&cluster.proxy(1).submissions, "--tls-on-connect", "LOGIN"),
    ];
    for (endpoint, tls, mechanism) in ways {
        let mut arguments = with_tls(&ca, tls);
        let body = format!("by {tls} and {mechanism}");
        arguments.extend([
            "--auth",
            mechanism,
            "--auth-user",
            "user1@example.test",
            "--auth-password",
            PASSWORD,
        ]);
        arguments.extend([
            "--from",
            "user1@example.test",
            "--to",
            "user3@example.test",
            "--body",
            &body,
        ]);
        let transcript = swaks(endpoint, &arguments).ok();
        assert!(transcript.contains("<~  235 2.7.0 "), "{transcript}");
        let held = messages_of(&cluster, "user3@example.test", "INBOX");
        assert!(held.last().unwrap().contains(&body), "{held:?}");
    }
    assert_eq!(
        messages_of(&cluster, "user3@example.test", "INBOX").len(),
        ways.len()
    );
}

#[test]
fn swaks_is_refused_with_a_wrong_password_without_one_and_for_others_mail() {
    let cluster = Cluster::three();
    let ca = ca(&cluster);
    let submission = &cluster.proxy(0).submission;
    let mut arguments = with_tls(&ca, "--tls");
    arguments.extend([
        "--auth",
        "PLAIN",
        "--auth-user",
        "user1@example.test",
        "--auth-password",
        "wrong",
    ]);
    arguments.extend(["--to", "user2@example.test"]);
    let refused = swaks(submission, &arguments).refused();
    assert!(refused.contains("<~* 535 5.7.8 "), "{refused}");

    let mut arguments = with_tls(&ca, "--tls");
    arguments.extend(["--to", "user2@example.test"]);
    let refused = swaks(submission, &arguments).refused();
    assert!(
        refused.contains(" 530 5.7.0 "),
        "submission wants a login: {refused}"
    );

    let mut arguments = with_tls(&ca, "--tls");
    arguments.extend([
        "--auth",
        "PLAIN",
        "--auth-user",
        "user1@example.test",
        "--auth-password",
        PASSWORD,
    ]);
    arguments.extend(["--from", "user1@example.test", "--to", "someone@elsewhere.test"]);
    let refused = swaks(submission, &arguments).refused();
    assert!(
        refused.contains("<~* 550 5.7.1 "),
        "there is no queue for others' mail yet: {refused}"
    );
    assert!(messages_of(&cluster, "user2@example.test", "INBOX").is_empty());
}

#[test]
fn swaks_speaks_lmtp_and_hears_of_each_recipient() {
    let cluster = Cluster::three();
    let recipients = "user1@example.test,nobody@example.test,user2@example.test,user3@example.test";
    let arguments = ["--protocol", "LMTP", "--to", recipients, "--body", "by LMTP"];
    let transcript = swaks(&cluster.proxy(0).lmtp, &arguments).transcript;
    assert!(transcript.contains("LHLO client.test"), "{transcript}");
    let refused = transcript.matches("<** 550 5.1.1 ").count();
    assert_eq!(refused, 1, "the unknown one alone is refused: {transcript}");
    for user in ["user1", "user2", "user3"] {
        let stored = format!("250 2.1.5 <{user}@example.test> Stored");
        assert!(
            transcript.contains(&stored),
            "{user} has an answer of its own: {transcript}"
        );
        let held = messages_of(&cluster, &format!("{user}@example.test"), "INBOX");
        assert_eq!(held.len(), 1, "{user}");
        assert!(held[0].contains("by LMTP"));
    }
}

#[test]
fn swaks_stands_for_a_load_balancer_that_names_its_clients() {
    let balancer = "127.0.0.2";
    let cluster = Cluster::start(&rookery_tests::Options {
        environment: vec![(
            "ROOKERY__PROXY__PROXY_PROTOCOL_FROM".to_owned(),
            format!("[\"{balancer}/32\"]"),
        )],
        ..Default::default()
    })
    .unwrap();
    let ca = ca(&cluster);
    let named =
        |version: &'static str, family: &'static str, source: &'static str, destination: &'static str| {
            let addresses = ["--proxy-source", source, "--proxy-dest", destination];
            let ports = ["--proxy-source-port", "56316", "--proxy-dest-port", "25"];
            let way = [
                "--local-interface",
                balancer,
                "--proxy-version",
                version,
                "--proxy-family",
                family,
            ];
            [&way[..], &addresses, &ports].concat()
        };
    let v4 = named("1", "TCP4", "203.0.113.7", "192.0.2.1");
    let v6 = named("2", "AF_INET6", "2001:db8::7", "2001:db8::1");
    let (submissions, smtp) = (&cluster.proxy(0).submissions, &cluster.proxy(0).smtp);
    let login = [
        "--auth",
        "PLAIN",
        "--auth-user",
        "user2@example.test",
        "--auth-password",
        PASSWORD,
    ];
    let mut over_tls = with_tls(&ca, "--tls-on-connect");
    over_tls.extend(login);
    over_tls.extend(["--from", "user2@example.test"]);
    let direct: &[&str] = &[];
    // Version 2 comes before the handshake.
    for (endpoint, way, more, client) in [
        (smtp, &v4[..], direct, "[203.0.113.7]"),
        (submissions, &v6[..], &over_tls[..], "[IPv6:2001:db8::7]"),
        (smtp, direct, direct, "[127.0.0.1]"),
    ] {
        let arguments = [&["--to", "user1@example.test"], way, more].concat();
        swaks(endpoint, &arguments).ok();
        let held = messages_of(&cluster, "user1@example.test", "INBOX");
        let last = held.last().unwrap();
        assert!(last.contains(client), "{client}: {last}");
    }
    // One that names nobody, and one that is not asked: nothing is stored.
    let silent = ["--to", "user1@example.test", "--local-interface", balancer];
    swaks(smtp, &silent).refused();
    let mut elsewhere = v4.clone();
    elsewhere[1] = "127.0.0.3";
    elsewhere.extend(["--to", "user1@example.test"]);
    swaks(smtp, &elsewhere).refused();
    assert_eq!(messages_of(&cluster, "user1@example.test", "INBOX").len(), 3);
}
