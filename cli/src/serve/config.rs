//! The configuration file of a process: one section for what all share, one for each role that runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rookery_process::logs::LogConfig;
use rookery_process::traces::TracesConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A configuration file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Who this process is and where its things are.
    pub(crate) node: NodeConfig,
    /// What it logs.
    #[serde(default)]
    pub(crate) log: LogConfig,
    /// What is traced, and where traces go.
    #[serde(default)]
    pub(crate) traces: TracesConfig,
    /// The directory: accounts, addresses, the shard map, the operator's API.
    #[serde(default)]
    pub(crate) directory: Option<rookery_directory::Config>,
    /// A mailstore: the mail of the shards that lie on it.
    #[serde(default)]
    pub(crate) mailstore: Option<rookery_mailstore::Config>,
    /// A proxy: what mail clients and other mail servers speak with.
    #[serde(default)]
    pub(crate) proxy: Option<rookery_proxy::config::Config>,
}

/// The `[node]` section.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeConfig {
    /// Unique in the cluster, such as `mailstore-1`.
    pub(crate) id: String,
    /// The cluster's id, as `rookery init` made it.
    pub(crate) cluster: String,
    /// The node's data folder; a lock keeps other processes out.
    pub(crate) data: PathBuf,
    /// The cluster's CA certificate (PEM).
    pub(crate) ca: PathBuf,
    /// This node's certificate (PEM) for calls between nodes and for the operator's API.
    pub(crate) certificate: PathBuf,
    /// Its private key (PEM).
    pub(crate) key: PathBuf,
    /// Where other nodes call this one. Needed by a directory and a mailstore that run apart.
    #[serde(default)]
    pub(crate) listen: Option<SocketAddr>,
    /// `host:port` that other nodes use instead of `listen`, where that is not reachable as such.
    #[serde(default)]
    pub(crate) advertise: Option<String>,
    /// `host:port` of the directory, or a list of those of its members, unless it runs in this process.
    #[serde(default)]
    pub(crate) directory: Addresses,
    /// Where `/livez`, `/readyz` and `/metrics` are.
    #[serde(default = "default_http")]
    pub(crate) http: SocketAddr,
    /// `host:port` by which the status names that instead, when it is not reachable as such.
    #[serde(default)]
    pub(crate) http_advertise: Option<String>,
    /// Whether it records what `/metrics` tells.
    #[serde(default = "default_metrics")]
    pub(crate) metrics: bool,
}

/// One address, or a list of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(from = "OneOrMore")]
pub(crate) struct Addresses(pub(crate) Vec<String>);

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for Addresses {
    fn from(held: OneOrMore) -> Self {
        match held {
            OneOrMore::One(address) => Self(vec![address]),
            OneOrMore::More(addresses) => Self(addresses),
        }
    }
}

fn default_http() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn default_metrics() -> bool {
    true
}

impl Config {
    /// Reads a file; paths in it are relative to its folder.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let mut config: Self = rookery_process::config::load(path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let absolute = |held: &mut PathBuf| {
            if held.is_relative() {
                *held = folder.join(&held);
            }
        };
        for held in [
            &mut config.node.data,
            &mut config.node.ca,
            &mut config.node.certificate,
            &mut config.node.key,
        ] {
            absolute(held);
        }
        let traces = &mut config.traces;
        let files = [&mut traces.ca, &mut traces.key_file];
        files.into_iter().flatten().for_each(absolute);
        if let Some(proxy) = &mut config.proxy {
            absolute(&mut proxy.certificate);
            absolute(&mut proxy.key);
        }
        if let Some(directory) = &mut config.directory {
            let files = [&mut directory.admin_token_file, &mut directory.authority_key];
            files.into_iter().flatten().for_each(absolute);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_address_or_several() {
        #[derive(Deserialize)]
        struct Holder {
            #[serde(default)]
            directory: Addresses,
        }
        for (text, wanted) in [
            ("", &[][..]),
            ("directory = \"a:1\"", &["a:1"]),
            ("directory = [\"a:1\", \"b:1\"]", &["a:1", "b:1"]),
        ] {
            let holder: Holder = toml::from_str(text).unwrap();
            assert_eq!(holder.directory.0, wanted, "{text}");
        }
        assert!(toml::from_str::<Holder>("directory = 4").is_err());
    }
}
