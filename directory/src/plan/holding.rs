//! Holds: while one lasts no move of an account begins, so that shards which are read one after the other fit together.
//!
//! A hold is there until it is released, or until a move begins after its time. So whoever finds it there at the end knows that
//! none has begun since, whatever the clocks said.

use rookery_replication::{Batch, Column};

use super::{PlanError, Planned};
use crate::schema::key;
use crate::schema::read::Rows;
use crate::schema::row::{MoveHold, Row};

/// How long a hold lasts when nobody renews it, in milliseconds.
pub const HOLD_MILLIS: u64 = 60_000;

/// Holds at one time.
pub const HOLDS_MAX: usize = 8;

/// Lengths of a hold's id.
const ID_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// Takes a hold or makes it last longer; answers the addresses of accounts that are on their way still.
pub fn hold(
    rows: Rows<'_>,
    id: &str,
    is_renewed: bool,
    now_millis: u64,
) -> Result<Planned<Vec<String>>, PlanError> {
    if !ID_BYTES.contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(PlanError::Invalid(
            "a hold's id has 16 to 64 printable characters".to_owned(),
        ));
    }
    let is_there = rows.move_hold(id)?.is_some();
    if is_renewed && !is_there {
        return Err(PlanError::Precondition(
            "the directory could not be told in time that accounts are to stay in their shards, and one has begun to move"
                .to_owned(),
        ));
    }
    let mut batch = Batch::new();
    if !is_there {
        let mut lasting = 0;
        for (key, hold) in rows.move_holds()? {
            if hold.until_millis > now_millis {
                lasting += 1;
            } else {
                // Whoever had it may have been killed. If not, it hears that it has lost it.
                batch.delete(Column::Rows, key);
            }
        }
        if lasting >= HOLDS_MAX {
            return Err(PlanError::Precondition(format!(
                "{HOLDS_MAX} backups are being made: wait until one has ended"
            )));
        }
    }
    let row = MoveHold {
        until_millis: now_millis.saturating_add(HOLD_MILLIS),
    };
    batch.put(Column::Rows, key::move_hold(id), row.to_stored());
    let mut moving = Vec::new();
    for (account, row) in rows.account_moves()? {
        if row.stage().is_under_way() {
            let known = rows.account(account)?;
            moving.push(known.map_or_else(|| format!("account {account}"), |known| known.address));
        }
    }
    Ok(Planned::new(batch, moving))
}

/// Gives a hold up, if it is there.
pub fn release(rows: Rows<'_>, id: &str) -> Result<Planned<()>, PlanError> {
    let mut batch = Batch::new();
    if rows.move_hold(id)?.is_some() {
        batch.delete(Column::Rows, key::move_hold(id));
    }
    Ok(Planned::new(batch, ()))
}

/// Whether a hold lasts.
pub fn lasts(rows: Rows<'_>, now_millis: u64) -> Result<bool, PlanError> {
    let holds = rows.move_holds()?;
    Ok(holds.iter().any(|(_, hold)| hold.until_millis > now_millis))
}

/// Refuses a move that would begin while a hold lasts, and removes those whose time is over.
pub(super) fn refuse_held(rows: Rows<'_>, now_millis: u64, batch: &mut Batch) -> Result<(), PlanError> {
    for (key, hold) in rows.move_holds()? {
        if hold.until_millis > now_millis {
            return Err(PlanError::Precondition(
                "a backup is being made, which reads shard after shard: move the account when it has ended"
                    .to_owned(),
            ));
        }
        batch.delete(Column::Rows, key);
    }
    Ok(())
}
