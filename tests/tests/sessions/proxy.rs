//! A machine with a proxy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rookery_proto::directory::v1::Node;
use rookery_proto::{Caller, MailstoreProtocol, Role};
use rookery_proxy::imap::{self, ImapContext, ImapOptions, LoginSlowing, Peer};
use rookery_proxy::route::{self, ClusterOptions, Connect};
use rookery_proxy::smtp::{self, HandOffOptions, Kind, SmtpContext, SmtpOptions, handoff};
use rookery_replication::group::Member;
use rookery_simulation::Here;
use rookery_simulation::call::Channel;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::Cluster;
use crate::rules;

/// How long sessions have to end when the machine stops.
const DRAIN: Duration = Duration::from_secs(10);

/// Where all clients come from.
const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

/// Ways to mailstores, of the machine that is here.
pub(crate) struct Ways(pub(crate) Here, pub(crate) Arc<Cluster>);

impl Connect for Ways {
    fn connect(&self, node: &Node) -> Arc<dyn Caller<MailstoreProtocol>> {
        let channel = Channel::new(self.0.clone(), Role::Proxy, &node.address);
        rules::proxy(&self.1, Arc::new(channel))
    }
}

/// Starts a proxy.
pub(crate) fn start(here: &Here, cluster: &Arc<Cluster>) -> Option<Option<Arc<Member>>> {
    let (accepting, sessions) = (CancellationToken::new(), CancellationToken::new());
    let routed = route::Cluster::start(
        ClusterOptions::default(),
        cluster.directory(here, Role::Proxy),
        Arc::new(Ways(here.clone(), Arc::clone(cluster))),
    );
    let slowing = Arc::new(LoginSlowing::default());
    let context = Arc::new(ImapContext {
        cluster: Arc::clone(&routed),
        options: ImapOptions {
            plaintext_login: true,
            ..ImapOptions::default()
        },
        tls: None,
        slowing: Arc::clone(&slowing),
        shutdown: sessions.clone(),
    });
    let connections = TaskTracker::new();
    let tracker = connections.clone();
    here.listen("imap", move |stream| {
        let peer = Peer {
            address: CLIENT,
            tls: false,
        };
        tracker.spawn(imap::serve_stream(Box::new(stream), peer, Arc::clone(&context)));
    });
    for (name, kind) in [("smtp", Kind::Smtp), ("lmtp", Kind::Lmtp)] {
        let context = Arc::new(SmtpContext {
            cluster: Arc::clone(&routed),
            options: SmtpOptions {
                kind,
                ..SmtpOptions::default()
            },
            tls: None,
            slowing: Arc::clone(&slowing),
            shutdown: sessions.clone(),
        });
        let tracker = connections.clone();
        here.listen(name, move |stream| {
            let serving = smtp::serve_stream(Box::new(stream), CLIENT, false, Arc::clone(&context));
            tracker.spawn(serving);
        });
    }
    tokio::spawn(handoff::run(
        Arc::clone(&routed),
        HandOffOptions::default(),
        accepting.clone(),
    ));
    let here = here.clone();
    tokio::spawn(async move {
        here.stop.cancelled().await;
        accepting.cancel();
        sessions.cancel();
        connections.close();
        // Those that take longer are dropped with the machine.
        let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
        routed.stop().await;
        here.ended.cancel();
    });
    Some(None)
}
