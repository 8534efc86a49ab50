//! A running directory: started from its configuration and what its host gives it, and stopped in order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rookery_process::tls::Certificate;
use rookery_proto::directory::v1::Node;
use rookery_proto::{DirectoryProtocol, Service, Status};
use rookery_replication::group::Member;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::auth::{Bearer, TokenFileError, read_or_make};
use crate::admin::listener::{BindError, Listener};
use crate::admin::{AdminService, BackupService};
use crate::clock::now_millis;
use crate::config::Config;
use crate::core::Core;
use crate::credentials::Credentials;
use crate::plan::node::{self, Cluster};
use crate::plan::signing_key::{self, Ages};
use crate::provision::{Mailstores, Provisioner, reconcile};
use crate::schema::read::{ReadError, Rows};
use crate::service::DirectoryService;
use crate::state::{Seat, State};
use crate::tokens::{self, Tokens};
use crate::watch::Picture;

/// How often liveness is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Ticks between two looks at the age of the signing keys.
const TICKS_PER_KEY_CHECK: u64 = 600;

/// Calls of operators that have begun may take so long when the directory stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// What a directory needs of the process that it runs in.
pub struct Host {
    /// The cluster's id.
    pub cluster_id: String,
    /// This node, as others shall see it.
    pub node: Node,
    /// The folder for what is not in the store (the admin token).
    pub data: PathBuf,
    /// The store, opened.
    pub member: Arc<Member>,
    /// Channels to mailstores.
    pub mailstores: Arc<dyn Mailstores>,
    /// Certificate of the operator's API.
    pub admin_certificate: Arc<Certificate>,
}

