//! A cluster in one line, on ports of the system's choice and in a folder of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

/// The first lines of a playground's output that may come before `ready`.
const READY_LINES_MAX: usize = 100;

/// How long a node that is started again may take until it serves.
const RESTART_MAX: Duration = Duration::from_secs(60);

/// What kind of cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// Mailstore nodes.
    pub mailstores: u32,
    /// Members of the directory.
    pub directories: u32,
    /// Proxies.
    pub proxies: u32,
    /// Accounts `user1@example.test`, ….
    pub accounts: u64,
    /// Replicas of each shard.
    pub replicas: u32,
    /// Shards; `None`: as many as a cluster has by default.
    pub shards: Option<u32>,
    /// All roles in one process.
    pub single: bool,
    /// Environment for the playground and its nodes.
    pub environment: Vec<(String, String)>,
    /// A command that the playground is started with, such as a tracer; it must become the playground by `exec`.
    pub wrapper: Vec<String>,
    /// The build that the playground and its nodes run; `None`: the one beside the test.
    pub program: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mailstores: 3,
            directories: 1,
            proxies: 2,
            accounts: 10,
            replicas: 1,
            shards: None,
            single: false,
            environment: Vec::new(),
            wrapper: Vec::new(),
            program: None,
        }
    }
}

/// A node as `cluster.json` names it.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeInfo {
    /// `directory`, `mailstore` or `proxy`.
    pub role: String,
    /// Node id.
    pub id: String,
    /// Process id at start.
    pub pid: u32,
    /// Its HTTP endpoint.
    pub http: String,
    /// Its folder.
    pub data: PathBuf,
    /// The command that starts it again.
    pub restart: Vec<String>,
}

/// A proxy's endpoints as `cluster.json` names them.
#[derive(Debug, Clone, Deserialize)]
pub struct ProxyInfo {
    /// Node id.
    pub id: String,
    /// Plain IMAP with STARTTLS.
    pub imap: String,
    /// IMAP over TLS.
    pub imaps: String,
    /// SMTP.
    pub smtp: String,
    /// Submission with STARTTLS.
    pub submission: String,
    /// Submission over TLS.
    pub submissions: String,
    /// LMTP.
    pub lmtp: String,
}

/// `cluster.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    /// All nodes.
    pub nodes: Vec<NodeInfo>,
    /// All proxies.
    pub proxies: Vec<ProxyInfo>,
    /// The CA of every certificate in the cluster.
    pub ca_file: PathBuf,
}

/// How a node is started again, when that is not as the others are.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// A command that becomes the node by `exec`, such as one that enters a network of its own.
    pub wrapper: Vec<String>,
    /// Environment beside the cluster's.
    pub environment: Vec<(String, String)>,
    /// Another build than the one that the node was started with.
    pub program: Option<PathBuf>,
}

/// A running cluster; stopped and removed when dropped.
pub struct Cluster {
    playground: Child,
    restarted: Vec<(String, Child)>,
    pub(crate) manifest: Manifest,
    environment: Vec<(String, String)>,
    /// Process ids of nodes that stand still.
    paused: Vec<u32>,
    launches: BTreeMap<String, Launch>,
    folder: TempDir,
}

