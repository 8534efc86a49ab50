//! A network of the nodes' own: each in a network namespace, on a bridge whose first address is this process's.
//!
//! A cut is one-way: the node is told a hardware address for the other end that nobody has, so that what it sends gets
//! lost and what it is sent arrives. Needs root; without it everything here fails and says what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, anyhow};

use crate::cluster::Launch;
use crate::peers;

/// A hardware address that is nobody's.
const NOBODY: &str = "02:00:00:00:00:99";

/// Networks of this process so far.
static NETWORKS: AtomicU16 = AtomicU16::new(0);

/// The bridge and the namespaces on it; taken away when dropped.
#[derive(Debug)]
pub struct Network {
    /// What the names begin with: unique on the machine, and short enough for an interface.
    name: String,
    /// The first three numbers of every address.
    prefix: String,
    addresses: BTreeMap<String, String>,
    cuts: BTreeSet<(String, String)>,
}

impl Network {
    /// Makes a network for nodes.
    pub fn create(nodes: &[String]) -> Result<Self> {
        sweep();
        let process = std::process::id();
        let number = NETWORKS.fetch_add(1, Ordering::SeqCst);
        // 198.18.0.0/15 is for tests of networks and reaches nobody. Another process of the same last numbers has the
        // subnet for itself, and the bridge's address is refused.
        let subnet = (process.wrapping_mul(7).wrapping_add(u32::from(number))) % 510;
        let mut network = Self {
            name: format!("rk{process}-{number}"),
            prefix: format!("198.{}.{}", 18 + subnet / 255, subnet % 255),
            addresses: BTreeMap::new(),
            cuts: BTreeSet::new(),
        };
        network.make_bridge()?;
        for (at, node) in nodes.iter().enumerate() {
            network.add_node(node, at + 2)?;
        }
        Ok(network)
    }

    fn make_bridge(&self) -> Result<()> {
        let bridge = self.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"]).context(
            "a network of the nodes' own cannot be made: run as root, on a kernel with bridge and veth",
        )?;
        let address = format!("{}.1/24", self.prefix);
        ip(&["addr", "add", &address, "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])
    }

    fn add_node(&mut self, node: &str, last: usize) -> Result<()> {
        let (space, outside) = (self.space(node), format!("{}v{last}", self.name));
        let address = format!("{}.{last}", self.prefix);
        ip(&["netns", "add", &space]).context(
            "a network namespace cannot be made: run as root (iproute2, a kernel with CONFIG_NET_NS)",
        )?;
        ip(&[
            "link", "add", &outside, "type", "veth", "peer", "name", "eth0", "netns", &space,
        ])?;
        ip(&["link", "set", &outside, "master", &self.bridge(), "up"])?;
        ip(&[
            "-n",
            &space,
            "addr",
            "add",
            &format!("{address}/24"),
            "dev",
            "eth0",
        ])?;
        ip(&["-n", &space, "link", "set", "eth0", "up"])?;
        ip(&["-n", &space, "link", "set", "lo", "up"])?;
        self.addresses.insert(node.to_owned(), address);
        Ok(())
    }

    fn bridge(&self) -> String {
        format!("{}b", self.name)
    }

    fn space(&self, node: &str) -> String {
        format!("{}-{node}", self.name)
    }

    /// A node's address.
    pub fn address(&self, node: &str) -> &str {
        self.addresses
            .get(node)
            .map(String::as_str)
            .unwrap_or_else(|| panic!("{node} is not in the network"))
    }

    /// How a node is started in its namespace.
    pub fn launch(&self, node: &str) -> Result<Launch> {
        let ip = program();
        let wrapper = [&ip, "netns", "exec", &self.space(node)].map(str::to_owned);
        Ok(Launch {
            wrapper: wrapper.into(),
            ..Launch::default()
        })
    }

    /// Loses what `from` sends to `to`.
    pub fn cut(&mut self, from: &str, to: &str) -> Result<()> {
        let address = self.address(to).to_owned();
        ip(&[
            "-n",
            &self.space(from),
            "neigh",
            "replace",
            &address,
            "lladdr",
            NOBODY,
            "dev",
            "eth0",
            "nud",
            "permanent",
        ])?;
        self.cuts.insert((from.to_owned(), to.to_owned()));
        Ok(())
    }

    /// What `from` sends to `to` arrives again.
    pub fn heal(&mut self, from: &str, to: &str) -> Result<()> {
        if self.cuts.remove(&(from.to_owned(), to.to_owned())) {
            let address = self.address(to).to_owned();
            ip(&["-n", &self.space(from), "neigh", "del", &address, "dev", "eth0"])?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // A namespace takes its interfaces along. What was never made cannot be taken away, and that is no matter.
        for node in self.addresses.keys() {
            let _ = ip(&["netns", "del", &self.space(node)]);
        }
        let _ = ip(&["link", "del", &self.bridge()]);
    }
}

/// Takes away networks of processes that were killed before they could.
fn sweep() {
    let names = |folder: &str| -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    };
    let is_left = |name: &String| {
        owner(name).is_some_and(|process| !std::path::Path::new(&format!("/proc/{process}")).exists())
    };
    // Another process may be at the same; what is gone by then need not be taken away.
    for space in names("/run/netns").iter().filter(|name| is_left(name)) {
        let _ = ip(&["netns", "del", space]);
    }
    for bridge in names("/sys/class/net").iter().filter(|name| is_left(name)) {
        let _ = ip(&["link", "del", bridge]);
    }
}

/// The process that made a network of ours, by the name of one of its parts.
fn owner(name: &str) -> Option<u32> {
    let (process, _) = name.strip_prefix("rk")?.split_once('-')?;
    process.parse().ok()
}

fn program() -> String {
    peers::find("ip").display().to_string()
}

fn ip(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(program());
    command.args(arguments);
    peers::run(&mut command)
        .map(drop)
        .map_err(|error| anyhow!("{error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::process::Stdio;
    use std::time::Duration;

    use super::*;

    /// Reads for a moment; how much came.
    fn hear(stream: &mut std::net::TcpStream, bytes: usize) -> usize {
        let mut buffer = vec![0; bytes];
        stream.read(&mut buffer).unwrap_or(0)
    }

    #[test]
    fn a_networks_parts_name_the_process_that_made_it() {
        assert_eq!(owner("rk123-0b"), Some(123));
        assert_eq!(owner("rk123-0-mailstore-1"), Some(123));
        assert_eq!(owner("rk-0"), None);
        assert_eq!(owner("eth0"), None);
    }

    #[test]
    fn a_cut_loses_what_is_sent_one_way_and_heals() {
        let nodes = ["a".to_owned(), "b".to_owned()];
        let mut network = Network::create(&nodes).unwrap();
        // What the node sends to this process stands for what it sends to another.
        network
            .addresses
            .insert("here".to_owned(), format!("{}.1", network.prefix));
        let listener = TcpListener::bind((network.address("here"), 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let launch = network.launch("a").unwrap();
        let script = format!("yes > /dev/tcp/{}/{port}", network.address("here"));
        let mut child = Command::new(&launch.wrapper[0])
            .args(&launch.wrapper[1..])
            .args(["bash", "-c", &script])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!(hear(&mut stream, 1) > 0);
        network.cut("a", "here").unwrap();
        // What is under way arrives, and then nothing does.
        while hear(&mut stream, 1 << 20) > 0 {}
        network.heal("a", "here").unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert!(hear(&mut stream, 1) > 0, "the connection goes on after the cut");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
