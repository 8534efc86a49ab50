//! The cluster under test with all that makes faults possible: shims in every node, small disks, a network of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::control::Control;
use super::disk::{Disk, Dropped};
use super::history::Account;
use super::network::Network;
use super::room::Room;
use super::shim;
use super::workload::{Credentials, Proxy, address};
use crate::cluster::{Cluster, Launch, Options};
use crate::http;

/// How long a client's command waits for its shard.
const PATIENCE: &str = "10s";

/// With less free, a mailstore takes no new mail.
const DISK_FREE_MIN: &str = "64MiB";

/// Where the admin API of each directory is in a network of its own.
const ADMIN: &str = "127.0.0.1:7443";

/// How long the directory may take to call a node silent that has stopped.
const SILENT_MAX: Duration = Duration::from_secs(60);

/// Pause until it is asked again whether a node may be removed.
const REMOVE_PAUSE: Duration = Duration::from_millis(500);

/// What the ids of directories begin with.
pub const DIRECTORY: &str = "directory";

/// How a stage is set.
#[derive(Debug, Clone)]
pub struct StageOptions {
    /// Members of the directory.
    pub directories: u32,
    /// Mailstores.
    pub mailstores: u32,
    /// Proxies.
    pub proxies: u32,
    /// Accounts.
    pub accounts: Account,
    /// Shards.
    pub shards: u32,
    /// Replicas of each shard.
    pub replicas: u32,
    /// Whether each node has a network namespace of its own.
    pub network: bool,
    /// Whether each mailstore has a small disk of its own.
    pub rooms: bool,
    /// The build that the nodes run; `None`: the one beside the test.
    pub program: Option<PathBuf>,
}

/// A cluster under test.
pub struct Stage {
    cluster: Cluster,
    controls: BTreeMap<String, Control>,
    disks: BTreeMap<String, Disk>,
    network: Option<Network>,
    rooms: BTreeMap<String, Room>,
    /// Whether disks lie for a while before a power cut. For the test of the test.
    pub lies: bool,
    /// Whether shards are moved.
    pub moves: bool,
    /// Accounts that were sent to other shards, or may have been.
    pub moved_accounts: BTreeSet<Account>,
    /// Taken away by power cuts.
    pub dropped: Dropped,
    /// Nodes that were found to have ended by themselves.
    pub ended: Vec<Ended>,
    /// The node that leads each shard at the start, and the shard of each account.
    pub placement: Placement,
    // After the cluster, which writes into it.
    folder: TempDir,
}

/// A node that ended by itself.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Which.
    pub node: String,
    /// The nemesis that had struck it; empty when none had.
    pub nemesis: &'static str,
    /// What was going on, in words.
    pub during: String,
}

/// Where accounts are.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    /// The shard of an account.
    pub shard: BTreeMap<Account, u64>,
    /// The nodes of a shard.
    pub nodes: BTreeMap<u64, Vec<String>>,
}

