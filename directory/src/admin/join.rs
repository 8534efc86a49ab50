//! `rookery.admin.v1.Join`: a new machine, which has nothing but a join secret, is issued its certificates.
//!
//! Anybody who reaches the listener may call, so what a call costs is bounded, and a refusal says nothing of what is here.

use std::sync::Arc;
use std::time::Duration;

use rookery_process::certificates::request::Request as CertificateRequest;
use rookery_process::certificates::{Authority, CertificateError};
use rookery_proto::admin::v1::join_server::Join;
use rookery_proto::admin::v1::{RedeemRequest, RedeemResponse};
use rookery_proto::directory::v1::NodeRole;
use rookery_proto::remote::names::NodeName;
use rookery_proto::{Reason, Role, Status};
use tokio::sync::Semaphore;
use tonic::{Request, Response};

use super::nodes::{addresses, no_authority};
use super::run;
use crate::clock::now_millis;
use crate::core::Core;
use crate::plan::join::{self, Presented, Secret};
use crate::post::Post;
use crate::schema::row;

/// Calls under way at one time.
const REDEEMS_MAX: usize = 8;

/// How long a refusal is kept back, so that guessing is slow: with the above, eight tries a second of a secret of 256 bits.
const REFUSAL_DELAY: Duration = Duration::from_secs(1);

/// The largest request, in bytes.
pub(super) const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Serves the calls.
pub struct JoinService {
    post: Arc<Post>,
    authority: Option<Arc<Authority>>,
    places: Arc<Semaphore>,
}

impl JoinService {
    pub(crate) fn new(post: Arc<Post>, authority: Option<Arc<Authority>>) -> Self {
        Self {
            post,
            authority,
            places: Arc::new(Semaphore::new(REDEEMS_MAX)),
        }
    }
}

#[tonic::async_trait]
impl Join for JoinService {
    async fn redeem(
        &self,
        request: Request<RedeemRequest>,
    ) -> Result<Response<RedeemResponse>, tonic::Status> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(tonic::Status::resource_exhausted(
                "others are joining: try again in a few seconds",
            ));
        };
        let (post, authority) = (Arc::clone(&self.post), self.authority.clone());
        run("redeem", async move {
            let core = post.core()?;
            let answer = redeem(&core, &post, authority.as_deref(), request.into_inner()).await;
            if answer
                .as_ref()
                .is_err_and(|status| status.reason == Reason::PermissionDenied)
            {
                tokio::time::sleep(REFUSAL_DELAY).await;
            }
            drop(place);
            answer
        })
        .await
    }
}

async fn redeem(
    core: &Core,
    post: &Post,
    authority: Option<&Authority>,
    request: RedeemRequest,
) -> Result<RedeemResponse, Status> {
    let authority = authority.ok_or_else(|| no_authority(core))?;
    let secret = Some(request.secret)
        .filter(|_| request.cluster_id == core.cluster.id)
        .and_then(|text| Secret::parse(&text))
        .ok_or_else(refused)?;
    let node_request = read(&request.node_request)?;
    let server_request = match request.server_request.is_empty() {
        true => None,
        false => Some(read(&request.server_request)?),
    };
    let presented = Presented {
        secret,
        key: node_request.fingerprint(),
    };
    let cluster = core.cluster.id.clone();
    let join = core
        .state
        .change(move |rows| join::redeem(rows, &cluster, &presented, now_millis()))
        .await?
        .ok_or_else(refused)?;
    let (role, names) = names(&core.cluster.id, &join)?;
    let server_certificate = match server_request {
        Some(request) if role == Role::Proxy => {
            authority.issue_for(&request, &join.hosts).map_err(not_issued)?
        }
        _ => String::new(),
    };
    let node_certificate = authority.issue_for(&node_request, &names).map_err(not_issued)?;
    tracing::info!(node = join.node, "a certificate was issued for a join secret");
    Ok(RedeemResponse {
        id: join.node,
        role: role.as_str().to_owned(),
        hosts: join.hosts,
        node_certificate,
        server_certificate,
        directory: addresses(core, post),
        shards: core.cluster.shards,
        replicas: core.cluster.replicas,
        expected_mailstores: core.cluster.expected_mailstores,
    })
}

/// Whatever is wrong with a secret.
fn refused() -> Status {
    Status::new(
        Reason::PermissionDenied,
        "the join secret is wrong, was used by another machine, has expired or was revoked: have a new one made with \
         `rookery node add`",
    )
}

fn read(request: &[u8]) -> Result<CertificateRequest, Status> {
    CertificateRequest::read(request).map_err(|error| Status::invalid(error.to_string()))
}

fn not_issued(error: CertificateError) -> Status {
    Status::internal(format!("the certificate cannot be issued: {error}"))
}

/// Who a join's certificate names: the node among nodes, then as operators reach it.
fn names(cluster: &str, join: &row::Join) -> Result<(Role, Vec<String>), Status> {
    let role = match NodeRole::try_from(join.role) {
        Ok(NodeRole::Mailstore) => Role::Mailstore,
        Ok(NodeRole::Proxy) => Role::Proxy,
        Ok(NodeRole::Directory) => Role::Directory,
        _ => return Err(Status::internal("a join secret is of no role")),
    };
    let name = NodeName::new(&join.node, role, cluster)
        .ok_or_else(|| Status::internal("a join secret is of no node"))?;
    let mut names = name.dns_names().to_vec();
    names.extend_from_slice(&join.hosts);
    Ok((role, names))
}
