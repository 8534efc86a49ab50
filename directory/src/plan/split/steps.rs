//! What is next of a split: how moves have ended is taken in, others begin while there is room, and when nothing is left it ends.
//!
//! A step is one mutation; one that comes twice finds done what it would do.

use rookery_replication::{Batch, Column};

use super::super::moving::{self, MOVES_MAX};
use super::super::{PlanError, Planned, holding};
use super::{LEFT_NAMED_MAX, MOVES_AT_ONCE, Page, halves};
use crate::events;
use crate::schema::read::{ReadError, Rows};
use crate::schema::row::{self, Life, MoveStage, Row};
use crate::schema::split::{SplitMove, SplitRow, SplitState};
use crate::schema::{AccountId, ShardId, key};

/// Accounts that wait to be tried again; while there are more, no others set out.
const WAITING_MAX: usize = 64;

/// How often an account may fail to go before it is left behind.
const TRIES_MAX: u32 = 5;

/// Pause before an account is tried for the second time, in milliseconds; it doubles with each try.
const TRY_PAUSE_MILLIS: u64 = 5_000;

/// What a step has come to.
#[derive(Debug)]
pub struct Step {
    /// The split as it is now.
    pub row: SplitRow,
    /// Accounts whose moves have begun.
    pub begun: Vec<AccountId>,
    /// What the split waits for beside moves that are under way; empty: nothing.
    pub waits_for: String,
}

/// Takes in how moves of a split have ended, and begins others. `full` names a node of the new shard that has no room; empty: all have.
pub fn step(rows: Rows<'_>, id: u64, page: &Page, full: &str, now: u64) -> Result<Planned<Step>, PlanError> {
    let row = rows
        .split()?
        .filter(|row| row.id == id && row.state().is_under_way())
        .ok_or_else(|| PlanError::NotFound(format!("split {id} is over")))?;
    let mut work = Work {
        rows,
        before: row.clone(),
        row,
        now,
        batch: Batch::new(),
        under_way: 0,
        waiting: Vec::new(),
        named: 0,
        begun: Vec::new(),
        waits_for: String::new(),
    };
    work.settle()?;
    match work.row.state() {
        SplitState::Aborting if work.under_way == 0 => work.end(SplitState::Aborted),
        SplitState::Forming => {
            let formed = rows
                .shard(ShardId(work.row.to))?
                .is_some_and(|shard| shard.formed);
            if formed {
                work.row.state = SplitState::Running.into();
                work.go_on(page, full)?;
            } else {
                work.waits_for = format!("the mailstores of shard {} to open it", work.row.to);
            }
        }
        SplitState::Running => work.go_on(page, full)?,
        _ => {}
    }
    Ok(work.planned())
}

/// A step that is being planned.
struct Work<'a> {
    rows: Rows<'a>,
    before: SplitRow,
    row: SplitRow,
    now: u64,
    batch: Batch,
    /// Moves that were begun before and have not ended.
    under_way: usize,
    /// Accounts that are to be tried again.
    waiting: Vec<(AccountId, SplitMove)>,
    /// Accounts that are named as left behind.
    named: usize,
    begun: Vec<AccountId>,
    waits_for: String,
}

