//! A server to be loaded: where it listens, which accounts it has, and with which password and certificate.
//!
//! Passwords come from a file or an environment variable, never from a command line that others can list.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsConnector;

use crate::tls;

/// The environment variable that holds the password where nothing else is said.
const PASSWORD_VARIABLE: &str = "ROOKERY_LOADTEST_PASSWORD";

/// What stands for an account's number in a pattern.
const NUMBER: &str = "%d";

/// How connections are encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Encryption {
    /// Not at all.
    #[default]
    None,
    /// From a command on (RFC 9051 §6.2.1, RFC 3207).
    Starttls,
    /// From the first byte on (RFC 8314 §3); `imaps` and `submissions` are connected to.
    Implicit,
}

/// A server as a profile or `--server` describes it. Addresses are `host:port`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServerConfig {
    /// What reports call it.
    pub(crate) name: Option<String>,
    /// A playground's `cluster.json`, which says all that is not said here.
    pub(crate) cluster: Option<PathBuf>,
    /// IMAP, plain or with STARTTLS.
    pub(crate) imap: Option<String>,
    /// IMAP over TLS.
    pub(crate) imaps: Option<String>,
    /// SMTP.
    pub(crate) smtp: Option<String>,
    /// Submission, plain or with STARTTLS.
    pub(crate) submission: Option<String>,
    /// Submission over TLS.
    pub(crate) submissions: Option<String>,
    /// LMTP.
    pub(crate) lmtp: Option<String>,
    /// How connections are encrypted; LMTP never is.
    pub(crate) tls: Encryption,
    /// Certificates (PEM) of which one has signed the server's.
    pub(crate) ca_file: Option<PathBuf>,
    /// The name in the server's certificate; its address where absent.
    pub(crate) tls_name: Option<String>,
    /// Take any certificate.
    pub(crate) tls_unverified: bool,
    /// Accounts there are.
    pub(crate) accounts: Option<u64>,
    /// Addresses of accounts, with `%d` for the number.
    pub(crate) account_pattern: Option<String>,
    /// The first account's number.
    pub(crate) first_account: Option<u64>,
    /// A file that holds the password of all accounts in its first line.
    pub(crate) password_file: Option<PathBuf>,
    /// An environment variable that holds it.
    pub(crate) password_env: Option<String>,
    /// A process of the server on this machine, whose CPU and memory are told with those of all that descend from it.
    pub(crate) pid: Option<u32>,
}

impl ServerConfig {
    /// Reads `key=value,key=value`, or the path of a `cluster.json` alone.
    pub(crate) fn parse(text: &str) -> Result<toml::Table> {
        if !text.contains('=') {
            let path = toml::Value::String(text.to_owned());
            return Ok(toml::Table::from_iter([("cluster".to_owned(), path)]));
        }
        let entry = |part: &str| {
            let (key, value) = part
                .split_once('=')
                .with_context(|| format!("{part:?} is not key=value"))?;
            Ok((key.trim().to_owned(), crate::profile::value_of(value.trim())))
        };
        text.split(',').map(entry).collect()
    }
}

/// Accounts of a server: their addresses are logins and recipients.
#[derive(Debug, Clone)]
pub(crate) struct Accounts {
    pattern: String,
    first: u64,
    /// How many there are.
    pub(crate) count: u64,
}

impl Accounts {
    /// An account by its position; positions beyond the last begin again.
    pub(crate) fn address(&self, position: u64) -> String {
        let number = self.first + position % self.count;
        self.pattern.replace(NUMBER, &number.to_string())
    }
}

/// A protocol that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// RFC 9051.
    Imap,
    /// RFC 5321.
    Smtp,
    /// RFC 6409.
    Submission,
    /// RFC 2033.
    Lmtp,
}

/// Where connections go, and how they are made.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// One or several addresses, taken in turn.
    pub(crate) addresses: Vec<SocketAddr>,
    /// How the connection is encrypted.
    pub(crate) encryption: Encryption,
    /// Whose certificate is expected.
    pub(crate) tls_name: String,
    /// Makes the encrypted part.
    pub(crate) connector: TlsConnector,
}

