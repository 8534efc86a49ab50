//! Certificates between nodes that are put in place while the cluster runs, of another CA in the end, with mail flowing: nobody notices.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rookery_process::certificates::Authority;
use rookery_proto::remote::NodeTls;
use rookery_proto::remote::names::NodeName;
use rookery_proto::{Reason, Role};
use rookery_tests::cluster::NodeInfo;
use rookery_tests::{Cluster, ImapClient, MemberClient, Options, SmtpClient, messages};

const USER: &str = "user1@example.test";

/// Longer than anything here is waited for: what takes longer is a defect.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What a node logs when it has taken new files.
const READ_AGAIN: &str = "the node's certificate was read again";

/// What it logs of files that it cannot use.
const STAYS: &str = "the old one stays";

/// Mail that comes in all the time.
struct Traffic {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
}

impl Traffic {
    fn start(smtp: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, smtp) = (Arc::clone(&stop), smtp.to_owned());
        let sender = std::thread::spawn(move || {
            let mut client = SmtpClient::hello(&smtp).unwrap();
            let mut sent = 0;
            while !told.load(Ordering::Relaxed) {
                let reply = client.deliver(&[USER.to_owned()], &messages::numbered(sent, 2_000));
                reply.unwrap().expect("250").unwrap();
                sent += 1;
            }
            sent
        });
        Self { stop, sender }
    }

    /// How many were acknowledged: all that were sent.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().unwrap()
    }
}

/// Waits until each node has logged this so many times.
fn wait_until_logged(cluster: &Cluster, nodes: &[NodeInfo], said: &str, times: usize) {
    let begun = Instant::now();
    for node in nodes {
        loop {
            let log = fs::read(node.data.join("log")).unwrap();
            let count = String::from_utf8_lossy(&log).matches(said).count();
            if count >= times {
                break;
            }
            let waited = begun.elapsed();
            assert!(
                waited < WAIT_MAX,
                "{} has logged it {count} times\n{}",
                node.id,
                cluster.logs()
            );
        }
    }
}

fn cluster_id(node: &NodeInfo) -> String {
    let config: toml::Table = fs::read_to_string(node.data.join("rookery.toml"))
        .unwrap()
        .parse()
        .unwrap();
    config["node"]["cluster"].as_str().unwrap().to_owned()
}

/// The names in a node's certificate.
fn names(node: &NodeInfo) -> Vec<String> {
    let role = Role::from_name(&node.role).unwrap();
    let mut names = NodeName::new(&node.id, role, &cluster_id(node))
        .unwrap()
        .dns_names()
        .to_vec();
    names.extend(["localhost".to_owned(), "127.0.0.1".to_owned()]);
    names
}

fn issue(authority: &Authority, node: &NodeInfo) {
    let issued = authority.issue(&names(node)).unwrap();
    issued
        .save(&node.data.join("node.pem"), &node.data.join("node.key"))
        .unwrap();
}

/// A way to a member of the directory, as a proxy that trusts these, with a certificate of this authority.
fn client(cluster: &Cluster, trusted: &str, authority: &Authority) -> MemberClient {
    let issued = authority.issue(&names(cluster.node("proxy-1"))).unwrap();
    let (certificate, key) = (issued.certificate.as_bytes(), issued.key.as_bytes());
    let tls = NodeTls::from_pem(trusted.as_bytes(), certificate, key).unwrap();
    let endpoints = fs::read_to_string(cluster.node("directory-1").data.join("endpoints.json")).unwrap();
    let endpoints: serde_json::Value = serde_json::from_str(&endpoints).unwrap();
    MemberClient::new(endpoints["calls"].as_str().unwrap(), tls).unwrap()
}

fn authority_of(ca: &Path) -> Authority {
    Authority::load(ca, &ca.with_file_name("ca.key")).unwrap()
}

