//! `rookery playground`: a cluster on 127.0.0.1 for trying, testing and showing.
//!
//! One process a node, so that any of them can be killed and started again, or one process for all with `--single`. Owns
//! the folder's layout and the nodes' processes; never speaks a mail protocol.

mod accounts;
mod grow;
mod layout;
mod manifest;
mod node;
mod stop;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use rookery_proto::admin::v1::ListJoinsRequest;
use tokio::signal::unix::{SignalKind, signal};

use crate::operate::{connect_with, output};
use crate::usage::WrongUse;
use grow::Requests;
use layout::Layout;
use node::Node;

/// How long a node may take until it is ready.
const READY_MAX: Duration = Duration::from_secs(60);

/// Arguments of `rookery playground`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Folder of the playground; used again if it holds one
    #[arg(long)]
    data: Option<PathBuf>,
    /// Mailstore nodes
    #[arg(long, default_value_t = 3)]
    mailstores: u32,
    /// Directory members
    #[arg(long, default_value_t = 1)]
    directories: u32,
    /// Proxies
    #[arg(long, default_value_t = 2)]
    proxies: u32,
    /// Replicas of each shard
    #[arg(long, default_value_t = 1)]
    replicas: u32,
    /// A witness for two replicas
    #[arg(long)]
    witness: bool,
    /// Shards; 256 unless --single, then 16
    #[arg(long)]
    shards: Option<u32>,
    /// Accounts to create
    #[arg(long, default_value_t = 10)]
    accounts: u64,
    /// Their addresses; %d is the account's number
    #[arg(long, default_value = "user%d@example.test")]
    account_pattern: String,
    /// Their password: for playing only
    #[arg(long, default_value = "playground")]
    password: String,
    /// First proxy's ports are this plus 143, 993, 25, …; 0: the system chooses every port
    #[arg(long, default_value_t = 10_000)]
    port_base: u16,
    /// All roles in one process
    #[arg(long)]
    single: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start and join further mailstores in a running playground
    ///
    /// The playground's own process starts them, and stops them with all others. They are in cluster.json, and the directory
    /// knows them, when this command ends; they get no shards before a rebalance. A playground that is started again in the
    /// same folder has them too.
    Grow {
        /// Folder of the running playground
        #[arg(long)]
        data: PathBuf,
        /// Mailstores to add; their ids go on counting
        #[arg(long, default_value_t = 1)]
        mailstores: u32,
    },
    /// Stop a running playground
    Stop {
        /// Folder of the running playground
        #[arg(long)]
        data: PathBuf,
    },
}

/// Runs the playground until it is told to stop.
pub(crate) async fn run(arguments: Arguments, as_json: bool) -> anyhow::Result<()> {
    match arguments.command {
        Some(Command::Grow { ref data, mailstores }) => grow::grow(data, mailstores, as_json).await,
        Some(Command::Stop { ref data }) => {
            stop::stop(data).await?;
            output::done(
                as_json,
                &format!("the playground in {} has stopped", data.display()),
            )
        }
        None => start(arguments, as_json).await,
    }
}

fn refuse_unbuilt(arguments: &Arguments) -> Result<(), WrongUse> {
    let refused = |what: &str| Err(WrongUse::new(format!("{what} is not built yet")));
    match arguments.replicas {
        1 | 3 | 5 => {}
        2 => return refused("--replicas 2, which needs a witness,"),
        other => {
            return Err(WrongUse::new(format!("--replicas is 1, 3 or 5, not {other}")));
        }
    }
    if arguments.replicas > 1 && (arguments.single || arguments.mailstores < arguments.replicas) {
        return Err(WrongUse::new(format!(
            "{} replicas of a shard are on as many mailstores: give --mailstores {}",
            arguments.replicas, arguments.replicas
        )));
    }
    if ![1, 3, 5].contains(&arguments.directories) {
        return Err(WrongUse::new(format!(
            "--directories is 1, 3 or 5, not {}",
            arguments.directories
        )));
    }
    if arguments.single && arguments.directories > 1 {
        return Err(WrongUse::new("--single has one directory"));
    }
    if arguments.witness {
        return refused("--witness");
    }
    if arguments.mailstores == 0 || arguments.proxies == 0 {
        return Err(WrongUse::new(
            "a playground has at least one mailstore and one proxy",
        ));
    }
    if arguments.single && arguments.proxies > 1 && arguments.port_base != 0 {
        // The default of two is for clusters; one process has one proxy.
        tracing::debug!("--single runs one proxy");
    }
    if !arguments.account_pattern.contains("%d") || !arguments.account_pattern.contains('@') {
        return Err(WrongUse::new(
            "--account-pattern must be an address that holds %d, such as user%d@example.test",
        ));
    }
    Ok(())
}