/// A server, with all that is needed to speak with it.
pub(crate) struct Target {
    /// What reports call it.
    pub(crate) name: String,
    /// Its accounts.
    pub(crate) accounts: Accounts,
    /// Their password; empty where there is none.
    pub(crate) password: String,
    /// Processes whose cost is told.
    pub(crate) pids: Vec<u32>,
    config: ServerConfig,
    cluster: Option<Cluster>,
    connector: TlsConnector,
}

impl Target {
    /// Reads the files that a configuration names. `default_name` is for a server without a name.
    pub(crate) fn open(config: &ServerConfig, default_name: &str) -> Result<Self> {
        let cluster = config.cluster.as_deref().map(Cluster::read).transpose()?;
        let of_cluster = cluster.as_ref().map(|cluster| &cluster.accounts);
        let pattern = config
            .account_pattern
            .clone()
            .or(of_cluster.map(|accounts| accounts.pattern.clone()))
            .unwrap_or_else(|| "user%d@example.test".to_owned());
        if !pattern.contains(NUMBER) {
            bail!("account_pattern {pattern:?} has no {NUMBER} for the account's number");
        }
        let count = config.accounts.or(of_cluster.map(|accounts| accounts.count));
        let count = count.unwrap_or(1);
        if count == 0 {
            bail!("a server without accounts cannot be loaded: accounts is 0");
        }
        let first = config.first_account.or(of_cluster.map(|accounts| accounts.first));
        let ca_file = config
            .ca_file
            .clone()
            .or(cluster.as_ref().and_then(|cluster| cluster.ca_file.clone()));
        let pids = match (config.pid, &cluster) {
            (Some(pid), _) => vec![pid],
            (None, Some(cluster)) => cluster.nodes.iter().map(|node| node.pid).collect(),
            (None, None) => Vec::new(),
        };
        Ok(Self {
            name: config.name.clone().unwrap_or_else(|| default_name.to_owned()),
            accounts: Accounts {
                pattern,
                first: first.unwrap_or(1),
                count,
            },
            password: password(config, cluster.as_ref())?,
            pids,
            connector: tls::connector(ca_file.as_deref(), config.tls_unverified)?,
            config: config.clone(),
            cluster,
        })
    }

    /// Where a protocol is spoken; an error says which key is missing.
    pub(crate) fn endpoint(&self, protocol: Protocol) -> Result<Endpoint> {
        let encryption = match protocol {
            Protocol::Lmtp => Encryption::None,
            _ => self.config.tls,
        };
        let implicit = encryption == Encryption::Implicit;
        let (key, said): (_, fn(&ServerConfig) -> &Option<String>) = match protocol {
            Protocol::Imap if implicit => ("imaps", |config| &config.imaps),
            Protocol::Imap => ("imap", |config| &config.imap),
            Protocol::Submission if implicit => ("submissions", |config| &config.submissions),
            Protocol::Submission => ("submission", |config| &config.submission),
            Protocol::Smtp if implicit => bail!("SMTP has no implicit TLS: use tls=starttls, or submission"),
            Protocol::Smtp => ("smtp", |config| &config.smtp),
            Protocol::Lmtp => ("lmtp", |config| &config.lmtp),
        };
        let mut names: Vec<&str> = said(&self.config).as_deref().into_iter().collect();
        if names.is_empty() {
            let proxies = self.cluster.iter().flat_map(|cluster| &cluster.proxies);
            names = proxies.filter_map(|proxy| proxy.get(key)?.as_str()).collect();
        }
        let first = names.first().copied().ok_or_else(|| {
            anyhow!(
                "{} has no {key} address: add {key}=HOST:PORT to its description",
                self.name
            )
        })?;
        let host = first.rsplit_once(':').map_or(first, |(host, _)| host);
        let tls_name = self.config.tls_name.clone().unwrap_or_else(|| host.to_owned());
        let addresses: Result<Vec<_>> = names.iter().map(|name| resolve(name)).collect();
        Ok(Endpoint {
            addresses: addresses?,
            encryption,
            tls_name,
            connector: self.connector.clone(),
        })
    }
}

fn resolve(name: &str) -> Result<SocketAddr> {
    let mut found = name
        .to_socket_addrs()
        .with_context(|| format!("{name:?} is not host:port, or its host is not known"))?;
    found.next().with_context(|| format!("{name:?} has no address"))
}

