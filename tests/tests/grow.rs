//! `rookery playground grow`: further mailstores in a cluster that runs, and whose they are.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rookery_tests::cluster::{Manifest, program, run_program};
use rookery_tests::{Cluster, Options};
use serde_json::Value;

/// How long processes may take to end whose playground was killed.
const END_MAX: Duration = Duration::from_secs(60);

fn small() -> Options {
    Options {
        mailstores: 1,
        proxies: 1,
        accounts: 2,
        shards: Some(8),
        ..Options::default()
    }
}

fn json(cluster: &Cluster, arguments: &[&str]) -> Value {
    let mut arguments = arguments.to_vec();
    arguments.push("--json");
    serde_json::from_str(&cluster.operate(&arguments, "").unwrap()).unwrap()
}

fn written(cluster: &Cluster) -> Value {
    let text = std::fs::read_to_string(cluster.data().join("cluster.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Whether a process is there that runs a node of this folder.
fn runs(pid: u32, folder: &Path) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains(&folder.display().to_string())
}

fn wait_gone(manifest: &Manifest) {
    let began = Instant::now();
    while let Some(node) = manifest.nodes.iter().find(|node| runs(node.pid, &node.data)) {
        assert!(began.elapsed() < END_MAX, "{} is still there", node.id);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_running_playground_gets_further_mailstores_and_stops_them_with_the_others() {
    let mut cluster = Cluster::start(&small()).unwrap();
    let before = written(&cluster);
    assert_eq!(cluster.grow(1).unwrap(), ["mailstore-2"]);
    assert_eq!(cluster.grow(2).unwrap(), ["mailstore-3", "mailstore-4"]);

    let after = written(&cluster);
    for key in [
        "proxies",
        "admin",
        "admins",
        "admin_token_file",
        "ca_file",
        "accounts",
    ] {
        assert_eq!(before[key], after[key], "{key}");
    }
    let (held, all) = (
        before["nodes"].as_array().unwrap(),
        after["nodes"].as_array().unwrap(),
    );
    assert_eq!(held[..], all[..held.len()], "what was there stays");
    for row in &all[held.len()..] {
        assert_eq!(row["role"], "mailstore");
        for key in ["address", "http"] {
            assert!(row[key].as_str().unwrap().starts_with("127.0.0.1:"), "{row}");
        }
    }

    let nodes = json(&cluster, &["node", "list"]);
    for id in ["mailstore-2", "mailstore-3", "mailstore-4"] {
        let node = nodes["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .find(|node| node["id"] == id);
        let node = node.unwrap_or_else(|| panic!("{id} is not listed"));
        assert_eq!(
            (&node["alive"], &node["shards"]),
            (&true.into(), &0.into()),
            "{node}"
        );
    }

    // Like any other node it can be killed, started again, and is stopped with the rest.
    cluster.kill("mailstore-3");
    cluster.restart("mailstore-3").unwrap();
    let again = cluster.pid("mailstore-3");
    let data = cluster.data();
    let stopped = run_program(&["playground", "stop", "--data", data.to_str().unwrap()]).unwrap();
    assert!(
        stopped.status.success(),
        "{}",
        String::from_utf8_lossy(&stopped.stderr)
    );
    for node in &cluster.manifest().nodes {
        assert!(!runs(node.pid, &node.data), "{} was left behind", node.id);
    }
    assert!(
        !cluster.is_running("mailstore-3"),
        "process {again} was left behind"
    );
    assert!(!data.join("cluster.json").exists());
}

/// A playground without the helper that ends it when the test does.
struct Bare {
    child: Child,
    data: PathBuf,
}

impl Bare {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(program().unwrap())
            .args([
                "playground",
                "--port-base",
                "0",
                "--mailstores",
                "1",
                "--proxies",
                "1",
            ])
            .args(["--accounts", "1", "--shards", "8", "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let ready = output.lines().map_while(Result::ok).any(|line| line == "ready");
        assert!(ready, "the playground ended before it was ready");
        Self {
            child,
            data: data.canonicalize().unwrap(),
        }
    }

    fn grow(&self) {
        let output = run_program(&["playground", "grow", "--data", self.data.to_str().unwrap()]).unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.starts_with("mailstore-2 has joined"), "{said}");
    }

    fn manifest(&self) -> Manifest {
        serde_json::from_str(&std::fs::read_to_string(self.data.join("cluster.json")).unwrap()).unwrap()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_playground_that_is_killed_leaves_no_nodes_behind_and_has_all_of_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("cluster");
    let mut killed = Bare::start(&data);
    killed.grow();
    let manifest = killed.manifest();
    assert_eq!(manifest.nodes.len(), 4);
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    wait_gone(&manifest);

    let again = Bare::start(&data);
    let manifest = again.manifest();
    let ids: Vec<&str> = manifest.nodes.iter().map(|node| node.id.as_str()).collect();
    assert_eq!(ids, ["directory-1", "mailstore-1", "mailstore-2", "proxy-1"]);
    drop(again);
    wait_gone(&manifest);
}

#[test]
fn one_process_does_not_grow() {
    let cluster = Cluster::single();
    let data = cluster.data();
    let refused = run_program(&["playground", "grow", "--data", data.to_str().unwrap()]).unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("--single"), "{said}");
}
