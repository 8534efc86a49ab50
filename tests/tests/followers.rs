//! Members of the directory that do not lead: they answer lookups, never from a state that is too old, and say no only when
//! the leader does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rookery_proto::{Reason, Status};
use rookery_tests::faults::stage::{DIRECTORY, Stage, StageOptions};
use rookery_tests::member::node_tls;
use rookery_tests::{Cluster, ImapClient, MemberClient, Options, SmtpClient, http, messages};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A bound that no test outlives.
const LONG: &str = "60s";

/// The default bound.
const BOUND: Duration = Duration::from_secs(1);

/// What a member says that cannot answer.
const NO_ANSWER: [Reason; 2] = [Reason::NotLeader, Reason::Unavailable];

fn start(directories: u32, bound: Option<&str>) -> Cluster {
    let bound = bound.map(|bound| {
        (
            "ROOKERY__DIRECTORY__LOOKUP_STALENESS_MAX".to_owned(),
            bound.to_owned(),
        )
    });
    let options = Options {
        directories,
        proxies: 1,
        shards: Some(12),
        accounts: 8,
        environment: bound.into_iter().collect(),
        ..Options::default()
    };
    Cluster::start(&options).unwrap_or_else(|error| panic!("{error:?}"))
}

fn members(cluster: &Cluster) -> Vec<String> {
    let nodes = cluster.manifest().nodes.iter();
    nodes
        .filter(|node| node.role == DIRECTORY)
        .map(|node| node.id.clone())
        .collect()
}

/// A way to each member.
fn clients(cluster: &Cluster) -> BTreeMap<String, MemberClient> {
    let folder = &cluster.node("proxy-1").data;
    let tls = node_tls(&cluster.manifest().ca_file, folder).unwrap();
    let client = |id: String| {
        let endpoints = std::fs::read_to_string(cluster.node(&id).data.join("endpoints.json")).unwrap();
        let endpoints: BTreeMap<String, String> = serde_json::from_str(&endpoints).unwrap();
        let client = MemberClient::new(&endpoints["calls"], tls.clone()).unwrap();
        (id, client)
    };
    members(cluster).into_iter().map(client).collect()
}

fn leader_of(nodes: &str) -> Option<String> {
    let nodes: serde_json::Value = serde_json::from_str(nodes).unwrap();
    let nodes = nodes["nodes"].as_array().unwrap();
    let leads = nodes.iter().find(|node| node["leads"] == true)?;
    Some(leads["id"].as_str().unwrap().to_owned())
}

/// The member that leads, as an operator is told.
fn leader(cluster: &Cluster) -> String {
    let nodes = cluster.operate(&["--json", "node", "list"], "").unwrap();
    leader_of(&nodes).unwrap()
}

/// Lookups that a member has answered while it followed.
fn answered(cluster: &Cluster, member: &str) -> f64 {
    let (_, page) = http::get(&cluster.node(member).http, "/metrics").unwrap();
    let name = "rookery_directory_follower_lookups_total{outcome=\"answered\"} ";
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0.0, |figure| figure.parse().unwrap())
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

/// What a member says once it can.
fn once_it_answers<T>(what: &str, mut ask: impl FnMut() -> Result<T, Status>) -> Result<T, Status> {
    let began = Instant::now();
    loop {
        match ask() {
            Err(status) if NO_ANSWER.contains(&status.reason) => {
                assert!(began.elapsed() < PATIENCE, "{what}: {status}");
            }
            answer => return answer,
        }
    }
}

fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> Reason {
    answer.unwrap_err().reason
}

#[test]
fn a_follower_with_nobody_beside_it_grants_what_it_knows_and_refuses_nothing() {
    let mut cluster = start(3, Some(LONG));
    let clients = clients(&cluster);
    let leads = leader(&cluster);
    let follower = clients.keys().find(|id| **id != leads).unwrap().clone();
    let member = &clients[&follower];
    let known = once_it_answers("a first lookup", || member.resolve("user1@example.test"));
    let wanted = clients[&leads].resolve("user1@example.test");
    assert_eq!(known, wanted);

    // Two that stand still elect nobody with the third.
    let others: Vec<String> = clients.keys().filter(|id| **id != follower).cloned().collect();
    for other in &others {
        cluster.pause(other);
    }
    let before = answered(&cluster, &follower);
    // Never asked for before.
    assert_eq!(member.resolve("user2@example.test").unwrap().len(), 1);
    member.log_in("user3@example.test", "playground").unwrap();
    assert_eq!(answered(&cluster, &follower), before + 2.0);
    // Another account may have just that name by now.
    for unsure in ["nobody@example.test", "user2+detail@example.test"] {
        let unsure = reason(member.resolve(unsure));
        assert!(NO_ANSWER.contains(&unsure), "{unsure:?}");
    }
    let wrong = reason(member.log_in("user3@example.test", "wrong"));
    assert!(NO_ANSWER.contains(&wrong), "{wrong:?}");
    ImapClient::login(&cluster.proxy(0).imap, "user4@example.test").unwrap();

    for other in &others {
        cluster.resume(other);
    }
    let unknown = once_it_answers("an unknown recipient", || member.resolve("nobody@example.test"));
    assert_eq!(reason(unknown), Reason::NotFound);
    let wrong = once_it_answers("a wrong password", || {
        member.log_in("user3@example.test", "wrong")
    });
    assert_eq!(reason(wrong), Reason::BadCredentials);
}

