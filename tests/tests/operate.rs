//! The operator's commands, the playground's own, and the HTTP endpoints of every node.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::process::Output;

use rookery_tests::cluster::{program, run_program};
use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, http, messages};
use serde_json::Value;

fn json(cluster: &Cluster, arguments: &[&str], input: &str) -> Value {
    let mut arguments = arguments.to_vec();
    arguments.push("--json");
    let text = cluster.operate(&arguments, input).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?} printed {text:?}: {error}"))
}

/// A command that must fail so: its exit code, and on standard error first a line that says what.
fn fails(output: &Output, code: i32, about: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let first = said.lines().next().unwrap_or_default();
    assert!(first.contains(about), "the first line names {about}: {said}");
    assert!(
        output.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

fn names(rows: &Value, key: &str) -> BTreeSet<String> {
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| row[key].as_str().unwrap().to_owned())
        .collect()
}

fn deliver(cluster: &Cluster, recipient: &str, number: u64) -> String {
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    smtp.command("MAIL FROM:<sender@remote.test>")
        .unwrap()
        .expect("250")
        .unwrap();
    let answer = smtp.command(&format!("RCPT TO:<{recipient}>")).unwrap();
    if answer.code() != "250" {
        return answer.0;
    }
    smtp.command("DATA").unwrap().expect("354").unwrap();
    smtp.send(rookery_tests::smtp::stuffed(&messages::numbered(number, 500)).as_bytes())
        .unwrap();
    smtp.reply().unwrap().0
}

fn holds(cluster: &Cluster, user: &str) -> u32 {
    let mut imap = ImapClient::login(&cluster.manifest().proxies.last().unwrap().imap, user).unwrap();
    imap.command("EXAMINE INBOX")
        .unwrap()
        .ok()
        .unwrap()
        .exists()
        .unwrap()
}

fn may_log_in(cluster: &Cluster, user: &str, password: &str) -> bool {
    let mut imap = ImapClient::connect(&cluster.proxy(0).imap).unwrap();
    let answer = imap.command(&format!("LOGIN {user} {password}")).unwrap();
    assert!(
        answer.tagged.starts_with("OK") || answer.tagged.starts_with("NO ["),
        "{}",
        answer.tagged
    );
    answer.tagged.starts_with("OK")
}

#[test]
fn domains_are_added_listed_and_removed() {
    let cluster = Cluster::single();
    cluster.operate(&["domain", "add", "second.test"], "").unwrap();
    let listed = json(&cluster, &["domain", "list"], "");
    assert_eq!(
        names(&listed["domains"], "name"),
        BTreeSet::from(["example.test".into(), "second.test".into()])
    );
    let first = &listed["domains"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == "example.test")
        .unwrap()["accounts"];
    assert_eq!(*first, 10);
    let table = cluster.operate(&["domain", "list"], "").unwrap();
    assert!(
        table.starts_with("DOMAIN") && table.contains("second.test"),
        "{table}"
    );

    fails(
        &cluster
            .try_operate(&["domain", "add", "second.test"], "")
            .unwrap(),
        1,
        "second.test",
    );
    fails(
        &cluster
            .try_operate(&["domain", "remove", "third.test"], "")
            .unwrap(),
        1,
        "third.test",
    );
    fails(
        &cluster
            .try_operate(&["domain", "remove", "example.test"], "")
            .unwrap(),
        1,
        "example.test",
    );
    fails(
        &cluster
            .try_operate(&["domain", "add", "not a domain"], "")
            .unwrap(),
        1,
        "a domain has labels",
    );
    assert!(json(&cluster, &["domain", "remove", "second.test"], "")["done"].is_string());
    assert_eq!(
        names(&json(&cluster, &["domain", "list"], "")["domains"], "name").len(),
        1
    );
    assert!(
        deliver(&cluster, "user1@second.test", 1).starts_with("550 5.7.1 "),
        "its mail is others' mail again"
    );
}

#[test]
fn accounts_live_from_add_to_delete() {
    let cluster = Cluster::three();
    let user = "new@example.test";
    let added = json(&cluster, &["account", "add", user], "first secret\n");
    let id = added["accounts"][0]["id"].as_u64().unwrap();
    assert_eq!(added["accounts"][0]["state"], "active");
    assert!(deliver(&cluster, user, 1).starts_with("250"));
    // RFC 5233 §1: a detail after the separator is for the user, not for the delivery.
    assert!(deliver(&cluster, "new+tag@example.test", 2).starts_with("250"));
    assert!(may_log_in(&cluster, user, "\"first secret\""));
    assert!(
        !may_log_in(&cluster, user, "playground"),
        "another's password is wrong"
    );
    let shown = json(&cluster, &["account", "show", user], "");
    assert_eq!(shown["accounts"][0]["id"], id);
    assert!(
        cluster
            .operate(&["account", "show", user], "")
            .unwrap()
            .contains(user)
    );

    // A new password ends the sessions that the old one began.
    let mut watcher = ImapClient::connect(&cluster.proxy(1).imap).unwrap();
    watcher
        .command(&format!("LOGIN {user} \"first secret\""))
        .unwrap()
        .ok()
        .unwrap();
    assert_eq!(
        watcher.command("SELECT INBOX").unwrap().ok().unwrap().exists(),
        Some(2)
    );
    watcher.begin("IDLE").unwrap();
    let file = cluster.scratch().join("secret");
    std::fs::write(&file, "second\nnot this line\n").unwrap();
    cluster
        .operate(
            &[
                "account",
                "passwd",
                user,
                "--password-file",
                file.to_str().unwrap(),
            ],
            "",
        )
        .unwrap();
    while !watcher.response().unwrap().starts_with(b"* BYE") {}
    assert!(!may_log_in(&cluster, user, "\"first secret\""));
    assert!(may_log_in(&cluster, user, "second"));

    json(&cluster, &["account", "quota", user, "100000"], "");
    assert_eq!(
        json(&cluster, &["account", "show", user], "")["accounts"][0]["quota_bytes"],
        100_000
    );

    // Deleting frees the address at once; the id is not used again.
    cluster
        .operate(&["account", "delete", user, "--grace-seconds", "0"], "")
        .unwrap();
    assert!(!may_log_in(&cluster, user, "second"));
    assert!(deliver(&cluster, user, 3).starts_with("550 5.1.1 "));
    fails(
        &cluster.try_operate(&["account", "show", user], "").unwrap(),
        1,
        user,
    );
    let again = json(&cluster, &["account", "add", user], "playground\n");
    assert!(again["accounts"][0]["id"].as_u64().unwrap() > id);
    assert_eq!(
        holds(&cluster, user),
        0,
        "who has the address next sees nothing of the mail before"
    );
    assert!(deliver(&cluster, user, 4).starts_with("250"));
    assert_eq!(holds(&cluster, user), 1);
}

#[test]
fn quota_refuses_what_does_not_fit_for_now() {
    let cluster = Cluster::single();
    cluster
        .operate(
            &["account", "add", "small@example.test", "--quota-bytes", "2500"],
            "playground\n",
        )
        .unwrap();
    let mut answers = Vec::new();
    for number in 0..10 {
        answers.push(deliver(&cluster, "small@example.test", number));
    }
    assert!(answers[0].starts_with("250"), "{answers:?}");
    assert!(
        answers[9].starts_with("452 4.2.2 "),
        "a full mailbox takes no more for now: {answers:?}"
    );
    let taken = answers.iter().filter(|answer| answer.starts_with("250")).count();
    assert_eq!(holds(&cluster, "small@example.test") as usize, taken);
    cluster
        .operate(&["account", "quota", "small@example.test", "0"], "")
        .unwrap();
    assert!(
        deliver(&cluster, "small@example.test", 11).starts_with("250"),
        "no limit is left"
    );
}

#[test]
fn accounts_that_are_not_there_or_make_no_sense_are_refused() {
    let cluster = Cluster::single();
    let nobody = "nobody@example.test";
    for arguments in [
        &["account", "show", nobody][..],
        &["account", "quota", nobody, "5"],
        &["account", "suspend", nobody],
        &["account", "delete", nobody],
    ] {
        fails(&cluster.try_operate(arguments, "").unwrap(), 1, nobody);
    }
    fails(
        &cluster
            .try_operate(&["account", "passwd", nobody], "secret\n")
            .unwrap(),
        1,
        nobody,
    );
    fails(
        &cluster
            .try_operate(&["account", "add", "user1@example.test"], "x\n")
            .unwrap(),
        1,
        "user1@example.test",
    );
    fails(
        &cluster
            .try_operate(&["account", "add", "someone@unknown.test"], "x\n")
            .unwrap(),
        1,
        "unknown.test",
    );
    fails(
        &cluster
            .try_operate(&["account", "add", "someone@example.test"], "\n")
            .unwrap(),
        1,
        "password is empty",
    );
    let listed = json(&cluster, &["account", "list", "--domain", "example.test"], "");
    assert_eq!(listed["accounts"].as_array().unwrap().len(), 10, "{listed}");
    assert!(
        cluster.operate(&["account", "list"], "").unwrap().lines().count() == 11,
        "a heading and ten rows"
    );
}

#[test]
fn aliases_lead_to_many_across_domains_and_never_in_circles() {
    let cluster = Cluster::three();
    cluster.operate(&["domain", "add", "second.test"], "").unwrap();
    cluster
        .operate(
            &[
                "alias",
                "add",
                "team@second.test",
                "user1@example.test",
                "user2@example.test",
            ],
            "",
        )
        .unwrap();
    cluster
        .operate(
            &[
                "alias",
                "add",
                "all@example.test",
                "team@second.test",
                "user3@example.test",
            ],
            "",
        )
        .unwrap();
    assert!(deliver(&cluster, "all@example.test", 1).starts_with("250"));
    for user in ["user1@example.test", "user2@example.test", "user3@example.test"] {
        assert_eq!(holds(&cluster, user), 1, "{user}");
    }
    let circle = cluster
        .try_operate(&["alias", "add", "team@second.test", "all@example.test"], "")
        .unwrap();
    fails(&circle, 1, "leads back to itself");
    fails(
        &cluster
            .try_operate(&["alias", "add", "user1@example.test", "user2@example.test"], "")
            .unwrap(),
        1,
        "user1@",
    );
    let abroad = cluster
        .try_operate(&["alias", "add", "x@second.test", "someone@elsewhere.test"], "")
        .unwrap();
    fails(&abroad, 1, "elsewhere.test");

    // What nobody has goes to whom the catch-all names; what somebody has does not.
    assert!(deliver(&cluster, "anything@second.test", 2).starts_with("550 5.1.1 "));
    cluster
        .operate(&["alias", "add", "@second.test", "user4@example.test"], "")
        .unwrap();
    assert!(deliver(&cluster, "anything@second.test", 3).starts_with("250"));
    assert!(deliver(&cluster, "team@second.test", 4).starts_with("250"));
    assert_eq!(
        (
            holds(&cluster, "user4@example.test"),
            holds(&cluster, "user1@example.test")
        ),
        (1, 2)
    );

    let listed = json(&cluster, &["alias", "list", "--domain", "second.test"], "");
    assert_eq!(
        names(&listed["aliases"], "name"),
        BTreeSet::from(["@second.test".into(), "team@second.test".into()])
    );
    cluster
        .operate(&["alias", "remove", "team@second.test", "user2@example.test"], "")
        .unwrap();
    assert!(deliver(&cluster, "team@second.test", 5).starts_with("250"));
    assert_eq!(
        (
            holds(&cluster, "user1@example.test"),
            holds(&cluster, "user2@example.test")
        ),
        (3, 2)
    );
    cluster.operate(&["alias", "remove", "@second.test"], "").unwrap();
    assert!(deliver(&cluster, "anything@second.test", 6).starts_with("550 5.1.1 "));
    fails(
        &cluster
            .try_operate(&["alias", "remove", "@second.test"], "")
            .unwrap(),
        1,
        "@second.test",
    );
    assert!(
        cluster
            .operate(&["alias", "list"], "")
            .unwrap()
            .starts_with("ALIAS")
    );
}

#[test]
fn nodes_shards_and_status_say_where_everything_is() {
    let cluster = Cluster::three();
    let nodes = json(&cluster, &["node", "list"], "");
    let ids = names(&nodes["nodes"], "id");
    for id in ["mailstore-1", "mailstore-2", "mailstore-3"] {
        assert!(ids.contains(id), "{ids:?}");
    }
    let shards = json(&cluster, &["shard", "list"], "");
    let rows = shards["shards"].as_array().unwrap();
    assert_eq!(rows.len(), 256);
    assert_eq!(
        rows.iter()
            .map(|row| row["accounts"].as_u64().unwrap())
            .sum::<u64>(),
        10
    );
    let leaders: BTreeSet<_> = rows
        .iter()
        .map(|row| row["replicas"][0].as_str().unwrap())
        .collect();
    assert_eq!(
        leaders,
        BTreeSet::from(["mailstore-1", "mailstore-2", "mailstore-3"])
    );
    let shown = json(&cluster, &["shard", "show", "7"], "");
    assert_eq!(shown["shards"].as_array().unwrap().len(), 1);
    assert_eq!(shown["shards"][0]["id"], 7);
    let status = json(&cluster, &["status"], "");
    assert_eq!(
        (&status["accounts"], &status["domains"], &status["shards"]),
        (&10.into(), &1.into(), &256.into())
    );
    assert!(
        status["cluster_id"].as_str().is_some_and(|id| !id.is_empty()),
        "{status}"
    );
    for command in [
        &["node", "list"][..],
        &["shard", "list"],
        &["shard", "show", "7"],
        &["status"],
    ] {
        let text = cluster.operate(command, "").unwrap();
        assert!(text.contains("mailstore-"), "{command:?}: {text}");
    }
    fails(
        &cluster.try_operate(&["shard", "show", "999"], "").unwrap(),
        1,
        "999",
    );
}

#[test]
fn wrong_use_exits_with_two() {
    let cluster = Cluster::single();
    let wrong = |output: Output| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(!said.trim().is_empty(), "wrong use is explained");
    };
    for arguments in [
        &["account"][..],
        &["account", "add"],
        &["account", "quota", "user1@example.test", "much"],
        &["alias", "add", "lonely@example.test"],
        &["shard", "show", "seven"],
        &["nonsense"],
        &["domain", "add", "a.test", "--colour"],
    ] {
        wrong(cluster.try_operate(arguments, "").unwrap());
    }
    let folder = cluster.scratch().join("never");
    let data = folder.to_str().unwrap();
    for refused in [
        &["--replicas", "2"][..],
        &["--replicas", "3", "--mailstores", "2"],
        &["--replicas", "4", "--mailstores", "4"],
        &["--directories", "2"],
        &["--witness"],
        &["--mailstores", "0"],
        &["--account-pattern", "nobody"],
        &["--replicas", "two"],
    ] {
        let mut arguments = vec!["playground", "--data", data, "--port-base", "0"];
        arguments.extend(refused);
        wrong(run_program(&arguments).unwrap());
    }
    wrong(run_program(&["playground", "grow", "--data", data, "--mailstores", "0"]).unwrap());
    wrong(run_program(&["playground"]).unwrap());
    assert!(!folder.exists(), "what is refused leaves nothing behind");
    for command in ["stop", "grow"] {
        fails(
            &run_program(&["playground", command, "--data", data]).unwrap(),
            1,
            "no playground runs",
        );
    }
    fails(&run_program(&["domain", "list"]).unwrap(), 2, "--cluster");
    let elsewhere = run_program(&["status", "--cluster", "/nonexistent/cluster.json"]).unwrap();
    fails(&elsewhere, 1, "/nonexistent/cluster.json");
    assert!(program().unwrap().is_file());
}

