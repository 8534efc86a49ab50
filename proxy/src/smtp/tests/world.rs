//! A directory, three mailstores, and listeners of each kind before them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rookery_proto::directory::v1::Node;
use rookery_proto::local::Local;
use rookery_proto::{Caller, MailstoreProtocol, Peer, Role};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::Client;
use super::directory::Directory;
use super::store::{Mail, Store};
use crate::imap::LoginSlowing;
use crate::route::{Cluster, ClusterOptions, Connect};
use crate::smtp::{Kind, SmtpContext, SmtpOptions, serve_stream};

/// Bytes in flight between client and server, each way.
const STREAM_BYTES: usize = 64 * 1024;

pub(super) struct World {
    pub(super) cluster: Arc<Cluster>,
    pub(super) directory: Arc<Directory>,
    pub(super) stores: [Arc<Store>; 3],
    pub(super) shutdown: CancellationToken,
    pub(super) options: SmtpOptions,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) connections: TaskTracker,
}

struct Stores([Arc<Store>; 3]);

impl Connect for Stores {
    fn connect(&self, node: &Node) -> Arc<dyn Caller<MailstoreProtocol>> {
        let number: usize = node.id.trim_start_matches("mailstore-").parse().unwrap();
        let store: Arc<Store> = Arc::clone(&self.0[number]);
        Arc::new(Local::new(store, proxy()))
    }
}

fn proxy() -> Peer {
    Peer {
        role: Role::Proxy,
        node: "proxy-1".to_owned(),
        certificate: Bytes::new(),
    }
}

impl World {
    pub(super) async fn new() -> Self {
        // Long enough for a loaded machine, short enough to be waited out.
        Self::with_patience(Duration::from_secs(1)).await
    }

    pub(super) async fn with_patience(patience: Duration) -> Self {
        let directory = Arc::new(Directory::default());
        let stores = [Store::new(0), Store::new(1), Store::new(2)];
        let options = ClusterOptions {
            patience,
            lookup_timeout: patience,
            ..ClusterOptions::default()
        };
        let caller = Arc::new(Local::new(Arc::clone(&directory) as _, proxy()));
        let cluster = Cluster::start(options, caller, Arc::new(Stores(stores.clone())));
        while !cluster.is_ready() {
            cluster.changed_or(Duration::from_millis(20)).await;
        }
        Self {
            cluster,
            directory,
            stores,
            shutdown: CancellationToken::new(),
            options: SmtpOptions {
                hostname: "mx.test".to_owned(),
                message_bytes_max: 20_000_000,
                stragglers_patience: Duration::from_millis(200),
                ..SmtpOptions::default()
            },
            tls: None,
            connections: TaskTracker::new(),
        }
    }

    /// A client of a new connection; its greeting is not read yet.
    pub(super) fn connect(&self, kind: Kind) -> Client {
        let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
        let context = Arc::new(SmtpContext {
            cluster: Arc::clone(&self.cluster),
            options: SmtpOptions {
                kind,
                ..self.options.clone()
            },
            tls: self.tls.clone(),
            slowing: Arc::new(LoginSlowing::new(
                Duration::from_millis(1),
                Duration::from_millis(5),
            )),
            shutdown: self.shutdown.clone(),
        });
        let client = "192.0.2.7:1234".parse().unwrap();
        self.connections
            .spawn(serve_stream(Box::new(theirs), client, false, context));
        Client::new(Box::new(ours))
    }

    /// All that is stored anywhere for an account.
    pub(super) fn mails(&self, account: u64) -> Vec<Mail> {
        let all = self.stores.iter().flat_map(|store| store.mails());
        all.filter(|mail| mail.account == account).collect()
    }

    /// All that is stored anywhere.
    pub(super) fn count(&self) -> usize {
        self.stores.iter().map(|store| store.mails().len()).sum()
    }
}
