//! A running proxy: its listeners, its picture of the cluster, and an end in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rookery_process::health::Health;
use rookery_process::shutdown::stage;
use rookery_process::telemetry::{self, Gathering};
use rookery_process::tls::{Certificate, TlsError};
use rookery_proto::{Caller, DirectoryProtocol};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalogue;
use crate::config::{Config, Protocol};
use crate::imap::{self, ImapContext, ImapOptions, LoginSlowing};
use crate::net::{ConnectionLimits, Listener};
use crate::route::{Cluster, ClusterOptions, Connect};
use crate::smtp::{self, Kind, SmtpContext, SmtpOptions};

/// How often readiness is looked at.
const READINESS_INTERVAL: Duration = Duration::from_millis(200);

/// How long the tasks that follow the cluster may take to end.
const FOLLOW_GRACE: Duration = Duration::from_secs(5);

/// What a proxy needs of the process that it runs in.
pub struct Host {
    /// The way to the directory.
    pub directory: Arc<dyn Caller<DirectoryProtocol>>,
    /// Makes channels to mailstores.
    pub connect: Arc<dyn Connect>,
    /// Where readiness is told.
    pub health: Health,
}

/// Why a proxy does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be bound; the message names the address.
    #[error(transparent)]
    Listen(#[from] std::io::Error),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A running proxy.
pub struct Proxy {
    cluster: Arc<Cluster>,
    endpoints: Vec<(&'static str, SocketAddr)>,
    connections: TaskTracker,
    background: TaskTracker,
    drain: Duration,
    accepting: CancellationToken,
    sessions: CancellationToken,
    _measuring: Gathering,
}

struct Starting {
    limits: Arc<ConnectionLimits>,
    tls: TlsAcceptor,
    slowing: Arc<LoginSlowing>,
    proxy: Proxy,
}

impl Proxy {
    /// Binds the listeners and begins to serve. Clients who come before the cluster is known are told to try later.
    pub async fn start(config: Config, host: Host) -> Result<Self, StartError> {
        let certificate = Certificate::load(&config.certificate, &config.key)?;
        let options = ClusterOptions {
            patience: config.patience.0,
            logins_kept: config.logins_kept.0,
            ..ClusterOptions::default()
        };
        host.health
            .unmet("cluster", "the directory has not been heard yet");
        let proxy = Self {
            cluster: Cluster::start(options, host.directory, host.connect),
            endpoints: Vec::new(),
            connections: TaskTracker::new(),
            background: TaskTracker::new(),
            drain: config.drain.0,
            accepting: CancellationToken::new(),
            sessions: CancellationToken::new(),
            _measuring: measure(&config, &certificate),
        };
        let mut starting = Starting {
            limits: ConnectionLimits::new(config.connections_max, config.connections_per_address_max),
            tls: certificate.acceptor()?,
            slowing: Arc::new(LoginSlowing::default()),
            proxy,
        };
        starting.listen_imap(&config)?;
        starting.listen_smtp(&config)?;
        let proxy = starting.proxy;
        proxy
            .background
            .spawn(certificate.follow(proxy.accepting.clone()));
        let draining = smtp::handoff::run(
            Arc::clone(&proxy.cluster),
            smtp::HandOffOptions::default(),
            proxy.accepting.clone(),
        );
        proxy.background.spawn(draining);
        let watching = watch_readiness(Arc::clone(&proxy.cluster), host.health, proxy.accepting.clone());
        proxy.background.spawn(watching);
        Ok(proxy)
    }

    /// Where it listens, by protocol.
    pub fn endpoints(&self) -> &[(&'static str, SocketAddr)] {
        &self.endpoints
    }

    /// Stops accepting, says BYE and 421 to whom is there, and waits within the grace time.
    pub async fn stop(self) {
        self.accepting.cancel();
        self.sessions.cancel();
        self.connections.close();
        stage("client connections", self.drain, self.connections.wait()).await;
        self.background.close();
        stage("background work", FOLLOW_GRACE, self.background.wait()).await;
        stage("cluster watch", FOLLOW_GRACE, self.cluster.stop()).await;
    }
}

impl Starting {
    fn listen_imap(&mut self, config: &Config) -> Result<(), StartError> {
        let options = ImapOptions {
            plaintext_login: config.plaintext_login,
            message_bytes_max: config.message_bytes_max.0,
            ..ImapOptions::default()
        };
        let context = Arc::new(ImapContext {
            cluster: Arc::clone(&self.proxy.cluster),
            options,
            tls: Some(self.tls.clone()),
            slowing: Arc::clone(&self.slowing),
            shutdown: self.proxy.sessions.clone(),
        });
        for (protocol, address, implicit) in [
            (Protocol::Imap, config.listen.imap, false),
            (Protocol::Imaps, config.listen.imaps, true),
        ] {
            let Some(address) = address else { continue };
            let listener = self.bind(config, protocol, address, implicit)?;
            let context = Arc::clone(&context);
            let (connections, accepting) = (self.proxy.connections.clone(), self.proxy.accepting.clone());
            self.proxy
                .background
                .spawn(listener.run(connections, accepting, move |accepted| {
                    imap::serve(accepted, Arc::clone(&context))
                }));
        }
        Ok(())
    }

    fn listen_smtp(&mut self, config: &Config) -> Result<(), StartError> {
        let listen = &config.listen;
        for (protocol, address, kind, implicit) in [
            (Protocol::Smtp, listen.smtp, Kind::Smtp, false),
            (Protocol::Submission, listen.submission, Kind::Submission, false),
            (Protocol::Submissions, listen.submissions, Kind::Submission, true),
            (Protocol::Lmtp, listen.lmtp, Kind::Lmtp, false),
        ] {
            let Some(address) = address else { continue };
            let listener = self.bind(config, protocol, address, implicit)?;
            let context = Arc::new(SmtpContext {
                cluster: Arc::clone(&self.proxy.cluster),
                options: SmtpOptions {
                    kind,
                    hostname: config.hostname.clone(),
                    message_bytes_max: config.message_bytes_max.0,
                    plaintext_login: config.plaintext_login,
                    ..SmtpOptions::default()
                },
                tls: Some(self.tls.clone()),
                slowing: Arc::clone(&self.slowing),
                shutdown: self.proxy.sessions.clone(),
            });
            let (connections, accepting) = (self.proxy.connections.clone(), self.proxy.accepting.clone());
            self.proxy
                .background
                .spawn(listener.run(connections, accepting, move |accepted| {
                    smtp::serve(accepted, Arc::clone(&context))
                }));
        }
        Ok(())
    }

    fn bind(
        &mut self,
        config: &Config,
        protocol: Protocol,
        address: SocketAddr,
        implicit: bool,
    ) -> Result<Listener, StartError> {
        let tls = implicit.then(|| self.tls.clone());
        let mut listener = Listener::bind(address, tls, Arc::clone(&self.limits))?;
        if config.proxy_protocol_on.contains(&protocol) {
            listener = listener.with_headers_from(config.proxy_protocol_from.clone().into());
        }
        self.proxy.endpoints.push((protocol.name(), listener.local()));
        Ok(listener)
    }
}

/// Has it told when the certificate ends, as long as what is returned is held.
fn measure(config: &Config, certificate: &Arc<Certificate>) -> Gathering {
    catalogue::begin();
    catalogue::CONNECTIONS_MAX.set(config.connections_max as f64);
    let certificate = Arc::clone(certificate);
    telemetry::gather(move || {
        if let Some(ends) = certificate.ends() {
            telemetry::certificate_ends("mail", ends);
        }
    })
}

/// Tells whether clients are to come here, and when the directory goes away and comes back.
async fn watch_readiness(cluster: Arc<Cluster>, health: Health, cancel: CancellationToken) {
    let mut was_heard = true;
    loop {
        if cluster.is_of_use() {
            health.met("cluster");
        } else {
            health.unmet("cluster", "no fresh shard map from the directory");
        }
        if let Some(age) = cluster.picture().age() {
            catalogue::DIRECTORY_AGE_SECONDS.set(age.as_secs_f64());
            let is_heard = cluster.is_ready();
            match (was_heard, is_heard) {
                (true, false) => tracing::warn!(
                    "the directory is not heard: sessions go on, and of logins those that it has granted lately"
                ),
                (false, true) => tracing::info!("the directory is heard again"),
                _ => {}
            }
            was_heard = is_heard;
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(READINESS_INTERVAL) => {}
        }
    }
}
