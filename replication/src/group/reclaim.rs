//! Frees the disk space of replicas that were removed, in the background and for a small part of the time.
//!
//! Rows of several groups lie in the same files, and bodies of all of them, so what stays is written anew to free what has gone. When
//! many replicas leave a node one after the other that would be done over and over. Bodies are written anew a part at a time, so that no pause
//! of others' writes is long and little room is needed for it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::member::Member;
use crate::snapshot::reclaim_ranges;
use crate::store::{BEGINS_PERCENT, ENDS_PERCENT, Store};

/// How long what is still read is waited for.
const AGAIN: Duration = Duration::from_secs(60);

/// How often it is looked for bodies that were removed one by one.
const LOOK: Duration = Duration::from_secs(600);

/// So many times as long as it took to free space it is not done again.
const RESTS: u32 = 9;

/// Frees space whenever something was removed, until the member has gone.
pub(super) async fn run(member: Weak<Member>, removed: Arc<Notify>) {
    let (mut is_all, mut goes_on) = (true, false);
    loop {
        if !goes_on {
            let wait = if is_all { LOOK } else { AGAIN };
            // Whatever comes first.
            let _ = tokio::time::timeout(wait, removed.notified()).await;
        }
        let began = Instant::now();
        let Some(freed) = step(&member, reclaim_ranges).await else {
            return;
        };
        match freed {
            Ok(freed) => is_all = freed,
            Err(error) => tracing::error!(%error, "the space of removed replicas could not be freed"),
        }
        let percent = if goes_on { ENDS_PERCENT } else { BEGINS_PERCENT };
        let part = step(&member, move |store| store.reclaim_bodies(percent)).await;
        let Some(freed) = part else { return };
        goes_on = freed;
        tokio::time::sleep(began.elapsed() * RESTS).await;
    }
}

/// Does something with the store that may wait for the disk; nothing when the member or the store has come to its end.
async fn step<T: Send + 'static>(
    member: &Weak<Member>,
    work: impl FnOnce(&Store) -> T + Send + 'static,
) -> Option<T> {
    let store = member.upgrade().map(|member| Arc::clone(&member.store))?;
    let held = Arc::clone(&store);
    store.blocking(move || work(&held)).await.ok()
}