async fn start(arguments: Arguments, as_json: bool) -> anyhow::Result<()> {
    refuse_unbuilt(&arguments)?;
    let Some(data) = arguments.data.clone() else {
        return Err(WrongUse::new("give the playground's folder with --data DIR").into());
    };
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let layout = Layout::prepare(&data, &arguments)?;
    let mut nodes: Vec<Node> = Vec::new();
    let started = tokio::select! {
        started = bring_up(&layout, &arguments, as_json, &mut nodes) => started,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted before the playground was ready")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated before the playground was ready")),
    };
    let ended = match started {
        Ok(running) => tokio::select! {
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            failed = running.requests.serve(&layout, &running.directory, &mut nodes) => failed,
        },
        Err(error) => Err(error),
    };
    // Proxies first, so that clients hear BYE before their shards go.
    for node in nodes.iter_mut().rev() {
        node.stop().await;
    }
    layout.forget_running();
    ended
}

/// What a playground that is ready needs to grow.
struct Running {
    requests: Requests,
    /// Where the directory's members are.
    directory: Vec<String>,
}

async fn bring_up(
    layout: &Layout,
    arguments: &Arguments,
    as_json: bool,
    nodes: &mut Vec<Node>,
) -> anyhow::Result<Running> {
    let ready = tokio::time::timeout(READY_MAX, launch(layout, arguments, nodes)).await;
    let directory = match ready {
        Ok(result) => result?,
        Err(_) => bail!(
            "the playground's nodes did not become ready in {} s: see the logs in {}",
            READY_MAX.as_secs(),
            layout.root().display()
        ),
    };
    accounts::create(layout, nodes, arguments).await?;
    let requests = Requests::listen(layout.root())?;
    let manifest = manifest::build(layout, arguments, nodes);
    manifest::write(&layout.manifest(), &manifest)?;
    if as_json {
        output::json(&manifest)?;
    } else {
        manifest::print(&manifest)?;
    }
    Ok(Running { requests, directory })
}

/// Starts all nodes and waits until they are ready; answers where the directory's members are.
async fn launch(
    layout: &Layout,
    arguments: &Arguments,
    nodes: &mut Vec<Node>,
) -> anyhow::Result<Vec<String>> {
    if arguments.single {
        nodes.push(Node::start(layout.single(arguments)?).await?);
        return Ok(Vec::new());
    }
    let directory = start_directories(layout, arguments, nodes).await?;
    // All are started before the first is waited for: they start side by side.
    let first = nodes.len();
    let removed = removed(layout, nodes).await?;
    // Those that were added later hold shards like the first ones.
    for number in 1..=arguments.mailstores.max(layout.mailstores_held()?) {
        if removed.contains(&layout::mailstore_id(number)) {
            continue;
        }
        nodes.push(Node::spawn(layout.mailstore(number, &directory)?)?);
    }
    for number in 1..=arguments.proxies {
        nodes.push(Node::spawn(layout.proxy(number, &directory, arguments)?)?);
    }
    for node in nodes.iter_mut().skip(first) {
        node.ready().await?;
    }
    Ok(directory)
}

/// Mailstores of a folder that is used again which operators have removed: the directory takes them in no more.
async fn removed(layout: &Layout, directories: &[Node]) -> anyhow::Result<Vec<String>> {
    if layout.mailstores_held()? == 0 {
        return Ok(Vec::new());
    }
    let admins = manifest::admins(directories);
    let mut clients = connect_with(&admins, &layout.admin_token_file(), &layout.ca_file()).await?;
    let listed = clients.nodes.list_joins(ListJoinsRequest {}).await;
    Ok(listed.map_err(output::refused)?.into_inner().removed)
}

/// Starts the directory's members; answers where they are.
async fn start_directories(
    layout: &Layout,
    arguments: &Arguments,
    nodes: &mut Vec<Node>,
) -> anyhow::Result<Vec<String>> {
    if arguments.directories == 1 {
        nodes.push(Node::start(layout.directory(1, &[], arguments)?).await?);
        return Ok(vec![nodes[0].endpoint("calls")?.to_owned()]);
    }
    let addresses = layout.member_addresses(arguments.directories)?;
    // None serves before most are there.
    for number in 1..=arguments.directories {
        nodes.push(Node::spawn(layout.directory(number, &addresses, arguments)?)?);
    }
    for node in nodes.iter_mut() {
        node.ready().await?;
    }
    Ok(addresses)
}
