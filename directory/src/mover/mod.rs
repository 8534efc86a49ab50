//! Moves accounts between shards, for as long as this member leads the directory.
//!
//! What is next follows from the move's row alone: copied while it is live ([`copy`]), then frozen, its last rows copied,
//! switched, and live in the other shard; or taken back. Each stage is one change of the row, which the next leader goes on
//! with. What fails before the switch is tried again or taken back, what fails behind it is tried until it is done.

mod copy;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_proto::mailstore::v1::{self as mailstore, request};
use rookery_proto::{Reason, Status};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use self::copy::Copying;
use crate::catalogue::{ACCOUNT_FROZEN_SECONDS, ACCOUNT_MOVES_TOTAL};
use crate::clock::now_millis;
use crate::core::Core;
use crate::plan::moving as changes;
use crate::schema::AccountId;
use crate::schema::row::{AccountMove, MoveStage};

/// How long to wait for something new while nothing is known to be.
const REST: Duration = Duration::from_secs(10);

/// Pause before a step that failed is taken again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// How long a shard has to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a move may fail before it is taken back, milliseconds.
const FAILING_MAX_MILLIS: u64 = 10 * 60 * 1_000;

/// How long an account may be frozen before it is given back to the shard where it was. Below the patience of proxies.
const FROZEN_MAX: Duration = Duration::from_secs(10);

/// How far a move is, as this member knows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// Rows copied.
    pub(crate) rows: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// How long the account was frozen; zero when that is not known.
    pub(crate) frozen: Duration,
    /// What it waits for; empty: nothing.
    pub(crate) waits_for: String,
}

/// The moves that this member carries out.
#[derive(Default)]
pub(crate) struct Moves {
    begun: Notify,
    progress: Mutex<HashMap<AccountId, Progress>>,
    under_way: AtomicUsize,
}

impl Moves {
    /// A move has been stored.
    pub(crate) fn begun(&self, id: AccountId) {
        self.progress.lock().insert(id, Progress::default());
        self.begun.notify_one();
    }

    /// How far the last move of an account is.
    pub(crate) fn progress(&self, id: AccountId) -> Progress {
        self.progress.lock().get(&id).cloned().unwrap_or_default()
    }

    /// How many are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    fn note(&self, id: AccountId, change: impl FnOnce(&mut Progress)) {
        change(self.progress.lock().entry(id).or_default());
    }
}

/// Carries out what is under way, until cancelled.
pub(crate) async fn run(core: Arc<Core>) {
    let mut driven = HashSet::new();
    let mut drivers = JoinSet::new();
    loop {
        match core.state.read(|rows| rows.account_moves()).await {
            Ok(Ok(moves)) => {
                // What has ended long ago and is known no more need not be remembered here either.
                let known: HashSet<AccountId> = moves.iter().map(|(id, _)| *id).collect();
                core.moves.progress.lock().retain(|id, _| known.contains(id));
                for (id, row) in moves {
                    if row.stage().is_under_way() && driven.insert(id) {
                        drivers.spawn(drive(Arc::clone(&core), id));
                    }
                }
            }
            Ok(Err(error)) => tracing::error!(%error, "moves of accounts cannot be read"),
            Err(status) => tracing::debug!(%status, "moves of accounts wait"),
        }
        core.moves.under_way.store(driven.len(), Ordering::Relaxed);
        tokio::select! {
            () = core.moves.begun.notified() => {}
            () = tokio::time::sleep(REST) => {}
            Some(ended) = drivers.join_next() => match ended {
                Ok(id) => {
                    driven.remove(&id);
                }
                Err(error) => {
                    tracing::error!(%error, "the driver of a move ended");
                    driven.clear();
                    drivers.abort_all();
                    while drivers.join_next().await.is_some() {}
                }
            },
        }
    }
}