#[test]
fn an_admin_token_is_needed() {
    let cluster = Cluster::single();
    let text = std::fs::read_to_string(cluster.data().join("cluster.json")).unwrap();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let wrong = cluster.scratch().join("token");
    std::fs::write(&wrong, "not the token\n").unwrap();
    let (admin, ca) = (
        manifest["admin"].as_str().unwrap(),
        manifest["ca_file"].as_str().unwrap(),
    );
    let connect = ["--admin", admin, "--ca", ca, "--token-file"];
    let with = |token: &str| {
        let mut arguments = vec!["status", "--json"];
        arguments.extend(connect);
        arguments.push(token);
        run_program(&arguments).unwrap()
    };
    fails(&with(wrong.to_str().unwrap()), 1, "token");
    assert!(
        with(manifest["admin_token_file"].as_str().unwrap())
            .status
            .success()
    );
}

#[test]
fn a_directory_that_stands_still_is_not_waited_for_for_ever() {
    let mut cluster = Cluster::three();
    cluster.pause("directory-1");
    let output = cluster.try_operate(&["status"], "").unwrap();
    cluster.resume("directory-1");
    fails(&output, 1, "cannot reach the directory");
    cluster.operate(&["status"], "").unwrap();
}

#[test]
fn the_manifest_has_the_shape_that_programs_rely_on() {
    let cluster = Cluster::three();
    let text = std::fs::read_to_string(cluster.data().join("cluster.json")).unwrap();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let mut roles = Vec::new();
    for node in manifest["nodes"].as_array().unwrap() {
        roles.push(node["role"].as_str().unwrap());
        assert!(
            node["id"]
                .as_str()
                .unwrap()
                .starts_with(node["role"].as_str().unwrap()),
            "{node}"
        );
        assert!(node["pid"].as_u64().unwrap() > 1, "{node}");
        assert!(node["http"].as_str().unwrap().starts_with("127.0.0.1:"), "{node}");
        assert!(
            std::path::Path::new(node["data"].as_str().unwrap()).is_dir(),
            "{node}"
        );
        assert!(node["restart"].as_array().unwrap().len() > 1, "{node}");
        if node["role"] != "proxy" {
            assert!(
                node["address"].as_str().unwrap().starts_with("127.0.0.1:"),
                "{node}"
            );
        }
    }
    roles.sort_unstable();
    assert_eq!(
        roles,
        [
            "directory",
            "mailstore",
            "mailstore",
            "mailstore",
            "proxy",
            "proxy"
        ]
    );
    let mut ports = BTreeSet::new();
    for (index, proxy) in manifest["proxies"].as_array().unwrap().iter().enumerate() {
        assert_eq!(proxy["id"], format!("proxy-{}", index + 1));
        for name in [
            "imap",
            "imaps",
            "smtp",
            "submission",
            "submissions",
            "lmtp",
            "http",
        ] {
            let endpoint = proxy[name]
                .as_str()
                .unwrap_or_else(|| panic!("{name} in {proxy}"));
            assert!(endpoint.starts_with("127.0.0.1:"), "{endpoint}");
            assert!(ports.insert(endpoint.to_owned()), "{endpoint} is there twice");
        }
        for name in ["pop3", "pop3s", "managesieve"] {
            assert!(
                proxy.get(name).is_none(),
                "a protocol that is not built has no entry: {proxy}"
            );
        }
    }
    assert!(
        manifest["admin"]
            .as_str()
            .unwrap()
            .starts_with("https://127.0.0.1:")
    );
    for file in ["admin_token_file", "ca_file"] {
        assert!(
            std::path::Path::new(manifest[file].as_str().unwrap()).is_file(),
            "{file}"
        );
    }
    let accounts = serde_json::json!(
        {"count": 10, "pattern": "user%d@example.test", "first": 1, "password": "playground"}
    );
    assert_eq!(manifest["accounts"], accounts);
}

