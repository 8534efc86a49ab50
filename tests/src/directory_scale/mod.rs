//! A directory with many accounts: filled, asked, watched and started again, with figures and what must hold all the while.
//!
//! The directory is a process as in production, alone in its group. A stand-in answers for the mailstore. What must hold (each
//! name is answered rightly, each watcher is told of each change, all is there after a start) is an error when it does not.

mod accounts;
mod process;
mod report;
mod stand_in;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rand::Rng;
use rand::rngs::StdRng;
use rookery_loadtest::directory::load::{Accounts, Operator};
use rookery_loadtest::directory::lookups::{self, Draw, Measured};
use rookery_loadtest::directory::watchers::Watchers;
use rookery_loadtest::directory::{Client, Target, quantile};
use serde_json::Value;

use crate::cluster::{Cluster, Options as ClusterOptions};
use crate::member::node_tls;
use stand_in::StandIn;

/// The one member.
const MEMBER: &str = "directory-1";

/// Whose certificate is shown to it.
const PROXY: &str = "proxy-1";

const MAILSTORE: &str = "mailstore-1";

/// Names that are asked for after each start.
const CHECKED: usize = 100;

/// How long a member that is started may take until it answers.
const SERVED_MAX: Duration = Duration::from_secs(60);

/// Pause before it is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(1);

/// Which account is suspended and let go again.
const CHANGED: u64 = 1;

/// How large, and how long.
#[derive(Debug, Clone)]
pub struct Options {
    /// Accounts.
    pub accounts: u64,
    /// Calls that load at a time.
    pub streams: usize,
    /// Lookups in flight at a time, one measurement each.
    pub in_flight: Vec<usize>,
    /// How long each is measured.
    pub time: Duration,
    /// How often each is measured.
    pub rounds: usize,
    /// Watchers.
    pub watchers: usize,
    /// Connections that they share.
    pub connections: usize,
    /// Changes that they are told of.
    pub changes: usize,
    /// Starts of each kind.
    pub starts: usize,
    /// Starts with nothing in the page cache as well; needs root.
    pub cold: bool,
    /// A command that waits until the machine is quiet, run before what is measured; empty: none.
    pub before_measuring: Vec<String>,
    /// Told how many accounts are live.
    pub progress: fn(u64),
}

/// Processor time and memory around something.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Processor time of the directory.
    pub processor: Duration,
    /// By the clock.
    pub elapsed: Duration,
    /// Resident after it, in bytes.
    pub memory: u64,
}

/// Lookups of one kind.
#[derive(Debug, Clone)]
pub struct Lookups {
    /// Of names that somebody has.
    pub existing: bool,
    /// What the caller saw.
    pub seen: Measured,
    /// What the directory spent.
    pub cost: Cost,
}

/// One change, as the watchers saw it. Times run from when the operator's call was made.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// The operator had the answer.
    pub acknowledged: Duration,
    /// Half of the watchers had been told.
    pub median: Duration,
    /// All had been told.
    pub last: Duration,
}

/// The watch.
#[derive(Debug, Clone)]
pub struct Fanout {
    /// Watchers.
    pub watchers: usize,
    /// Their connections.
    pub connections: usize,
    /// Resident before and with them, in bytes.
    pub memory: [u64; 2],
    /// Their start, snapshots included.
    pub start: Cost,
    /// The same time with them there and nothing going on.
    pub idle: Cost,
    /// Each change.
    pub changes: Vec<Change>,
    /// All changes.
    pub cost: Cost,
}

/// A start.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// After a kill rather than an orderly stop.
    pub killed: bool,
    /// With an empty page cache.
    pub cold: bool,
    /// From the start of the process until it answered a lookup.
    pub served: Duration,
    /// Resident then, in bytes.
    pub memory: u64,
}

/// All that was measured.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Accounts.
    pub accounts: u64,
    /// Resident before there were any, in bytes.
    pub memory_empty: u64,
    /// The loading.
    pub load: Cost,
    /// On the disk after the loading and after all, in bytes.
    pub disk: [u64; 2],
    /// Lookups.
    pub lookups: Vec<Lookups>,
    /// How long a log-in took: the first, and again.
    pub log_in: [Duration; 2],
    /// The watch.
    pub fanout: Fanout,
    /// Starts.
    pub starts: Vec<Start>,
}