#[test]
fn another_ca_takes_over_while_mail_flows() {
    let mut cluster = Cluster::start(&Options {
        replicas: 3,
        directories: 3,
        shards: Some(6),
        accounts: 2,
        ..Options::default()
    })
    .unwrap();
    let nodes = cluster.manifest().nodes.clone();
    let ca = cluster.manifest().ca_file.clone();
    let (old, new) = (
        authority_of(&ca),
        Authority::create(&cluster_id(&nodes[0])).unwrap(),
    );
    // Logged in with the certificates of now.
    let mut session = ImapClient::login(&cluster.proxy(0).imap, USER).unwrap();
    session.command("SELECT INBOX").unwrap().ok().unwrap();
    let traffic = Traffic::start(&cluster.proxy(0).smtp);

    let both = format!("{}{}", old.certificate(), new.certificate());
    fs::write(&ca, &both).unwrap();
    wait_until_logged(&cluster, &nodes, READ_AGAIN, 1);
    for node in &nodes {
        issue(&new, node);
    }
    wait_until_logged(&cluster, &nodes, READ_AGAIN, 2);
    assert!(
        client(&cluster, &both, &old).resolve(USER).is_ok(),
        "both are trusted"
    );
    // With its key, which the directory's members read at their start.
    new.save(&ca, &ca.with_file_name("ca.key")).unwrap();
    wait_until_logged(&cluster, &nodes, READ_AGAIN, 3);

    // Connections are made anew, by those that were there and by those that come back: the session's proxy uses what it was given with its
    // first certificate.
    for node in [
        "mailstore-1",
        "mailstore-2",
        "mailstore-3",
        "directory-1",
        "proxy-2",
    ] {
        cluster.stop(node);
        cluster.restart(node).unwrap();
    }
    session
        .command("APPEND INBOX {4+}\r\na: b")
        .unwrap()
        .ok()
        .unwrap();
    session.command("FETCH 1 FLAGS").unwrap().ok().unwrap();
    ImapClient::login(&cluster.proxy(1).imap, USER).unwrap();
    cluster.operate(&["status"], "").unwrap();

    // Who comes with the old one is refused, and who trusts the old one alone trusts nobody here.
    assert!(client(&cluster, new.certificate(), &new).resolve(USER).is_ok());
    for stranger in [
        client(&cluster, &both, &old),
        client(&cluster, old.certificate(), &new),
    ] {
        let refused = stranger.resolve(USER).unwrap_err();
        assert_eq!(refused.reason, Reason::Unavailable, "{refused}");
    }

    let sent = traffic.stop();
    let answer = session.command("SELECT INBOX").unwrap().ok().unwrap();
    assert_eq!(
        answer.exists().map(u64::from),
        Some(sent + 1),
        "each acknowledged one, once"
    );
    assert!(sent > 20, "{sent}");
}

#[test]
fn files_that_cannot_be_used_are_told_and_change_nothing() {
    let mut cluster = Cluster::three();
    let node = cluster.node("mailstore-1").clone();
    let others = cluster.node("mailstore-2").clone();
    let nodes = std::slice::from_ref(&node);
    let (certificate, kept) = (
        node.data.join("node.pem"),
        fs::read(node.data.join("node.pem")).unwrap(),
    );
    for (times, wrong) in [
        (1, b"half a certi".to_vec()),
        // Its key is another.
        (2, fs::read(others.data.join("node.pem")).unwrap()),
    ] {
        fs::write(&certificate, wrong).unwrap();
        wait_until_logged(&cluster, nodes, STAYS, times);
    }
    // It still calls and is called with the one that it has.
    cluster.stop("proxy-1");
    cluster.restart("proxy-1").unwrap();
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    let all = ["user1@example.test".to_owned(), "user2@example.test".to_owned()];
    smtp.deliver(&all, &messages::numbered(1, 100))
        .unwrap()
        .expect("250")
        .unwrap();
    fs::write(&certificate, kept).unwrap();
    issue(&authority_of(&cluster.manifest().ca_file), &node);
    wait_until_logged(&cluster, nodes, READ_AGAIN, 1);
}
