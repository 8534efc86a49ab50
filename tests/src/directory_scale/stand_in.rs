//! Stands in for a mailstore: says to the directory that it has every account that it is told of, and keeps nothing.
//!
//! So a directory can be filled with more accounts than the machine has room for mailboxes.

use std::sync::Arc;

use anyhow::{Context, Result};
use futures_util::future::BoxFuture;
use rookery_proto::mailstore::v1::{Done, Reply, reply, request};
use rookery_proto::remote::{NodeTls, Server, ServerOptions};
use rookery_proto::{Incoming, MailstoreProtocol, ReplySink, Role, Service, Status};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Accepting;

impl Service<MailstoreProtocol> for Accepting {
    fn serve(
        self: Arc<Self>,
        call: Incoming<MailstoreProtocol>,
        replies: ReplySink<MailstoreProtocol>,
    ) -> BoxFuture<'static, Result<(), Status>> {
        Box::pin(async move {
            match call.request.call {
                Some(request::Call::ImportAccount(_) | request::Call::PutAccount(_)) => {
                    let done = reply::Call::Done(Done { modseq: 1 });
                    replies.send(Reply { call: Some(done) }).await
                }
                other => Err(Status::unavailable(format!("nobody answers {other:?}"))),
            }
        })
    }
}

/// A mailstore that has every account.
pub(super) struct StandIn {
    stop: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl StandIn {
    /// Listens where the mailstore did, with its certificate.
    pub(super) async fn start(address: &str, tls: NodeTls) -> Result<Self> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("cannot listen at {address}"))?;
        let stop = CancellationToken::new();
        let server = Server::new(tls, ServerOptions::default(), stop.clone())
            .add::<MailstoreProtocol>(Arc::new(Accepting), &[Role::Directory]);
        Ok(Self {
            stop,
            serving: tokio::spawn(server.serve(listener)),
        })
    }

    /// Ends it.
    pub(super) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        Ok(self.serving.await??)
    }
}