impl Cluster {
    /// Starts a cluster and waits until it is ready.
    pub fn start(options: &Options) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rookery-test-").tempdir()?;
        let data = folder.path().join("cluster");
        let program = match &options.program {
            Some(program) => program.clone(),
            None => program()?,
        };
        let mut command = match options.wrapper.split_first() {
            None => Command::new(program),
            Some((wrapper, arguments)) => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg(program);
                command
            }
        };
        command
            .args(["playground", "--port-base", "0", "--data"])
            .arg(&data)
            .args(["--mailstores", &options.mailstores.to_string()])
            .args(["--proxies", &options.proxies.to_string()])
            .args(["--accounts", &options.accounts.to_string()])
            .envs(options.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if let Some(shards) = options.shards {
            command.args(["--shards", &shards.to_string()]);
        }
        if options.single {
            command.arg("--single");
        }
        if options.directories > 1 {
            command.args(["--directories", &options.directories.to_string()]);
        }
        if options.replicas > 1 {
            command.args(["--replicas", &options.replicas.to_string()]);
        }
        let mut playground = command.spawn().context("cannot start the playground")?;
        let manifest = match wait_until_ready(&mut playground, &data) {
            Ok(manifest) => manifest,
            Err(error) => {
                // It ended by itself or is beyond use; its logs say why.
                let _ = playground.kill();
                let _ = playground.wait();
                return Err(error.context(logs(&data)));
            }
        };
        let environment = options.environment.clone();
        Ok(Self {
            playground,
            restarted: Vec::new(),
            manifest,
            environment,
            paused: Vec::new(),
            launches: BTreeMap::new(),
            folder,
        })
    }

    /// A cluster of three mailstores and two proxies.
    pub fn three() -> Self {
        Self::start(&Options::default()).unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// All roles in one process.
    pub fn single() -> Self {
        let options = Options {
            single: true,
            mailstores: 1,
            proxies: 1,
            ..Options::default()
        };
        Self::start(&options).unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// Its nodes and endpoints.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// A folder that goes with the cluster.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// The playground's data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }

    /// A proxy by its position.
    pub fn proxy(&self, index: usize) -> &ProxyInfo {
        &self.manifest.proxies[index]
    }

    /// A node by its id.
    pub fn node(&self, id: &str) -> &NodeInfo {
        self.manifest
            .nodes
            .iter()
            .find(|node| node.id == id)
            .unwrap_or_else(|| panic!("there is no node {id}"))
    }

    /// Runs an operator's command against the cluster and gives its standard output; `input` is its standard input.
    pub fn operate(&self, arguments: &[&str], input: &str) -> Result<String> {
        let output = self.try_operate(arguments, input)?;
        if !output.status.success() {
            bail!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs an operator's command against the cluster, whatever comes of it: where the directory runs, so that it is
    /// reached when that has a network of its own. Of several members with networks of their own the one that leads does
    /// it.
    pub fn try_operate(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut places = self.launches.iter();
        let mut place = places.find(|(id, _)| id.starts_with("directory"));
        loop {
            let output = self.operate_at(place.map(|(_, launch)| launch), arguments, input)?;
            place = places.find(|(id, _)| id.starts_with("directory"));
            if output.status.success() || place.is_none() || !is_for_another(&output) {
                return Ok(output);
            }
        }
    }

    fn operate_at(&self, place: Option<&Launch>, arguments: &[&str], input: &str) -> Result<Output> {
        let manifest = self.data().join("cluster.json");
        let program = program()?;
        let wrapper = place.and_then(|launch| launch.wrapper.split_first());
        let mut command = match wrapper {
            None => Command::new(program),
            Some((wrapper, words)) => {
                let mut command = Command::new(wrapper);
                command.args(words).arg(program);
                command
            }
        };
        command.args(arguments).arg("--cluster").arg(manifest);
        finish(&mut command, input)
    }

    /// The node's process id now.
    pub fn pid(&self, id: &str) -> u32 {
        let restarted = self.restarted.iter().rev().find(|(name, _)| name == id);
        restarted.map_or_else(|| self.node(id).pid, |(_, child)| child.id())
    }

    /// Kills a node with SIGKILL and waits until it has gone; one that has ended by itself is as good as killed.
    pub fn kill(&mut self, id: &str) {
        self.end(id, Signal::KILL);
    }

    /// Tells a node to stop, with SIGTERM, and waits until it has.
    pub fn stop(&mut self, id: &str) {
        self.end(id, Signal::TERM);
    }

    fn end(&mut self, id: &str, which: Signal) {
        let pid = self.pid(id);
        self.paused.retain(|paused| *paused != pid);
        if self.is_running(id) {
            signal(pid, which).unwrap_or_else(|error| panic!("cannot signal {id} ({pid}): {error}"));
        }
        if let Some(position) = self.restarted.iter().position(|(name, _)| name == id) {
            let (_, mut child) = self.restarted.remove(position);
            child.wait().expect("a child can be waited for");
        } else {
            wait_gone(pid);
        }
    }

    /// Makes a node stand still with SIGSTOP: its connections stay open, and nothing is said on them.
    pub fn pause(&mut self, id: &str) {
        self.signal(id, Signal::STOP).expect("runs");
        self.paused.push(self.pid(id));
    }

    /// Lets a node go on that stood still.
    pub fn resume(&mut self, id: &str) {
        self.signal(id, Signal::CONT).expect("runs");
        let pid = self.pid(id);
        self.paused.retain(|paused| *paused != pid);
    }

    /// Sends a signal to a node.
    pub fn signal(&self, id: &str, which: Signal) -> Result<()> {
        signal(self.pid(id), which).with_context(|| format!("cannot signal {id}"))
    }

    /// Whether the node's process is there.
    pub fn is_running(&mut self, id: &str) -> bool {
        if let Some((_, child)) = self.restarted.iter_mut().rev().find(|(name, _)| name == id) {
            return matches!(child.try_wait(), Ok(None));
        }
        let node = self.node(id);
        // The playground waits for none of its children while it runs, and another process may have the number of one
        // that was killed: its command line is empty or another.
        let line = std::fs::read(format!("/proc/{}/cmdline", node.pid)).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&node.data.display().to_string())
    }

    /// The environment of nodes that are started again from now on.
    pub fn set_environment(&mut self, environment: &[(&str, &str)]) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.environment = environment.iter().map(owned).collect();
    }

    /// The build that one node is started again with from now on.
    pub fn set_program(&mut self, id: &str, program: &Path) {
        let launch = self.launches.entry(id.to_owned()).or_default();
        launch.program = Some(program.to_owned());
    }

    /// The build that a node runs.
    pub fn program_of(&self, id: &str) -> Result<PathBuf> {
        std::fs::read_link(format!("/proc/{}/exe", self.pid(id)))
            .with_context(|| format!("{id} does not run"))
    }

    /// How one node is started again from now on.
    pub fn set_launch(&mut self, id: &str, launch: Launch) {
        self.launches.insert(id.to_owned(), launch);
    }

    /// Starts a node again with its `restart` command and waits until it says that it serves. Where a proxy listens from
    /// then on is in the manifest.
    pub fn restart(&mut self, id: &str) -> Result<()> {
        self.restart_together(&[id])
    }

    /// Starts a node again and does not wait until it serves.
    pub fn begin(&mut self, id: &str) -> Result<()> {
        self.start_again(id).map(drop)
    }

    /// Starts nodes again of which none may serve before others are there.
    pub fn restart_together(&mut self, ids: &[&str]) -> Result<()> {
        let outputs = ids.iter().map(|id| Ok((*id, self.start_again(id)?)));
        let outputs: Vec<(&str, ChildStdout)> = outputs.collect::<Result<_>>()?;
        for (id, output) in outputs {
            let line = first_line(output);
            if line.is_empty() {
                bail!("{id} did not start again: {}", logs(&self.data()));
            }
            self.heed_endpoints(id, &line)?;
        }
        Ok(())
    }

    fn start_again(&mut self, id: &str) -> Result<ChildStdout> {
        let launch = self.launches.get(id).cloned().unwrap_or_default();
        let mut restart = self.node(id).restart.clone();
        if let (Some(first), Some(program)) = (restart.first_mut(), &launch.program) {
            *first = program.display().to_string();
        }
        let words: Vec<String> = launch.wrapper.iter().cloned().chain(restart).collect();
        let log = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.node(id).data.join("log"))?;
        let (program, arguments) = words
            .split_first()
            .ok_or_else(|| anyhow!("{id} has no restart command"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .envs(self.environment.iter().cloned())
            .envs(launch.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let output = child.stdout.take().ok_or_else(|| anyhow!("no output"))?;
        self.restarted.retain(|(name, _)| name != id);
        self.restarted.push((id.to_owned(), child));
        Ok(output)
    }

    /// Tells operators' commands where the admin API is from now on.
    pub fn set_admin(&self, address: &str) -> Result<()> {
        let path = self.data().join("cluster.json");
        let mut manifest: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        manifest["admin"] = format!("https://{address}").into();
        // Every member's is there, each in its own network.
        if let Some(manifest) = manifest.as_object_mut() {
            manifest.remove("admins");
        }
        Ok(std::fs::write(path, serde_json::to_string(&manifest)?)?)
    }

    fn heed_endpoints(&mut self, id: &str, line: &str) -> Result<()> {
        let endpoints: BTreeMap<String, String> =
            serde_json::from_str(line).with_context(|| format!("{id} printed no endpoints but {line:?}"))?;
        if let Some(proxy) = self.manifest.proxies.iter_mut().find(|proxy| proxy.id == id) {
            for (name, held) in [
                ("imap", &mut proxy.imap),
                ("imaps", &mut proxy.imaps),
                ("smtp", &mut proxy.smtp),
                ("submission", &mut proxy.submission),
                ("submissions", &mut proxy.submissions),
                ("lmtp", &mut proxy.lmtp),
            ] {
                if let Some(address) = endpoints.get(name) {
                    held.clone_from(address);
                }
            }
        }
        Ok(())
    }

    /// The last lines of every node's log.
    pub fn logs(&self) -> String {
        logs(&self.data())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Who stands still cannot stop.
        for pid in &self.paused {
            if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::CONT);
            }
        }
        for (_, child) in &mut self.restarted {
            // May have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = signal(self.playground.id(), Signal::TERM);
        let _ = self.playground.wait();
        if std::thread::panicking() {
            // The failure is told anyway.
            let _ = writeln!(std::io::stderr(), "{}", logs(&self.data()));
        }
    }
}

/// The built program, beside this test's own.
pub fn program() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let mut folder = this.parent();
    while let Some(candidate) = folder {
        let path = candidate.join("rookery");
        if path.is_file() {
            return Ok(path);
        }
        folder = candidate.parent();
    }
    bail!("the program is not built: run `cargo build -p rookery` first (`make test` does)")
}

/// Runs the program with arguments, without any cluster.
pub fn run_program(arguments: &[&str]) -> Result<Output> {
    finish(Command::new(program()?).args(arguments), "")
}

/// Whether a member of the directory has done nothing, and another may do it.
fn is_for_another(output: &Output) -> bool {
    let said = String::from_utf8_lossy(&output.stderr);
    ["lead the directory", "cannot reach the directory"]
        .iter()
        .any(|words| said.contains(words))
}

/// Runs a command to its end with a text as its input.
fn finish(command: &mut Command, input: &str) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that wants no input may have ended already.
        let _ = stdin.write_all(input.as_bytes());
    }
    Ok(child.wait_with_output()?)
}

