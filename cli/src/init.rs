//! `rookery init`: the files with which a cluster, and each of its nodes, begins.

mod configuration;
mod joining;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use rookery_proto::Role;
use serde_json::json;

use crate::authority::ClusterFiles;
use crate::operate::output;
use crate::usage::WrongUse;
use configuration::{NodeText, Shape};

/// Arguments of `rookery init`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder of the cluster's CA, id and admin token; made when it is not there. Keep it safe: it can issue nodes
    #[arg(long, required_unless_present = "join_file")]
    cluster_dir: Option<PathBuf>,
    /// File with what `rookery node add` has printed, or - for standard input: joins that cluster, without its CA's folder
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cluster_dir", "id", "role"])]
    join_file: Option<PathBuf>,
    /// Folder for the node's certificate and configuration
    #[arg(long)]
    node_dir: Option<PathBuf>,
    /// Folder for the node's data, made at its first start; `data` in the node's folder unless given
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The node's id, unique in the cluster
    #[arg(long, default_value = "node-1")]
    id: String,
    /// The node's role
    #[arg(long, value_enum, default_value = "single")]
    role: RoleName,
    /// Names and addresses under which clients and other nodes reach the node; localhost unless given, or as `rookery node add` was
    /// told
    #[arg(long = "host")]
    hosts: Vec<String>,
    /// `host:port` of the directory, for a mailstore or proxy; of each of its members when it has several
    #[arg(long)]
    directory: Vec<String>,
    /// A member of the directory, as `id=host:port`: each of them, this one among them, for a directory of several
    #[arg(long = "member", value_name = "ID=HOST:PORT")]
    members: Vec<String>,
}

impl Arguments {
    /// As the configuration says it: relative to the file.
    fn data(&self) -> &Path {
        self.data.as_deref().unwrap_or(Path::new("data"))
    }
}

/// A node that is made, unless said otherwise, is reached from its own machine.
pub(crate) fn usual_hosts() -> Vec<String> {
    vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleName {
    /// All roles in one process
    Single,
    Directory,
    Mailstore,
    Proxy,
}

impl RoleName {
    fn from_name(name: &str) -> Option<Self> {
        Some(match Role::from_name(name)? {
            Role::Directory => Self::Directory,
            Role::Mailstore => Self::Mailstore,
            Role::Proxy => Self::Proxy,
        })
    }

    /// The role that the node's certificate names.
    fn of_node(self) -> Role {
        match self {
            Self::Single | Self::Directory => Role::Directory,
            Self::Mailstore => Role::Mailstore,
            Self::Proxy => Role::Proxy,
        }
    }

    /// The command that runs it.
    fn command(self) -> &'static str {
        match self {
            Self::Single => "serve",
            Self::Directory => "directory",
            Self::Mailstore => "mailstore",
            Self::Proxy => "proxy",
        }
    }
}

/// A node whose files were made.
struct Made {
    id: String,
    config: PathBuf,
    command: &'static str,
}

/// Makes what is missing and says where it is.
pub(crate) async fn run(arguments: Arguments, as_json: bool) -> anyhow::Result<()> {
    if let Some(file) = &arguments.join_file {
        let made = joining::join(&arguments, file).await?;
        return show_joined(&arguments, &made, as_json);
    }
    let Some(folder) = &arguments.cluster_dir else {
        return Err(WrongUse::new("give --cluster-dir, or --join-file to join a cluster").into());
    };
    let new = !folder.join("cluster-id").exists();
    let cluster = ClusterFiles::open_or_create(folder)?;
    let node = arguments
        .node_dir
        .as_deref()
        .map(|folder| make_node(&arguments, &cluster, folder))
        .transpose()?;
    if as_json {
        return output::json(&json!({
            "cluster": cluster.cluster(),
            "cluster_dir": folder,
            "new": new,
            "node": node.as_ref().map(shown),
        }));
    }
    let mut out = std::io::stdout().lock();
    let word = if new { "made" } else { "used" };
    writeln!(
        out,
        "cluster {} {word} in {}",
        cluster.cluster(),
        folder.display()
    )?;
    node.map_or(Ok(()), |node| say(&mut out, &node))
}

fn show_joined(arguments: &Arguments, made: &Made, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::json(&json!({ "node": shown(made) }));
    }
    let mut out = std::io::stdout().lock();
    say(&mut out, made)?;
    let role = RoleName::from_name(made.command);
    let note = arguments
        .node_dir
        .as_deref()
        .zip(role)
        .and_then(|(folder, role)| joining::note(folder, role));
    if let Some(note) = note {
        writeln!(out, "{note}")?;
    }
    Ok(())
}

fn shown(made: &Made) -> serde_json::Value {
    json!({
        "id": made.id,
        "config": made.config,
        "start": ["rookery", made.command, "--config", made.config],
    })
}

fn say(out: &mut impl Write, made: &Made) -> anyhow::Result<()> {
    let Made { id, config, command } = made;
    writeln!(out, "node {id} made: {}", config.display())?;
    writeln!(out, "start it: rookery {command} --config {}", config.display())?;
    Ok(())
}

fn check_members(members: &[String], role: RoleName) -> Result<(), WrongUse> {
    let are_named = members.iter().all(|member| member.contains('='));
    let fits = are_named && role == RoleName::Directory;
    if fits || members.is_empty() {
        return Ok(());
    }
    Err(WrongUse::new(
        "--member ID=HOST:PORT names the members of a --role directory",
    ))
}

fn refuse_configured(config: &Path) -> anyhow::Result<()> {
    if config.exists() {
        bail!(
            "{} is there already: remove it, or choose another --node-dir",
            config.display()
        );
    }
    Ok(())
}

/// The files of a node, by the CA's folder.
fn make_node(arguments: &Arguments, cluster: &ClusterFiles, folder: &Path) -> anyhow::Result<Made> {
    let role = arguments.role;
    if matches!(role, RoleName::Mailstore | RoleName::Proxy) && arguments.directory.is_empty() {
        return Err(WrongUse::new("a mailstore or proxy needs --directory HOST:PORT").into());
    }
    check_members(&arguments.members, role)?;
    let config = folder.join("rookery.toml");
    refuse_configured(&config)?;
    let hosts = match arguments.hosts.is_empty() {
        true => usual_hosts(),
        false => arguments.hosts.clone(),
    };
    cluster.issue_node(folder, &arguments.id, role.of_node(), &hosts)?;
    let copy = |from: PathBuf, name: &str| {
        let to = folder.join(name);
        fs::copy(from, &to).with_context(|| format!("cannot write {}", to.display()))
    };
    copy(cluster.ca(), "ca.pem")?;
    if matches!(role, RoleName::Single | RoleName::Directory) {
        copy(cluster.admin_token(), "admin-token")?;
    }
    if matches!(role, RoleName::Single | RoleName::Proxy) {
        cluster.issue_server(folder, &hosts)?;
    }
    let text = NodeText {
        id: &arguments.id,
        cluster: cluster.cluster(),
        role,
        hosts: &hosts,
        directory: &arguments.directory,
        members: &arguments.members,
        data: arguments.data(),
        shape: Shape::of_new(role),
    };
    fs::write(&config, text.write()).with_context(|| format!("cannot write {}", config.display()))?;
    Ok(Made {
        id: arguments.id.clone(),
        config,
        command: role.command(),
    })
}
