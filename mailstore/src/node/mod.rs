//! A running mailstore: its shards as the directory places them, its calls, its housekeeping, and its end.

mod catch_up;
mod follow;
mod rebuild;
mod register;

use std::sync::Arc;
use std::time::Duration;

use rookery_process::health::Health;
use rookery_process::telemetry::Gathering;
use rookery_proto::directory::v1::{Node, NodeRole, RegisterNode};
use rookery_proto::{Caller, DirectoryProtocol, MailstoreProtocol, Service};
use rookery_replication::group::Member;
use rookery_replication::transport::Peers;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::analysis::{Analyser, AnalysisSettings};
use crate::body::ColumnBodies;
use crate::catalogue;
use crate::config::Config;
use crate::plan::PlanLimits;
use crate::service::{MailstoreService, ServiceParts, Shards, Tokens};
use crate::shard::{DiskSpace, ShardOptions};
use follow::Follower;
pub use follow::ShardMap;
pub use rebuild::{Asking, NotRebuilt, replace_replicas};

/// How often each shard works off what has expired.
const MAINTAIN_INTERVAL: Duration = Duration::from_secs(60);

/// How often each shard writes down which recent messages sessions have taken: the more seldom, the more of them are of a mailbox once.
const WRITE_RECENT_INTERVAL: Duration = Duration::from_secs(5);

/// How long other nodes have to take over the shards that this one leads when it stops.
const HAND_OVER_GRACE: Duration = Duration::from_secs(5);

/// How long mutations under way have to end when the node stops.
const DRAIN_GRACE: Duration = Duration::from_secs(3);

/// Readiness: the directory's shard map and keys are known.
const CONDITION_DIRECTORY: &str = "directory";

/// Readiness: the directory knows of this node.
const CONDITION_REGISTERED: &str = "registered";

/// Readiness: what this node held when it started has caught up.
const CONDITION_CAUGHT_UP: &str = "caught-up";

/// What a mailstore needs of the process that it runs in.
pub struct Host {
    /// The cluster's id.
    pub cluster_id: String,
    /// This node, as others shall see it. Its weight and zone are the configuration's.
    pub node: Node,
    /// The store, opened.
    pub member: Arc<Member>,
    /// The ways to other mailstores, which are told their addresses.
    pub peers: Arc<Peers>,
    /// The directory.
    pub directory: Arc<dyn Caller<DirectoryProtocol>>,
    /// The command line of a process that runs [`crate::analysis::worker_main`]; empty for none.
    pub worker_command: Vec<String>,
    /// Where readiness is told.
    pub health: Health,
}

/// A running mailstore.
pub struct Mailstore {
    member: Arc<Member>,
    shards: Arc<Shards>,
    service: Arc<MailstoreService>,
    cancel: CancellationToken,
    tasks: TaskTracker,
    _measuring: Gathering,
}

impl Mailstore {
    /// Starts a mailstore. Its calls can be made at once; shards are served as soon as the directory has named them.
    /// Must be called within a tokio runtime. Errors when the configuration makes no sense.
    pub fn start(config: &Config, host: Host) -> Result<Self, String> {
        Self::start_with(config, host, ShardOptions::default(), AnalysisSettings::default())
    }

    /// The same with another clock, other bounds or another parser; for tests.
    pub fn start_with(
        config: &Config,
        host: Host,
        shard_options: ShardOptions,
        analysis: AnalysisSettings,
    ) -> Result<Self, String> {
        config.check()?;
        let limits = PlanLimits {
            message_bytes_max: config.body_size_max.0,
            ..shard_options.limits
        };
        let disk = shard_options.disk.unwrap_or_else(|| {
            let folder = host.member.store().path().to_owned();
            Arc::new(DiskSpace::of_folder(folder, config.disk_free_min.0))
        });
        let shards = Arc::new(Shards::new(
            host.node.id.clone(),
            Arc::clone(&host.member),
            ShardOptions {
                limits,
                disk: Some(disk),
                ..shard_options
            },
        ));
        let tokens = Arc::new(Tokens::default());
        let analyser = Analyser::start(AnalysisSettings {
            threads: config.analysis_threads(),
            workers: config.analysis_processes,
            worker_command: host.worker_command,
            in_place: !host.member.store().may_wait(),
            ..analysis
        });
        let service = MailstoreService::new(ServiceParts {
            shards: Arc::clone(&shards),
            tokens: Arc::clone(&tokens),
            analyser,
            bodies: Arc::new(ColumnBodies::default()),
            reads_max: config.reads_max,
            searches_max: config.searches_max,
            body_bytes_max: config.body_size_max.0,
        });
        host.health
            .unmet(CONDITION_DIRECTORY, "the shard map is not known yet");
        host.health
            .unmet(CONDITION_REGISTERED, "the directory does not know this node yet");
        host.health
            .unmet(CONDITION_CAUGHT_UP, "the shard map is not known yet");
        let cancel = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (taken_in, is_taken_in) = watch::channel(false);
        let (opened, are_opened) = watch::channel(false);
        let following = heed(
            Arc::clone(&host.directory),
            Arc::clone(&shards),
            tokens,
            host.peers,
            host.health.clone(),
            (is_taken_in, opened),
        );
        tasks.spawn(until(cancel.clone(), following));
        let catching_up = catch_up::watch(Arc::clone(&shards), host.health.clone(), are_opened);
        tasks.spawn(until(cancel.clone(), catching_up));
        let registration = RegisterNode {
            node: Some(config.describe(host.node)),
            cluster_id: host.cluster_id,
            disk_kept: config.disk_kept.map(|kept| kept.0),
            ..RegisterNode::default()
        };
        let registering = register::register(
            host.directory,
            registration,
            Arc::clone(&shards),
            host.health,
            taken_in,
        );
        tasks.spawn(until(cancel.clone(), registering));
        tasks.spawn(until(cancel.clone(), keep_house(Arc::clone(&shards))));
        tasks.spawn(until(cancel.clone(), write_recent(Arc::clone(&shards))));
        let keeping = Arc::clone(&shards);
        tasks.spawn(until(cancel.clone(), async move { keeping.keep_members().await }));
        let measuring = Arc::clone(&shards);
        tasks.spawn(until(cancel.clone(), async move { measuring.measure().await }));
        tasks.close();
        Ok(Self {
            member: host.member,
            _measuring: catalogue::measure(&shards),
            shards,
            service,
            cancel,
            tasks,
        })
    }

