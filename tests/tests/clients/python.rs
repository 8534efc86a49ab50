//! Python's imaplib: a whole session, in a script of its own.

use std::path::Path;
use std::process::Command;

use rookery_tests::{Cluster, peers};

use super::{PASSWORD, ca, port};

fn session(cluster: &Cluster, mode: &str, endpoint: &str, user: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/imaplib_session.py");
    let mut command = Command::new(peers::find("python3"));
    command
        .arg(script)
        .arg(mode)
        .arg(port(endpoint))
        .arg(ca(cluster))
        .args([user, PASSWORD]);
    command.arg(port(&cluster.proxy(0).smtp));
    let output = peers::run(&mut command).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "all is well");
}

#[test]
fn imaplib_runs_a_session_over_tls_and_over_starttls() {
    let cluster = Cluster::three();
    session(&cluster, "tls", &cluster.proxy(0).imaps, "user1@example.test");
    session(&cluster, "starttls", &cluster.proxy(1).imap, "user2@example.test");
}
