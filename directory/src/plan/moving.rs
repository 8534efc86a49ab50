//! Moves of accounts to other shards: begun, switched or taken back, ended. Every step is one mutation, and one that comes late
//! for a move that is over is refused.

use rookery_replication::{Batch, Column};

use super::account::{DUE_AT_ONCE, find};
use super::{PlanError, Planned, holding};
use crate::schema::read::Rows;
use crate::schema::row::{self, AccountMove, Life, MoveStage, Row};
use crate::schema::{AccountId, ShardId, key};

/// Moves that may be under way at one time.
pub const MOVES_MAX: usize = 16;

/// How long it is remembered how a move ended, in milliseconds.
const ENDED_KEPT_MILLIS: u64 = 24 * 60 * 60 * 1_000;

/// Begins to move an account.
pub fn begin(
    rows: Rows<'_>,
    address: &str,
    to: ShardId,
    now_millis: u64,
) -> Result<Planned<(AccountId, AccountMove)>, PlanError> {
    let (id, account) = find(rows, address)?;
    let shard = rows.shard(to)?;
    let shard = shard.ok_or_else(|| PlanError::NotFound(format!("there is no shard {to}")))?;
    let refused = |message: String| Err(PlanError::Precondition(message));
    if let Some(why_not) = why_not_now(rows, id, &account)? {
        return refused(why_not);
    }
    if account.shard == to.0 {
        return refused(format!("{address} is in shard {to} already"));
    }
    if !shard.formed {
        return refused(format!(
            "shard {to} is not served yet: wait until its replicas are open"
        ));
    }
    let moves = rows.account_moves()?;
    if count_under_way(&moves) >= MOVES_MAX {
        return refused(format!(
            "{MOVES_MAX} accounts are being moved: wait until one has ended"
        ));
    }
    let mut batch = Batch::new();
    holding::refuse_held(rows, now_millis, &mut batch)?;
    for (old, known) in moves {
        let is_old = known.ended_at_millis.saturating_add(ENDED_KEPT_MILLIS) < now_millis;
        if is_old && !known.stage().is_under_way() {
            batch.delete(Column::Rows, key::account_move(old));
        }
    }
    let row = put_new(&mut batch, id, &account, to, now_millis);
    Ok(Planned::new(batch, (id, row)))
}

/// Why an account cannot begin to move now, wherever to.
pub(super) fn why_not_now(
    rows: Rows<'_>,
    id: AccountId,
    account: &row::Account,
) -> Result<Option<String>, PlanError> {
    let address = &account.address;
    if account.life() != Life::Live {
        return Ok(Some(format!(
            "{address} is not live: an account that is made or deleted is not moved"
        )));
    }
    let known = rows.account_move(id)?;
    Ok(known.filter(|known| known.stage().is_under_way()).map(|known| {
        let shard = known.to;
        format!("{address} is being moved to shard {shard}: wait until that has ended")
    }))
}

/// How many of these moves are under way.
pub(super) fn count_under_way(moves: &[(AccountId, AccountMove)]) -> usize {
    let under_way = moves.iter().filter(|(_, known)| known.stage().is_under_way());
    under_way.count()
}

/// Writes the row with which a move begins.
pub(super) fn put_new(
    batch: &mut Batch,
    id: AccountId,
    account: &row::Account,
    to: ShardId,
    now_millis: u64,
) -> AccountMove {
    let row = AccountMove {
        from: account.shard,
        to: to.0,
        generation: account.generation + 1,
        began_at_millis: now_millis,
        ..AccountMove::default()
    };
    put(batch, id, &row);
    row
}

/// Another try to copy the account.
pub fn try_again(rows: Rows<'_>, id: AccountId, generation: u64) -> Result<Planned<AccountMove>, PlanError> {
    let mut row = under_way(rows, id, generation, &[MoveStage::Copying, MoveStage::Freezing])?;
    row.attempt += 1;
    Ok(planned(id, row))
}

/// All but the last rows are copied.
pub fn freeze(rows: Rows<'_>, id: AccountId, generation: u64) -> Result<Planned<AccountMove>, PlanError> {
    let mut row = under_way(rows, id, generation, &[MoveStage::Copying])?;
    row.stage = MoveStage::Freezing.into();
    Ok(planned(id, row))
}

/// All rows are copied, and the account is frozen: it belongs to the other shard from now on.
pub fn switch(rows: Rows<'_>, id: AccountId, generation: u64) -> Result<Planned<AccountMove>, PlanError> {
    let mut row = under_way(rows, id, generation, &[MoveStage::Freezing])?;
    let mut account = rows
        .account(id)?
        .ok_or_else(|| PlanError::Precondition("the account has been removed".to_owned()))?;
    account.shard = row.to;
    account.generation = generation;
    row.stage = MoveStage::Switching.into();
    let mut batch = Batch::new();
    batch.put(Column::Rows, key::account(id), account.to_stored());
    batch.add(key::count_shard_accounts(ShardId(row.from)), -1);
    batch.add(key::count_shard_accounts(ShardId(row.to)), 1);
    put(&mut batch, id, &row);
    let to = ShardId(row.to);
    Ok(Planned::new(batch, row).account_moved(id, to))
}

/// The account is to stay where it was, under a generation above the move's.
pub fn revert(
    rows: Rows<'_>,
    id: AccountId,
    generation: u64,
    why_not: &str,
) -> Result<Planned<AccountMove>, PlanError> {
    let mut row = under_way(rows, id, generation, &[MoveStage::Copying, MoveStage::Freezing])?;
    row.stage = MoveStage::Reverting.into();
    row.why_not = why_not.to_owned();
    let mut batch = Batch::new();
    if let Some(mut account) = rows.account(id)? {
        account.generation = generation + 1;
        batch.put(Column::Rows, key::account(id), account.to_stored());
    }
    put(&mut batch, id, &row);
    Ok(Planned::new(batch, row))
}

/// The shards know where the account is.
pub fn end(
    rows: Rows<'_>,
    id: AccountId,
    generation: u64,
    now_millis: u64,
) -> Result<Planned<AccountMove>, PlanError> {
    let mut row = under_way(
        rows,
        id,
        generation,
        &[MoveStage::Switching, MoveStage::Reverting],
    )?;
    let ended = match row.stage() {
        MoveStage::Switching => MoveStage::Done,
        _ => MoveStage::Reverted,
    };
    row.stage = ended.into();
    row.ended_at_millis = now_millis;
    let mut batch = Batch::new();
    if rows
        .account(id)?
        .is_some_and(|account| account.life() == Life::Live)
    {
        // What its shard was told meanwhile, as of its quota, is told again where it is now.
        batch.put(Column::Rows, key::due(DUE_AT_ONCE, id), Vec::new());
    }
    put(&mut batch, id, &row);
    Ok(Planned::new(batch, row))
}

/// The move, if it is the one of this generation and stands so.
fn under_way(
    rows: Rows<'_>,
    id: AccountId,
    generation: u64,
    stages: &[MoveStage],
) -> Result<AccountMove, PlanError> {
    let row = rows.account_move(id)?;
    row.filter(|row| row.generation == generation && stages.contains(&row.stage()))
        .ok_or_else(|| PlanError::Precondition(format!("the move of account {id} stands otherwise by now")))
}

fn planned(id: AccountId, row: AccountMove) -> Planned<AccountMove> {
    let mut batch = Batch::new();
    put(&mut batch, id, &row);
    Planned::new(batch, row)
}

fn put(batch: &mut Batch, id: AccountId, row: &AccountMove) {
    batch.put(Column::Rows, key::account_move(id), row.to_stored());
}