#[test]
fn proxies_ask_all_members() {
    let cluster = start(3, None);
    let leads = leader(&cluster);
    let followers: Vec<String> = members(&cluster).into_iter().filter(|id| *id != leads).collect();
    until("each follower has answered", || {
        for number in 1..=8 {
            let user = format!("user{number}@example.test");
            ImapClient::login(&cluster.proxy(0).imap, &user).unwrap();
        }
        followers
            .iter()
            .all(|follower| answered(&cluster, follower) > 0.0)
    });
}

#[test]
fn what_was_just_made_is_known_to_each_member() {
    let cluster = start(3, Some(LONG));
    let clients = clients(&cluster);
    let caught = clients[&leader(&cluster)].resolve("user1@example.test").unwrap();
    cluster
        .operate(&["alias", "add", "@example.test", "user1@example.test"], "")
        .unwrap();
    for round in 0..12 {
        let added = format!("added{round}@example.test");
        cluster.operate(&["account", "add", &added], "first\n").unwrap();
        for (id, member) in &clients {
            // A state that is too old has the catch-all for it.
            let found = once_it_answers("a lookup", || member.resolve(&added)).unwrap();
            assert!(found.len() == 1 && found != caught, "{id}: {found:?}");
        }
        cluster
            .operate(&["account", "passwd", &added], "second\n")
            .unwrap();
        for (id, member) in &clients {
            let granted = once_it_answers("a login", || member.log_in(&added, "second"));
            assert!(granted.is_ok(), "{id}: {granted:?}");
        }
    }
}

#[test]
fn members_that_stood_still_say_nothing_that_is_too_old() {
    let mut cluster = start(3, None);
    let clients = clients(&cluster);
    let user = "user1@example.test";
    for of_leader in [true, false] {
        let leads = leader(&cluster);
        let victim = members(&cluster)
            .into_iter()
            .find(|id| (*id == leads) == of_leader)
            .unwrap();
        let member = &clients[&victim];
        once_it_answers("a first login", || member.log_in(user, "playground")).unwrap();
        cluster.pause(&victim);
        until("somebody leads", || {
            cluster
                .try_operate(&["account", "suspend", user], "")
                .unwrap()
                .status
                .success()
        });
        let suspended = Instant::now();
        until("the bound is over", || suspended.elapsed() > BOUND);
        cluster.resume(&victim);
        let told = once_it_answers("a login", || member.log_in(user, "playground"));
        assert_eq!(reason(told), Reason::Suspended, "{victim}");
        let told = once_it_answers("a lookup", || member.resolve(user));
        assert_eq!(reason(told), Reason::Suspended, "{victim}");
        cluster
            .operate(&["account", "suspend", "--resume", user], "")
            .unwrap();
    }
}

#[test]
fn changes_are_seen_by_each_member_within_the_bound() {
    let cluster = start(3, None);
    let clients = clients(&cluster);
    let user = "user1@example.test";
    for round in 0..6 {
        let is_suspended = round % 2 == 0;
        let words: &[&str] = if is_suspended {
            &["account", "suspend", user]
        } else {
            &["account", "suspend", "--resume", user]
        };
        cluster.operate(words, "").unwrap();
        let acknowledged = Instant::now();
        for (id, member) in &clients {
            loop {
                let asked = Instant::now();
                let said = once_it_answers("a lookup", || member.resolve(user));
                if said.is_err() == is_suspended {
                    break;
                }
                // What frees somebody is seen at once.
                assert!(is_suspended, "{id}: {said:?}");
                assert!(asked.duration_since(acknowledged) <= BOUND, "{id}: {said:?}");
            }
        }
    }
}

