//! Frees the disk space of replicas that were removed, in the background and for a small part of the time.
//!
//! Rows of several groups lie in the same files, and bodies of all of them, so what stays is written anew to free what has gone. When
//! many replicas leave a node one after the other that would be done over and over.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::member::Member;
use crate::snapshot::reclaim_ranges;
use crate::store::StoreError;

/// How long what is still read is waited for.
const AGAIN: Duration = Duration::from_secs(60);

/// So many times as long as it took to free space it is not done again.
const RESTS: u32 = 9;

/// Frees space whenever something was removed, until the member has gone.
pub(super) async fn run(member: Weak<Member>, removed: Arc<Notify>) {
    let mut is_all = true;
    loop {
        match is_all {
            true => removed.notified().await,
            // Whatever comes first.
            false => drop(tokio::time::timeout(AGAIN, removed.notified()).await),
        }
        let Some(store) = member.upgrade().map(|member| Arc::clone(&member.store)) else {
            return;
        };
        let began = Instant::now();
        let held = Arc::clone(&store);
        let freeing = move || {
            let is_all = reclaim_ranges(&held)?;
            held.reclaim_bodies();
            Ok(is_all)
        };
        // The store's end ends it.
        let freed: Result<Result<bool, StoreError>, _> = store.blocking(freeing).await;
        let freed = freed.map_err(|error| error.to_string());
        match freed.and_then(|freed| freed.map_err(|error| error.to_string())) {
            Ok(freed) => is_all = freed,
            Err(error) => tracing::error!(error, "the space of removed replicas could not be freed"),
        }
        drop(store);
        tokio::time::sleep(began.elapsed() * RESTS).await;
    }
}