fn password(config: &ServerConfig, cluster: Option<&Cluster>) -> Result<String> {
    if let Some(path) = &config.password_file {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the password file {}", path.display()))?;
        return Ok(text.lines().next().unwrap_or_default().to_owned());
    }
    if let Some(variable) = &config.password_env {
        return std::env::var(variable)
            .with_context(|| format!("password_env names {variable}, which is not set"));
    }
    if let Some(cluster) = cluster {
        return Ok(cluster.accounts.password.clone());
    }
    // An unset variable is an empty password: not every workload logs in.
    Ok(std::env::var(PASSWORD_VARIABLE).unwrap_or_default())
}

/// What is read of a playground's `cluster.json`.
#[derive(Debug, Deserialize)]
struct Cluster {
    nodes: Vec<ClusterNode>,
    proxies: Vec<serde_json::Map<String, serde_json::Value>>,
    ca_file: Option<PathBuf>,
    accounts: ClusterAccounts,
}

#[derive(Debug, Deserialize)]
struct ClusterNode {
    pid: u32,
}

#[derive(Debug, Deserialize)]
struct ClusterAccounts {
    count: u64,
    pattern: String,
    first: u64,
    password: String,
}

impl Cluster {
    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}: is the playground ready?", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no cluster.json", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<ServerConfig> {
        Ok(ServerConfig::parse(text)?.try_into()?)
    }

    #[test]
    fn a_server_is_described_in_one_argument() {
        let parsed =
            config("name=A, imap=127.0.0.1:143,accounts=20,tls=starttls,tls_unverified=true").unwrap();
        assert_eq!(parsed.name.as_deref(), Some("A"));
        assert_eq!(parsed.accounts, Some(20));
        assert_eq!(parsed.tls, Encryption::Starttls);
        assert!(parsed.tls_unverified);
        let alone = config("/tmp/data/cluster.json").unwrap();
        assert_eq!(
            alone.cluster.as_deref(),
            Some(Path::new("/tmp/data/cluster.json"))
        );
        assert!(config("imapp=127.0.0.1:143").is_err(), "an unknown key");
        assert!(config("imap=127.0.0.1:143,starttls").is_err(), "no value");
    }

    #[test]
    fn accounts_are_counted_from_the_first_and_begin_again() {
        let target = Target::open(
            &config("accounts=3,first_account=5,account_pattern=u%d@x.test").unwrap(),
            "A",
        );
        let accounts = target.unwrap().accounts;
        let addresses: Vec<String> = (0..4).map(|position| accounts.address(position)).collect();
        assert_eq!(addresses, ["u5@x.test", "u6@x.test", "u7@x.test", "u5@x.test"]);
        assert!(Target::open(&config("account_pattern=me@x.test").unwrap(), "A").is_err());
    }

    #[test]
    fn a_cluster_says_what_is_not_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.json");
        let text = r#"{"nodes": [{"role": "proxy", "id": "proxy-1", "pid": 7}],
            "proxies": [{"id": "proxy-1", "imap": "127.0.0.1:1", "lmtp": "127.0.0.1:2"}, {"id": "proxy-2", "imap": "127.0.0.1:3"}],
            "accounts": {"count": 9, "pattern": "user%d@example.test", "first": 1, "password": "secret"}}"#;
        std::fs::write(&path, text).unwrap();
        let target = Target::open(&config(path.to_str().unwrap()).unwrap(), "A").unwrap();
        assert_eq!(
            (target.pids.as_slice(), target.password.as_str()),
            (&[7][..], "secret")
        );
        assert_eq!(target.endpoint(Protocol::Imap).unwrap().addresses.len(), 2);
        let missing = target.endpoint(Protocol::Smtp).err().unwrap().to_string();
        assert!(missing.contains("smtp=HOST:PORT"), "{missing}");
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "secret\n").unwrap();
        let text = format!("imap=127.0.0.1:1,password_file={}", path.display());
        assert_eq!(
            Target::open(&config(&text).unwrap(), "A").unwrap().password,
            "secret"
        );
        assert!(Target::open(&config("password_env=ROOKERY_LOADTEST_NOT_SET").unwrap(), "A").is_err());
    }
}
