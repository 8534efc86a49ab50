//! Frees the disk space of replicas that were removed, in the background and for a small part of the time.
//!
//! Rows of several groups lie in the same files, and bodies of all of them, so what stays is written anew to free what has gone. When
//! many replicas leave a node one after the other that would be done over and over.

use std::sync::{Arc, Weak};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::member::Member;
use crate::snapshot::reclaim_ranges;
use crate::store::StoreError;

/// So many times as long as it took to free space it is not done again.
const RESTS: u32 = 9;

/// Frees space whenever something was removed, until the member has gone.
pub(super) async fn run(member: Weak<Member>, removed: Arc<Notify>) {
    loop {
        removed.notified().await;
        let Some(store) = member.upgrade().map(|member| Arc::clone(&member.store)) else {
            return;
        };
        let began = Instant::now();
        let held = Arc::clone(&store);
        let freeing = move || {
            reclaim_ranges(&held)?;
            held.reclaim_bodies();
            Ok(())
        };
        // The store's end ends it.
        let freed: Result<Result<(), StoreError>, _> = store.blocking(freeing).await;
        let failed = match freed {
            Ok(freed) => freed.err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = failed {
            tracing::error!(error, "the space of removed replicas could not be freed");
        }
        drop(store);
        tokio::time::sleep(began.elapsed() * RESTS).await;
    }
}