/// Why a directory does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration makes no sense.
    #[error("{0}")]
    Config(String),
    /// The operator's token cannot be had.
    #[error(transparent)]
    Token(#[from] TokenFileError),
    /// The operator's API cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A part does not start.
    #[error("{0}")]
    Part(#[from] Status),
}

/// A running directory.
pub struct Directory {
    core: Arc<Core>,
    service: Arc<DirectoryService>,
    admin_address: SocketAddr,
    admin_token_file: PathBuf,
    tasks: TaskTracker,
}

impl Directory {
    /// Starts a directory. When this answers, its calls can be made and its operator's API listens.
    pub async fn start(config: Config, host: Host) -> Result<Self, StartError> {
        config.check().map_err(StartError::Config)?;
        let admin_token_file = config
            .admin_token_file
            .clone()
            .unwrap_or_else(|| host.data.join("admin-token"));
        let bearer = Bearer::new(&read_or_make(&admin_token_file)?)?;
        let listener = Listener::bind(config.admin_listen, &host.admin_certificate).await?;
        let admin_address = listener.address()?;

        let core = Arc::new(put_together(&config, &host).await?);
        warn_of_shards(&core, &config);
        let ages = ages(&config);
        rotate(&core, ages).await?;
        register_self(&core, &host.node).await?;

        let tasks = TaskTracker::new();
        let (admin, backup) = (
            AdminService::new(Arc::clone(&core)),
            BackupService::new(Arc::clone(&core)),
        );
        tasks.spawn(listener.serve(admin, backup, bearer, core.cancel.clone()));
        tasks.spawn(reconcile(
            Arc::clone(&core.provisioner),
            Arc::clone(&core.state),
            core.cancel.clone(),
        ));
        tasks.spawn(keep_house(Arc::clone(&core), host.node.id.clone(), ages));
        tasks.spawn(Arc::clone(&host.admin_certificate).follow(core.cancel.clone()));
        tasks.close();
        tracing::info!(%admin_address, cluster = core.cluster.id, "the directory serves");
        let service = Arc::new(DirectoryService::new(Arc::clone(&core)));
        Ok(Self {
            core,
            service,
            admin_address,
            admin_token_file,
            tasks,
        })
    }

    /// What proxies and mailstores call, for either transport.
    pub fn service(&self) -> Arc<dyn Service<DirectoryProtocol>> {
        Arc::clone(&self.service) as _
    }

    /// Where the operator's API listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// The file with the operator's token.
    pub fn admin_token_file(&self) -> &Path {
        &self.admin_token_file
    }

    /// Whether the shards have places, so that accounts can be made and mail served.
    pub fn is_placed(&self) -> bool {
        self.core.picture.is_placed()
    }

    /// Ends watches, and those that come later at once: they never end by themselves, and who stops the listener of the
    /// calls would wait for them.
    pub fn end_watches(&self) {
        self.core.watches_end.cancel();
    }

    /// Takes no more calls of operators, and lets what has begun end. Who calls [`Directory::service`] is to
    /// be stopped before.
    pub async fn shutdown(self) {
        self.end_watches();
        self.core.cancel.cancel();
        if tokio::time::timeout(SHUTDOWN_GRACE, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("the directory stops with calls of operators under way");
        }
        self.core.state.stop().await;
    }
}

async fn put_together(config: &Config, host: &Host) -> Result<Core, StartError> {
    let seat = Seat::take(&host.member).await?;
    let picture = Arc::new(Picture::load(
        Rows(&host.member.store().snapshot()),
        Instant::now(),
    )?);
    let state = Arc::new(State::start(
        Arc::clone(&host.member),
        seat,
        Arc::clone(&picture),
    )?);
    let provisioner = Arc::new(Provisioner::new(
        Arc::clone(&state),
        Arc::clone(&picture),
        Arc::clone(&host.mailstores),
    ));
    Ok(Core {
        cluster: Cluster {
            id: host.cluster_id.clone(),
            shards: config.shards,
            replicas: config.replicas,
            expected_mailstores: config.expected_mailstores,
        },
        state,
        picture,
        credentials: Credentials::new(config.password_threads(), config.password_queue_max)?,
        tokens: Tokens::new(millis(config.token_lifetime.0)),
        provisioner,
        cancel: CancellationToken::new(),
        watches_end: CancellationToken::new(),
    })
}

fn warn_of_shards(core: &Core, config: &Config) {
    let placed = core.picture.shards().len();
    if placed != 0 && placed != config.shards as usize {
        tracing::warn!(
            placed,
            configured = config.shards,
            "the number of shards stays as it was placed"
        );
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn ages(config: &Config) -> Ages {
    let rotate_after_millis = millis(config.signing_key_age_max.0);
    // A key's last tokens are signed shortly after the next key is made, and can be renewed until the grace has passed.
    let remove_after_millis = rotate_after_millis
        .saturating_mul(2)
        .saturating_add(2 * tokens::RENEWAL_GRACE_MILLIS);
    Ages {
        rotate_after_millis,
        remove_after_millis,
    }
}

async fn rotate(core: &Core, ages: Ages) -> Result<(), Status> {
    let pair = tokens::generate()?;
    let keys = core
        .state
        .change(move |rows| signing_key::rotate(rows, pair, ages, now_millis()))
        .await?;
    core.tokens.set_keys(&keys)
}

async fn register_self(core: &Core, node: &Node) -> Result<(), Status> {
    let (cluster, node) = (core.cluster.clone(), node.clone());
    let cluster_id = cluster.id.clone();
    let id = node.id.clone();
    let alive = core.picture.alive();
    core.state
        .change(move |rows| node::register(rows, &cluster, &cluster_id, &node, &alive))
        .await?;
    core.picture.heard(&id, Instant::now());
    Ok(())
}

/// Liveness and keys, until cancelled.
async fn keep_house(core: Arc<Core>, own_id: String, ages: Ages) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ticks: u64 = 0;
    loop {
        tokio::select! {
            () = core.cancel.cancelled() => return,
            _ = interval.tick() => {}
        }
        let now = Instant::now();
        core.picture.heard(&own_id, now);
        core.picture.expire(now);
        ticks += 1;
        if ticks.is_multiple_of(TICKS_PER_KEY_CHECK)
            && let Err(status) = rotate(&core, ages).await
        {
            tracing::warn!(%status, "cannot look after the signing keys");
        }
    }
}