impl Work<'_> {
    /// Takes in how moves have ended.
    fn settle(&mut self) -> Result<(), PlanError> {
        for (id, held) in self.rows.split_moves()? {
            if held.is_left {
                self.named += 1;
            } else if held.generation == 0 {
                self.waiting.push((id, held));
            } else {
                self.settle_one(id, held)?;
            }
        }
        Ok(())
    }

    fn settle_one(&mut self, id: AccountId, held: SplitMove) -> Result<(), PlanError> {
        let moved = self.rows.account_move(id)?;
        let moved = moved.filter(|moved| moved.generation == held.generation);
        if moved.as_ref().is_some_and(|moved| moved.stage().is_under_way()) {
            self.under_way += 1;
            return Ok(());
        }
        let why_not = match moved {
            Some(moved) if moved.stage() == MoveStage::Reverted => moved.why_not,
            Some(_) => {
                // Nobody asked for this one by itself, and a shard has many.
                self.batch.delete(Column::Rows, key::account_move(id));
                self.row.moved += 1;
                self.forget(id);
                return Ok(());
            }
            None => "its move is not known any more".to_owned(),
        };
        match self.rows.account(id)? {
            Some(account) if account.shard == self.row.from => {
                if let Some(waiting) = self.postpone(id, held.tries, why_not) {
                    self.waiting.push((id, waiting));
                }
            }
            account => {
                // Its move was forgotten before this was looked at, or it has gone for ever.
                self.row.moved += u64::from(account.is_some_and(|account| account.shard == self.row.to));
                self.forget(id);
            }
        }
        Ok(())
    }

    fn forget(&mut self, id: AccountId) {
        self.batch.delete(Column::Rows, key::split_move(id));
    }

    /// Has an account be tried again later, or leaves it behind; its row in the first case.
    fn postpone(&mut self, id: AccountId, tries: u32, why_not: String) -> Option<SplitMove> {
        let tries = tries + 1;
        let mut held = SplitMove {
            generation: 0,
            tries,
            not_before_millis: self.now.saturating_add(TRY_PAUSE_MILLIS << (tries - 1).min(10)),
            why_not,
            is_left: tries >= TRIES_MAX,
        };
        if !held.is_left {
            self.put(id, &held);
            return Some(held);
        }
        self.row.left += 1;
        held.not_before_millis = 0;
        if self.named < LEFT_NAMED_MAX {
            self.named += 1;
            self.put(id, &held);
        } else {
            self.forget(id);
        }
        None
    }

    fn put(&mut self, id: AccountId, held: &SplitMove) {
        self.batch
            .put(Column::Rows, key::split_move(id), held.to_stored());
    }

    /// Begins moves while there is room, and ends the split when nothing is left.
    fn go_on(&mut self, page: &Page, full: &str) -> Result<(), PlanError> {
        let mut room = self.room(full)?;
        for (id, held) in std::mem::take(&mut self.waiting) {
            if room == 0 || held.not_before_millis > self.now {
                self.waiting.push((id, held));
                continue;
            }
            match self.of_the_shard(id)? {
                Some(account) => room -= self.set_out(id, &account, held.tries)?,
                None => self.forget(id),
            }
        }
        // One that is for other rows, as of before another member led, has nothing to say.
        if page.after == self.row.after {
            self.decide(page, room)?;
        }
        let is_over = self.row.after >= self.row.last
            && self.under_way == 0
            && self.begun.is_empty()
            && self.waiting.is_empty();
        if is_over {
            self.waits_for.clear();
            self.end(SplitState::Done);
        }
        Ok(())
    }

    /// How many moves may be begun now; says why there can be none.
    fn room(&mut self, full: &str) -> Result<usize, PlanError> {
        self.waits_for = if let Some(job) = self.rows.job()?.filter(|job| job.state().is_under_way()) {
            // Replicas that are lost or to go come first, and two kinds of moves at once would make either slow.
            format!("the end of rebalance {}", job.id)
        } else if holding::lasts(self.rows, self.now)? {
            "the end of a backup, which reads shard after shard".to_owned()
        } else if !full.is_empty() {
            format!("room on the disk of {full}, which holds shard {}", self.row.to)
        } else {
            String::new()
        };
        if !self.waits_for.is_empty() {
            return Ok(0);
        }
        let all = moving::count_under_way(&self.rows.account_moves()?);
        if all >= MOVES_MAX {
            self.waits_for = format!("the end of one of {MOVES_MAX} moves of accounts");
        }
        let own = MOVES_AT_ONCE.saturating_sub(self.under_way);
        Ok(own.min(MOVES_MAX.saturating_sub(all)))
    }

    /// The account, if it is one of the shard that can go, now or later.
    fn of_the_shard(&self, id: AccountId) -> Result<Option<row::Account>, ReadError> {
        let account = self.rows.account(id)?;
        // A deleted one stays where it is until its mail goes.
        Ok(account.filter(|account| account.shard == self.row.from && account.life() != Life::Deleted))
    }

    /// Decides of the accounts of a page, in their order, which of them go, while there is room for one to set out.
    fn decide(&mut self, page: &Page, mut room: usize) -> Result<(), PlanError> {
        for id in &page.found {
            if room == 0 || self.waiting.len() >= WAITING_MAX {
                return Ok(());
            }
            if let Some(account) = self.of_the_shard(*id)?
                && halves::goes(&mut self.row, *id)
            {
                room -= self.set_out(*id, &account, 0)?;
            }
            self.row.after = id.0;
        }
        self.row.after = page.until;
        Ok(())
    }

    /// Begins the move of an account, or has it be tried later. Answers how many have begun.
    fn set_out(&mut self, id: AccountId, account: &row::Account, tries: u32) -> Result<usize, PlanError> {
        if let Some(why_not) = moving::why_not_now(self.rows, id, account)? {
            if let Some(waiting) = self.postpone(id, tries, why_not) {
                self.waiting.push((id, waiting));
            }
            return Ok(0);
        }
        if self.begun.is_empty() {
            holding::refuse_held(self.rows, self.now, &mut self.batch)?;
        }
        let moved = moving::put_new(&mut self.batch, id, account, ShardId(self.row.to), self.now);
        let held = SplitMove {
            generation: moved.generation,
            tries,
            ..SplitMove::default()
        };
        self.put(id, &held);
        self.begun.push(id);
        Ok(1)
    }

    fn end(&mut self, state: SplitState) {
        for (id, _) in std::mem::take(&mut self.waiting) {
            self.forget(id);
        }
        self.row.state = state.into();
        self.row.ended_at_millis = self.now;
    }

    fn planned(mut self) -> Planned<Step> {
        if self.row != self.before {
            self.batch.put(Column::Rows, key::split(), self.row.to_stored());
        }
        let is_over = !self.row.state().is_under_way();
        let ended = is_over.then(|| events::split_ended(&self.row));
        let step = Step {
            row: self.row,
            begun: self.begun,
            waits_for: self.waits_for,
        };
        Planned::new(self.batch, step).telling(ended)
    }
}
