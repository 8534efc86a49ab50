//! Carries out the split that is under way, for as long as this member leads the directory.
//!
//! What is next is decided by [`changes::step`] from rows; what it begins are moves of accounts, which the mover carries out. Nothing is
//! known here that is not stored, but what the split waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rookery_proto::{Reason, Status};
use tokio::sync::Notify;

use crate::clock::now_millis;
use crate::core::Core;
use crate::plan::split as changes;
use crate::schema::split::SplitState;

/// How long to wait for something new while a split is under way.
const LOOK: Duration = Duration::from_secs(1);

/// The same while none is.
const REST: Duration = Duration::from_secs(10);

/// What the splitter is told, and what it waits for.
#[derive(Default)]
pub(crate) struct Splits {
    changed: Notify,
    /// A split is under way.
    is_busy: AtomicBool,
    /// Empty: nothing but moves that are under way.
    waits_for: Mutex<String>,
}

impl Splits {
    /// A move has ended, which may be one that a split waits for.
    pub(crate) fn look(&self) {
        if self.is_busy.load(Ordering::Relaxed) {
            self.changed.notify_one();
        }
    }

    /// There is a split where there was none, or it is to be aborted.
    pub(crate) fn told(&self) {
        self.changed.notify_one();
    }

    /// What the split waits for, as this member knows.
    pub(crate) fn waits_for(&self) -> String {
        self.waits_for.lock().clone()
    }
}

/// Carries out what is under way, until cancelled.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        let looked = look(&core).await;
        let (is_busy, waits_for) = match looked {
            Ok(Some(waits_for)) => (true, waits_for),
            Ok(None) => (false, String::new()),
            Err(status) => {
                match status.is_retryable() {
                    true => tracing::debug!(%status, "the split waits"),
                    false => tracing::warn!(%status, "a step of the split failed; trying again"),
                }
                (true, status.message)
            }
        };
        *core.splits.waits_for.lock() = waits_for;
        let pause = if is_busy { LOOK } else { REST };
        // Either way it is time to look.
        let _ = tokio::time::timeout(pause, core.splits.changed.notified()).await;
    }
}

/// Takes steps of the split that is under way as long as they bring something. Answers what it waits for; nothing when there is none.
async fn look(core: &Core) -> Result<Option<String>, Status> {
    loop {
        let Some((row, page)) = core.state.read(changes::under_way).await?? else {
            core.splits.is_busy.store(false, Ordering::Relaxed);
            return Ok(None);
        };
        // Before moves begin, whose ends are to be heard of.
        core.splits.is_busy.store(true, Ordering::Relaxed);
        let (id, state, full, now) = (row.id, row.state(), full(core, row.to), now_millis());
        let after = row.after;
        let step = core
            .state
            .change(move |rows| changes::step(rows, id, &page, &full, now))
            .await;
        let step = match step {
            // Ended meanwhile, or another has begun.
            Err(status) if status.reason == Reason::NotFound => continue,
            step => step?,
        };
        for account in &step.begun {
            core.moves.begun(*account);
        }
        let row = step.row;
        if row.state() != state {
            tracing::info!(
                split = row.id,
                from = row.from,
                to = row.to,
                state = ?row.state(),
                moved = row.moved,
                left = row.left,
                "a split goes on"
            );
        }
        if !row.state().is_under_way() {
            continue;
        }
        if state == SplitState::Aborting || row.after == after {
            return Ok(Some(step.waits_for));
        }
    }
}

/// A node of the shard whose disk has no room for more; empty: none.
fn full(core: &Core, shard: u32) -> String {
    let shards = core.picture.shards().into_iter();
    let mut nodes = shards
        .filter(|held| held.id == shard)
        .flat_map(|held| held.replicas);
    let reports = core.reports.all();
    let is_full = |node: &String| reports.get(node).is_some_and(crate::reports::Report::is_full);
    nodes.find(is_full).unwrap_or_default()
}
