//! The folder of a playground: the cluster's CA, and a folder with a configuration for each node.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use rookery_process::data_folder::{make_private, write_whole};
use rookery_proto::Role;
use rustix::fs::{FlockOperation, flock};
use toml::{Table, Value};

use super::Arguments;
use super::grow::Requests;
use super::node::Plan;
use crate::authority::ClusterFiles;

/// Shards of a cluster, unless said otherwise.
const CLUSTER_SHARDS: u32 = 256;

/// Shards of a single node, unless said otherwise.
const SINGLE_SHARDS: u32 = 16;

/// A proxy's listeners and their ports above its base.
const PORTS: [(&str, u16); 6] = [
    ("imap", 143),
    ("imaps", 993),
    ("smtp", 25),
    ("submission", 587),
    ("submissions", 465),
    ("lmtp", 24),
];

/// A proxy's HTTP port above its base.
const HTTP_PORT: u16 = 80;

/// How far apart the bases of two proxies are.
const PROXY_STEP: u16 = 1000;

/// Where a node listens and whom it calls.
#[derive(Default)]
struct Ways<'a> {
    /// Where other nodes call it; `None`: at a port of the system's choice.
    listen: Option<&'a str>,
    /// Where the directory is, for nodes that call it.
    directory: &'a [String],
    /// Its HTTP port; 0: of the system's choice.
    http: u16,
}

/// A prepared playground folder.
pub(super) struct Layout {
    root: PathBuf,
    program: PathBuf,
    cluster: ClusterFiles,
    /// Keeps other playgrounds out of the folder.
    _lock: File,
}

/// The file that holds the process id of whoever uses a folder.
pub(super) fn pid_file(folder: &Path) -> PathBuf {
    folder.join("pid")
}

/// The file that says where everything in a playground is.
pub(super) fn manifest_file(folder: &Path) -> PathBuf {
    folder.join("cluster.json")
}

/// Whether the playground of a folder has all roles in one process.
pub(super) fn is_single(folder: &Path) -> bool {
    fs::read_to_string(folder.join("kind")).is_ok_and(|kind| kind.trim() == "single")
}

