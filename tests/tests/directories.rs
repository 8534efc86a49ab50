//! Three members of the directory: each is killed, one loses its disk, most are away, and what was acknowledged is there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rookery_tests::imap::literals;
use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, http, messages};
use serde_json::Value;

const MEMBERS: [&str; 3] = ["directory-1", "directory-2", "directory-3"];

/// How long the directory may take to be served again.
const SERVED_MAX: Duration = Duration::from_secs(30);

fn start(accounts: u64) -> Cluster {
    start_with(accounts, &[])
}

fn start_with(accounts: u64, environment: &[(&str, &str)]) -> Cluster {
    let environment = environment.iter();
    let options = Options {
        environment: environment
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        directories: 3,
        proxies: 1,
        shards: Some(12),
        accounts,
        ..Options::default()
    };
    Cluster::start(&options).unwrap_or_else(|error| panic!("{error:?}"))
}

fn nodes(cluster: &Cluster) -> Vec<Value> {
    let text = cluster.operate(&["--json", "node", "list"], "").unwrap();
    let nodes: Value = serde_json::from_str(&text).unwrap();
    nodes["nodes"].as_array().unwrap().clone()
}

/// The member that leads, as an operator is told.
fn leader(cluster: &Cluster) -> String {
    let leading: Vec<String> = nodes(cluster)
        .iter()
        .filter(|node| node["leads"] == true)
        .map(|node| node["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(leading.len(), 1, "one leads: {leading:?}");
    leading[0].clone()
}

/// A figure of a node's metrics page.
fn figure(cluster: &Cluster, node: &str, name: &str) -> Option<f64> {
    let (_, page) = http::get(&cluster.node(node).http, "/metrics").ok()?;
    let line = page.lines().find(|line| line.starts_with(&format!("{name} ")))?;
    line.split(' ').nth(1)?.parse().ok()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < SERVED_MAX, "{what}");
        std::thread::yield_now();
    }
}

/// Logs in. While nobody leads the directory it is told to try later, and nothing worse.
fn log_in(cluster: &Cluster, user: &str) -> ImapClient {
    let began = Instant::now();
    loop {
        let mut imap = ImapClient::connect(&cluster.proxy(0).imap).unwrap();
        let answer = imap.command(&format!("LOGIN {user} playground")).unwrap();
        if answer.tagged.starts_with("OK") {
            return imap;
        }
        assert!(answer.tagged.starts_with("NO [UNAVAILABLE]"), "{}", answer.tagged);
        assert!(began.elapsed() < SERVED_MAX, "{}", answer.tagged);
    }
}

/// Delivers to somebody; the same for deliveries.
fn deliver(cluster: &Cluster, user: &str, number: u64) {
    let began = Instant::now();
    loop {
        let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
        smtp.command("MAIL FROM:<sender@remote.test>")
            .unwrap()
            .expect("250")
            .unwrap();
        let reply = smtp.command(&format!("RCPT TO:<{user}>")).unwrap();
        if reply.code() == "250" {
            let message = messages::numbered(number, 500);
            smtp.command("RSET").unwrap().expect("250").unwrap();
            smtp.deliver(&[user.to_owned()], &message)
                .unwrap()
                .expect("250")
                .unwrap();
            return;
        }
        assert!(reply.code().starts_with('4'), "{}", reply.0);
        assert!(began.elapsed() < SERVED_MAX, "{}", reply.0);
    }
}

/// The numbers of the messages in a session's INBOX.
fn found(session: &mut ImapClient) -> BTreeSet<u64> {
    session.command("SELECT INBOX").unwrap().ok().unwrap();
    let answer = session
        .command("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
        .unwrap()
        .ok()
        .unwrap();
    let headers = answer.untagged.iter().flat_map(|response| literals(response));
    headers
        .map(|header| {
            let header = String::from_utf8(header).unwrap();
            let id = header.split('<').nth(1).unwrap().split('@').next().unwrap();
            id.parse().unwrap()
        })
        .collect()
}

/// Mail that flows to one account the whole time; gives the numbers that were acknowledged.
struct Flow {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<BTreeSet<u64>>,
}

impl Flow {
    fn start(address: &str, user: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, address, user) = (Arc::clone(&stop), address.to_owned(), user.to_owned());
        let sender = std::thread::spawn(move || {
            let mut acknowledged = BTreeSet::new();
            let mut smtp = SmtpClient::hello(&address).unwrap();
            for number in 1.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                smtp.command("MAIL FROM:<sender@remote.test>")
                    .unwrap()
                    .expect("250")
                    .unwrap();
                let reply = smtp.command(&format!("RCPT TO:<{user}>")).unwrap();
                smtp.command("RSET").unwrap().expect("250").unwrap();
                if reply.code() != "250" {
                    assert!(reply.code().starts_with('4'), "{}", reply.0);
                    continue;
                }
                let message = messages::numbered(number, 500);
                // The recipient may have become unknown to the proxy again.
                match smtp.deliver(std::slice::from_ref(&user), &message) {
                    Ok(reply) if reply.code() == "250" => {
                        acknowledged.insert(number);
                    }
                    Ok(reply) => assert!(reply.code().starts_with('4'), "{}", reply.0),
                    Err(error) => {
                        assert!(
                            error.to_string().contains("expected 250, was answered \"4"),
                            "{error}"
                        );
                        smtp.command("RSET").unwrap().expect("250").unwrap();
                    }
                }
            }
            acknowledged
        });
        Self { stop, sender }
    }

    fn end(self) -> BTreeSet<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().unwrap()
    }
}