#[test]
fn of_five_members_two_may_die() {
    let mut cluster = start(5, None);
    let leads = leader(&cluster);
    let other = members(&cluster).into_iter().find(|id| *id != leads).unwrap();
    cluster.kill(&leads);
    cluster.kill(&other);
    let began = Instant::now();
    loop {
        let mut imap = ImapClient::connect(&cluster.proxy(0).imap).unwrap();
        let answer = imap.command("LOGIN user1@example.test playground").unwrap();
        if answer.tagged.starts_with("OK") {
            break;
        }
        assert!(answer.tagged.starts_with("NO [UNAVAILABLE]"), "{}", answer.tagged);
        assert!(began.elapsed() < PATIENCE, "{}", answer.tagged);
    }
    cluster
        .operate(&["account", "add", "late@example.test"], "playground\n")
        .unwrap();
    ImapClient::login(&cluster.proxy(0).imap, "late@example.test").unwrap();
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    smtp.deliver(&["late@example.test".to_owned()], &messages::numbered(1, 500))
        .unwrap()
        .expect("250")
        .unwrap();
    let refused = ImapClient::connect(&cluster.proxy(0).imap)
        .unwrap()
        .command("LOGIN user2@example.test wrong")
        .unwrap();
    assert!(
        refused.tagged.starts_with("NO [AUTHENTICATIONFAILED]"),
        "{}",
        refused.tagged
    );
    for member in [&leads, &other] {
        cluster.restart(member).unwrap();
    }
    let clients = clients(&cluster);
    for member in [&leads, &other] {
        let known = once_it_answers("a lookup", || clients[member].resolve("late@example.test"));
        assert!(known.is_ok(), "{member}: {known:?}");
    }
}

#[test]
fn a_leader_that_is_cut_off_says_nothing_old_and_steps_back() {
    let mut stage = Stage::set(&StageOptions {
        directories: 3,
        mailstores: 1,
        proxies: 1,
        accounts: 2,
        shards: 2,
        replicas: 1,
        network: true,
        rooms: false,
        program: None,
    })
    .unwrap_or_else(|error| panic!("{error:?}"));
    let credentials = stage.credentials().unwrap();
    let tls = node_tls(&credentials.ca, &credentials.folder).unwrap();
    let members = stage.of_role(DIRECTORY);
    let clients: BTreeMap<&String, MemberClient> = members
        .iter()
        .zip(&credentials.directories)
        .map(|(id, address)| (id, MemberClient::new(address, tls.clone()).unwrap()))
        .collect();
    let user = "user1@example.test";
    let mut leads = None;
    until("somebody leads", || {
        let nodes = stage.operate(&["--json", "node", "list"]).unwrap_or_default();
        leads = (!nodes.is_empty()).then(|| leader_of(&nodes)).flatten();
        leads.is_some()
    });
    let leads = leads.unwrap();
    // The leader, and then one that follows.
    for (victim, words) in [
        (leads.clone(), ["account", "suspend", user].as_slice()),
        (
            members.iter().find(|id| **id != leads).unwrap().clone(),
            ["account", "suspend", "user2@example.test"].as_slice(),
        ),
    ] {
        let user = words[2];
        let member = &clients[&victim];
        once_it_answers("a first login", || member.log_in(user, "playground")).unwrap();
        for other in members.iter().filter(|id| **id != victim) {
            stage.network().unwrap().cut(&victim, other).unwrap();
            stage.network().unwrap().cut(other, &victim).unwrap();
        }
        until("somebody else leads", || {
            stage.try_operate(words).unwrap().status.success()
        });
        let suspended = Instant::now();
        // It is asked while it believes to lead, and while it knows better.
        let http = format!("{}:8080", stage.network().unwrap().address(&victim));
        let mut is_over = false;
        until("it has stepped back", || {
            let asked = Instant::now();
            match member.log_in(user, "playground") {
                Ok(_) => assert!(asked.duration_since(suspended) <= BOUND, "{victim}"),
                Err(status) => {
                    assert!(NO_ANSWER.contains(&status.reason), "{victim}: {status}");
                    is_over = true;
                }
            }
            let (_, page) = http::get(&http, "/metrics").unwrap();
            is_over && !page.lines().any(|line| line == "rookery_directory_leads 1")
        });
        for other in members.iter().filter(|id| **id != victim) {
            stage.network().unwrap().heal(&victim, other).unwrap();
            stage.network().unwrap().heal(other, &victim).unwrap();
        }
        let told = once_it_answers("a login", || member.log_in(user, "playground"));
        assert_eq!(reason(told), Reason::Suspended, "{victim}");
    }
}