/// Takes a playground's folder for this process; nothing if another has it. A process id in a file would not tell: it
/// outlives its process, and the system gives it to others.
pub(super) fn lock(folder: &Path) -> anyhow::Result<Option<File>> {
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

impl Layout {
    /// Makes the folder, or uses it again. A folder with something else in it is refused.
    pub(super) fn prepare(root: &Path, arguments: &Arguments) -> anyhow::Result<Self> {
        let exists = root.read_dir().is_ok_and(|mut entries| entries.next().is_some());
        if exists && !root.join("cluster-id").exists() {
            bail!(
                "{} holds something else than a playground: give another --data",
                root.display()
            );
        }
        make_private(root).with_context(|| format!("cannot make {}", root.display()))?;
        let root = root.canonicalize()?;
        // Before anything is touched: the folder may be that of a playground that runs.
        let lock = lock(&root)?.ok_or_else(|| {
            anyhow!(
                "a playground runs in {0}: stop it with `rookery playground stop --data {0}`",
                root.display()
            )
        })?;
        let kind = if arguments.single { "single" } else { "cluster" };
        let kind_file = root.join("kind");
        match fs::read_to_string(&kind_file) {
            Ok(held) if held.trim() != kind => {
                bail!(
                    "{} holds a {} playground: give another --data",
                    root.display(),
                    held.trim()
                )
            }
            Ok(_) => {}
            Err(_) => fs::write(&kind_file, kind)?,
        }
        let cluster = ClusterFiles::open_or_create(&root)?;
        let _ = fs::remove_file(manifest_file(&root));
        fs::write(pid_file(&root), std::process::id().to_string())?;
        Ok(Self {
            root,
            program: std::env::current_exe()?,
            cluster,
            _lock: lock,
        })
    }

    /// The folder.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where `cluster.json` is.
    pub(super) fn manifest(&self) -> PathBuf {
        manifest_file(&self.root)
    }

    /// The operator's token.
    pub(super) fn admin_token_file(&self) -> PathBuf {
        self.cluster.admin_token()
    }

    /// The CA of every certificate.
    pub(super) fn ca_file(&self) -> PathBuf {
        self.cluster.ca()
    }

    /// Takes away what says that the playground runs.
    pub(super) fn forget_running(&self) {
        for path in [self.manifest(), pid_file(&self.root)] {
            // It may not have been written yet.
            let _ = fs::remove_file(path);
        }
        Requests::forget(&self.root);
    }

    /// A member of the directory of a cluster; without addresses it is alone.
    pub(super) fn directory(
        &self,
        number: u32,
        addresses: &[String],
        arguments: &Arguments,
    ) -> anyhow::Result<Plan> {
        let shards = arguments.shards.unwrap_or(CLUSTER_SHARDS);
        let mut section = self.directory_section(shards, arguments.mailstores, arguments.replicas)?;
        if !addresses.is_empty() {
            let members = (1..).zip(addresses).map(|(number, address)| {
                let mut member = Table::new();
                member.insert("id".into(), directory_id(number).into());
                member.insert("address".into(), address.as_str().into());
                Value::Table(member)
            });
            section.insert("members".into(), Value::Array(members.collect()));
        }
        let ways = Ways {
            listen: addresses.get(number as usize - 1).map(String::as_str),
            ..Ways::default()
        };
        self.plan(
            &directory_id(number),
            "directory",
            Role::Directory,
            &ways,
            vec![("directory", section)],
        )
    }

    /// Where the directory's members will listen: the same when the folder is used again.
    pub(super) fn member_addresses(&self, count: u32) -> anyhow::Result<Vec<String>> {
        let path = self.root.join("directories.json");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let held: Vec<String> = serde_json::from_str(&text).unwrap_or_default();
        if held.len() == count as usize {
            return Ok(held);
        }
        if !held.is_empty() || self.root.join(directory_id(1)).exists() {
            bail!(
                "{} holds a playground with another number of directories: give another --data",
                self.root.display()
            );
        }
        let addresses = (0..count)
            .map(|_| reserve_port().map(|address| address.to_string()))
            .collect::<anyhow::Result<Vec<_>>>()?;
        write_whole(&path, &serde_json::to_string(&addresses)?)?;
        Ok(addresses)
    }

    /// The highest number of a mailstore that has a folder; 0: there is none.
    pub(super) fn mailstores_held(&self) -> anyhow::Result<u32> {
        let mut highest = 0;
        for entry in self.root.read_dir()? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("mailstore-"));
            highest = highest.max(number.and_then(|number| number.parse().ok()).unwrap_or(0));
        }
        Ok(highest)
    }

    /// A mailstore of a cluster.
    pub(super) fn mailstore(&self, number: u32, directory: &[String]) -> anyhow::Result<Plan> {
        let ways = Ways {
            directory,
            ..Ways::default()
        };
        self.plan(
            &mailstore_id(number),
            "mailstore",
            Role::Mailstore,
            &ways,
            vec![("mailstore", mailstore_section())],
        )
    }

    /// A proxy of a cluster.
    pub(super) fn proxy(
        &self,
        number: u32,
        directory: &[String],
        arguments: &Arguments,
    ) -> anyhow::Result<Plan> {
        let id = format!("proxy-{number}");
        let base = self.base(number, arguments)?;
        let section = self.proxy_section(&id, base)?;
        let ways = Ways {
            directory,
            http: http_port(base),
            ..Ways::default()
        };
        self.plan(&id, "proxy", Role::Proxy, &ways, vec![("proxy", section)])
    }

    /// All roles in one process.
    pub(super) fn single(&self, arguments: &Arguments) -> anyhow::Result<Plan> {
        let shards = arguments.shards.unwrap_or(SINGLE_SHARDS);
        let base = self.base(1, arguments)?;
        let sections = vec![
            ("directory", self.directory_section(shards, 1, 1)?),
            ("mailstore", mailstore_section()),
            ("proxy", self.proxy_section("single-1", base)?),
        ];
        let ways = Ways {
            http: http_port(base),
            ..Ways::default()
        };
        self.plan("single-1", "serve", Role::Directory, &ways, sections)
    }

    fn base(&self, number: u32, arguments: &Arguments) -> anyhow::Result<u16> {
        if arguments.port_base == 0 {
            return Ok(0);
        }
        let steps = u16::try_from(number - 1)
            .ok()
            .and_then(|steps| steps.checked_mul(PROXY_STEP));
        steps
            .and_then(|steps| arguments.port_base.checked_add(steps))
            .filter(|base| base.checked_add(PROXY_STEP).is_some())
            .with_context(|| {
                format!(
                    "--port-base {} leaves no ports for proxy {number}",
                    arguments.port_base
                )
            })
    }

    fn directory_section(&self, shards: u32, mailstores: u32, replicas: u32) -> anyhow::Result<Table> {
        let mut section = Table::new();
        section.insert("shards".into(), Value::Integer(shards.into()));
        section.insert("replicas".into(), Value::Integer(replicas.into()));
        section.insert("expected_mailstores".into(), Value::Integer(mailstores.into()));
        section.insert("admin_listen".into(), "127.0.0.1:0".into());
        section.insert("admin_token_file".into(), path_value(&self.admin_token_file())?);
        section.insert("authority_key".into(), path_value(&self.cluster.authority_key())?);
        Ok(section)
    }

    fn proxy_section(&self, id: &str, base: u16) -> anyhow::Result<Table> {
        let files = self
            .cluster
            .issue_server(&self.root.join(id), &["localhost".into(), "127.0.0.1".into()])?;
        let mut listen = Table::new();
        for (name, port) in PORTS {
            let port = if base == 0 { 0 } else { base + port };
            listen.insert(
                name.into(),
                SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string().into(),
            );
        }
        let mut section = Table::new();
        section.insert("hostname".into(), "localhost".into());
        section.insert("certificate".into(), path_value(&files.certificate)?);
        section.insert("key".into(), path_value(&files.key)?);
        section.insert("plaintext_login".into(), true.into());
        section.insert("listen".into(), Value::Table(listen));
        Ok(section)
    }

    fn plan(
        &self,
        id: &str,
        command: &'static str,
        role: Role,
        ways: &Ways<'_>,
        sections: Vec<(&str, Table)>,
    ) -> anyhow::Result<Plan> {
        let folder = self.root.join(id);
        make_private(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let files = self
            .cluster
            .issue_node(&folder, id, role, &["localhost".into(), "127.0.0.1".into()])?;
        let mut node = Table::new();
        node.insert("id".into(), id.into());
        node.insert("cluster".into(), self.cluster.cluster().into());
        node.insert("data".into(), path_value(&folder)?);
        node.insert("ca".into(), path_value(&self.cluster.ca())?);
        node.insert("certificate".into(), path_value(&files.certificate)?);
        node.insert("key".into(), path_value(&files.key)?);
        node.insert(
            "http".into(),
            SocketAddr::from((Ipv4Addr::LOCALHOST, ways.http))
                .to_string()
                .into(),
        );
        if role != Role::Proxy {
            node.insert("listen".into(), ways.listen.unwrap_or("127.0.0.1:0").into());
        }
        match ways.directory {
            [] => {}
            [directory] => {
                node.insert("directory".into(), directory.as_str().into());
            }
            directories => {
                let directories = directories.iter().map(|one| one.as_str().into());
                node.insert("directory".into(), Value::Array(directories.collect()));
            }
        }
        let mut config = Table::new();
        config.insert("node".into(), Value::Table(node));
        for (name, section) in sections {
            config.insert(name.into(), Value::Table(section));
        }
        let path = folder.join("rookery.toml");
        fs::write(&path, toml::to_string(&config)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Plan {
            id: id.to_owned(),
            role: command,
            folder,
            config: path,
            program: self.program.clone(),
        })
    }
}

/// A mailstore on a disk that others fill too: little of it is a rebalance's to keep free.
fn mailstore_section() -> Table {
    Table::from_iter([("disk_kept".into(), "64MiB".into())])
}

/// The id of a mailstore, which its folder's name is too.
pub(super) fn mailstore_id(number: u32) -> String {
    format!("mailstore-{number}")
}

fn directory_id(number: u32) -> String {
    format!("directory-{number}")
}

/// A port on loopback that the system gives to nobody who asks for any, for the minute that a closed connection on it
/// lingers: until the member that is told of it listens there.
fn reserve_port() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let client = TcpStream::connect(address)?;
    let (accepted, _) = listener.accept()?;
    // The side that closes first is the one that lingers.
    drop(accepted);
    drop(client);
    Ok(address)
}

fn http_port(base: u16) -> u16 {
    if base == 0 { 0 } else { base + HTTP_PORT }
}

fn path_value(path: &Path) -> anyhow::Result<Value> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is not UTF-8: give another --data", path.display()))?;
    Ok(text.into())
}
