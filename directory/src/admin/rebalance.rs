//! `rookery.admin.v1.Rebalance`: plans, rebalances, splits of shards, and nodes that come and go.

use std::sync::Arc;

use rookery_proto::admin::v1::rebalance_server::Rebalance;
use rookery_proto::admin::v1::*;
use rookery_proto::{Reason, Status};
use tonic::{Request, Response};

use super::{run, split};
use crate::clock::now_millis;
use crate::core::Core;
use crate::plan::node;
use crate::plan::rebalance as changes;
use crate::post::Post;
use crate::rebalance::stored::TransferRow;
use crate::rebalance::{Place, Transfer, Why, text};
use crate::rebalancer;
use crate::schema::ShardId;
use crate::schema::read::ReadError;

/// Lines of each list of a plan's text.
const LINES_MAX: usize = 40;

/// Serves the calls.
pub struct RebalanceService {
    post: Arc<Post>,
}

impl RebalanceService {
    pub(crate) fn new(post: Arc<Post>) -> Self {
        Self { post }
    }
}

macro_rules! rebalance_calls {
    ($($name:ident($request:ty) -> $response:ty = $run:path;)*) => {
        #[tonic::async_trait]
        impl Rebalance for RebalanceService {
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

rebalance_calls! {
    make_plan(MakePlanRequest) -> MakePlanResponse = make_plan;
    apply_plan(ApplyPlanRequest) -> ApplyPlanResponse = apply_plan;
    transfer_shard(TransferShardRequest) -> ApplyPlanResponse = transfer_shard;
    get_job(GetJobRequest) -> GetJobResponse = get_job;
    pause_job(PauseJobRequest) -> PauseJobResponse = pause_job;
    resume_job(ResumeJobRequest) -> ResumeJobResponse = resume_job;
    abort_job(AbortJobRequest) -> AbortJobResponse = abort_job;
    split_shard(SplitShardRequest) -> SplitShardResponse = split::begin;
    get_split(GetSplitRequest) -> GetSplitResponse = split::get;
    abort_split(AbortSplitRequest) -> AbortSplitResponse = split::abort;
    set_draining(SetDrainingRequest) -> SetDrainingResponse = set_draining;
    remove_node(RemoveNodeRequest) -> RemoveNodeResponse = remove_node;
}

async fn make_plan(core: &Core, _: MakePlanRequest) -> Result<MakePlanResponse, Status> {
    let (number, plan) = rebalancer::make_plan(core).await?;
    let json = serde_json::to_string(&plan)
        .map_err(|error| Status::internal(format!("the plan cannot be written as JSON: {error}")))?;
    Ok(MakePlanResponse {
        plan: number,
        text: text(&plan, LINES_MAX),
        json,
        transfers: plan.transfers.len() as u64,
        leads: plan.leads.len() as u64,
        bytes: plan.bytes,
        eta_seconds: plan.eta_seconds,
    })
}

async fn apply_plan(core: &Core, request: ApplyPlanRequest) -> Result<ApplyPlanResponse, Status> {
    let job = rebalancer::apply_plan(core, request.plan, limits(request.limits)).await?;
    Ok(ApplyPlanResponse { job })
}

async fn transfer_shard(core: &Core, request: TransferShardRequest) -> Result<ApplyPlanResponse, Status> {
    let id = ShardId(request.shard);
    let read = core
        .state
        .read(move |rows| Ok::<_, ReadError>((rows.shard(id)?, rows.sequences()?.placement)));
    let (shard, placement) = read.await??;
    let not_found = |message: String| Status::new(Reason::NotFound, message);
    let shard = shard.ok_or_else(|| not_found(format!("there is no shard {id}")))?;
    let from = &request.from;
    let replica = shard
        .replicas
        .iter()
        .find(|replica| replica.node == *from)
        .ok_or_else(|| not_found(format!("shard {id} has no replica on {from:?}")))?;
    let to = request.to;
    let refused = |message: String| Status::new(Reason::FailedPrecondition, message);
    match core.picture.node(&to) {
        None => return Err(not_found(format!("there is no node {to:?}"))),
        Some(node) if node.draining => return Err(refused(format!("{to} is being drained"))),
        Some(node) if !node.alive => return Err(refused(format!("{to} is silent"))),
        Some(_) => {}
    }
    if shard.replicas.iter().any(|replica| replica.node == to) {
        return Err(refused(format!("{to} has a replica of shard {id} already")));
    }
    let reports = core.reports.all();
    let load = reports.get(from).and_then(|report| report.loads.get(&id.0));
    let transfer = Transfer {
        shard: id,
        generation: shard.generation,
        from: Some(Place {
            replica: replica.id,
            node: from.clone(),
        }),
        to,
        bytes: load.map_or(0, |load| load.bytes),
        why: Why::Asked,
    };
    let transfer = TransferRow::from(&transfer);
    let job = rebalancer::begin_one(core, placement, transfer, limits(request.limits)).await?;
    Ok(ApplyPlanResponse { job })
}

async fn get_job(core: &Core, _: GetJobRequest) -> Result<GetJobResponse, Status> {
    let job = rebalancer::last_job(core)
        .await?
        .ok_or_else(|| Status::new(Reason::NotFound, "there has been no rebalance yet"))?;
    Ok(rebalancer::shown(job, &core.reports.all(), now_millis()))
}

async fn pause_job(core: &Core, _: PauseJobRequest) -> Result<PauseJobResponse, Status> {
    core.state.change(changes::pause).await?;
    core.rebalance.told();
    Ok(PauseJobResponse {})
}

async fn resume_job(core: &Core, request: ResumeJobRequest) -> Result<ResumeJobResponse, Status> {
    let limits = request.limits.map(|given| limits(Some(given)));
    core.state
        .change(move |rows| changes::resume(rows, limits))
        .await?;
    core.rebalance.told();
    Ok(ResumeJobResponse {})
}

async fn abort_job(core: &Core, _: AbortJobRequest) -> Result<AbortJobResponse, Status> {
    core.state.change(changes::abort).await?;
    core.rebalance.told();
    Ok(AbortJobResponse {})
}

async fn set_draining(core: &Core, request: SetDrainingRequest) -> Result<SetDrainingResponse, Status> {
    let SetDrainingRequest { node: id, draining } = request;
    let is_alive = core.picture.node(&id).is_some_and(|node| node.alive);
    core.state
        .change(move |rows| node::set_draining(rows, &id, draining, is_alive))
        .await?;
    Ok(SetDrainingResponse {})
}

async fn remove_node(core: &Core, request: RemoveNodeRequest) -> Result<RemoveNodeResponse, Status> {
    let RemoveNodeRequest { node: id, undo } = request;
    let is_alive = core.picture.node(&id).is_some_and(|node| node.alive);
    let now = now_millis();
    core.state
        .change(move |rows| match undo {
            true => node::readmit(rows, &id),
            false => node::remove(rows, &id, is_alive, now),
        })
        .await?;
    Ok(RemoveNodeResponse {})
}

fn limits(given: Option<Limits>) -> changes::Limits {
    let given = given.unwrap_or_default();
    changes::Limits {
        transfers_max: given.transfers_max,
        bytes_per_second: given.bytes_per_second,
    }
}
