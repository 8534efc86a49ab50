//! `--check-config`: what is good is said to be, what is wrong is named with what to do, and nothing is opened or made.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rookery_tests::cluster::program;

/// Folders of a node of each kind, of one cluster.
struct Nodes(tempfile::TempDir);

impl Nodes {
    fn make() -> Self {
        let nodes = Self(tempfile::tempdir().unwrap());
        nodes.init("single", &[]);
        let members = ["directory=d1:7400", "two=d2:7400", "three=d3:7400"];
        let members: Vec<&str> = members.iter().flat_map(|member| ["--member", *member]).collect();
        nodes.init("directory", &members);
        let directory = ["--directory", "d1:7400", "--directory", "d2:7400"];
        nodes.init("mailstore", &directory);
        nodes.init("proxy", &directory);
        nodes
    }

    fn init(&self, role: &str, more: &[&str]) {
        let output = Command::new(program().unwrap())
            .args(["init", "--role", role, "--id", role, "--cluster-dir"])
            .arg(self.0.path().join("cluster"))
            .arg("--node-dir")
            .arg(self.folder(role))
            .args(more)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }

    fn folder(&self, role: &str) -> PathBuf {
        self.0.path().join(role)
    }

    fn config(&self, role: &str) -> PathBuf {
        self.folder(role).join("rookery.toml")
    }

    /// Changes a role's configuration for one check.
    fn with(&self, role: &str, from: &str, to: &str) -> Output {
        let config = self.config(role);
        let text = fs::read_to_string(&config).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(&config, text.replace(from, to)).unwrap();
        let output = check(role, &config, &[]);
        fs::write(&config, text).unwrap();
        output
    }
}

fn check(role: &str, config: &Path, variables: &[(&str, &str)]) -> Output {
    let command = if role == "single" { "serve" } else { role };
    Command::new(program().unwrap())
        .args([command, "--check-config", "--config"])
        .arg(config)
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_good(output: &Output, config: &Path) {
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        (output.status.code(), printed.as_ref()),
        (Some(0), format!("{}: good\n", config.display()).as_str()),
        "{}",
        said(output)
    );
}

fn is_refused(output: &Output, code: i32, words: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(said.starts_with("rookery: "), "{said}");
    for word in words {
        assert!(said.contains(word), "{word} is not in {said}");
    }
}

#[test]
fn what_is_good_is_said_to_be_and_nothing_is_opened() {
    let nodes = Nodes::make();
    for role in ["single", "directory", "mailstore", "proxy"] {
        is_good(&check(role, &nodes.config(role), &[]), &nodes.config(role));
        assert!(!nodes.folder(role).join("data").exists(), "{role}");
    }
    // Each of its addresses is somebody else's, who goes on listening.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("\"{}\"", other.local_addr().unwrap());
    is_good(
        &nodes.with("single", "\"127.0.0.1:8080\"", &taken),
        &nodes.config("single"),
    );
    is_good(
        &nodes.with("single", "\"127.0.0.1:24\"", &taken),
        &nodes.config("single"),
    );
    // A token that is not there is made at a start, and not now.
    let token = nodes.folder("single").join("admin-token");
    fs::remove_file(&token).unwrap();
    is_good(
        &check("single", &nodes.config("single"), &[]),
        &nodes.config("single"),
    );
    assert!(!token.exists());
}

#[test]
fn what_is_wrong_in_the_file_is_named() {
    let nodes = Nodes::make();
    let missing = nodes.folder("single").join("other.toml");
    is_refused(&check("single", &missing, &[]), 1, &["other.toml", "cannot read"]);
    for (role, from, to, words) in [
        (
            "single",
            "[mailstore]",
            "[mailstore",
            &["rookery.toml", "not valid TOML"][..],
        ),
        (
            "single",
            "[mailstore]",
            "[mailstore]\nwieght = 1",
            &["wieght", "weight"],
        ),
        (
            "single",
            "\"0.0.0.0:143\"",
            "\"0.0.0.0\"",
            &["imap", "socket address"],
        ),
        (
            "single",
            "\"0.0.0.0:143\"",
            "\"0.0.0.0:993\"",
            &["proxy.listen.imap ", "proxy.listen.imaps", "0.0.0.0:993"],
        ),
        (
            "single",
            "\"127.0.0.1:8080\"",
            "\"127.0.0.1:7443\"",
            &["node.http", "directory.admin_listen"],
        ),
        (
            "single",
            "shards = 16",
            "shards = 0",
            &["directory.shards must be"],
        ),
        (
            "single",
            "[mailstore]",
            "[mailstore]\nreads_max = 0",
            &["mailstore.reads_max must be"],
        ),
        (
            "single",
            "[mailstore]",
            "[mailstore]\nbody_size_max = \"1MB\"",
            &["proxy.message_bytes_max", "raise"],
        ),
        (
            "single",
            "level = \"info\"",
            "level = \"a=loudest\"",
            &["log.level", "loudest"],
        ),
        (
            "directory",
            "id = \"directory\"\ncluster",
            "id = \"four\"\ncluster",
            &["directory directory", "four"],
        ),
        (
            "directory",
            "{ id = \"directory\", address = \"d1:7400\" },",
            "",
            &["1, 3 or 5 members"],
        ),
        (
            "directory",
            "{ id = \"directory\",",
            "{ id = \"four\",",
            &["does not name directory", "add it"],
        ),
        (
            "directory",
            "address = \"d2:7400\"",
            "address = \"d2\"",
            &["directory.members", "\"d2\"", "host:port"],
        ),
        (
            "mailstore",
            "listen = \"0.0.0.0:7400\"",
            "",
            &["node.listen is not set"],
        ),
        (
            "mailstore",
            "\"d2:7400\"",
            "\"http://d2:7400\"",
            &["node.directory", "host:port"],
        ),
        (
            "mailstore",
            "\"localhost:7400\"",
            "\"localhost\"",
            &["node.advertise", "host:port"],
        ),
    ] {
        is_refused(&nodes.with(role, from, to), 1, words);
    }
}

