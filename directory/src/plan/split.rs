//! Splits of shards: a new shard beside an old one, about half of the old one's accounts sent there by moves, and the end of it.
//!
//! [`begin`] makes the shard and the split's row, [`step`] does what is next: it takes in how moves have ended, and begins others. All
//! is in rows, so that whoever leads goes on. Which accounts go is for `halves` to say.

mod halves;
mod steps;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use rookery_proto::directory::v1::NodeRole;
use rookery_replication::{Batch, Column};

use super::moving::MOVES_MAX;
use super::{PlanError, Planned, shard};
use crate::config::SHARDS_MAX;
use crate::events::{self, Kind};
use crate::placement::beside::{Site, beside};
use crate::schema::read::{ReadError, Rows};
use crate::schema::row::{self, Life, Row};
use crate::schema::split::{SplitRow, SplitState};
use crate::schema::{AccountId, ShardId, key};

pub use steps::{Step, step};

/// Accounts of a split that are on their way at one time: half of what may be moved, the other half is the operator's.
pub const MOVES_AT_ONCE: usize = MOVES_MAX / 2;

/// Accounts that are named in the end because they were left behind.
pub const LEFT_NAMED_MAX: usize = 100;

/// Accounts of one page of those that are still to be decided on.
const FOUND_MAX: usize = 2 * MOVES_AT_ONCE;

/// Rows of accounts, of whatever shard, that are read for one page.
const LOOKED_MAX: usize = 20_000;

/// What is known beside the rows as a split begins.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Mailstores that are there and whose disks have room.
    pub open: BTreeSet<String>,
    /// The shard's busiest accounts with the calls a second that are made for each, in thousandths.
    pub busiest: Vec<(AccountId, u64)>,
}

/// Makes a shard, and begins to give it about half of the accounts of this one.
pub fn begin(rows: Rows<'_>, from: ShardId, seen: &Seen, now: u64) -> Result<Planned<SplitRow>, PlanError> {
    let old = rows
        .shard(from)?
        .ok_or_else(|| PlanError::NotFound(format!("there is no shard {from}")))?;
    let accounts = rows.counter(&key::count_shard_accounts(from))?;
    refuse(rows, from, &old, accounts)?;
    let shards = rows.shards()?;
    let to = ShardId(shards.iter().map(|(id, _)| id.0 + 1).max().unwrap_or(0));
    if to.0 >= SHARDS_MAX {
        return Err(PlanError::Precondition(format!(
            "a cluster has {SHARDS_MAX} shards at most"
        )));
    }
    let nodes: Vec<String> = old.replicas.iter().map(|replica| replica.node.clone()).collect();
    let sites = sites(rows, &shards, &seen.open)?;
    let nodes = beside(to, &nodes, &sites).ok_or_else(|| {
        PlanError::Precondition(format!(
            "there is no place for a shard with {} replicas: too few mailstores are there, have room, and are not being drained",
            nodes.len()
        ))
    })?;

    let mut sequences = rows.sequences()?;
    let mut new = row::Shard {
        generation: 1,
        added: true,
        ..row::Shard::default()
    };
    for node in &nodes {
        sequences.replicas += 1;
        new.replicas.push(row::Replica {
            id: sequences.replicas,
            node: node.clone(),
            taken: false,
        });
    }
    sequences.placement += 1;
    sequences.splits += 1;
    let row = halves::halved(
        SplitRow {
            id: sequences.splits,
            from: from.0,
            to: to.0,
            state: SplitState::Forming.into(),
            began_at_millis: now,
            last: sequences.accounts,
            ..SplitRow::default()
        },
        accounts,
        &busiest(rows, from, seen)?,
    );
    let mut batch = Batch::new();
    // Those that an earlier split has left behind.
    for (id, _) in rows.split_moves()? {
        batch.delete(Column::Rows, key::split_move(id));
    }
    batch.put(Column::Rows, key::sequences(), sequences.to_stored());
    batch.put(Column::Rows, key::shard(to), new.to_stored());
    batch.put(Column::Rows, key::split(), row.to_stored());
    let begun = events::split_begun(&row, &nodes);
    let mut planned = Planned::new(batch, row).telling([begun]);
    planned.event.shards.push(shard::to_proto(to, new));
    Ok(planned)
}