#[test]
fn every_node_says_that_it_lives_that_it_is_ready_and_what_it_measures() {
    let cluster = Cluster::three();
    assert!(deliver(&cluster, "user1@example.test", 1).starts_with("250"));
    for node in &cluster.manifest().nodes {
        assert_eq!(http::get(&node.http, "/livez").unwrap().0, 200, "{}", node.id);
        assert_eq!(http::get(&node.http, "/readyz").unwrap().0, 200, "{}", node.id);
        assert_eq!(http::get(&node.http, "/nothing").unwrap().0, 404, "{}", node.id);
        let (status, metrics) = http::get(&node.http, "/metrics").unwrap();
        assert_eq!(status, 200, "{}", node.id);
        for line in metrics
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            assert!(line.starts_with("rookery_"), "{}: {line}", node.id);
        }
    }
    let proxy = &cluster.node("proxy-1").http;
    assert!(
        http::get(proxy, "/metrics").unwrap().1.contains("rookery_proxy_"),
        "a proxy measures what it does"
    );
}

#[test]
fn playgrounds_side_by_side_do_not_collide_and_stop_when_told() {
    let (first, second) = (
        Cluster::single(),
        Cluster::start(&Options {
            mailstores: 1,
            ..Options::default()
        })
        .unwrap(),
    );
    assert!(deliver(&first, "user1@example.test", 1).starts_with("250"));
    assert_eq!(
        (
            holds(&first, "user1@example.test"),
            holds(&second, "user1@example.test")
        ),
        (1, 0)
    );
    // One's token is nothing to the other.
    let status = |cluster: &Cluster| json(cluster, &["status"], "")["cluster_id"].clone();
    assert_ne!(status(&first), status(&second));
    let data = second.data();
    let in_use = [
        "playground",
        "--port-base",
        "0",
        "--mailstores",
        "1",
        "--data",
        data.to_str().unwrap(),
    ];
    let refused = run_program(&in_use).unwrap();
    assert_eq!(
        refused.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&refused.stderr)
    );
    assert_eq!(
        holds(&second, "user1@example.test"),
        0,
        "the one that runs is not disturbed"
    );

    let stopped = run_program(&["playground", "stop", "--data", data.to_str().unwrap()]).unwrap();
    assert!(
        stopped.status.success(),
        "{}",
        String::from_utf8_lossy(&stopped.stderr)
    );
    assert!(!data.join("cluster.json").exists());
    assert!(
        ImapClient::connect(&second.proxy(0).imap).is_err(),
        "nobody listens any more"
    );
    assert_eq!(holds(&first, "user1@example.test"), 1, "the other goes on");
}