/// Starts a directory, fills it, measures it, and removes it.
pub fn run(options: &Options) -> Result<Figures> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut cluster = Cluster::start(&ClusterOptions {
        mailstores: 1,
        proxies: 1,
        accounts: 0,
        ..ClusterOptions::default()
    })?;
    let manifest: Value = serde_json::from_slice(&std::fs::read(cluster.data().join("cluster.json"))?)?;
    let text = |value: &Value, name: &str| value.as_str().map(str::to_owned).with_context(|| name.to_owned());
    let address = |id: &str| {
        let mut nodes = manifest["nodes"].as_array().into_iter().flatten();
        let node = nodes.find(|node| node["id"] == id);
        text(node.map_or(&Value::Null, |node| &node["address"]), id)
    };
    let ca = cluster.manifest().ca_file.clone();
    let tls = |id: &str| node_tls(&ca, &cluster.node(id).data);
    let target = Target {
        address: address(MEMBER)?,
        tls: tls(PROXY)?,
    };
    let (mailstore, mailstore_tls) = (address(MAILSTORE)?, tls(MAILSTORE)?);
    let admin = text(&manifest["admin"], "admin")?;
    let token = std::fs::read_to_string(text(&manifest["admin_token_file"], "admin_token_file")?)?;
    cluster.stop(PROXY);
    cluster.stop(MAILSTORE);
    let bed = Bed {
        pid: cluster.pid(MEMBER),
        target,
        accounts: options.accounts,
    };
    let memory_empty = process::memory(bed.pid)?;
    let folder = cluster.node(MEMBER).data.clone();
    let (load, mut operator) = runtime.block_on(async {
        let stand_in = StandIn::start(&mailstore, mailstore_tls).await?;
        let mut operator = Operator::connect(&admin, &token, &std::fs::read(&ca)?).await?;
        let load = bed.fill(&mut operator, options).await?;
        stand_in.stop().await?;
        anyhow::Ok((load, operator))
    })?;
    let disk_loaded = process::on_disk(&folder)?;
    wait_for_quiet(&options.before_measuring)?;
    let (lookups, log_in, fanout) = runtime.block_on(async {
        let lookups = bed.look_up(options).await?;
        let log_in = bed.log_in().await?;
        let fanout = bed.fan_out(&mut operator, options).await?;
        anyhow::Ok((lookups, log_in, fanout))
    })?;
    drop(operator);
    let mut starts = Vec::new();
    for _ in 0..options.starts {
        for (killed, cold) in [(false, false), (true, false), (false, true)] {
            if !cold || options.cold {
                starts.push(start_again(&mut cluster, &runtime, &bed, killed, cold)?);
            }
        }
    }
    Ok(Figures {
        accounts: options.accounts,
        memory_empty,
        load,
        disk: [disk_loaded, process::on_disk(&folder)?],
        lookups,
        log_in,
        fanout,
        starts,
    })
}

fn wait_for_quiet(command: &[String]) -> Result<()> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(());
    };
    let status = std::process::Command::new(program).args(arguments).status()?;
    anyhow::ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}

/// What is measured.
struct Bed {
    pid: u32,
    target: Target,
    accounts: u64,
}

/// A look at the clock and at the directory's processor time.
struct Since {
    pid: u32,
    processor: Duration,
    began: Instant,
}

impl Since {
    fn now(pid: u32) -> Result<Self> {
        Ok(Self {
            pid,
            processor: process::processor_time(pid)?,
            began: Instant::now(),
        })
    }

    fn cost(&self) -> Result<Cost> {
        Ok(Cost {
            elapsed: self.began.elapsed(),
            processor: process::processor_time(self.pid)?.saturating_sub(self.processor),
            memory: process::memory(self.pid)?,
        })
    }
}

impl Bed {
    fn existing(&self) -> Draw {
        lookups::any_of(self.accounts, accounts::name)
    }

    fn unknown(&self) -> Draw {
        let last = self.accounts;
        Arc::new(move |rng: &mut StdRng| (accounts::nobody(rng.random_range(1..=last)), None))
    }