/// Takes a move to its end.
async fn drive(core: Arc<Core>, id: AccountId) -> AccountId {
    loop {
        match step(&core, id).await {
            Ok(true) => return id,
            Ok(false) => {}
            Err(status) => {
                tracing::info!(account = id.0, %status, "a move of an account waits");
                core.moves
                    .note(id, |progress| progress.waits_for = status.message.clone());
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// Takes the next step; true when the move has ended.
async fn step(core: &Core, id: AccountId) -> Result<bool, Status> {
    let read = core.state.read(move |rows| rows.account_move(id));
    let Some(row) = read.await?? else { return Ok(true) };
    let generation = row.generation;
    match row.stage() {
        MoveStage::Done | MoveStage::Reverted => return Ok(true),
        MoveStage::Copying | MoveStage::Freezing => {
            let Err(status) = advance(core, id, row.clone()).await else {
                return Ok(false);
            };
            let age = now_millis().saturating_sub(row.began_at_millis);
            // Frozen it must not wait, and what will never go need not be tried again.
            let read = core.state.read(move |rows| rows.account_move(id));
            let stage = read.await??.map(|row| row.stage());
            let goes_on =
                stage == Some(MoveStage::Copying) && !is_hopeless(&status) && age < FAILING_MAX_MILLIS;
            if goes_on || !matches!(stage, Some(MoveStage::Copying | MoveStage::Freezing)) {
                return Err(status);
            }
            tracing::warn!(account = id.0, %status, "a move of an account is taken back");
            let why_not = status.message;
            core.state
                .change(move |rows| changes::revert(rows, id, generation, &why_not))
                .await?;
        }
        MoveStage::Switching => {
            switch_over(core, id, &row, None).await?;
        }
        MoveStage::Reverting => {
            put_back(core, id, &row).await?;
            end(core, id, &row).await?;
        }
    }
    Ok(false)
}

/// Copies the account until it is in the other shard, from whatever stage it is found in.
async fn advance(core: &Core, id: AccountId, row: AccountMove) -> Result<(), Status> {
    let generation = row.generation;
    let row = core
        .state
        .change(move |rows| changes::try_again(rows, id, generation))
        .await?;
    let mut copying = Copying::begin(core, id, &row).await?;
    if row.stage() == MoveStage::Copying {
        copying.copy_all().await?;
        copying.catch_up().await?;
        core.state
            .change(move |rows| changes::freeze(rows, id, generation))
            .await?;
    }
    let modseq = copying.freeze().await?;
    let frozen_at = Instant::now();
    let last = async {
        copying.follow().await?;
        copying.check(modseq).await?;
        core.state
            .change(move |rows| changes::switch(rows, id, generation))
            .await
    };
    let row = tokio::time::timeout(FROZEN_MAX, last)
        .await
        .map_err(|_| Status::unavailable("the last rows were not copied in time"))??;
    switch_over(core, id, &row, Some((modseq, frozen_at))).await
}

/// Behind the switch: the account departs from where it was, then is live where it is.
async fn switch_over(
    core: &Core,
    id: AccountId,
    row: &AccountMove,
    frozen: Option<(u64, Instant)>,
) -> Result<(), Status> {
    let modseq = match frozen {
        Some((modseq, _)) => modseq,
        None => last_modseq(core, id, row).await?,
    };
    let depart = request::Call::DepartAccount(mailstore::DepartAccount {
        shard: row.from,
        account: id.0,
        generation: row.generation,
        to_shard: row.to,
    });
    ask(core, row.from, depart).await?;
    let read = core.state.read(move |rows| rows.account(id));
    let quota_bytes = read.await??.map_or(0, |account| account.quota_bytes);
    let settle = request::Call::SettleAccount(mailstore::SettleAccount {
        shard: row.to,
        account: id.0,
        generation: row.generation,
        modseq,
        quota_bytes,
    });
    match ask(core, row.to, settle).await {
        // It has been deleted and purged meanwhile.
        Err(status) if status.reason == Reason::NoAccount => {}
        settled => {
            settled?;
        }
    }
    if let Some((_, since)) = frozen {
        let frozen = since.elapsed();
        ACCOUNT_FROZEN_SECONDS.record(frozen.as_secs_f64());
        core.moves.note(id, |progress| progress.frozen = frozen);
    }
    end(core, id, row).await
}

/// The last modseq of an account that is frozen; 0 when it has departed already.
async fn last_modseq(core: &Core, id: AccountId, row: &AccountMove) -> Result<u64, Status> {
    let freeze = request::Call::FreezeAccount(mailstore::FreezeAccount {
        shard: row.from,
        account: id.0,
        generation: row.generation,
    });
    match ask(core, row.from, freeze).await {
        Ok(modseq) => Ok(modseq),
        // It was departed from by the member that led before, and all its rows are there.
        Err(status) if matches!(status.reason, Reason::Moved | Reason::NoAccount) => Ok(0),
        Err(status) => Err(status),
    }
}

/// The account is live where it was, and what was copied goes.
async fn put_back(core: &Core, id: AccountId, row: &AccountMove) -> Result<(), Status> {
    let read = core.state.read(move |rows| rows.account(id));
    let generation = row.generation + 1;
    if let Some(account) = read.await?? {
        let put = request::Call::PutAccount(mailstore::PutAccount {
            shard: row.from,
            account: id.0,
            generation,
            quota_bytes: account.quota_bytes,
        });
        match ask(core, row.from, put).await {
            // It has been purged meanwhile.
            Err(status) if status.reason == Reason::NoAccount => {}
            put => {
                put?;
            }
        }
    }
    let depart = request::Call::DepartAccount(mailstore::DepartAccount {
        shard: row.to,
        account: id.0,
        generation,
        to_shard: row.from,
    });
    ask(core, row.to, depart).await.map(drop)
}

async fn end(core: &Core, id: AccountId, row: &AccountMove) -> Result<(), Status> {
    let (generation, now) = (row.generation, now_millis());
    let row = core
        .state
        .change(move |rows| changes::end(rows, id, generation, now))
        .await?;
    core.moves.note(id, |progress| progress.waits_for.clear());
    core.splits.look();
    let outcome = match row.stage() {
        MoveStage::Done => "done",
        _ => "reverted",
    };
    ACCOUNT_MOVES_TOTAL.with(&[outcome]).increment(1);
    tracing::info!(
        account = id.0,
        from = row.from,
        to = row.to,
        outcome,
        why_not = row.why_not,
        "a move of an account has ended"
    );
    Ok(())
}

/// Makes a call that answers a modseq on the leader of a shard.
async fn ask(core: &Core, shard: u32, call: request::Call) -> Result<u64, Status> {
    ask_with(core, shard, call, None).await
}

/// The same with a body.
async fn ask_with(core: &Core, shard: u32, call: request::Call, body: Option<Bytes>) -> Result<u64, Status> {
    let asked = core.provisioner.ask_leader_with(shard, call, body, CALL_TIMEOUT);
    let reply = asked.await?;
    match reply.call {
        Some(mailstore::reply::Call::Done(done)) => Ok(done.modseq),
        _ => Err(Status::internal(format!("shard {shard} answered something else"))),
    }
}

/// Whether trying again is of no use.
fn is_hopeless(status: &Status) -> bool {
    matches!(
        status.reason,
        Reason::NoSpace
            | Reason::NoAccount
            | Reason::Moved
            | Reason::Damaged
            | Reason::InvalidArgument
            | Reason::LimitExceeded
    )
}