impl Stage {
    /// Starts a cluster, moves its nodes to where faults can strike them, and starts them again there.
    pub fn set(options: &StageOptions) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rookery-faults-").tempdir()?;
        let control_folder = folder.path().join("control");
        std::fs::create_dir(&control_folder)?;
        let mut controls = BTreeMap::new();
        for node in node_ids(options) {
            let control = Control::create(&control_folder, &node)?;
            controls.insert(node, control);
        }
        // What records syncs comes first: what the other delays or refuses is recorded when it has been done.
        let shims = [shim::UNSYNCED, shim::FAULTS].map(|name| shim::build(name, folder.path()));
        let [unsynced, faults] = shims;
        let preload = format!("{}:{}", unsynced?.display(), faults?.display());
        let text = |name: &str| folder.path().join(name).display().to_string();
        let environment = [
            ("LD_PRELOAD", preload),
            ("ROOKERY_SYNC_LOG", text("syncs")),
            ("ROOKERY_SYNC_LIE", text("lie")),
            ("ROOKERY_FAULT_CONTROL", text("control")),
        ];
        let cluster = Cluster::start(&Options {
            directories: options.directories,
            mailstores: options.mailstores,
            proxies: options.proxies,
            accounts: u64::from(options.accounts),
            replicas: options.replicas,
            shards: Some(options.shards),
            program: options.program.clone(),
            environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
            ..Options::default()
        })?;
        let placement = placement(&cluster, options.accounts)?;
        let mut stage = Self {
            cluster,
            controls,
            disks: BTreeMap::new(),
            network: None,
            rooms: BTreeMap::new(),
            lies: false,
            moves: false,
            moved_accounts: BTreeSet::new(),
            dropped: Dropped::default(),
            ended: Vec::new(),
            placement,
            folder,
        };
        stage.move_nodes(options)?;
        Ok(stage)
    }

    /// Starts a cluster with nothing that could strike it.
    pub fn plain(options: &StageOptions) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rookery-faults-").tempdir()?;
        let cluster = Cluster::start(&Options {
            directories: options.directories,
            mailstores: options.mailstores,
            proxies: options.proxies,
            accounts: u64::from(options.accounts),
            replicas: options.replicas,
            shards: Some(options.shards),
            ..Options::default()
        })?;
        let placement = placement(&cluster, options.accounts)?;
        Ok(Self {
            cluster,
            controls: BTreeMap::new(),
            disks: BTreeMap::new(),
            network: None,
            rooms: BTreeMap::new(),
            lies: false,
            moves: false,
            moved_accounts: BTreeSet::new(),
            dropped: Dropped::default(),
            ended: Vec::new(),
            placement,
            folder,
        })
    }

    /// Adds mailstores to a plain cluster; their ids.
    pub fn grow(&mut self, mailstores: u32) -> Result<Vec<String>> {
        self.cluster.grow(mailstores)
    }

    /// Stops a mailstore that has been drained, and takes it out of the cluster.
    pub fn remove(&mut self, node: &str) -> Result<()> {
        self.cluster.stop(node);
        let began = Instant::now();
        loop {
            // Refused until the directory has missed it for long enough.
            let removed = self.try_operate(&["node", "remove", node])?;
            if removed.status.success() {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&removed.stderr);
            ensure!(began.elapsed() < SILENT_MAX, "{node} is not removed: {said}");
            // The program that asks would take what the clients want of the processors.
            std::thread::sleep(REMOVE_PAUSE);
        }
    }

    fn move_nodes(&mut self, options: &StageOptions) -> Result<()> {
        let nodes = self.nodes();
        for node in &nodes {
            self.cluster.kill(node);
        }
        if options.network {
            self.network = Some(Network::create(&nodes)?);
            self.cluster.set_admin(ADMIN)?;
        }
        for node in &nodes {
            if options.rooms && node.starts_with("mailstore") {
                self.rooms.insert(node.clone(), Room::over(&self.store(node))?);
            }
            let launch = self.launch(node)?;
            self.cluster.set_launch(node, launch);
            if self.has_store(node) {
                self.disks.insert(node.clone(), Disk::of(&self.store(node))?);
            }
        }
        let (directories, others): (Vec<&str>, Vec<&str>) = nodes
            .iter()
            .map(String::as_str)
            .partition(|node| node.starts_with(DIRECTORY));
        self.cluster.restart_together(&directories)?;
        others.into_iter().try_for_each(|node| self.cluster.restart(node))
    }

    fn launch(&self, node: &str) -> Result<Launch> {
        let mut launch = match &self.network {
            Some(network) => network.launch(node)?,
            None => Launch::default(),
        };
        let mut set = |name: &str, value: String| launch.environment.push((name.to_owned(), value));
        if node.starts_with("proxy") {
            set("ROOKERY__PROXY__PATIENCE", PATIENCE.to_owned());
        }
        if self.rooms.contains_key(node) {
            set("ROOKERY__MAILSTORE__DISK_FREE_MIN", DISK_FREE_MIN.to_owned());
        }
        let Some(network) = &self.network else {
            return Ok(launch);
        };
        let at = |port: u16| format!("{}:{port}", network.address(node));
        set("ROOKERY__NODE__HTTP", at(8080));
        if self.has_store(node) {
            set("ROOKERY__NODE__LISTEN", at(7400));
        }
        let directories = self.of_role(DIRECTORY);
        let address = |id: &String| format!("{}:7400", network.address(id));
        if node.starts_with(DIRECTORY) {
            // Its certificate is for this address, and operators' commands run where the directory does.
            set("ROOKERY__DIRECTORY__ADMIN_LISTEN", ADMIN.to_owned());
            if directories.len() > 1 {
                let member = |id: &String| format!("{{ id = {id:?}, address = {:?} }}", address(id));
                let members: Vec<String> = directories.iter().map(member).collect();
                set("ROOKERY__DIRECTORY__MEMBERS", format!("[{}]", members.join(", ")));
            }
        } else {
            let addresses: Vec<String> = directories.iter().map(address).collect();
            set("ROOKERY__NODE__DIRECTORY", format!("{addresses:?}"));
        }
        if node.starts_with("proxy") {
            for (name, port) in [
                ("IMAP", 143),
                ("IMAPS", 993),
                ("SMTP", 25),
                ("SUBMISSION", 587),
                ("SUBMISSIONS", 465),
                ("LMTP", 24),
            ] {
                set(&format!("ROOKERY__PROXY__LISTEN__{name}"), at(port));
            }
        }
        Ok(launch)
    }

    /// All nodes, directories first and proxies last.
    pub fn nodes(&self) -> Vec<String> {
        let mut nodes: Vec<String> = self
            .cluster
            .manifest()
            .nodes
            .iter()
            .map(|node| node.id.clone())
            .collect();
        let rank = |id: &str| match id.split('-').next() {
            Some("directory") => 0,
            Some("mailstore") => 1,
            _ => 2,
        };
        nodes.sort_by_key(|id| (rank(id), id.clone()));
        nodes
    }

    /// Nodes of a role.
    pub fn of_role(&self, role: &str) -> Vec<String> {
        let nodes = self.nodes().into_iter();
        nodes.filter(|id| id.starts_with(role)).collect()
    }

    /// Where clients find the proxies.
    pub fn proxies(&self) -> Vec<Proxy> {
        let proxies = self.cluster.manifest().proxies.iter();
        proxies
            .map(|proxy| Proxy {
                imap: proxy.imap.clone(),
                smtp: proxy.smtp.clone(),
                lmtp: proxy.lmtp.clone(),
            })
            .collect()
    }

    /// What an observer needs.
    pub fn credentials(&self) -> Result<Credentials> {
        let address = |id: &String| match &self.network {
            Some(network) => Ok(format!("{}:7400", network.address(id))),
            None => {
                let path = self.cluster.node(id).data.join("endpoints.json");
                let held: BTreeMap<String, String> = serde_json::from_str(&std::fs::read_to_string(path)?)?;
                held.get("calls").cloned().context("a directory's calls")
            }
        };
        Ok(Credentials {
            directories: self
                .of_role(DIRECTORY)
                .iter()
                .map(address)
                .collect::<Result<_>>()?,
            ca: self.cluster.manifest().ca_file.clone(),
            folder: self.cluster.node("proxy-1").data.clone(),
        })
    }

    fn has_store(&self, node: &str) -> bool {
        !node.starts_with("proxy")
    }

    fn store(&self, node: &str) -> PathBuf {
        self.cluster.node(node).data.join("store")
    }

    /// Kills a node, and takes note of what it had synced.
    pub fn kill(&mut self, node: &str) -> Result<()> {
        self.end(node, Cluster::kill)
    }

    fn end(&mut self, node: &str, by: impl FnOnce(&mut Cluster, &str)) -> Result<()> {
        let record = self
            .folder
            .path()
            .join(format!("syncs.{}", self.cluster.pid(node)));
        by(&mut self.cluster, node);
        if let Some(disk) = self.disks.get_mut(node) {
            disk.replay(&record)?;
        }
        let _ = std::fs::remove_file(record);
        Ok(())
    }

    /// Tells a node to stop and waits until it has.
    pub fn stop(&mut self, node: &str) -> Result<()> {
        self.end(node, Cluster::stop)
    }

    /// Tells a node to stop, waits until it has, and starts another build in its place.
    pub fn replace(&mut self, node: &str, program: &Path) -> Result<()> {
        let program = program.canonicalize()?;
        self.stop(node)?;
        self.cluster.set_program(node, &program);
        self.restart(node)?;
        let runs = self.cluster.program_of(node)?;
        ensure!(runs == program, "{node} runs {}", runs.display());
        Ok(())
    }

    /// Starts a node again.
    pub fn restart(&mut self, node: &str) -> Result<()> {
        self.cluster.restart(node)
    }

    /// Kills a node and takes away whatever it had not synced.
    pub fn cut_power(&mut self, node: &str) -> Result<Dropped> {
        self.kill(node)?;
        let store = self.store(node);
        let disk = self
            .disks
            .get(node)
            .ok_or_else(|| anyhow!("{node} has no store"))?;
        let dropped = disk.crash(&store)?;
        self.dropped.bytes += dropped.bytes;
        self.dropped.files += dropped.files;
        self.disks.insert(node.to_owned(), Disk::of(&store)?);
        Ok(dropped)
    }

    /// Syncs of all nodes are lies, so that nothing is durable, or they are syncs again.
    pub fn lie(&self, on: bool) -> Result<()> {
        let path = self.folder.path().join("lie");
        if on {
            std::fs::write(path, "")?;
        } else {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }

    /// Sends a signal to a node.
    pub fn signal(&self, node: &str, signal: Signal) -> Result<()> {
        self.cluster.signal(node, signal)
    }

    /// Whether a node's process is there.
    pub fn is_running(&mut self, node: &str) -> bool {
        self.cluster.is_running(node)
    }

    /// Starts again whatever has ended by itself, and takes note of it.
    pub fn revive(&mut self, struck: &str) -> Result<()> {
        for node in self.nodes() {
            if !self.is_running(&node) {
                self.revive_one(&node, "", struck)?;
            }
        }
        Ok(())
    }

    /// Starts a node again that has ended by itself, and takes note of it.
    pub fn revive_one(&mut self, node: &str, nemesis: &'static str, during: &str) -> Result<()> {
        self.ended.push(Ended {
            node: node.to_owned(),
            nemesis,
            during: during.to_owned(),
        });
        self.kill(node)?;
        self.restart(node)
    }

    /// Runs an operator's command and gives what it said.
    pub fn operate(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.operate(arguments, "")
    }

    /// The same, whatever comes of it.
    pub fn try_operate(&self, arguments: &[&str]) -> Result<std::process::Output> {
        self.cluster.try_operate(arguments, "")
    }

    /// The sum of a counter on the metrics pages of all nodes that answer.
    pub fn counted(&self, counter: &str) -> u64 {
        let nodes = self.cluster.manifest().nodes.iter();
        let pages = nodes.filter_map(|node| http::get(&node.http, "/metrics").ok());
        let figure = |page: &str| {
            let figure = page.lines().find_map(|line| line.strip_prefix(counter))?;
            figure.trim().parse::<u64>().ok()
        };
        pages.filter_map(|(_, page)| figure(&page)).sum()
    }

    /// The node that leads each shard, as far as the directory knows.
    pub fn leaders(&self) -> Result<BTreeMap<u64, String>> {
        let listed: Value = serde_json::from_str(&self.operate(&["--json", "shard", "list"])?)?;
        let shards = listed["shards"].as_array().into_iter().flatten();
        let leader = |shard: &Value| {
            let leader = shard["leader"].as_str().filter(|leader| !leader.is_empty())?;
            Some((shard["id"].as_u64()?, leader.to_owned()))
        };
        Ok(shards.filter_map(leader).collect())
    }

    /// The shards that a node leads, as far as the directory knows.
    pub fn led_by(&self, node: &str) -> Result<Vec<u64>> {
        let leaders = self.leaders()?.into_iter();
        Ok(leaders
            .filter(|(_, leader)| leader == node)
            .map(|(shard, _)| shard)
            .collect())
    }

    /// Replicas of each shard.
    pub fn replicas(&self) -> usize {
        self.placement.nodes.values().map(Vec::len).max().unwrap_or(1)
    }

    /// Where accounts are now.
    pub fn placement_now(&self) -> Result<Placement> {
        let accounts = self.placement.shard.keys().max().copied().unwrap_or_default();
        placement(&self.cluster, accounts)
    }

    /// A node's disk and clock.
    pub fn control(&mut self, node: &str) -> Result<&mut Control> {
        self.controls
            .get_mut(node)
            .ok_or_else(|| anyhow!("{node} is not steered"))
    }

    /// The nodes' network.
    pub fn network(&mut self) -> Result<&mut Network> {
        self.network
            .as_mut()
            .ok_or_else(|| anyhow!("the nodes have no network of their own"))
    }

    /// A mailstore's small disk.
    pub fn room(&self, node: &str) -> Result<&Room> {
        self.rooms
            .get(node)
            .ok_or_else(|| anyhow!("{node} has no small disk"))
    }

    /// The last lines of the nodes' logs.
    pub fn logs(&self) -> String {
        self.cluster.logs()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Nodes first, then the disks that are mounted in the cluster's folder, so that it can be removed.
        for node in self.nodes() {
            if self.is_running(&node) {
                self.cluster.kill(&node);
            }
        }
        self.rooms.clear();
    }
}

