//! Running roles: what the configuration names, in one process, started and stopped in order.
//!
//! Roles in one process call each other directly; roles in different processes call over mutual TLS. Owns the wiring
//! and nothing of what the roles do.

mod certificates;
mod check;
mod config;
mod endpoints;
mod hurt;
mod open;
mod wiring;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rookery_process::certificates::Authority;
use rookery_process::data_folder::DataFolder;
use rookery_process::health::Health;
use rookery_process::http::{Handler, HttpServer};
use rookery_process::shutdown::{Signals, stage};
use rookery_process::traces::Exporting;
use rookery_process::{logs, telemetry};
use rookery_proto::Role;
use tokio_util::sync::CancellationToken;

use certificates::NodeFiles;
pub(crate) use check::check;
pub(crate) use config::Config;
use endpoints::Endpoints;
use wiring::Wiring;

use crate::reference;
use crate::usage::WrongUse;

/// How long calls of other nodes that are under way have to end.
const CALLS_GRACE: Duration = Duration::from_secs(10);

/// How long the HTTP endpoint has to end.
const HTTP_GRACE: Duration = Duration::from_secs(2);

/// Readiness: the roles have started and none is being stopped.
const CONDITION_PROCESS: &str = "process";

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
    let node = &config.node;
    let exporting =
        logs::init(&config.log, &config.traces, &node.id, &node.cluster).map_err(anyhow::Error::msg)?;
    if config.node.metrics {
        telemetry::install(&reference::metrics::catalogues());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.metrics();
    let _measuring = telemetry::gather(move || telemetry::look_at_runtime(&figures));
    let result = runtime.block_on(async {
        let exports = exporting.map(Exporting::start);
        let served = serve_until_told(&config, part).await;
        if let Some(exports) = exports {
            exports.stop().await;
        }
        served
    });
    // What still runs on blocking threads must not hold the process back.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// A node with a damaged store begins anew without it.
async fn serve_until_told(config: &Config, part: Part) -> anyhow::Result<()> {
    while let Ended::Hurt = Box::pin(serve(config.clone(), part)).await? {}
    Ok(())
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
            let name = part.name();
            let section = if part == Part::All {
                "[directory], [mailstore] or [proxy]".to_owned()
            } else {
                format!("[{name}]")
            };
            return Err(WrongUse::new(format!(
                "the configuration has no section for `rookery {name}` to run: add {section}"
            ))
            .into());
        }
        if self.directory.is_none() && self.node.directory.0.is_empty() {
            return Err(
                WrongUse::new("node.directory is not set: say where the directory is, as host:port").into(),
            );
        }
        let has_members = self
            .directory
            .as_ref()
            .is_some_and(|directory| !directory.members.is_empty());
        if has_members && (self.mailstore.is_some() || self.proxy.is_some()) {
            return Err(WrongUse::new(
                "a directory with directory.members runs by itself: start it with `rookery directory`, and the mailstore \
                 and proxy with commands and configurations of their own",
            )
            .into());
        }
        Ok(())
    }

    /// Where other nodes call this one; nothing when none does.
    fn calls_address(&self) -> anyhow::Result<Option<SocketAddr>> {
        let (has_directory, has_mailstore) = (self.directory.is_some(), self.mailstore.is_some());
        // A proxy, or a single node.
        let is_needed = has_directory != has_mailstore;
        if is_needed && self.node.listen.is_none() {
            bail!("node.listen is not set: say where other nodes call this one, such as 0.0.0.0:7400");
        }
        Ok(self.node.listen.filter(|_| has_directory || has_mailstore))
    }

    /// What the directory issues certificates with, where it does.
    fn authority(&self) -> anyhow::Result<Option<Authority>> {
        let key = self
            .directory
            .as_ref()
            .and_then(|section| section.authority_key.as_ref());
        key.map(|key| Authority::load_private(&self.node.ca, key))
            .transpose()
            .context("cannot use directory.authority_key")
    }

    /// The role that the node's certificate names: that of a node with several is the first of them.
    fn role(&self) -> Role {
        if self.directory.is_some() {
            Role::Directory
        } else if self.mailstore.is_some() {
            Role::Mailstore
        } else {
            Role::Proxy
        }
    }
}