    /// What proxies and directories call, for either transport.
    pub fn service(&self) -> Arc<dyn Service<MailstoreProtocol>> {
        Arc::clone(&self.service) as _
    }

    /// Whether other nodes have all that this one has, vote on it, and are there; false while no placement is known.
    pub fn others_are_whole(&self) -> bool {
        self.shards.others_are_whole()
    }

    /// Has other nodes take over the shards that this one leads, while it still answers calls: so that who calls hears at
    /// once where to go.
    pub async fn hand_over(&self) {
        if tokio::time::timeout(HAND_OVER_GRACE, self.shards.hand_over())
            .await
            .is_ok()
        {
            return;
        }
        for hosted in self.shards.all() {
            let group = hosted.shard().group();
            if group.leads() || group.leader().is_none() {
                let state = group.describe();
                tracing::warn!(shard = hosted.id().0, %state, "the mailstore stops and nobody has taken the shard over: others have to find out");
            }
        }
    }

    /// Ends the watches of others, which do not end by themselves.
    pub fn end_watches(&self) {
        self.service.end_watches();
    }

    /// Ends what runs, lets mutations under way end, and closes the shards. Who calls [`Mailstore::service`] is to be
    /// stopped before; the store may be closed afterwards.
    pub async fn stop(self) {
        self.cancel.cancel();
        self.tasks.wait().await;
        if tokio::time::timeout(DRAIN_GRACE, self.service.drain())
            .await
            .is_err()
        {
            tracing::warn!("the mailstore stops with mutations under way");
        }
        self.shards.close().await;
        drop(self.member);
    }
}

async fn until(cancel: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = cancel.cancelled() => {}
        () = work => {}
    }
}

/// Takes in what the directory says. What is known goes on being served while the directory is away: accounts and shards
/// do not move without it. No replica is opened before the directory has taken the node in, or cannot be asked: one that it refuses may be
/// a copy of another that has the same replicas, and must not vote in their place. Says once the replicas that are placed here are open.
async fn heed(
    directory: Arc<dyn Caller<DirectoryProtocol>>,
    shards: Arc<Shards>,
    tokens: Arc<Tokens>,
    peers: Arc<Peers>,
    health: Health,
    (mut is_taken_in, opened): (watch::Receiver<bool>, watch::Sender<bool>),
) {
    if is_taken_in.wait_for(|is_taken_in| *is_taken_in).await.is_err() {
        // The node is stopping.
        return;
    }
    let mut follower = Follower::new(directory);
    loop {
        let event = match follower.next().await {
            Ok(event) => event,
            Err(status) => {
                tracing::warn!(%status, "the directory's watch was lost; trying again");
                tokio::time::sleep(follow::RETRY_PAUSE).await;
                continue;
            }
        };
        for node in &event.nodes {
            if node.role() == NodeRole::Mailstore {
                peers.set_address(&node.id, &node.address);
            }
        }
        if event.snapshot || !event.keys.is_empty() {
            tokens.set_keys(event.keys.iter().map(|key| (key.id, key.public_key.to_vec())));
        }
        shards.heed_nodes(&event);
        if event.snapshot || !event.shards.is_empty() {
            shards.reconcile(|map| map.apply(&event)).await;
            health.met(CONDITION_DIRECTORY);
            opened.send_replace(true);
        }
    }
}

/// Has the shards work off what has expired, one after the other.
async fn keep_house(shards: Arc<Shards>) {
    loop {
        tokio::time::sleep(MAINTAIN_INTERVAL).await;
        for shard in shards.all() {
            if !shard.shard().group().leads() {
                continue;
            }
            if let Err(status) = shard.maintain().await {
                tracing::warn!(shard = shard.id().0, %status, "housekeeping failed; it will be tried again");
            }
        }
    }
}

/// Has the shards write down which recent messages sessions have taken, all of them at once, so that they share syncs.
async fn write_recent(shards: Arc<Shards>) {
    loop {
        tokio::time::sleep(WRITE_RECENT_INTERVAL).await;
        let all = shards.all();
        let writing = all.iter().map(|hosted| hosted.shard().write_recent(None));
        futures_util::future::join_all(writing).await;
    }
}