fn wait_until_ready(playground: &mut Child, data: &Path) -> Result<Manifest> {
    let output = playground
        .stdout
        .take()
        .ok_or_else(|| anyhow!("the playground has no output"))?;
    let mut lines = BufReader::new(output).lines();
    for _ in 0..READY_LINES_MAX {
        let line = lines
            .next()
            .ok_or_else(|| anyhow!("the playground ended before it was ready"))??;
        if line == "ready" {
            let text = std::fs::read_to_string(data.join("cluster.json")).context("no cluster.json")?;
            return Ok(serde_json::from_str(&text)?);
        }
    }
    bail!("the playground did not say that it is ready")
}

fn signal(pid: u32, which: Signal) -> Result<()> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    kill_process(raw.ok_or_else(|| anyhow!("{pid} is no process id"))?, which)?;
    Ok(())
}

/// The line with which a node says that it serves; empty when it ended or took too long.
fn first_line(output: ChildStdout) -> String {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        // What cannot be read is an empty line, and nobody may be waiting any more.
        let _ = BufReader::new(output).read_line(&mut line);
        let _ = sender.send(line);
    });
    receiver.recv_timeout(RESTART_MAX).unwrap_or_default()
}

fn wait_gone(pid: u32) {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{PidfdFlags, pidfd_open};
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    // An error means that it has gone.
    if let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) {
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        let _ = poll(&mut fds, None);
    }
}

/// The last lines of every node's log.
fn logs(data: &Path) -> String {
    let mut text = String::from("logs of the nodes:\n");
    let Ok(entries) = std::fs::read_dir(data) else {
        return text;
    };
    for entry in entries.flatten() {
        if let Ok(log) = std::fs::read(entry.path().join("log")) {
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(15);
            text.push_str(&format!(
                "--- {}\n{}\n",
                entry.path().display(),
                lines[from..].join("\n")
            ));
        }
    }
    text
}
