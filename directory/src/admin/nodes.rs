//! `rookery.admin.v1.Nodes`: join secrets that operators have made, and what is pending of them.

use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use rookery_process::certificates::Authority;
use rookery_proto::admin::v1::nodes_server::Nodes;
use rookery_proto::admin::v1::*;
use rookery_proto::directory::v1::NodeRole;
use rookery_proto::{Reason, Role, Status};
use tonic::{Request, Response};

use super::cluster::role_name;
use super::run;
use crate::clock::now_millis;
use crate::core::Core;
use crate::plan::join::{self, Secret, Wanted};
use crate::post::Post;
use crate::schema::read::ReadError;

/// Serves the calls.
pub struct NodesService {
    post: Arc<Post>,
    authority: Option<Arc<Authority>>,
}

impl NodesService {
    pub(crate) fn new(post: Arc<Post>, authority: Option<Arc<Authority>>) -> Self {
        Self { post, authority }
    }
}

#[tonic::async_trait]
impl Nodes for NodesService {
    async fn add_node(
        &self,
        request: Request<AddNodeRequest>,
    ) -> Result<Response<AddNodeResponse>, tonic::Status> {
        let (post, authority) = (Arc::clone(&self.post), self.authority.clone());
        run("add_node", async move {
            let core = post.core()?;
            add(&core, &post, authority.as_deref(), request.into_inner()).await
        })
        .await
    }

    async fn list_joins(
        &self,
        _: Request<ListJoinsRequest>,
    ) -> Result<Response<ListJoinsResponse>, tonic::Status> {
        let post = Arc::clone(&self.post);
        run("list_joins", async move { list(post.core()?.as_ref()).await }).await
    }

    async fn revoke_join(
        &self,
        request: Request<RevokeJoinRequest>,
    ) -> Result<Response<RevokeJoinResponse>, tonic::Status> {
        let post = Arc::clone(&self.post);
        run("revoke_join", async move {
            let id = request.into_inner().id;
            let core = post.core()?;
            core.state.change(move |rows| join::revoke(rows, &id)).await?;
            Ok(RevokeJoinResponse {})
        })
        .await
    }
}

/// What is said by a member that cannot issue certificates.
pub(super) fn no_authority(core: &Core) -> Status {
    Status::new(
        Reason::FailedPrecondition,
        format!(
            "{} cannot issue certificates: set directory.authority_key to the file of the CA's key (ca.key of the cluster folder) on \
             each member of the directory, or make the node's files with `rookery init --cluster-dir`",
            core.own
        ),
    )
}

/// Where other nodes call the directory's members.
pub(super) fn addresses(core: &Core, post: &Post) -> Vec<String> {
    let own = core.picture.node(&core.own).map(|node| node.address);
    let configured = post.members.addresses();
    if configured.is_empty() {
        return own.into_iter().filter(|address| !address.is_empty()).collect();
    }
    configured
}

async fn add(
    core: &Core,
    post: &Post,
    authority: Option<&Authority>,
    request: AddNodeRequest,
) -> Result<AddNodeResponse, Status> {
    let authority = authority.ok_or_else(|| no_authority(core))?;
    if addresses(core, post).is_empty() {
        return Err(Status::new(
            Reason::FailedPrecondition,
            "further nodes have nowhere to call the directory: set node.listen in its configuration",
        ));
    }
    let role = Role::from_name(&request.role)
        .ok_or_else(|| Status::invalid("a node is a mailstore, a proxy or a directory"))?;
    let secret = draw()?;
    let wanted = Wanted {
        role,
        id: request.id,
        hosts: request.hosts,
        valid_millis: request.valid_millis,
    };
    let cluster = core.cluster.id.clone();
    let planned = secret.clone();
    let join = core
        .state
        .change(move |rows| join::add(rows, &cluster, &wanted, &planned, now_millis()))
        .await?;
    tracing::info!(node = join.node, "a join secret was made");
    Ok(AddNodeResponse {
        id: join.node,
        cluster_id: core.cluster.id.clone(),
        secret: secret.to_text(),
        ca: authority.certificate().to_owned(),
        expires_at_millis: join.expires_at_millis,
    })
}

async fn list(core: &Core) -> Result<ListJoinsResponse, Status> {
    let now = now_millis();
    let read = core
        .state
        .read(move |rows| Ok::<_, ReadError>((join::pending(rows, now)?, join::removed(rows)?)));
    let (pending, removed) = read.await??;
    let joins = pending.into_iter().map(|pending| PendingJoin {
        id: pending.node,
        role: role_name(NodeRole::try_from(pending.role).unwrap_or_default()).to_owned(),
        expires_at_millis: pending.expires_at_millis,
        redeemed: pending.expires_at_millis == 0,
    });
    Ok(ListJoinsResponse {
        joins: joins.collect(),
        removed,
    })
}

fn draw() -> Result<Secret, Status> {
    let mut secret = Secret {
        join: [0; 8],
        proof: [0; 32],
    };
    let random = SystemRandom::new();
    random
        .fill(&mut secret.join)
        .and_then(|()| random.fill(&mut secret.proof))
        .map_err(|_| Status::internal("the system gives no random bytes"))?;
    Ok(secret)
}