/// Why roles have ended.
enum Ended {
    /// They were told to.
    Told,
    /// The store is damaged, and marked as such.
    Hurt,
}

async fn serve(config: Config, part: Part) -> anyhow::Result<Ended> {
    let node = &config.node;
    let folder = DataFolder::open(&node.data, &node.cluster, &node.id, part.name())?;
    let mut endpoints = Endpoints::load(folder.path());
    let mut signals = Signals::listen()?;
    let health = Health::new();
    health.unmet(CONDITION_PROCESS, "starting");

    let http = HttpServer::bind(endpoints.wanted("http", node.http)).await?;
    endpoints.bound("http", http.local());
    let http_address = node.http_advertise.clone();
    let http_address = http_address.unwrap_or_else(|| http.local().to_string());
    let cancel_http = CancellationToken::new();
    let web = Later::<Handler>::default();
    let http = if config.directory.is_some() {
        http.with_handler(once_started(&web))
    } else {
        http
    };
    let http_task = tokio::spawn(http.run(health.clone(), cancel_http.clone()));

    let _measuring = {
        let health = health.clone();
        telemetry::gather(move || telemetry::is_ready(health.missing().is_empty()))
    };
    let mut files = NodeFiles::of(&config);
    let tls = files.load(&config)?;
    let cancel_follow = CancellationToken::new();
    let following = tokio::spawn(files.follow(tls.clone(), cancel_follow.clone()));
    let mut wiring = Wiring::new(
        config,
        tls,
        health.clone(),
        http_address,
        web,
        folder.path().to_path_buf(),
    );
    // A signal while the roles start is heeded as soon as they have: what has started is stopped in order.
    let opened = tokio::select! {
        biased;
        opened = wiring.open(&mut endpoints) => opened.map(|()| true),
        signal = signals.next() => {
            tracing::info!(signal, "told to stop");
            Ok(false)
        }
    };
    let result = match opened {
        Ok(true) => match wiring.start(&mut endpoints).await {
            Ok(()) => {
                health.met(CONDITION_PROCESS);
                run_until_told(&mut signals, &health, &endpoints, &wiring).await
            }
            Err(error) => Err(error),
        },
        Ok(false) => Ok(Ended::Told),
        Err(error) => Err(error),
    };
    health.unmet(CONDITION_PROCESS, "stopping");
    let released = wiring.release();
    wiring.stop().await;
    cancel_follow.cancel();
    // A panic in it has been logged; nothing depends on how it ended.
    let _ = following.await;
    cancel_http.cancel();
    let http_ends = async {
        // A panic in it has been logged; nothing depends on how it ended.
        let _ = http_task.await;
    };
    stage("HTTP", HTTP_GRACE, http_ends).await;
    drop(folder);
    if matches!(result, Ok(Ended::Hurt)) && !released.await {
        bail!("the damaged store is still being read: start the process again, and it will be rebuilt");
    }
    result
}

/// Answers further paths once the directory has started; until then it is away.
fn once_started(web: &Later<Handler>) -> Handler {
    let web = Arc::clone(web);
    Arc::new(move |request| match web.get() {
        Some(handler) => handler(request),
        None => Box::pin(std::future::ready(rookery_process::http::starting())),
    })
}

/// Says where the node listens once it is ready, and waits for a signal, or for damage that ends what runs.
async fn run_until_told(
    signals: &mut Signals,
    health: &Health,
    endpoints: &Endpoints,
    wiring: &Wiring,
) -> anyhow::Result<Ended> {
    let told = async {
        tokio::select! {
            biased;
            signal = signals.next() => Ok(signal),
            () = health.ready() => {
                endpoints.announce()?;
                anyhow::Ok(signals.next().await)
            }
        }
    };
    tokio::select! {
        biased;
        signal = told => {
            tracing::info!(signal = signal?, "told to stop");
            Ok(Ended::Told)
        }
        hurt = wiring.until_hurt() => {
            hurt?;
            tracing::error!("the store is damaged: this node begins anew");
            Ok(Ended::Hurt)
        }
    }
}

/// A value that is known later: a role that starts after the one that calls it.
pub(crate) type Later<T> = Arc<std::sync::OnceLock<T>>;
