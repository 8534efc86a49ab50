//! A replica moves, and whoever has a part in it is killed with -9 at each step: the job ends right by itself, and no mail is lost.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rookery_tests::cluster::program;
use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, messages};
use serde_json::Value;

/// How long a transfer may take, with a death in it.
const END_MAX: Duration = Duration::from_secs(90);

/// Messages before the first transfer, and bytes of each: a copy takes a few seconds at the slowest rate that may be wished.
const MESSAGES: u64 = 24;
const MESSAGE_BYTES: usize = 16_000;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    /// The node whose replica goes; it leads the shard as well.
    Source,
    /// The node that gets the new replica.
    Target,
    /// The member that leads the directory.
    Directory,
    /// The operator's command that watches the job.
    Command,
}

/// When: at the first word of the job that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Waiting,
    Copying,
    Removing,
}

impl Step {
    /// Whether the job is there, or further.
    fn is_reached(self, state: &str) -> bool {
        match self {
            Step::Waiting => true,
            Step::Copying => state != "waiting",
            Step::Removing => !matches!(state, "waiting" | "copying"),
        }
    }
}

struct World {
    cluster: Cluster,
    sent: u64,
    /// One connection for the whole test.
    session: ImapClient,
}

impl World {
    fn start() -> Self {
        let cluster = Cluster::start(&Options {
            mailstores: 4,
            directories: 3,
            proxies: 1,
            replicas: 3,
            accounts: 1,
            shards: Some(1),
            ..Options::default()
        })
        .unwrap();
        let mut session = ImapClient::login(&cluster.proxy(0).imap, "user1@example.test").unwrap();
        session.command("SELECT INBOX").unwrap().ok().unwrap();
        let mut world = Self {
            cluster,
            sent: 0,
            session,
        };
        for _ in 0..MESSAGES {
            world.deliver();
        }
        world
    }

    fn deliver(&mut self) {
        let mut smtp = SmtpClient::hello(&self.cluster.proxy(0).smtp).unwrap();
        let message = messages::numbered(self.sent, MESSAGE_BYTES);
        let reply = smtp
            .deliver(&["user1@example.test".to_owned()], &message)
            .unwrap();
        reply.expect("250").unwrap();
        self.sent += 1;
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = ["--json"].iter().chain(arguments).copied().collect();
        serde_json::from_str(&self.cluster.operate(&arguments, "").unwrap()).unwrap()
    }

    fn shard(&self) -> Value {
        self.json(&["shard", "list"])["shards"][0].clone()
    }