#[test]
fn each_member_is_killed_in_turn_while_mail_flows() {
    let mut cluster = start(8);
    let mut session = log_in(&cluster, "user1@example.test");
    session.command("SELECT INBOX").unwrap().ok().unwrap();
    let flow = Flow::start(&cluster.proxy(0).smtp, "user2@example.test");
    let mut added = Vec::new();
    let mut killed = BTreeSet::new();
    for round in 0..MEMBERS.len() as u64 {
        // Each once: whoever leads, and in the end whoever is left.
        let leads = leader(&cluster);
        let victim = MEMBERS
            .iter()
            .copied()
            .filter(|member| !killed.contains(*member))
            .max_by_key(|member| *member == leads)
            .unwrap();
        let before = format!("before{round}@example.test");
        cluster
            .operate(&["account", "add", &before], "playground\n")
            .unwrap();
        cluster.kill(victim);
        killed.insert(victim);

        session.command("NOOP").unwrap().ok().unwrap();
        // Neither was ever seen by the proxy.
        log_in(&cluster, &format!("user{}@example.test", round + 3));
        deliver(&cluster, &before, 1_000 + round);
        let after = format!("after{round}@example.test");
        cluster
            .operate(&["account", "add", &after], "playground\n")
            .unwrap();
        added.extend([before, after]);
        for user in &added {
            log_in(&cluster, user);
        }
        let refused = ImapClient::connect(&cluster.proxy(0).imap)
            .unwrap()
            .command("LOGIN user6@example.test wrong")
            .unwrap();
        assert!(
            refused.tagged.starts_with("NO [AUTHENTICATIONFAILED]"),
            "{}",
            refused.tagged
        );
        cluster.restart(victim).unwrap();
        until("all members are alive", || {
            let alive = nodes(&cluster)
                .iter()
                .filter(|node| node["role"] == "directory" && node["alive"] == true)
                .count();
            alive == MEMBERS.len()
        });
    }
    let acknowledged = flow.end();
    assert!(!acknowledged.is_empty());
    let there = found(&mut log_in(&cluster, "user2@example.test"));
    assert!(there.is_superset(&acknowledged), "{acknowledged:?} {there:?}");
    for (round, user) in (0..).zip(added.iter().step_by(2)) {
        assert_eq!(
            found(&mut log_in(&cluster, user)),
            BTreeSet::from([1_000 + round])
        );
    }
    session.command("NOOP").unwrap().ok().unwrap();
}

#[test]
fn members_that_lose_their_disks_are_taken_in_under_new_numbers() {
    let mut cluster = start(4);
    let replica = |cluster: &Cluster, member: &str| figure(cluster, member, "rookery_directory_replica");
    let first: Vec<f64> = MEMBERS
        .iter()
        .map(|member| replica(&cluster, member).unwrap())
        .collect();
    let mut last = first.iter().copied().fold(0.0, f64::max);
    // A follower first, then whoever leads.
    let follower = |cluster: &Cluster| {
        let leads = leader(cluster);
        MEMBERS
            .into_iter()
            .find(|member| *member != leads)
            .unwrap()
            .to_owned()
    };
    for (round, choose) in [follower as fn(&Cluster) -> String, leader]
        .into_iter()
        .enumerate()
    {
        let victim = choose(&cluster);
        cluster.kill(&victim);
        std::fs::remove_dir_all(cluster.node(&victim).data.join("store")).unwrap();
        let added = format!("{victim}-{round}@example.test");
        cluster
            .operate(&["account", "add", &added], "playground\n")
            .unwrap();
        cluster.restart(&victim).unwrap();
        until("the member votes under a new number", || {
            replica(&cluster, &victim).is_some_and(|now| now > last)
                && figure(&cluster, &victim, "rookery_directory_votes") == Some(1.0)
        });
        last = replica(&cluster, &victim).unwrap();

        // Now it counts: with another one gone, nothing is agreed on without it.
        let other = MEMBERS.into_iter().find(|member| *member != victim).unwrap();
        cluster.kill(other);
        log_in(&cluster, &added);
        cluster.restart(other).unwrap();
    }
    let backup = cluster.scratch().join("backup");
    let backup = backup.to_str().unwrap();
    cluster
        .operate(&["backup", "create", "--to", backup], "")
        .unwrap();
    let listed = cluster.operate(&["account", "list"], "").unwrap();
    assert!(listed.contains("directory-"), "{listed}");
}