fn refuse(rows: Rows<'_>, from: ShardId, old: &row::Shard, accounts: u64) -> Result<(), PlanError> {
    let refused = |message: String| Err(PlanError::Precondition(message));
    if let Some(other) = rows.split()?.filter(|split| split.state().is_under_way()) {
        return refused(format!(
            "split {} of shard {} is under way: wait for its end, or abort it",
            other.id, other.from
        ));
    }
    if let Some(job) = rows.job()?.filter(|job| job.state().is_under_way()) {
        return refused(format!(
            "rebalance {} is under way: wait for its end, or abort it",
            job.id
        ));
    }
    if rows.restore()?.is_some() {
        return refused("a restore is under way: run it to its end".to_owned());
    }
    if !old.formed {
        return refused(format!(
            "shard {from} is not served yet: wait until its replicas are open"
        ));
    }
    if accounts < 2 {
        return refused(format!(
            "shard {from} has {accounts} accounts: it takes two to give away half"
        ));
    }
    Ok(())
}

/// The mailstores, and what is placed on them.
fn sites(
    rows: Rows<'_>,
    shards: &[(ShardId, row::Shard)],
    open: &BTreeSet<String>,
) -> Result<Vec<Site>, ReadError> {
    let nodes = rows.nodes()?.into_iter();
    let mailstores = nodes.filter(|(_, node)| node.role == i32::from(NodeRole::Mailstore));
    let site = |(id, node): (String, row::Node)| {
        let replicas = shards.iter().flat_map(|(_, shard)| &shard.replicas);
        Site {
            replicas: u32::try_from(replicas.filter(|replica| replica.node == id).count())
                .unwrap_or(u32::MAX),
            is_open: open.contains(&id) && !node.draining,
            zone: node.zone,
            weight: node.weight,
            id,
        }
    };
    Ok(mailstores.map(site).collect())
}

/// The busiest accounts that are in the shard, as far as they are known.
fn busiest(rows: Rows<'_>, from: ShardId, seen: &Seen) -> Result<Vec<(AccountId, u64)>, ReadError> {
    let mut busiest = Vec::new();
    for (id, operations_milli) in &seen.busiest {
        let account = rows.account(*id)?;
        if account.is_some_and(|account| account.shard == from.0 && account.life() == Life::Live) {
            busiest.push((*id, *operations_milli));
        }
    }
    Ok(busiest)
}

/// No account of the shard sets out any more; what has gone stays where it is.
pub fn abort(rows: Rows<'_>, from: ShardId) -> Result<Planned<SplitRow>, PlanError> {
    let under_way = rows.split()?.filter(|row| row.state().is_under_way());
    let mut row = under_way
        .filter(|row| row.from == from.0)
        .ok_or_else(|| PlanError::Precondition(format!("no split of shard {from} is under way")))?;
    if row.state() == SplitState::Aborting {
        return Ok(Planned::new(Batch::new(), row));
    }
    row.state = SplitState::Aborting.into();
    let mut batch = Batch::new();
    batch.put(Column::Rows, key::split(), row.to_stored());
    let aborting = events::of_split(Kind::SplitAborting, &row, "is being aborted");
    Ok(Planned::new(batch, row).telling([aborting]))
}

/// Some of the accounts of a shard that is split, which are to be decided on next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// They come after this one.
    pub after: u64,
    /// The accounts, ascending.
    pub found: Vec<AccountId>,
    /// There are no others up to this one.
    pub until: u64,
}

/// The split that is under way, and the accounts that come next.
pub fn under_way(rows: Rows<'_>) -> Result<Option<(SplitRow, Page)>, ReadError> {
    let Some(row) = rows.split()?.filter(|row| row.state().is_under_way()) else {
        return Ok(None);
    };
    let mut page = Page {
        after: row.after,
        found: Vec::new(),
        until: row.after,
    };
    if row.state() != SplitState::Aborting && row.after < row.last {
        page.until = row.last;
        let mut looked = 0;
        let range = key::accounts_between(AccountId(row.after), AccountId(row.last));
        rows.scan(&range, |key, account: row::Account| {
            let Some(id) = key::read_account(key) else {
                return ControlFlow::Continue(());
            };
            looked += 1;
            if account.shard == row.from {
                page.found.push(id);
            }
            if page.found.len() < FOUND_MAX && looked < LOOKED_MAX {
                return ControlFlow::Continue(());
            }
            page.until = id.0;
            ControlFlow::Break(())
        })?;
    }
    Ok(Some((row, page)))
}
