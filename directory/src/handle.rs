//! A running directory: started from its configuration and what its host gives it, and stopped in order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rookery_process::certificates::Authority;
use rookery_process::health::Health;
use rookery_process::http::Handler;
use rookery_process::telemetry::{self, Gathering};
use rookery_process::tls::Certificate;
use rookery_proto::directory::v1::Node;
use rookery_proto::{DirectoryProtocol, Service, Status};
use rookery_replication::GroupId;
use rookery_replication::group::{Member, OpenError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::auth::{Bearer, TokenFileError, read_or_make};
use crate::admin::listener::{BindError, Listener, Services};
use crate::admin::{AdminService, BackupService, JoinService, NodesService, RebalanceService, web};
use crate::catalogue;
use crate::config::Config;
use crate::credentials::Credentials;
use crate::follow;
use crate::lead::Office;
use crate::lookup::Follower;
use crate::members::{Directories, Members};
use crate::opening;
use crate::plan::node::Cluster;
use crate::plan::signing_key::Ages;
use crate::post::Post;
use crate::provision::Mailstores;
use crate::schema::read::ReadError;
use crate::service::DirectoryService;
use crate::tokens;

/// Calls of operators that have begun may take so long when the directory stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// How long another member has to take over when this one stops.
const HAND_OVER_GRACE: Duration = Duration::from_secs(5);

/// What a directory needs of the process that it runs in.
pub struct Host {
    /// The cluster's id.
    pub cluster_id: String,
    /// This node, as others shall see it. With members in the configuration its id is that of the store's node.
    pub node: Node,
    /// The folder for what is not in the store (the admin token).
    pub data: PathBuf,
    /// The store, opened. It must know the ways to the other members.
    pub member: Arc<Member>,
    /// Channels to mailstores.
    pub mailstores: Arc<dyn Mailstores>,
    /// Channels to other members of the directory.
    pub directories: Arc<dyn Directories>,
    /// Certificate of the operator's API; `None`: it is not listened for.
    pub admin_certificate: Option<Arc<Certificate>>,
    /// Issues certificates to nodes that join; `None`: none can be added so.
    pub authority: Option<Arc<Authority>>,
    /// Where readiness is told.
    pub health: Health,
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
    /// The replica cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A part does not start.
    #[error("{0}")]
    Part(#[from] Status),
}

/// A running directory, or a member of one.
pub struct Directory {
    post: Arc<Post>,
    service: Arc<DirectoryService>,
    admin_address: Option<SocketAddr>,
    admin_token_file: PathBuf,
    web: Option<Handler>,
    tasks: TaskTracker,
    leading: Mutex<Option<JoinHandle<()>>>,
    end: CancellationToken,
    _measuring: [Option<Gathering>; 2],
}

impl Directory {
    /// Starts a directory. When this answers, its calls can be made and its operator's API listens. One that is alone
    /// serves then; of several members each serves once it leads, for which their calls must be answered first.
    pub async fn start(config: Config, host: Host) -> Result<Self, StartError> {
        config.check().map_err(StartError::Config)?;
        let admin_token_file = config
            .admin_token_file
            .clone()
            .unwrap_or_else(|| host.data.join("admin-token"));
        let operators = match &host.admin_certificate {
            Some(certificate) => Some(Operators::bind(&config, certificate, &admin_token_file).await?),
            None => None,
        };
        let certificate_measured = host.admin_certificate.clone().map(|certificate| {
            telemetry::gather(move || {
                if let Some(ends) = certificate.ends() {
                    telemetry::certificate_ends("admin", ends);
                }
            })
        });
        let admin_address = operators.as_ref().map(|operators| operators.address);

        // By its store's name in the group, which in a single node is another than to proxies and mailstores.
        let members = Members::new(host.member.node(), &config.members, host.directories.as_ref())
            .map_err(StartError::Config)?;
        let post = Arc::new(Post::new(members, Arc::clone(&host.member)));
        let credentials = Arc::new(match host.member.store().may_wait() {
            true => Credentials::new(config.password_threads(), config.password_queue_max)?,
            false => Credentials::in_place()?,
        });
        let token_lifetime_millis = millis(config.token_lifetime.0);
        let follower = Arc::new(Follower::new(
            Arc::clone(&post),
            Arc::clone(&credentials),
            token_lifetime_millis,
            config.lookup_staleness_max.0,
        ));
        let (failures, mut failed) = mpsc::unbounded_channel();
        let office = Office {
            post: Arc::clone(&post),
            cluster: Cluster {
                id: host.cluster_id.clone(),
                shards: config.shards,
                replicas: config.replicas,
                expected_mailstores: config.expected_mailstores,
            },
            node: host.node.clone(),
            mailstores: host.mailstores,
            credentials,
            token_lifetime_millis,
            ages: ages(&config),
            automatic: config.automatic.clone(),
            failures,
        };
        host.health
            .unmet(follow::CONDITION, "nobody is known to lead the directory");
        if post.members.is_alone() {
            open_alone(&post).await?;
        }
        let web = operators
            .as_ref()
            .map(|operators| web::handler(Arc::clone(&post), operators.bearer.clone()));
        let directory = Self {
            web,
            service: Arc::new(DirectoryService::new(Arc::clone(&post), follower)),
            admin_address,
            admin_token_file,
            tasks: TaskTracker::new(),
            leading: Mutex::new(None),
            end: CancellationToken::new(),
            _measuring: [Some(catalogue::measure(&post)), certificate_measured],
            post: Arc::clone(&post),
        };
        *directory.leading.lock() = Some(tokio::spawn(office.run(directory.end.clone())));
        if post.members.is_alone() {
            tokio::select! {
                () = post.until_serving() => {}
                Some(error) = failed.recv() => {
                    directory.shutdown().await;
                    return Err(error);
                }
            }
        } else {
            directory.spawn(opening::keep_open(Arc::clone(&post)));
            directory.spawn(follow::register(Arc::clone(&post), host.node, host.cluster_id));
        }
        directory.spawn(follow::watch_health(Arc::clone(&post), host.health));
        if let Some(operators) = operators {
            let services = Services {
                admin: directory.admin(),
                backup: BackupService::new(Arc::clone(&post)),
                rebalance: RebalanceService::new(Arc::clone(&post)),
                nodes: NodesService::new(Arc::clone(&post), host.authority.clone()),
                join: JoinService::new(Arc::clone(&post), host.authority),
            };
            let Operators {
                bearer,
                listener,
                address,
                certificate,
            } = operators;
            directory
                .tasks
                .spawn(listener.serve(services, bearer, post.cancel.clone()));
            directory.tasks.spawn(certificate.follow(post.cancel.clone()));
            tracing::info!(admin_address = %address, "the directory answers");
        }
        Ok(directory)
    }

    /// Runs until the directory stops.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.post.cancel.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// What proxies and mailstores call, for either transport.
    pub fn service(&self) -> Arc<dyn Service<DirectoryProtocol>> {
        Arc::clone(&self.service) as _
    }

    /// The operator's calls, for who is in the same process.
    pub fn admin(&self) -> AdminService {
        AdminService::new(Arc::clone(&self.post))
    }

    /// Where the operator's API listens, if it does.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// The operator's page and its API, for the HTTP endpoint; where operators are listened for.
    pub fn web(&self) -> Option<Handler> {
        self.web.clone()
    }

    /// The file with the operator's token.
    pub fn admin_token_file(&self) -> &Path {
        &self.admin_token_file
    }

    /// Whether this member leads, and the shards have places: so that accounts can be made and mail served.
    pub fn is_placed(&self) -> bool {
        self.post.core().is_ok_and(|core| core.picture.is_placed())
    }

    /// Has another member take the lead over, if this one has it, while it still answers calls: so that who calls hears at
    /// once where to go.
    pub async fn hand_over(&self) {
        let Some(group) = self.post.group() else { return };
        if tokio::time::timeout(HAND_OVER_GRACE, group.give_up_lead())
            .await
            .is_err()
        {
            tracing::warn!("the directory stops while it still leads: others have to find out");
        }
    }

    /// Ends watches, and those that come later at once: they never end by themselves, and who stops the listener of the
    /// calls would wait for them.
    pub fn end_watches(&self) {
        self.post.watches_end.cancel();
    }

    /// Takes no more calls of operators, and lets what has begun end. Who calls [`Directory::service`] is to
    /// be stopped before.
    pub async fn shutdown(self) {
        self.end_watches();
        self.post.cancel.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_GRACE, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("the directory stops with calls of operators under way");
        }
        self.end.cancel();
        let leading = self.leading.lock().take();
        if let Some(leading) = leading
            && let Err(error) = leading.await
        {
            tracing::error!(%error, "the directory's lead ended badly");
        }
        self.post.member.close_group(GroupId::DIRECTORY).await;
    }
}

/// What listens for operators.
struct Operators {
    bearer: Bearer,
    listener: Listener,
    address: SocketAddr,
    certificate: Arc<Certificate>,
}

impl Operators {
    async fn bind(
        config: &Config,
        certificate: &Arc<Certificate>,
        token_file: &Path,
    ) -> Result<Self, StartError> {
        let bearer = Bearer::new(&read_or_make(token_file)?)?;
        let listener = Listener::bind(config.admin_listen, certificate).await?;
        Ok(Self {
            address: listener.address()?,
            bearer,
            listener,
            certificate: Arc::clone(certificate),
        })
    }
}

/// Opens the only replica of a directory without other members.
async fn open_alone(post: &Post) -> Result<(), StartError> {
    let group = post.member.open_group(post.members.formed_spec()).await?;
    let others: Vec<String> = group
        .standing()
        .members
        .into_iter()
        .map(|(_, node, _)| node)
        .filter(|node| node != post.members.own())
        .collect();
    if !others.is_empty() {
        return Err(StartError::Config(format!(
            "this is a member of a directory with others ({}): name them all in directory.members",
            others.join(", ")
        )));
    }
    post.set_group(Some(group));
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn ages(config: &Config) -> Ages {
    let rotate_after_millis = millis(config.signing_key_age_max.0);
    // A key's last tokens are signed shortly after the next key is made, and can be renewed until the grace has passed.
    let remove_after_millis = rotate_after_millis
        .saturating_mul(2)
        .saturating_add(tokens::lifetime_max_millis(millis(config.token_lifetime.0)))
        .saturating_add(2 * tokens::RENEWAL_GRACE_MILLIS);
    Ages {
        rotate_after_millis,
        remove_after_millis,
    }
}
