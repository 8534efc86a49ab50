//! `rookery init`: the files with which a cluster, and each of its nodes, begins.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use rookery_proto::Role;
use serde_json::json;

use crate::authority::{ClusterFiles, NodeFiles};
use crate::operate::output;
use crate::usage::WrongUse;

/// Arguments of `rookery init`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder of the cluster's CA, id and admin token; made when it is not there. Keep it safe: it can issue nodes
    #[arg(long)]
    cluster_dir: PathBuf,
    /// Folder for the node's certificate and configuration
    #[arg(long)]
    node_dir: Option<PathBuf>,
    /// The node's id, unique in the cluster
    #[arg(long, default_value = "node-1")]
    id: String,
    /// The node's role
    #[arg(long, value_enum, default_value = "single")]
    role: RoleName,
    /// Names and addresses under which clients and other nodes reach the node
    #[arg(long = "host", default_values_t = ["localhost".to_owned(), "127.0.0.1".to_owned()])]
    hosts: Vec<String>,
    /// `host:port` of the directory, for a mailstore or proxy; of each of its members when it has several
    #[arg(long)]
    directory: Vec<String>,
    /// A member of the directory, as `id=host:port`: each of them, this one among them, for a directory of several
    #[arg(long = "member", value_name = "ID=HOST:PORT")]
    members: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleName {
    /// All roles in one process
    Single,
    Directory,
    Mailstore,
    Proxy,
}

/// Makes what is missing and says where it is.
pub(crate) fn run(arguments: Arguments, as_json: bool) -> anyhow::Result<()> {
    let new = !arguments.cluster_dir.join("cluster-id").exists();
    let cluster = ClusterFiles::open_or_create(&arguments.cluster_dir)?;
    let node = arguments
        .node_dir
        .as_deref()
        .map(|folder| make_node(&arguments, &cluster, folder))
        .transpose()?;
    if as_json {
        return output::json(&json!({
            "cluster": cluster.cluster(),
            "cluster_dir": arguments.cluster_dir,
            "new": new,
            "node": node.map(|(config, command)| json!({
                "id": arguments.id,
                "config": config,
                "start": ["rookery", command, "--config", config],
            })),
        }));
    }
    let mut out = std::io::stdout().lock();
    let word = if new { "made" } else { "used" };
    writeln!(
        out,
        "cluster {} {word} in {}",
        cluster.cluster(),
        arguments.cluster_dir.display()
    )?;
    if let Some((config, command)) = node {
        writeln!(out, "node {} made: {}", arguments.id, config.display())?;
        writeln!(out, "start it: rookery {command} --config {}", config.display())?;
    }
    Ok(())
}

/// The node's files; answers its configuration and the command that runs it.
fn make_node(
    arguments: &Arguments,
    cluster: &ClusterFiles,
    folder: &Path,
) -> anyhow::Result<(PathBuf, &'static str)> {
    if matches!(arguments.role, RoleName::Mailstore | RoleName::Proxy) && arguments.directory.is_empty() {
        return Err(WrongUse::new("a mailstore or proxy needs --directory HOST:PORT").into());
    }
    let are_named = arguments.members.iter().all(|member| member.contains('='));
    let fits = are_named && arguments.role == RoleName::Directory;
    if !arguments.members.is_empty() && !fits {
        return Err(WrongUse::new("--member ID=HOST:PORT names the members of a --role directory").into());
    }
    let config = folder.join("rookery.toml");
    if config.exists() {
        bail!(
            "{} is there already: remove it, or choose another --node-dir",
            config.display()
        );
    }
    let role = match arguments.role {
        RoleName::Single | RoleName::Directory => Role::Directory,
        RoleName::Mailstore => Role::Mailstore,
        RoleName::Proxy => Role::Proxy,
    };
    let node = cluster.issue_node(folder, &arguments.id, role, &arguments.hosts)?;
    let ca = folder.join("ca.pem");
    fs::copy(cluster.ca(), &ca).with_context(|| format!("cannot write {}", ca.display()))?;
    let text = configuration(arguments, cluster, &node, folder)?;
    fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    let command = match arguments.role {
        RoleName::Single => "serve",
        RoleName::Directory => "directory",
        RoleName::Mailstore => "mailstore",
        RoleName::Proxy => "proxy",
    };
    Ok((config, command))
}

fn configuration(
    arguments: &Arguments,
    cluster: &ClusterFiles,
    node: &NodeFiles,
    folder: &Path,
) -> anyhow::Result<String> {
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let mut text = format!(
        "[node]\nid = {:?}\ncluster = {:?}\ndata = \"data\"\nca = \"ca.pem\"\ncertificate = {:?}\nkey = {:?}\n\
         http = \"127.0.0.1:8080\"\n",
        arguments.id,
        cluster.cluster(),
        name(&node.certificate),
        name(&node.key),
    );
    let single = arguments.role == RoleName::Single;
    if matches!(arguments.role, RoleName::Directory | RoleName::Mailstore) {
        text.push_str("# Where other nodes call this one.\nlisten = \"0.0.0.0:7400\"\n");
        let host = arguments.hosts.first().map_or("localhost", String::as_str);
        text.push_str(&format!("advertise = \"{host}:7400\"\n"));
    }
    match arguments.directory.as_slice() {
        [] => {}
        [directory] => text.push_str(&format!("directory = {directory:?}\n")),
        directories => text.push_str(&format!("directory = {directories:?}\n")),
    }
    text.push_str("\n[log]\nlevel = \"info\"\nformat = \"text\"\n");
    if single || arguments.role == RoleName::Directory {
        let token = folder.join("admin-token");
        fs::copy(cluster.admin_token(), &token)
            .with_context(|| format!("cannot write {}", token.display()))?;
        let shards = if single { 16 } else { 256 };
        text.push_str(&format!(
            "\n[directory]\nshards = {shards}\nexpected_mailstores = {}\nadmin_listen = \"127.0.0.1:7443\"\n\
             admin_token_file = \"admin-token\"\n",
            if single { 1 } else { 3 }
        ));
        if !arguments.members.is_empty() {
            text.push_str("members = [\n");
            for member in &arguments.members {
                let (id, address) = member.split_once('=').unwrap_or_default();
                text.push_str(&format!("  {{ id = {id:?}, address = {address:?} }},\n"));
            }
            text.push_str("]\n");
        }
    }
    if single || arguments.role == RoleName::Mailstore {
        text.push_str("\n[mailstore]\n");
    }
    if single || arguments.role == RoleName::Proxy {
        let tls = cluster.issue_server(folder, &arguments.hosts)?;
        text.push_str(&format!(
            "\n[proxy]\nhostname = {:?}\n# What mail clients see; the one made here is of the cluster's own CA.\n\
             certificate = {:?}\nkey = {:?}\n\n[proxy.listen]\nimap = \"0.0.0.0:143\"\nimaps = \"0.0.0.0:993\"\n\
             smtp = \"0.0.0.0:25\"\nsubmission = \"0.0.0.0:587\"\nsubmissions = \"0.0.0.0:465\"\n\
             lmtp = \"127.0.0.1:24\"\n",
            arguments.hosts.first().map_or("localhost", String::as_str),
            name(&tls.certificate),
            name(&tls.key),
        ));
    }
    Ok(text)
}