#[test]
fn what_a_command_has_nothing_to_run_of_is_wrong_use() {
    let nodes = Nodes::make();
    is_refused(
        &check("proxy", &nodes.config("mailstore"), &[]),
        2,
        &["no section", "[proxy]"],
    );
    is_refused(
        &nodes.with("proxy", "directory = [\"d1:7400\", \"d2:7400\"]", ""),
        2,
        &["node.directory is not set"],
    );
    let output = Command::new(program().unwrap())
        .args(["serve", "--check-config"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn files_that_are_missing_broken_or_of_another_are_named() {
    let nodes = Nodes::make();
    let config = nodes.config("single");
    let folder = nodes.folder("single");
    let other = Nodes::make();
    let from = |name: &str| fs::read(other.folder("single").join(name)).unwrap();
    for (name, held, words) in [
        ("node.key", None, &["node.key"][..]),
        ("node.pem", None, &["node.pem"]),
        ("ca.pem", None, &["ca.pem"]),
        ("tls.pem", None, &["proxy.certificate", "tls.pem"]),
        ("tls.key", None, &["proxy.certificate", "tls.key"]),
        ("node.pem", Some(b"half a file".to_vec()), &["node.pem"]),
        ("tls.pem", Some(Vec::new()), &["tls.pem", "no certificate in it"]),
        // Of another cluster's node with the same name.
        (
            "node.key",
            Some(from("node.key")),
            &["node.pem", "do not go together"],
        ),
        ("tls.key", Some(from("tls.key")), &["tls.pem"]),
        (
            "ca.pem",
            Some(from("ca.pem")),
            &["rookery init", "not valid under"],
        ),
        (
            "admin-token",
            Some(b"short\n".to_vec()),
            &["admin-token", "16 characters"],
        ),
    ] {
        let path = folder.join(name);
        let before = fs::read(&path).unwrap();
        match held {
            None => fs::remove_file(&path).unwrap(),
            Some(held) => fs::write(&path, held).unwrap(),
        }
        is_refused(&check("single", &config, &[]), 1, words);
        fs::write(&path, before).unwrap();
    }
    // With the CA's key, readable by others than its owner.
    fs::copy(nodes.0.path().join("cluster/ca.key"), folder.join("ca.key")).unwrap();
    let with_key = |mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder.join("ca.key"), fs::Permissions::from_mode(mode)).unwrap();
        nodes.with(
            "single",
            "# authority_key = \"ca.key\"",
            "authority_key = \"ca.key\"",
        )
    };
    is_refused(&with_key(0o644), 1, &["directory.authority_key", "chmod 600"]);
    is_good(&with_key(0o600), &config);
    is_refused(
        &nodes.with(
            "single",
            "admin_token_file = \"admin-token\"",
            "admin_token_file = \"not/there/token\"",
        ),
        1,
        &["admin_token_file", "make the folder"],
    );
}

#[test]
fn variables_of_the_environment_are_what_their_keys_are() {
    let nodes = Nodes::make();
    let config = nodes.config("single");
    for (name, value) in [
        ("ROOKERY__PROXY__HOSTNAME", "1e5"),
        ("ROOKERY__PROXY__HOSTNAME", "007"),
        ("ROOKERY__MAILSTORE__ZONE", "true"),
        ("ROOKERY__MAILSTORE__ZONE", "12"),
        ("ROOKERY__MAILSTORE__WEIGHT", "12"),
        ("ROOKERY__NODE__DIRECTORY", "[\"d1:7400\", \"d2:7400\"]"),
        ("ROOKERY__NODE__DIRECTORY", "d1:7400"),
        (
            "ROOKERY__DIRECTORY__AUTOMATIC",
            "{ enabled = true, silent_max = \"1h\" }",
        ),
        ("ROOKERY__PROXY__LISTEN__SMTP", "127.0.0.1:2525"),
        ("ROOKERY__PROXY__MESSAGE_BYTES_MAX", "1000000"),
        ("ROOKERY__PROXY__MESSAGE_BYTES_MAX", "10MiB"),
    ] {
        is_good(&check("single", &config, &[(name, value)]), &config);
    }
    for (name, value, key) in [
        ("ROOKERY__MAILSTORE__WEIGHT", "heavy", "mailstore.weight"),
        ("ROOKERY__PROXY__PLAINTEXT_LOGIN", "1", "proxy.plaintext_login"),
        ("ROOKERY__PROXY__LISTEN__SMTP", "25", "proxy.listen.smtp"),
    ] {
        is_refused(&check("single", &config, &[(name, value)]), 1, &[name, key]);
    }
}