fn node_ids(options: &StageOptions) -> BTreeSet<String> {
    let mailstores = (1..=options.mailstores).map(|number| format!("mailstore-{number}"));
    let proxies = (1..=options.proxies).map(|number| format!("proxy-{number}"));
    let directories = (1..=options.directories).map(|number| format!("{DIRECTORY}-{number}"));
    mailstores.chain(proxies).chain(directories).collect()
}

fn placement(cluster: &Cluster, accounts: Account) -> Result<Placement> {
    let ask =
        |arguments: &[&str]| -> Result<Value> { Ok(serde_json::from_str(&cluster.operate(arguments, "")?)?) };
    let mut placement = Placement::default();
    let listed = ask(&["--json", "account", "list"])?;
    for account in listed["accounts"].as_array().into_iter().flatten() {
        for number in 1..=accounts {
            if account["address"] == address(number) {
                let shard = account["shard"].as_u64().context("an account's shard")?;
                placement.shard.insert(number, shard);
            }
        }
    }
    let listed = ask(&["--json", "shard", "list"])?;
    for shard in listed["shards"].as_array().into_iter().flatten() {
        let id = shard["id"].as_u64().context("a shard's id")?;
        let replicas = shard["replicas"].as_array().into_iter().flatten();
        let nodes = replicas
            .filter_map(|node| node.as_str().map(str::to_owned))
            .collect();
        placement.nodes.insert(id, nodes);
    }
    Ok(placement)
}
