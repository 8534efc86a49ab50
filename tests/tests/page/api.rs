//! The API: who is let in, what is refused, pages, and an event for each thing that is done.

use rookery_tests::http::request;
use serde_json::Value;

use super::{ask, small, token, told, until};

#[test]
fn only_the_token_in_a_header_opens_the_api_and_nothing_but_reads_is_answered() {
    let cluster = small(1);
    let http = cluster.node("directory-1").http.clone();
    let token = token(&cluster);
    let right = format!("Bearer {token}");
    let call = |method: &str, path: &str, bearer: Option<&str>| {
        let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", *bearer)).collect();
        request(&http, method, path, &headers, "").unwrap()
    };
    let in_url = format!("/api/v1/cluster?token={token}");
    for (path, bearer) in [
        ("/api/v1/cluster", None),
        ("/api/v1/cluster", Some("Bearer of-nothing-that-is-right")),
        ("/api/v1/cluster", Some("Basic YTpi")),
        ("/api/v1/nothing", None),
        (in_url.as_str(), None),
    ] {
        let answer = call("GET", path, bearer);
        assert_eq!(answer.status, 401, "{answer:?}");
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert!(body["error"].as_str().unwrap().contains("admin token"), "{body}");
        assert!(answer.head.contains("www-authenticate: Bearer"), "{answer:?}");
    }
    for (method, path, status) in [
        ("POST", "/api/v1/cluster", 405),
        ("DELETE", "/", 405),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/", 404),
        ("GET", "/api/v2/cluster", 404),
        ("GET", "/../etc/passwd", 404),
        ("GET", "/api/v1/shards?limit=many", 400),
        ("GET", "/api/v1/events?before=3", 400),
        ("GET", in_url.as_str(), 400),
    ] {
        let answer = call(method, path, Some(&right));
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    let answer = call("GET", "/api/v1/cluster", Some(&right));
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("cache-control: no-store"), "{answer:?}");
    assert!(!answer.head.contains("access-control"), "{answer:?}");
    let page = call("GET", "/", None);
    assert_eq!(page.status, 200);
    assert!(
        page.head.contains("script-src 'self';") && !page.head.contains("unsafe"),
        "{page:?}"
    );
}

#[test]
fn shards_come_in_pages_and_the_cluster_as_the_commands_tell_it() {
    let cluster = small(1);
    let (mut ids, mut next) = (Vec::new(), String::new());
    loop {
        let page = told(&cluster, &format!("shards?limit=5{next}"));
        let shards = page["shards"].as_array().unwrap();
        assert!(shards.len() <= 5, "{page}");
        ids.extend(shards.iter().map(|shard| shard["id"].as_u64().unwrap()));
        match page["next"].as_u64() {
            Some(last) => next = format!("&after={last}"),
            None => break,
        }
    }
    assert_eq!(ids.len(), 12);
    assert!(ids.is_sorted(), "{ids:?}");
    assert!(told(&cluster, "rebalance").is_null());
    let status = cluster.operate(&["status", "--json"], "").unwrap();
    let status: Value = serde_json::from_str(&status).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let cluster_told = told(&cluster, "cluster");
    assert_eq!(keys(&cluster_told), keys(&status));
    assert_eq!(keys(&cluster_told["nodes"][0]), keys(&status["nodes"][0]));
}

#[test]
fn each_thing_that_happens_is_told_once() {
    let mut cluster = small(1);
    let kinds = |cluster: &rookery_tests::Cluster, kind: &str| {
        let events = told(cluster, "events");
        let events = events["events"].as_array().unwrap().clone();
        let of = events.into_iter().filter(|event| event["kind"] == kind);
        of.map(|event| event["text"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds(&cluster, "directory-led").len(), 1);
    assert_eq!(kinds(&cluster, "shards-placed").len(), 1);
    cluster.grow(1).unwrap();
    let registered = kinds(&cluster, "node-registered");
    assert_eq!(
        registered
            .iter()
            .filter(|text| text.starts_with("mailstore-3 "))
            .count(),
        1,
        "{registered:?}"
    );

    cluster
        .operate(&["rebalance", "apply", "--yes", "--max-transfers", "1"], "")
        .unwrap();
    cluster.operate(&["rebalance", "pause"], "").unwrap();
    cluster.operate(&["rebalance", "pause"], "").unwrap();
    cluster.operate(&["rebalance", "resume"], "").unwrap();
    cluster.operate(&["rebalance", "watch"], "").unwrap();
    let job = told(&cluster, "rebalance");
    assert_eq!(job["state"], "done", "{job}");
    let all = job["transfers"]["all"].as_u64().unwrap() as usize;
    for (kind, count) in [
        ("rebalance-begun", 1),
        ("rebalance-paused", 1),
        ("rebalance-resumed", 1),
        ("rebalance-done", 1),
        ("shard-moved", all),
        ("transfer-done", all),
    ] {
        assert_eq!(kinds(&cluster, kind).len(), count, "{kind}");
    }

    cluster.operate(&["node", "drain", "mailstore-3"], "").unwrap();
    cluster.operate(&["rebalance", "apply", "--yes"], "").unwrap();
    cluster.operate(&["rebalance", "watch"], "").unwrap();
    cluster.stop("mailstore-3");
    until("the silence of mailstore-3", || {
        !kinds(&cluster, "node-silent").is_empty()
    });
    cluster.restart("mailstore-3").unwrap();
    until("the return of mailstore-3", || {
        !kinds(&cluster, "node-back").is_empty()
    });
    cluster.stop("mailstore-3");
    until("the second silence", || kinds(&cluster, "node-silent").len() == 2);
    cluster.operate(&["node", "remove", "mailstore-3"], "").unwrap();
    for (kind, count) in [("node-drained", 1), ("node-back", 1), ("node-removed", 1)] {
        assert_eq!(kinds(&cluster, kind).len(), count, "{kind}");
    }

    let lines = cluster
        .operate(&["events", "--since", "1h", "--json"], "")
        .unwrap();
    let told_by_command = lines.lines().map(|line| serde_json::from_str(line).unwrap());
    assert_eq!(
        told_by_command.collect::<Vec<Value>>(),
        *told(&cluster, "events?after=0")["events"].as_array().unwrap()
    );
    let text = cluster.operate(&["events"], "").unwrap();
    assert!(
        text.contains("node-removed        mailstore-3 was removed"),
        "{text}"
    );
}

#[test]
fn a_member_that_does_not_lead_says_who_does_and_the_next_leader_is_told_of() {
    let mut cluster = small(3);
    let members = ["directory-1", "directory-2", "directory-3"];
    let mut leader = "";
    until("a leader", || {
        let leads = members
            .iter()
            .find(|member| ask(&cluster, member, "cluster").status == 200);
        leader = leads.copied().unwrap_or_default();
        !leader.is_empty()
    });
    let other = members.iter().find(|member| **member != leader).unwrap();
    let answer = ask(&cluster, other, "cluster");
    assert_eq!(answer.status, 503, "{answer:?}");
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert!(body["error"].as_str().unwrap().contains(leader), "{body}");
    assert_eq!(body["leader_http"], cluster.node(leader).http.as_str());

    cluster.kill(leader);
    let rest: Vec<&str> = members.into_iter().filter(|member| *member != leader).collect();
    until("another leader's event", || {
        rest.iter().any(|member| {
            let answer = ask(&cluster, member, "events");
            answer.status == 200 && answer.body.contains(&format!("{member} leads the directory"))
        })
    });
}