    async fn fill(&self, operator: &mut Operator, options: &Options) -> Result<Cost> {
        let secret = accounts::secret().await?;
        let since = Since::now(self.pid)?;
        operator
            .load(Accounts {
                count: self.accounts,
                domains: accounts::domains(self.accounts)?,
                append: Box::new(move |id, frames| accounts::append(id, &secret, frames)),
                streams: options.streams,
                progress: options.progress,
            })
            .await?;
        since.cost()
    }

    async fn look_up(&self, options: &Options) -> Result<Vec<Lookups>> {
        let mut all = Vec::new();
        for _ in 0..options.rounds {
            for existing in [true, false] {
                let draw = if existing { self.existing() } else { self.unknown() };
                for in_flight in &options.in_flight {
                    let since = Since::now(self.pid)?;
                    let seen = lookups::measure(&self.target, *in_flight, options.time, &draw).await?;
                    all.push(Lookups {
                        existing,
                        seen,
                        cost: since.cost()?,
                    });
                }
            }
        }
        Ok(all)
    }

    async fn log_in(&self) -> Result<[Duration; 2]> {
        let client = self.target.connect()?;
        let mut took = [Duration::ZERO; 2];
        let name = accounts::name(self.accounts);
        // The connection is made before the clock runs.
        client.resolve(&name).await?;
        for took in &mut took {
            let sent = Instant::now();
            let account = client.log_in(&name, accounts::PASSWORD).await?;
            *took = sent.elapsed();
            anyhow::ensure!(account == self.accounts, "{name} is account {account}");
        }
        Ok(took)
    }

    async fn fan_out(&self, operator: &mut Operator, options: &Options) -> Result<Fanout> {
        let before = process::memory(self.pid)?;
        let since = Since::now(self.pid)?;
        let mut watchers = Watchers::start(&self.target, options.watchers, options.connections).await?;
        let start = since.cost()?;
        let since = Since::now(self.pid)?;
        tokio::time::sleep(options.time).await;
        let idle = since.cost()?;
        let since = Since::now(self.pid)?;
        let mut changes = Vec::new();
        for number in 0..options.changes {
            let called = Instant::now();
            let address = accounts::name(CHANGED);
            operator.set_suspended(&address, number % 2 == 0).await?;
            let acknowledged = called.elapsed();
            let told: Vec<Duration> = watchers
                .until_told(CHANGED)
                .await?
                .into_iter()
                .map(|at| at.saturating_duration_since(called))
                .collect();
            changes.push(Change {
                acknowledged,
                median: quantile(&told, 0.5),
                last: quantile(&told, 1.0),
            });
        }
        // It is to be found again.
        operator.set_suspended(&accounts::name(CHANGED), false).await?;
        Ok(Fanout {
            watchers: options.watchers,
            connections: options.connections,
            memory: [before, idle.memory],
            start,
            idle,
            changes,
            cost: since.cost()?,
        })
    }
}

/// Asks until there is an answer.
async fn until_served(client: &Client, began: Instant) -> Result<()> {
    loop {
        match client.resolve(&accounts::name(CHANGED)).await {
            Ok(_) => return Ok(()),
            Err(status) if status.is_retryable() && began.elapsed() < SERVED_MAX => {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(status) => anyhow::bail!("the directory is not served: {status}"),
        }
    }
}

fn start_again(
    cluster: &mut Cluster,
    runtime: &tokio::runtime::Runtime,
    bed: &Bed,
    killed: bool,
    cold: bool,
) -> Result<Start> {
    if killed {
        cluster.kill(MEMBER);
    } else {
        cluster.stop(MEMBER);
    }
    if cold {
        process::forget_files()?;
    }
    let began = Instant::now();
    cluster.restart(MEMBER)?;
    let (existing, unknown) = (bed.existing(), bed.unknown());
    let served = runtime.block_on(async {
        let client = bed.target.connect()?;
        until_served(&client, began).await?;
        let served = began.elapsed();
        lookups::check_some(&client, CHECKED, &existing).await?;
        lookups::check_some(&client, CHECKED, &unknown).await?;
        let name = accounts::name(bed.accounts);
        let account = client.log_in(&name, accounts::PASSWORD).await?;
        anyhow::ensure!(account == bed.accounts, "{name} is account {account}");
        anyhow::Ok(served)
    })?;
    Ok(Start {
        killed,
        cold,
        served,
        memory: process::memory(cluster.pid(MEMBER))?,
    })
}