    fn leader_of_directory(&self) -> String {
        let nodes = self.json(&["node", "list"]);
        let nodes = nodes["nodes"].as_array().unwrap();
        let leads = |node: &&Value| node["leads"].as_bool() == Some(true) && node["role"] == "directory";
        nodes.iter().find(leads).unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Moves the leading replica to the node that has none, kills the victim at the step, and sees the job end.
    fn transfer(&mut self, step: Step, victim: Victim) {
        let what = format!("{victim:?} killed at {step:?}");
        let before = self.shard();
        let source = before["leader"].as_str().unwrap().to_owned();
        let held = strings(&before["replicas"]);
        let target = (1..=4)
            .map(|number| format!("mailstore-{number}"))
            .find(|node| !held.contains(node))
            .unwrap();
        let directory = self.leader_of_directory();
        let arguments = [
            "shard",
            "transfer",
            "0",
            "--from",
            &source,
            "--to",
            &target,
            "--throttle",
            "64KiB/s",
        ];
        self.cluster.operate(&arguments, "").unwrap();
        let mut watch = self.watch();
        watch.until(step);
        let killed = match victim {
            Victim::Source => Some(source.clone()),
            Victim::Target => Some(target.clone()),
            Victim::Directory => Some(directory),
            Victim::Command => None,
        };
        match &killed {
            Some(node) => self.cluster.kill(node),
            None => watch.kill(),
        }
        // Mail flows meanwhile.
        self.deliver();
        // What a new replica lacks comes when its node is back; the others are not needed.
        if victim == Victim::Target {
            self.cluster.restart(&target).unwrap();
        }
        if victim == Victim::Command {
            watch = self.watch();
        }
        let state = watch.end();
        assert_eq!(state, "done", "{what}");
        if let Some(node) = killed.filter(|_| victim != Victim::Target) {
            self.cluster.restart(&node).unwrap();
        }
        let after = self.whole();
        let wanted: BTreeSet<String> = held
            .into_iter()
            .filter(|node| *node != source)
            .chain([target])
            .collect();
        assert_eq!(strings(&after["replicas"]), wanted, "{what}");
        self.check(&what);
    }

    fn watch(&self) -> Watch {
        let mut child = Command::new(program().unwrap())
            .args(["--json", "rebalance", "watch", "--cluster"])
            .arg(self.cluster.data().join("cluster.json"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Watch {
            child,
            lines: Box::new(lines.map_while(Result::ok)),
            state: String::new(),
        }
    }

    /// The shard once those that vote are those that it is to have.
    fn whole(&self) -> Value {
        let began = Instant::now();
        loop {
            let shard = self.shard();
            let members: BTreeSet<u64> = numbers(&shard["members"]);
            if members.len() == 3 && members == numbers(&shard["voters"]) {
                return shard;
            }
            assert!(began.elapsed() < END_MAX, "not whole: {shard}");
        }
    }

    /// Every message is there once, seen on the connection from before; all replicas have the same.
    fn check(&mut self, what: &str) {
        self.session.command("NOOP").unwrap().ok().unwrap();
        let answer = self
            .session
            .command("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
            .unwrap()
            .ok()
            .unwrap();
        let found = messages::numbers(&answer.untagged);
        assert_eq!(found, (0..self.sent).collect::<Vec<_>>(), "{what}");
        let began = Instant::now();
        while let Err(error) = self.cluster.operate(&["--json", "shard", "verify"], "") {
            let is_early = error.to_string().contains("try again when its nodes are there");
            assert!(is_early && began.elapsed() < END_MAX, "{what}: {error}");
        }
    }
}

/// A running `rookery rebalance watch`.
struct Watch {
    child: Child,
    lines: Box<dyn Iterator<Item = String>>,
    /// Of the job, as it said last.
    state: String,
}

impl Watch {
    fn next(&mut self) -> Option<Value> {
        let job: Value = serde_json::from_str(&self.lines.next()?).unwrap();
        self.state = job["state"].as_str().unwrap().to_owned();
        Some(job)
    }

    fn until(&mut self, step: Step) {
        loop {
            let job = self.next().expect("the job is told of");
            let is_done = job["transfers"]["under_way"] == 0 && job["transfers"]["done"] == 1;
            let state = match job["open_transfers"][0]["state"].as_str() {
                _ if is_done => "done",
                Some(state) => state,
                None => "waiting",
            };
            if step.is_reached(state) {
                return;
            }
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The job's last state.
    fn end(mut self) -> String {
        while self.next().is_some() {}
        self.child.wait().unwrap();
        std::mem::take(&mut self.state)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It has mostly ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn strings(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|one| one.as_str().unwrap().to_owned()).collect()
}

fn numbers(list: &Value) -> BTreeSet<u64> {
    let list = list.as_array().unwrap().iter();
    list.map(|one| one.as_u64().unwrap()).collect()
}

#[test]
fn whoever_is_killed_at_whatever_step_the_job_ends_right() {
    let mut world = World::start();
    for step in [Step::Waiting, Step::Copying, Step::Removing] {
        for victim in [Victim::Source, Victim::Target, Victim::Directory, Victim::Command] {
            let began = Instant::now();
            world.transfer(step, victim);
            println!("{victim:?} killed at {step:?}: {:?}", began.elapsed());
        }
    }
}
