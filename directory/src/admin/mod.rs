//! The operator's calls: `rookery.admin.v1` over gRPC, with a bearer token.

mod account;
mod alias;
pub mod auth;
mod backup;
mod busy;
mod cluster;
mod compare;
mod domain;
mod events;
mod join;
pub mod json;
pub(crate) mod listener;
mod moving;
mod nodes;
mod rebalance;
mod split;
pub(crate) mod web;

use std::sync::Arc;
use std::time::Instant;

pub use backup::BackupService;
pub use join::JoinService;
pub use nodes::NodesService;
pub use rebalance::RebalanceService;
use rookery_proto::admin::v1::admin_server::Admin;
use rookery_proto::admin::v1::*;
use rookery_proto::status::outcome;
use rookery_proto::{Reason, Status};
use tonic::{Code, Request, Response};
use tracing::Instrument;

use crate::catalogue::{ADMIN_CALL_SECONDS, ADMIN_CALLS_TOTAL};
use crate::post::Post;

/// Serves the operator's calls.
pub struct AdminService {
    post: Arc<Post>,
}

impl AdminService {
    pub(crate) fn new(post: Arc<Post>) -> Self {
        Self { post }
    }
}

/// The same reason in the words of gRPC.
fn to_tonic(status: Status) -> tonic::Status {
    let code = match status.reason {
        Reason::NotFound => Code::NotFound,
        Reason::AlreadyExists => Code::AlreadyExists,
        Reason::InvalidArgument => Code::InvalidArgument,
        Reason::FailedPrecondition => Code::FailedPrecondition,
        Reason::PermissionDenied => Code::PermissionDenied,
        Reason::Unavailable | Reason::NotLeader => Code::Unavailable,
        Reason::DeadlineExceeded => Code::DeadlineExceeded,
        Reason::LimitExceeded => Code::ResourceExhausted,
        _ => Code::Internal,
    };
    tonic::Status::new(code, status.message)
}

/// What a shard said, as something that the operator may try again when it is.
fn of_shard(shard: u32, status: Status) -> Status {
    let message = format!("shard {shard}: {}", status.message);
    if status.is_retryable() {
        Status::unavailable(message)
    } else {
        Status::new(status.reason, message)
    }
}

/// Runs a call in a task of its own, so that one whose caller goes away is still done as a whole.
async fn run<T: Send + 'static>(
    name: &'static str,
    call: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<Response<T>, tonic::Status> {
    let began = Instant::now();
    let task = tokio::spawn(call.instrument(tracing::info_span!("admin_call", call = name)));
    let result = task
        .await
        .unwrap_or_else(|_| Err(Status::internal("the call failed; see the log")));
    ADMIN_CALLS_TOTAL.with(&[name, outcome(&result)]).increment(1);
    ADMIN_CALL_SECONDS.since(&[name], began);
    match result {
        Ok(reply) => Ok(Response::new(reply)),
        Err(status) => {
            if status.reason == Reason::Internal {
                tracing::error!(call = name, %status, "an admin call failed");
            }
            Err(to_tonic(status))
        }
    }
}

macro_rules! admin_calls {
    ($($name:ident($request:ty) -> $response:ty = $run:path;)*) => {
        #[tonic::async_trait]
        impl Admin for AdminService {
            $(
                async fn $name(&self, request: Request<$request>) -> Result<Response<$response>, tonic::Status> {
                    let post = Arc::clone(&self.post);
                    run(stringify!($name), async move {
                        let core = post.core()?;
                        $run(&core, request.into_inner()).await
                    })
                    .await
                }
            )*
        }
    };
}

admin_calls! {
    add_domain(AddDomainRequest) -> AddDomainResponse = domain::add;
    list_domains(ListDomainsRequest) -> ListDomainsResponse = domain::list;
    remove_domain(RemoveDomainRequest) -> RemoveDomainResponse = domain::remove;
    add_accounts(AddAccountsRequest) -> AddAccountsResponse = account::add;
    list_accounts(ListAccountsRequest) -> ListAccountsResponse = account::list;
    get_account(GetAccountRequest) -> GetAccountResponse = account::get;
    set_password(SetPasswordRequest) -> SetPasswordResponse = account::set_password;
    set_quota(SetQuotaRequest) -> SetQuotaResponse = account::set_quota;
    set_suspended(SetSuspendedRequest) -> SetSuspendedResponse = account::set_suspended;
    delete_account(DeleteAccountRequest) -> DeleteAccountResponse = account::delete;
    move_account(MoveAccountRequest) -> MoveAccountResponse = moving::begin;
    get_account_move(GetAccountMoveRequest) -> GetAccountMoveResponse = moving::get;
    add_alias(AddAliasRequest) -> AddAliasResponse = alias::add;
    list_aliases(ListAliasesRequest) -> ListAliasesResponse = alias::list;
    remove_alias(RemoveAliasRequest) -> RemoveAliasResponse = alias::remove;
    list_nodes(ListNodesRequest) -> ListNodesResponse = cluster::list_nodes;
    list_shards(ListShardsRequest) -> ListShardsResponse = cluster::list_shards;
    compare_replicas(CompareReplicasRequest) -> CompareReplicasResponse = compare::compare;
    list_busy_accounts(ListBusyAccountsRequest) -> ListBusyAccountsResponse = busy::list;
    get_status(GetStatusRequest) -> GetStatusResponse = cluster::status;
    list_events(ListEventsRequest) -> ListEventsResponse = events::list;
}
