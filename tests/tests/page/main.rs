//! The operator's page: its API, its events, and the page itself in a browser.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod api;
mod browser;
mod shown;

use std::time::{Duration, Instant};

use rookery_tests::http::{Answer, request};
use rookery_tests::{Cluster, Options};
use serde_json::Value;

/// How long something may take that comes by itself.
const COMES_MAX: Duration = Duration::from_secs(60);

/// Two mailstores and a few shards.
fn small(directories: u32) -> Cluster {
    Cluster::start(&Options {
        directories,
        mailstores: 2,
        proxies: 1,
        accounts: 4,
        shards: Some(12),
        ..Options::default()
    })
    .unwrap()
}

/// The admin token, which is the same for all members of a playground's directory.
fn token(cluster: &Cluster) -> String {
    let text = std::fs::read_to_string(cluster.data().join("cluster.json")).unwrap();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let file = manifest["admin_token_file"].as_str().unwrap();
    std::fs::read_to_string(file).unwrap().trim().to_owned()
}

/// A request to the API of a member of the directory, with the token.
fn ask(cluster: &Cluster, member: &str, path: &str) -> Answer {
    let bearer = format!("Bearer {}", token(cluster));
    let http = &cluster.node(member).http;
    let headers = [("Authorization", bearer.as_str())];
    request(http, "GET", &format!("/api/v1/{path}"), &headers, "").unwrap()
}

/// The same for an answer that must be there.
fn told(cluster: &Cluster, path: &str) -> Value {
    let answer = ask(cluster, "directory-1", path);
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

/// Waits for something that comes by itself.
fn until(what: &str, mut has_come: impl FnMut() -> bool) {
    let began = Instant::now();
    while !has_come() {
        assert!(began.elapsed() < COMES_MAX, "{what} does not come");
        std::thread::yield_now();
    }
}
