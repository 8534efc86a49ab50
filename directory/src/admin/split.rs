//! `shard split`.

use std::collections::BTreeSet;

use rookery_proto::Status;
use rookery_proto::admin::v1::{
    AbortSplitRequest, AbortSplitResponse, GetSplitRequest, GetSplitResponse, LeftAccount, Split,
    SplitShardRequest, SplitShardResponse, SplitState as State,
};

use crate::clock::now_millis;
use crate::core::Core;
use crate::plan::PlanError;
use crate::plan::split::{self as changes, Seen};
use crate::schema::read::{ReadError, Rows};
use crate::schema::split::{SplitRow, SplitState};
use crate::schema::{AccountId, ShardId};

pub(super) async fn begin(core: &Core, request: SplitShardRequest) -> Result<SplitShardResponse, Status> {
    let from = ShardId(request.shard);
    let (seen, now) = (seen(core, from), now_millis());
    let row = core
        .state
        .change(move |rows| changes::begin(rows, from, &seen, now))
        .await?;
    tracing::info!(
        split = row.id,
        from = row.from,
        to = row.to,
        expected = row.expected,
        "a split begins"
    );
    core.splits.told();
    Ok(SplitShardResponse {
        split: Some(to_proto(core, row, Accounts::default())),
    })
}

pub(super) async fn get(core: &Core, _: GetSplitRequest) -> Result<GetSplitResponse, Status> {
    let read = core.state.read(|rows| {
        let row = rows
            .split()?
            .ok_or_else(|| PlanError::NotFound("no shard has been split".to_owned()))?;
        Ok::<_, PlanError>((row, accounts(rows)?))
    });
    let (row, accounts) = read.await??;
    Ok(GetSplitResponse {
        split: Some(to_proto(core, row, accounts)),
    })
}

pub(super) async fn abort(core: &Core, request: AbortSplitRequest) -> Result<AbortSplitResponse, Status> {
    let from = ShardId(request.shard);
    core.state.change(move |rows| changes::abort(rows, from)).await?;
    core.splits.told();
    Ok(AbortSplitResponse {})
}

/// What nodes have said that matters as a split begins.
fn seen(core: &Core, from: ShardId) -> Seen {
    let reports = core.reports.all();
    let has_room = |node: &String| !reports.get(node).is_some_and(crate::reports::Report::is_full);
    let open: BTreeSet<String> = core.picture.alive().into_iter().filter(has_room).collect();
    let leader = core.picture.leader(from.0).map(|(_, node)| node.id);
    let report = leader.and_then(|leader| reports.get(&leader));
    let of_shard = report.iter().flat_map(|report| &report.accounts);
    let of_shard = of_shard.filter(|account| account.shard == from.0);
    Seen {
        open,
        busiest: of_shard
            .map(|account| (AccountId(account.account), account.operations_milli))
            .collect(),
    }
}

/// The accounts that a split looks after.
#[derive(Default)]
struct Accounts {
    under_way: u32,
    waiting: u32,
    left: Vec<LeftAccount>,
}

fn accounts(rows: Rows<'_>) -> Result<Accounts, ReadError> {
    let mut accounts = Accounts::default();
    for (id, held) in rows.split_moves()? {
        if held.generation > 0 {
            accounts.under_way += 1;
        } else if !held.is_left {
            accounts.waiting += 1;
        } else {
            let address = rows.account(id)?.map(|account| account.address);
            accounts.left.push(LeftAccount {
                address: address.unwrap_or_else(|| format!("account {id}")),
                why: held.why_not,
            });
        }
    }
    Ok(accounts)
}

fn to_proto(core: &Core, row: SplitRow, accounts: Accounts) -> Split {
    let state = match row.state() {
        SplitState::Forming => State::Forming,
        SplitState::Running => State::Running,
        SplitState::Aborting => State::Aborting,
        SplitState::Done => State::Done,
        SplitState::Aborted => State::Aborted,
    };
    let waits_for = match row.state().is_under_way() {
        true => core.splits.waits_for(),
        false => String::new(),
    };
    Split {
        split: row.id,
        from_shard: row.from,
        to_shard: row.to,
        state: state.into(),
        began_at_millis: row.began_at_millis,
        ended_at_millis: row.ended_at_millis,
        expected: row.expected,
        moved: row.moved,
        under_way: accounts.under_way,
        waiting: accounts.waiting,
        left: row.left,
        left_accounts: accounts.left,
        waits_for,
    }
}
