//! `account move`.

use rookery_proto::admin::v1::{
    AccountMove, GetAccountMoveRequest, GetAccountMoveResponse, MoveAccountRequest, MoveAccountResponse,
    MoveState,
};
use rookery_proto::{Reason, Status};

use crate::clock::now_millis;
use crate::core::Core;
use crate::plan::PlanError;
use crate::plan::{account, moving};
use crate::schema::row::{self, MoveStage};
use crate::schema::{AccountId, ShardId};

pub(super) async fn begin(core: &Core, request: MoveAccountRequest) -> Result<MoveAccountResponse, Status> {
    let (address, to) = (request.address, ShardId(request.to_shard));
    refuse_full(core, to)?;
    let now = now_millis();
    let begun = core
        .state
        .change(move |rows| moving::begin(rows, &address, to, now));
    let (id, row) = begun.await?;
    tracing::info!(
        account = id.0,
        from = row.from,
        to = row.to,
        generation = row.generation,
        "a move of an account begins"
    );
    core.moves.begun(id);
    Ok(MoveAccountResponse {
        r#move: Some(to_proto(core, id, row)),
    })
}

pub(super) async fn get(
    core: &Core,
    request: GetAccountMoveRequest,
) -> Result<GetAccountMoveResponse, Status> {
    let read = core.state.read(move |rows| {
        let (id, _) = account::find(rows, &request.address)?;
        let row = rows
            .account_move(id)?
            .ok_or_else(|| PlanError::NotFound(format!("{} has not been moved lately", request.address)))?;
        Ok::<_, PlanError>((id, row))
    });
    let (id, row) = read.await??;
    Ok(GetAccountMoveResponse {
        r#move: Some(to_proto(core, id, row)),
    })
}

/// Refuses a shard that has a replica on a node whose disk has no room.
fn refuse_full(core: &Core, to: ShardId) -> Result<(), Status> {
    let shards = core.picture.shards();
    let members = shards.into_iter().filter(|shard| shard.id == to.0);
    let nodes: Vec<String> = members
        .flat_map(|shard| shard.members)
        .map(|member| member.node)
        .collect();
    let reports = core.reports.all();
    let mut full = reports
        .iter()
        .filter(|(node, report)| report.is_full() && nodes.contains(node));
    match full.next() {
        None => Ok(()),
        Some((node, _)) => Err(Status::new(
            Reason::FailedPrecondition,
            format!(
                "the disk of {node}, which holds shard {to}, is nearly full: make room, or name another shard"
            ),
        )),
    }
}

fn to_proto(core: &Core, id: AccountId, row: row::AccountMove) -> AccountMove {
    let progress = core.moves.progress(id);
    let state = match row.stage() {
        MoveStage::Copying => MoveState::Copying,
        MoveStage::Freezing => MoveState::Freezing,
        MoveStage::Switching => MoveState::Switching,
        MoveStage::Reverting => MoveState::Reverting,
        MoveStage::Done => MoveState::Done,
        MoveStage::Reverted => MoveState::Reverted,
    };
    AccountMove {
        from_shard: row.from,
        to_shard: row.to,
        generation: row.generation,
        state: state.into(),
        began_at_millis: row.began_at_millis,
        ended_at_millis: row.ended_at_millis,
        why_not: row.why_not,
        rows: progress.rows,
        bytes: progress.bytes,
        frozen_micros: u64::try_from(progress.frozen.as_micros()).unwrap_or(u64::MAX),
        waits_for: progress.waits_for,
    }
}
