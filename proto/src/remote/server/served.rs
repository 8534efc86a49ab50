//! A [`Service`] as the tonic service that carries its frames: admits a peer, then hands its stream on.

use std::collections::HashSet;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::ServerOptions;
use super::accept::peer_of;
use super::stream::ServerStream;
use crate::call::{Role, Service};
use crate::directory::v1::directory_server::Directory;
use crate::frame::v1::Batch;
use crate::mailstore::v1::mailstore_server::Mailstore;
use crate::remote::RemoteProtocol;
use crate::remote::outbox::Writer;
use crate::replication::v1::replication_server::Replication;
use crate::{DirectoryProtocol, MailstoreProtocol, ReplicationProtocol};

/// A service and who may call it. Made by [`super::Server::add`].
pub struct Served<P: RemoteProtocol> {
    service: Arc<dyn Service<P>>,
    cluster: String,
    roles: HashSet<Role>,
    options: ServerOptions,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl<P: RemoteProtocol> Served<P> {
    pub(super) fn new(
        service: Arc<dyn Service<P>>,
        cluster: String,
        roles: HashSet<Role>,
        options: ServerOptions,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            service,
            cluster,
            roles,
            options,
            stop,
            tasks,
        }
    }

    fn begin(&self, request: Request<Streaming<Batch>>) -> Result<Response<Writer>, Status> {
        let peer = peer_of(&request, &self.cluster).inspect_err(|status| {
            tracing::warn!(service = P::NAME, "a peer was refused: {}", status.message());
        })?;
        if !self.roles.contains(&peer.role) {
            let role = peer.role.as_str();
            tracing::warn!(
                service = P::NAME,
                node = peer.node,
                role,
                "a peer of this role was refused"
            );
            let message = format!(
                "{} is a {role}, which may not call the {} service",
                peer.node,
                P::NAME
            );
            return Err(Status::permission_denied(message));
        }
        let stream = ServerStream::new(
            Arc::clone(&self.service),
            peer,
            self.options.clone(),
            self.tasks.clone(),
        );
        let writer = stream.writer();
        self.tasks
            .spawn(stream.run(request.into_inner(), self.stop.clone()));
        Ok(Response::new(writer))
    }
}

#[tonic::async_trait]
impl Mailstore for Served<MailstoreProtocol> {
    type CallsStream = Writer;

    async fn calls(&self, request: Request<Streaming<Batch>>) -> Result<Response<Writer>, Status> {
        self.begin(request)
    }
}

#[tonic::async_trait]
impl Directory for Served<DirectoryProtocol> {
    type CallsStream = Writer;

    async fn calls(&self, request: Request<Streaming<Batch>>) -> Result<Response<Writer>, Status> {
        self.begin(request)
    }
}

#[tonic::async_trait]
impl Replication for Served<ReplicationProtocol> {
    type CallsStream = Writer;

    async fn calls(&self, request: Request<Streaming<Batch>>) -> Result<Response<Writer>, Status> {
        self.begin(request)
    }
}
