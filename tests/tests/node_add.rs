//! `rookery node add`: a machine that has nothing but a token joins; what is wrong, used, of elsewhere or removed does not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rookery_tests::cluster::program;
use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, http, messages};
use serde_json::Value;

/// How long a node may take to say or become something.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(100);

const ACCOUNTS: u64 = 4;

fn small(mailstores: u32) -> Cluster {
    let options = Options {
        mailstores,
        proxies: 1,
        accounts: ACCOUNTS,
        shards: Some(8),
        ..Options::default()
    };
    Cluster::start(&options).unwrap_or_else(|error| panic!("{error:?}"))
}

fn json(cluster: &Cluster, arguments: &[&str]) -> Value {
    let mut arguments = arguments.to_vec();
    arguments.push("--json");
    serde_json::from_str(&cluster.operate(&arguments, "").unwrap()).unwrap()
}

fn node(cluster: &Cluster, id: &str) -> Option<Value> {
    let listed = json(cluster, &["node", "list"]);
    let nodes = listed["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["id"] == id).cloned()
}

fn joins(cluster: &Cluster) -> Vec<Value> {
    json(cluster, &["node", "list"])["joins"]
        .as_array()
        .unwrap()
        .clone()
}

/// A join token for a mailstore.
fn token(cluster: &Cluster, more: &[&str]) -> String {
    let mut arguments = vec!["node", "add", "--role", "mailstore"];
    arguments.extend(more);
    json(cluster, &arguments)["token"].as_str().unwrap().to_owned()
}

/// Runs `rookery init` with a token on its standard input.
fn init(token: &str, folder: &Path) -> Output {
    let mut child = Command::new(program().unwrap())
        .args(["init", "--join-file", "-", "--json", "--node-dir"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// A command that must fail, with an error whose first line says so.
fn fails(output: &Output, about: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let first = said.lines().next().unwrap_or_default();
    assert!(first.contains(about), "the first line says {about}: {said}");
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WAIT_MAX, "it was waited for in vain: {what}");
        std::thread::sleep(LOOK);
    }
}

/// A mailstore's process that no playground has started.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(config: &Path, log: &Path) -> Self {
        let output = fs::File::create(log).unwrap();
        let child = Command::new(program().unwrap())
            .args(["mailstore", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .unwrap();
        Self {
            child,
            log: log.to_owned(),
        }
    }

    fn says(&self, words: &str) -> bool {
        fs::read_to_string(&self.log).unwrap().contains(words)
    }

    /// Waits until its log says so.
    fn until_says(&self, words: &str) {
        wait_until(words, || self.says(words));
    }

    /// The whole log of one that ends by itself.
    fn ended(mut self) -> String {
        let mut ended = None;
        wait_until("the process ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        assert_eq!(ended.unwrap().code(), Some(1));
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            // The failure is told anyway.
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let _ = writeln!(std::io::stderr(), "--- {}\n{log}", self.log.display());
        }
    }
}

/// Lets the system choose the ports of a node that `init` has made, which may fill the disk that it is on.
fn on_free_ports(folder: &Path) -> PathBuf {
    let config = folder.join("rookery.toml");
    let text = fs::read_to_string(&config).unwrap();
    let kept = text.lines().filter(|line| !line.starts_with("advertise"));
    let text: Vec<&str> = kept.collect();
    let text = text
        .join("\n")
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("0.0.0.0:7400", "127.0.0.1:0")
        .replace("[mailstore]", "[mailstore]\ndisk_kept = \"64MiB\"");
    fs::write(&config, text + "\n").unwrap();
    config
}

#[test]
fn a_new_machine_joins_with_what_is_printed_and_gets_its_share() {
    let cluster = small(2);
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    for number in 1..=ACCOUNTS {
        let recipient = format!("user{number}@example.test");
        let reply = smtp
            .deliver(&[recipient], &messages::numbered(number, 500))
            .unwrap();
        reply.expect("250").unwrap();
    }
    let added = json(
        &cluster,
        &["node", "add", "--role", "mailstore", "--host", "m3.example.test"],
    );
    assert_eq!(added["id"], "mailstore-3");
    let token = added["token"].as_str().unwrap();
    assert!(!added["command"].as_str().unwrap().contains(token));
    assert_eq!(
        (&joins(&cluster)[0]["id"], &joins(&cluster)[0]["redeemed"]),
        (&"mailstore-3".into(), &false.into())
    );

    let machine = cluster.scratch().join("machine");
    let made = init(token, &machine);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["node"]["id"], "mailstore-3");
    assert_eq!(made["node"]["start"][1], "mailstore");
    let mut files: Vec<String> = fs::read_dir(&machine)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort_unstable();
    assert_eq!(files, ["ca.pem", "node.key", "node.pem", "rookery.toml"]);
    let mode = fs::metadata(machine.join("node.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(machine.join("rookery.toml")).unwrap();
    assert!(text.contains("advertise = \"m3.example.test:7400\""), "{text}");

    fails(&init(token, &machine), "is there already");
    fails(
        &init(token, &cluster.scratch().join("another")),
        "was used by another machine",
    );
    // The answer was lost: the key is the same.
    for name in ["rookery.toml", "node.pem"] {
        fs::remove_file(machine.join(name)).unwrap();
    }
    let again = init(token, &machine);
    assert!(
        again.status.success(),
        "{}",
        String::from_utf8_lossy(&again.stderr)
    );
    assert_eq!(joins(&cluster)[0]["redeemed"], true);

    let config = on_free_ports(&machine);
    let joined = Process::start(&config, &cluster.scratch().join("joined.log"));
    wait_until("the new node is listed", || {
        node(&cluster, "mailstore-3").is_some_and(|node| node["alive"] == true)
    });
    let listed = node(&cluster, "mailstore-3").unwrap();
    assert_eq!(listed["shards"], 0);
    assert!(joins(&cluster).is_empty());
    cluster.operate(&["rebalance", "--yes"], "").unwrap();
    assert!(node(&cluster, "mailstore-3").unwrap()["shards"].as_u64().unwrap() > 0);
    for number in 1..=ACCOUNTS {
        let user = format!("user{number}@example.test");
        let mut imap = ImapClient::login(&cluster.proxy(0).imap, &user).unwrap();
        let examined = imap.command("EXAMINE INBOX").unwrap().ok().unwrap();
        assert_eq!(examined.exists(), Some(1), "{user}");
    }

    let told = cluster.operate(&["events", "--json"], "").unwrap();
    let proof = parts(token)["secret"]
        .as_str()
        .unwrap()
        .split_once('.')
        .unwrap()
        .1
        .to_owned();
    assert!(!told.contains(&proof), "events tell the secret");
    let told: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for kind in ["node-invited", "node-issued", "node-registered"] {
        let is_told = |event: &Value| event["kind"] == kind && event["subject"] == "mailstore-3";
        assert!(told.iter().any(is_told), "{kind}: {told:?}");
    }

    // A copy of the machine beside it: it may have the same replicas, and opens none.
    drop(joined);
    let copy = cluster.scratch().join("copy");
    copy_folder(&machine, &copy);
    let joined = Process::start(&config, &cluster.scratch().join("again.log"));
    wait_until("the node is back", || {
        node(&cluster, "mailstore-3").is_some_and(|node| node["alive"] == true)
    });
    let twin = Process::start(&copy.join("rookery.toml"), &cluster.scratch().join("twin.log"));
    twin.until_says("another process is mailstore-3 already");
    let (status, missing) = http::get(&refused(&cluster), "/readyz").unwrap();
    assert_eq!(status, 503);
    assert!(missing.contains("another process is mailstore-3"), "{missing}");
    assert!(missing.contains("the shard map is not known yet"), "{missing}");
    let (_, metrics) = http::get(&refused(&cluster), "/metrics").unwrap();
    assert!(metrics.contains("\nrookery_mailstore_shards 0\n"), "{metrics}");
    let shards = node(&cluster, "mailstore-3").unwrap()["shards"].clone();
    assert!(shards.as_u64().unwrap() > 0);
    drop((joined, twin));
}

/// Where the process listens that the directory has refused.
fn refused(cluster: &Cluster) -> String {
    let log = fs::read_to_string(cluster.node("directory-1").data.join("log")).unwrap();
    let line = log
        .lines()
        .rfind(|line| line.contains("two processes have the id of one node"))
        .unwrap();
    let words = line.split_whitespace();
    let http = words.filter_map(|word| word.strip_prefix("http=")).next();
    http.unwrap().trim_matches('"').to_owned()
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

#[test]
fn secrets_that_are_not_good_and_ids_that_are_taken_are_refused() {
    let cluster = Cluster::single();
    let folder = cluster.scratch().join("machine");
    let refused = "the join secret is wrong, was used by another machine, has expired or was revoked";

    let taken = ["node", "add", "--role", "mailstore", "--id", "mailstore-1"];
    fails(&cluster.try_operate(&taken, "").unwrap(), "is the id of a node");
    let first = token(&cluster, &["--id", "mailstore-7"]);
    let given_out = ["node", "add", "--role", "mailstore", "--id", "mailstore-7"];
    fails(
        &cluster.try_operate(&given_out, "").unwrap(),
        "--revoke mailstore-7",
    );
    let listed = cluster.operate(&["node", "list"], "").unwrap();
    assert!(listed.contains("may join until"), "{listed}");
    cluster
        .operate(&["node", "add", "--revoke", "mailstore-7"], "")
        .unwrap();
    fails(&init(&first, &folder), refused);

    // Of one that was made later the part that names it, of this one the proof.
    let (one, other) = (token(&cluster, &[]), token(&cluster, &[]));
    fails(&init(&mixed(&one, &other), &folder), refused);
    for (bad, about) in [
        ("", "no join token"),
        ("rookery-join-9.x", "another format"),
        (&one[..60], "not whole"),
    ] {
        fails(&init(bad, &folder), about);
    }

    let short = token(&cluster, &["--id", "mailstore-9", "--valid", "1s"]);
    wait_until("the secret expires", || {
        joins(&cluster).iter().all(|join| join["id"] != "mailstore-9")
    });
    fails(&init(&short, &folder), refused);

    // Another cluster's directory is none to whoever has a token of this one.
    let elsewhere = Cluster::single();
    let text = fs::read_to_string(elsewhere.data().join("cluster.json")).unwrap();
    let other_admin: Value = serde_json::from_str(&text).unwrap();
    let foreign = token(&cluster, &["--via", other_admin["admin"].as_str().unwrap()]);
    fails(&init(&foreign, &folder), "cannot answer");
    assert!(!folder.join("rookery.toml").exists());
    // Of all that the key is left, with which a good token is taken.
    let made = init(&one, &folder);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// What a token says.
fn parts(token: &str) -> Value {
    let encoded = token.strip_prefix("rookery-join-1.").unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).unwrap()).unwrap()
}

/// The token of one join with the proof of another's secret.
fn mixed(one: &str, other: &str) -> String {
    let (mut token, other) = (parts(one), parts(other));
    let join = token["secret"].as_str().unwrap().split_once('.').unwrap().0;
    let proof = other["secret"].as_str().unwrap().split_once('.').unwrap().1;
    token["secret"] = format!("{join}.{proof}").into();
    format!("rookery-join-1.{}", URL_SAFE_NO_PAD.encode(token.to_string()))
}

#[test]
fn a_mailstore_with_the_folder_or_certificate_of_another_cluster_is_refused() {
    let cluster = small(1);
    let scratch = cluster.scratch();
    let (ours, theirs) = (scratch.join("ours"), scratch.join("theirs"));
    let elsewhere = Cluster::single();
    for (cluster, folder) in [(&cluster, &ours), (&elsewhere, &theirs)] {
        let made = init(&token(cluster, &["--id", "mailstore-5"]), folder);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        on_free_ports(folder);
    }
    let log = scratch.join("foreign.log");
    let read = |folder: &Path, name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let directory_of = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("directory = "));
        line.unwrap().to_owned()
    };

    // All of another cluster but the address of the directory.
    let text = read(&theirs, "rookery.toml");
    let pointed = text.replace(&directory_of(&text), &directory_of(&read(&ours, "rookery.toml")));
    fs::write(theirs.join("rookery.toml"), &pointed).unwrap();
    let lost = Process::start(&theirs.join("rookery.toml"), &log);
    lost.until_says("the directory's watch was lost");
    wait_until("the certificate is named", || lost.says("certificate"));
    drop(lost);

    // Its data folder.
    let kept = read(&ours, "rookery.toml");
    let data = format!("data = {:?}", theirs.join("data").to_str().unwrap());
    fs::write(ours.join("rookery.toml"), kept.replace("data = \"data\"", &data)).unwrap();
    let said = Process::start(&ours.join("rookery.toml"), &log).ended();
    assert!(
        said.contains("belongs to mailstore mailstore-5 of cluster"),
        "{said}"
    );

    // Its certificate.
    fs::write(ours.join("rookery.toml"), &kept).unwrap();
    for name in ["node.pem", "node.key", "ca.pem"] {
        fs::copy(theirs.join(name), ours.join(name)).unwrap();
    }
    let said = Process::start(&ours.join("rookery.toml"), &log).ended();
    assert!(
        said.contains("is of the mailstore mailstore-5 of cluster"),
        "{said}"
    );
    assert!(node(&cluster, "mailstore-5").is_none());
}

#[test]
fn a_node_that_was_removed_and_comes_back_is_told_so_and_has_nothing() {
    let mut cluster = small(2);
    let config = cluster.node("mailstore-2").data.join("rookery.toml");
    let log = cluster.scratch().join("back.log");
    cluster.operate(&["node", "drain", "mailstore-2"], "").unwrap();
    cluster.operate(&["rebalance", "--yes"], "").unwrap();
    cluster.stop("mailstore-2");
    let remove = ["node", "remove", "mailstore-2"];
    wait_until("the node is removed", || {
        cluster.try_operate(&remove, "").unwrap().status.success()
    });

    let back = Process::start(&config, &log);
    back.until_says("mailstore-2 was removed from the cluster");
    assert!(node(&cluster, "mailstore-2").is_none());
    let again = ["node", "add", "--role", "mailstore", "--id", "mailstore-2"];
    fails(&cluster.try_operate(&again, "").unwrap(), "was removed");
    assert_eq!(
        json(&cluster, &["node", "add", "--role", "mailstore"])["id"],
        "mailstore-3"
    );

    // The way back, for the process as it runs: it begins without shards.
    cluster
        .operate(&["node", "remove", "mailstore-2", "--undo"], "")
        .unwrap();
    wait_until("the node is back", || {
        node(&cluster, "mailstore-2").is_some_and(|node| node["alive"] == true)
    });
    let listed = node(&cluster, "mailstore-2").unwrap();
    assert_eq!(
        (&listed["shards"], &listed["draining"]),
        (&0.into(), &false.into())
    );
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    for number in 1..=ACCOUNTS {
        let recipient = format!("user{number}@example.test");
        let reply = smtp
            .deliver(&[recipient], &messages::numbered(number, 500))
            .unwrap();
        reply.expect("250").unwrap();
    }
    drop(back);
}

#[test]
fn a_directory_without_the_authoritys_key_says_how_to_give_it_one() {
    let folder = tempfile::tempdir().unwrap();
    let (cluster, one) = (folder.path().join("cluster"), folder.path().join("one"));
    let run = |arguments: &[&str], paths: &[&Path]| {
        Command::new(program().unwrap())
            .args(arguments)
            .args(paths)
            .output()
            .unwrap()
    };
    let made = run(
        &["init", "--cluster-dir"],
        &[&cluster, Path::new("--node-dir"), &one],
    );
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let config = on_free_ports(&one);
    let text = fs::read_to_string(&config)
        .unwrap()
        .replace("127.0.0.1:7443", "127.0.0.1:0");
    // Without mail's own ports, which are not for everyone to have.
    let text = text.split("\n[proxy]").next().unwrap().to_owned();
    fs::write(&config, &text).unwrap();
    let log = folder.path().join("log");
    let start = || {
        let output = fs::File::create(&log).unwrap();
        let child = Command::new(program().unwrap())
            .args(["serve", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .unwrap();
        Process {
            child,
            log: log.clone(),
        }
    };
    let served = start();
    let endpoints = one.join("data/endpoints.json");
    wait_until("it serves", || endpoints.exists());
    let endpoints: Value = serde_json::from_slice(&fs::read(endpoints).unwrap()).unwrap();
    let admin = format!("https://{}", endpoints["admin"].as_str().unwrap());
    let token_file = one.join("admin-token");
    let refused = run(
        &[
            "node",
            "add",
            "--role",
            "proxy",
            "--admin",
            &admin,
            "--token-file",
        ],
        &[&token_file, Path::new("--ca"), &one.join("ca.pem")],
    );
    fails(&refused, "set directory.authority_key");
    drop(served);

    let key = cluster.join("ca.key");
    let named = text.replace(
        "# authority_key = \"ca.key\"",
        &format!("authority_key = {:?}", key.to_str().unwrap()),
    );
    fs::write(&config, named).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = start().ended();
    assert!(said.contains("chmod 600"), "{said}");
}
