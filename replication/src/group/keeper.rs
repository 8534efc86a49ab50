//! Keeps the log short: notes what is applied, flushes the store, and lets the log go up to there.
//!
//! What was flushed before last is cut, not what was flushed last, so that a follower that is a little behind still
//! finds what it lacks in the log. A group without followers is cut up to what was flushed last.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::member::Member;
use crate::applied::Applied;
use crate::log::ReplicaId;
use crate::store::StoreError;

/// Pause between two looks at the log.
const LOOK: Duration = Duration::from_secs(1);

/// A log that is not empty is cut after so long, however short it is, so that a start is quick.
const FLUSH_AGE_MAX: Duration = Duration::from_secs(300);

/// Looks after the log until the member has gone.
pub(super) async fn run(member: Weak<Member>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(held) = member.upgrade() else { return };
        if let Err(error) = held.store.check() {
            held.store_failed(&error);
        }
        let mut keeper = held.keeper.lock().await;
        let grown = held.log.bytes_held().saturating_sub(keeper.held_at_flush);
        if grown >= held.options.log_bytes_max / 2 || keeper.flushed.elapsed() >= FLUSH_AGE_MAX {
            keeper.flush(&held).await;
        }
    }
}

impl Member {
    /// The store does not write. Of damage and of a full disk it is known what is on disk: the log has what the store lacks.
    fn store_failed(&self, error: &StoreError) {
        if !error.is_no_space() && error.damage().is_none() {
            (self.options.on_failure)(error);
        }
    }

    /// Flushes the store, and cuts the log up to what was flushed before that. Done by itself when the log has grown.
    pub async fn cut_log(&self) {
        self.keeper.lock().await.flush(self).await;
    }
}

/// What is known of earlier flushes.
pub(super) struct Keeper {
    /// What was applied by each replica before the last completed flush. By replica: another one of the same group may have
    /// taken its place since, and has applied less.
    noted: HashMap<ReplicaId, Applied>,
    held_at_flush: u64,
    flushed: Instant,
    /// There was no room for the last flush.
    is_full: bool,
}

impl Keeper {
    pub(super) fn new() -> Self {
        Self {
            noted: HashMap::new(),
            held_at_flush: 0,
            flushed: Instant::now(),
            is_full: false,
        }
    }

    async fn flush(&mut self, member: &Member) {
        let groups = member.groups();
        let now: HashMap<ReplicaId, Applied> = groups
            .iter()
            .map(|group| (group.replica(), group.progress.applied()))
            .collect();
        let store = Arc::clone(&member.store);
        let flushed = member.store.blocking(move || store.flush()).await;
        match flushed {
            Ok(Ok(())) => self.is_full = false,
            Ok(Err(error)) => {
                let was_full = std::mem::replace(&mut self.is_full, error.is_no_space());
                if self.is_full && !was_full {
                    tracing::error!(%error, "the store is not flushed until there is room");
                }
                return member.store_failed(&error);
            }
            Err(error) => return tracing::error!(%error, "the store could not be flushed"),
        }
        let before = std::mem::replace(&mut self.noted, now);
        for group in groups {
            // Asked for after the flush: who has joined since then finds all that it lacks.
            let known = match group.is_without_others() {
                true => &self.noted,
                false => &before,
            };
            let Some(cut) = known.get(&group.replica()).cloned() else {
                continue;
            };
            if cut.last > group.progress.flushed().last {
                group.progress.set_flushed(cut);
                // A replica that is being closed is cut at its next start.
                let _ = group.raft.trigger().snapshot().await;
            }
        }
        self.held_at_flush = member.log.bytes_held();
        self.flushed = Instant::now();
    }
}
