//! Running roles: what the configuration names, in one process, started and stopped in order.
//!
//! Roles in one process call each other directly; roles in different processes call over mutual TLS. Owns the wiring
//! and nothing of what the roles do.

mod config;
mod endpoints;
mod wiring;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rookery_process::data_folder::DataFolder;
use rookery_process::health::Health;
use rookery_process::http::HttpServer;
use rookery_process::shutdown::{signalled, stage};
use rookery_process::{logs, telemetry};
use rookery_proto::Role;
use rookery_proto::remote::NodeTls;
use tokio_util::sync::CancellationToken;

use config::Config;
use endpoints::Endpoints;
use wiring::Wiring;

/// How long calls of other nodes that are under way have to end.
const CALLS_GRACE: Duration = Duration::from_secs(10);

/// How long the HTTP endpoint has to end.
const HTTP_GRACE: Duration = Duration::from_secs(2);

/// Which roles a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All that the configuration has a section for.
    All,
    /// The directory alone.
    Directory,
    /// The mailstore alone.
    Mailstore,
    /// The proxy alone.
    Proxy,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::All => "serve",
            Part::Directory => "directory",
            Part::Mailstore => "mailstore",
            Part::Proxy => "proxy",
        }
    }

    fn runs(self, role: Role) -> bool {
        match self {
            Part::All => true,
            Part::Directory => role == Role::Directory,
            Part::Mailstore => role == Role::Mailstore,
            Part::Proxy => role == Role::Proxy,
        }
    }
}

/// Runs roles until SIGTERM or SIGINT.
pub(crate) fn run(path: &Path, part: Part) -> anyhow::Result<()> {
    let mut config = Config::load(path)?;
    config.keep(part)?;
    logs::init(&config.log).map_err(anyhow::Error::msg)?;
    telemetry::install();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(config, part));
    // What still runs on blocking threads must not hold the process back.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Analyses messages that come on standard input, until it ends.
pub(crate) fn mime_worker() -> anyhow::Result<()> {
    rookery_mailstore::analysis::worker_main().context("the worker cannot talk to its mailstore")
}

impl Config {
    /// Drops the sections of roles that the command does not run; refuses a configuration without what it does.
    fn keep(&mut self, part: Part) -> anyhow::Result<()> {
        if !part.runs(Role::Directory) {
            self.directory = None;
        }
        if !part.runs(Role::Mailstore) {
            self.mailstore = None;
        }
        if !part.runs(Role::Proxy) {
            self.proxy = None;
        }
        if self.directory.is_none() && self.mailstore.is_none() && self.proxy.is_none() {
            bail!(
                "the configuration has no section for `rookery {}` to run: add [{}]",
                part.name(),
                part.name()
            );
        }
        if self.directory.is_none() && self.node.directory.is_none() {
            bail!("node.directory is not set: say where the directory is, as host:port");
        }
        Ok(())
    }
}

async fn serve(config: Config, part: Part) -> anyhow::Result<()> {
    let node = &config.node;
    let folder = DataFolder::open(&node.data, &node.cluster, &node.id, part.name())?;
    let mut endpoints = Endpoints::load(folder.path());
    let health = Health::new();

    let http = HttpServer::bind(endpoints.wanted("http", node.http)).await?;
    endpoints.bound("http", http.local());
    let http_address = http.local().to_string();
    let cancel_http = CancellationToken::new();
    let http_task = tokio::spawn(http.run(health.clone(), cancel_http.clone()));

    let tls = load_tls(&config)?;
    if tls.cluster() != node.cluster {
        bail!(
            "the node's certificate is of cluster {}, not of {}: issue one with `rookery init`",
            tls.cluster(),
            node.cluster
        );
    }
    let mut wiring = Wiring::new(
        config,
        tls,
        health.clone(),
        http_address,
        folder.path().to_path_buf(),
    );
    let started = wiring.start(&mut endpoints).await;
    let result = match started {
        Ok(()) => {
            tokio::select! {
                announced = announce(&health, &endpoints) => match announced {
                    Ok(()) => signalled().await.map(drop).map_err(anyhow::Error::from),
                    Err(error) => Err(error),
                },
                signal = signalled() => signal.map(drop).map_err(anyhow::Error::from),
            }
        }
        Err(error) => Err(error),
    };
    wiring.stop().await;
    cancel_http.cancel();
    let http_ends = async {
        // A panic in it has been logged; nothing depends on how it ended.
        let _ = http_task.await;
    };
    stage("HTTP", HTTP_GRACE, http_ends).await;
    drop(folder);
    result
}

async fn announce(health: &Health, endpoints: &Endpoints) -> anyhow::Result<()> {
    health.ready().await;
    endpoints.announce()
}

fn load_tls(config: &Config) -> anyhow::Result<NodeTls> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let node = &config.node;
    NodeTls::from_pem(&read(&node.ca)?, &read(&node.certificate)?, &read(&node.key)?)
        .with_context(|| format!("cannot use the node's certificate {}", node.certificate.display()))
}

/// A value that is known later: a role that starts after the one that calls it.
pub(crate) type Later<T> = Arc<std::sync::OnceLock<T>>;