#[test]
fn an_old_disk_that_comes_back_does_not_vote() {
    let mut cluster = start(1);
    let leads = leader(&cluster);
    let victim = MEMBERS.into_iter().find(|member| *member != leads).unwrap();
    let store = cluster.node(victim).data.join("store");
    let aside = cluster.scratch().join("old-disk");
    let replica = |cluster: &Cluster| figure(cluster, victim, "rookery_directory_replica");
    let taken_in_after = |cluster: &Cluster, last: f64| {
        until("the member votes under a new number", || {
            replica(cluster).is_some_and(|now| now > last)
                && figure(cluster, victim, "rookery_directory_votes") == Some(1.0)
        });
        replica(cluster).unwrap()
    };
    let old = replica(&cluster).unwrap();
    cluster.kill(victim);
    std::fs::rename(&store, &aside).unwrap();
    cluster.restart(victim).unwrap();
    let new = taken_in_after(&cluster, old);

    // The replica on the old disk believes that it is one of the group.
    cluster.kill(victim);
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::rename(&aside, &store).unwrap();
    cluster.restart(victim).unwrap();
    taken_in_after(&cluster, new);
}

#[test]
fn without_most_of_the_members_nobody_is_unknown() {
    // What the last one knows would be enough for a while (`followers.rs`).
    let mut cluster = start_with(4, &[("ROOKERY__DIRECTORY__LOOKUP_STALENESS_MAX", "0s")]);
    let known = "user1@example.test";
    log_in(&cluster, known);
    let leads = leader(&cluster);
    let other = MEMBERS.into_iter().find(|member| *member != leads).unwrap();
    cluster.kill(&leads);
    cluster.kill(other);

    log_in(&cluster, known);
    for user in ["user2@example.test", "nobody@example.test"] {
        let answer = ImapClient::connect(&cluster.proxy(0).imap)
            .unwrap()
            .command(&format!("LOGIN {user} playground"))
            .unwrap();
        assert!(
            answer.tagged.starts_with("NO [UNAVAILABLE]"),
            "{user}: {}",
            answer.tagged
        );
        let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
        smtp.command("MAIL FROM:<sender@remote.test>")
            .unwrap()
            .expect("250")
            .unwrap();
        let reply = smtp.command(&format!("RCPT TO:<{user}>")).unwrap();
        assert!(reply.code().starts_with('4'), "{user}: {}", reply.0);
    }

    cluster.restart(other).unwrap();
    log_in(&cluster, "user2@example.test");
    deliver(&cluster, "user3@example.test", 1);
    let refused = SmtpClient::hello(&cluster.proxy(0).smtp).and_then(|mut smtp| {
        smtp.command("MAIL FROM:<sender@remote.test>")?.expect("250")?;
        smtp.command("RCPT TO:<nobody@example.test>")
    });
    assert!(refused.unwrap().code().starts_with('5'));
}

#[test]
fn a_leader_that_is_told_to_stop_hands_over_first() {
    let mut cluster = start(4);
    for (round, user) in ["user1@example.test", "user2@example.test"]
        .into_iter()
        .enumerate()
    {
        let leads = leader(&cluster);
        cluster.stop(&leads);
        // Nobody is told to try later.
        ImapClient::login(&cluster.proxy(0).imap, user).unwrap();
        let added = format!("added{round}@example.test");
        cluster
            .operate(&["account", "add", &added], "playground\n")
            .unwrap();
        ImapClient::login(&cluster.proxy(0).imap, &added).unwrap();
        assert_ne!(leader(&cluster), leads);
        cluster.restart(&leads).unwrap();
    }
}
