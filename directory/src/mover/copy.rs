//! The rows of an account on their way from the shard that it leaves to the one that gets it.
//!
//! Rows are read at one moment and handed on piece by piece, the next when the last is durable: first all, then what has
//! changed since. A try that fails is not gone on with: the next has a number of its own, which ends what is late of this.

use std::time::{Duration, Instant};

use prost::Message;
use rookery_proto::mailstore::v1::{self as mailstore, MovedRows, reply, request};
use rookery_proto::{Reason, Status};

use super::{CALL_TIMEOUT, ask, ask_with};
use crate::clock::now_millis;
use crate::core::Core;
use crate::plan::holding;
use crate::schema::AccountId;
use crate::schema::row::AccountMove;

/// How long reading an account may take.
const EXPORT_MAX: Duration = Duration::from_secs(6 * 60 * 60);

/// So few rows, once they are what has changed, are copied while the account is frozen.
const LAST_ROWS_MAX: u64 = 200;

/// How often it is caught up with what changes, at most, before the account is frozen all the same.
const CATCH_UPS_MAX: u32 = 20;

/// Pauses before the account is tried to be frozen again, the last of which repeats.
const FREEZE_PAUSES: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
];

/// How long to wait until the account can be frozen: longer than an upload that nobody goes on with is kept.
const FREEZE_WAIT_MAX: Duration = Duration::from_secs(70 * 60);

/// How long to have waited for that when a backup waits for the move.
const FREEZE_WAIT_HELD: Duration = Duration::from_secs(30);

/// A try to copy an account.
pub(super) struct Copying<'a> {
    core: &'a Core,
    id: AccountId,
    row: &'a AccountMove,
    /// Notes of changes from this one on are to be copied.
    since: u64,
}

impl<'a> Copying<'a> {
    /// Has the one shard note what changes, and the other expect the account.
    pub(super) async fn begin(core: &'a Core, id: AccountId, row: &'a AccountMove) -> Result<Self, Status> {
        let leave = request::Call::LeaveAccount(mailstore::LeaveAccount {
            shard: row.from,
            account: id.0,
            generation: row.generation,
        });
        ask(core, row.from, leave).await?;
        let receive = request::Call::ReceiveAccount(mailstore::ReceiveAccount {
            shard: row.to,
            account: id.0,
            generation: row.generation,
            attempt: row.attempt,
        });
        ask(core, row.to, receive).await?;
        Ok(Self {
            core,
            id,
            row,
            since: 0,
        })
    }

    /// Copies all rows. What was noted before comes again: it tells what an earlier try has copied and has gone since.
    pub(super) async fn copy_all(&mut self) -> Result<(), Status> {
        self.pass(None).await?;
        Ok(())
    }

    /// Copies what has changed until that is little.
    pub(super) async fn catch_up(&mut self) -> Result<(), Status> {
        for _ in 0..CATCH_UPS_MAX {
            if self.follow().await? <= LAST_ROWS_MAX {
                break;
            }
        }
        Ok(())
    }

    /// Copies what has changed since the last time; answers how many rows that were.
    pub(super) async fn follow(&mut self) -> Result<u64, Status> {
        let (rows, next) = self.pass(Some(self.since)).await?;
        self.since = next;
        Ok(rows)
    }

    /// Freezes the account as soon as it can be; answers its last modseq.
    pub(super) async fn freeze(&mut self) -> Result<u64, Status> {
        let began = Instant::now();
        let mut tries = 0;
        loop {
            let freeze = request::Call::FreezeAccount(mailstore::FreezeAccount {
                shard: self.row.from,
                account: self.id.0,
                generation: self.row.generation,
            });
            match ask(self.core, self.row.from, freeze).await {
                Err(status) if status.is_retryable() && began.elapsed() < FREEZE_WAIT_MAX => {
                    let why = status.message;
                    if began.elapsed() > FREEZE_WAIT_HELD && self.is_held().await? {
                        return Err(Status::unavailable(format!("a backup waits, and {why}")));
                    }
                    self.core.moves.note(self.id, |progress| progress.waits_for = why);
                    let pause = FREEZE_PAUSES.get(tries).or(FREEZE_PAUSES.last());
                    tokio::time::sleep(pause.copied().unwrap_or_default()).await;
                    tries += 1;
                    // So that little is left when it can be.
                    self.follow().await?;
                }
                Ok(modseq) => {
                    self.core
                        .moves
                        .note(self.id, |progress| progress.waits_for.clear());
                    return Ok(modseq);
                }
                refused => return refused,
            }
        }
    }

    /// Whether a backup waits for all moves to end.
    async fn is_held(&self) -> Result<bool, Status> {
        let read = self.core.state.read(|rows| holding::lasts(rows, now_millis()));
        Ok(read.await??)
    }

    /// Hands on rows until there are no more; answers how many, and the note from which the next pass begins.
    async fn pass(&self, since: Option<u64>) -> Result<(u64, u64), Status> {
        let export = request::Call::ExportAccount(mailstore::ExportAccount {
            shard: self.row.from,
            account: self.id.0,
            generation: self.row.generation,
            since,
        });
        let provisioner = &self.core.provisioner;
        let mut replies = provisioner.call_leader(self.row.from, export, None, EXPORT_MAX)?;
        let mut copied = 0;
        loop {
            let next = tokio::time::timeout(CALL_TIMEOUT, replies.next()).await;
            let next = next.map_err(|_| Status::unavailable("the shard gives no more rows"))?;
            let piece = match next {
                Some(Ok(mailstore::Reply {
                    call: Some(reply::Call::MovedRows(piece)),
                })) => piece,
                Some(Err(status)) => return Err(status),
                _ => return Err(Status::internal("the shard's rows ended early")),
            };
            let MovedRows { rows, next } = piece;
            copied += rows.len() as u64;
            if !rows.is_empty() {
                self.hand_on(rows).await?;
            }
            if let Some(next) = next {
                return Ok((copied, next));
            }
        }
    }

    /// That the account has come to the state in which it was frozen: behind the switch there is no way back.
    pub(super) async fn check(&self, frozen_at: u64) -> Result<(), Status> {
        let there = self.take(Vec::new()).await?;
        if there != frozen_at {
            let message =
                format!("the account is at {there} in its new shard and at {frozen_at} in its old one");
            return Err(Status::new(Reason::FailedPrecondition, message));
        }
        Ok(())
    }

    async fn hand_on(&self, rows: Vec<mailstore::MovedRow>) -> Result<(), Status> {
        let bytes = rows
            .iter()
            .map(|row| row.value.as_ref().map_or(0, bytes::Bytes::len))
            .sum::<usize>();
        let count = rows.len() as u64;
        self.take(rows).await?;
        self.core.moves.note(self.id, |progress| {
            progress.rows += count;
            progress.bytes += bytes as u64;
        });
        Ok(())
    }

    /// Gives rows to the new shard; answers the account's modseq there before them.
    async fn take(&self, rows: Vec<mailstore::MovedRow>) -> Result<u64, Status> {
        let take = request::Call::TakeRows(mailstore::TakeRows {
            shard: self.row.to,
            account: self.id.0,
            generation: self.row.generation,
            attempt: self.row.attempt,
        });
        let rows = MovedRows { rows, next: None }.encode_to_vec();
        ask_with(self.core, self.row.to, take, Some(rows.into())).await
    }
}
