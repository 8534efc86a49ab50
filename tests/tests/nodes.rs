//! A node's files and its process: certificates, what a playground leaves behind, output that nobody reads.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rookery_tests::cluster::{program, run_program};
use rookery_tests::{Cluster, Options, http};
use serde_json::Value;

/// Makes a node's files with `rookery init` and gives its configuration.
fn init(folder: &Path, id: &str) -> String {
    let (cluster, node) = (folder.join("cluster"), folder.join("node"));
    let output = run_program(&[
        "init",
        "--cluster-dir",
        cluster.to_str().unwrap(),
        "--node-dir",
        node.to_str().unwrap(),
        "--id",
        id,
        "--json",
    ])
    .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(made["node"]["id"], id);
    assert_eq!(made["node"]["start"][1], "serve");
    made["node"]["config"].as_str().unwrap().to_owned()
}

#[test]
fn a_certificate_of_another_node_is_refused_and_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let config = init(folder.path(), "one");
    let certificate = folder.path().join("node/node.pem");
    let ones = fs::read(&certificate).unwrap();
    let text = fs::read_to_string(&config).unwrap();
    let text = text
        .replace("id = \"one\"", "id = \"two\"")
        .replace("127.0.0.1:8080", "127.0.0.1:0");
    fs::write(&config, text).unwrap();
    let refused = run_program(&["serve", "--config", &config]).unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("directory one") && said.contains("rookery init"),
        "{said}"
    );
    // As the error says.
    fs::remove_file(&config).unwrap();
    init(folder.path(), "two");
    assert_ne!(fs::read(&certificate).unwrap(), ones);
}

#[test]
fn a_process_id_that_a_playground_left_behind_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    // What has the number by now may even look like one.
    let mut other = Command::new("sleep")
        .arg0("playground")
        .arg("600")
        .spawn()
        .unwrap();
    fs::write(folder.path().join("pid"), other.id().to_string()).unwrap();
    let stopped = run_program(&["playground", "stop", "--data", folder.path().to_str().unwrap()]).unwrap();
    let lives = other.try_wait().unwrap().is_none();
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(lives, "an innocent process was ended");
    assert_eq!(stopped.status.code(), Some(1));
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(program().unwrap())
        .args(["init", "--json", "--cluster-dir"])
        .arg(folder.path().join("cluster"))
        .stdin(Stdio::null())
        .stdout(writer)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn a_node_is_named_by_the_http_address_that_it_advertises() {
    let advertised = "node.example.test:8080";
    let cluster = Cluster::start(&Options {
        mailstores: 1,
        proxies: 1,
        environment: vec![("ROOKERY__NODE__HTTP_ADVERTISE".to_owned(), advertised.to_owned())],
        ..Options::default()
    })
    .unwrap();
    let listed = cluster.operate(&["--json", "node", "list"], "").unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    for node in listed["nodes"].as_array().unwrap() {
        assert_eq!(node["http"], advertised, "{node}");
    }
    // It listens where it did.
    let node = cluster.node("mailstore-1");
    assert_eq!(http::get(&node.http, "/readyz").unwrap().0, 200);
}
