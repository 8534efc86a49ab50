//! What traces tell of a command on its way through the shard's writer: how long it waited, and which entry it became part of.
//!
//! An entry serves many commands. Its span belongs to the first of them that is traced; that of each other one and the entry's link to each
//! other.

use std::time::Instant;

use rookery_process::traces::{self, Traced};

use super::gather::Answer;
use crate::schema::ShardId;

/// A traced command while it is the writer's.
pub(super) struct Tracked {
    commit: Traced,
    since: Instant,
}

/// Begins the commit of a command; nothing when that is not traced.
pub(super) fn commit(shard: ShardId, bytes: usize) -> Traced {
    let commit = traces::step("commit");
    if commit.is_traced() {
        commit.count("rookery.shard", shard.0.into());
        commit.count("rookery.bytes", bytes as u64);
    }
    commit
}

impl Tracked {
    /// From when it waits.
    pub(super) fn begin(commit: &Traced) -> Option<Box<Self>> {
        commit.is_traced().then(|| {
            Box::new(Self {
                commit: commit.clone(),
                since: Instant::now(),
            })
        })
    }

    /// It has been planned.
    pub(super) fn planned(&self) {
        let waited = self.since.elapsed().as_secs_f64();
        self.commit.set("rookery.planned_after_seconds", waited);
    }
}

/// The entry that answers rest on; nothing when none of them is traced.
pub(super) fn entry(answers: &[Answer], number: u64, bytes: usize) -> Traced {
    let mut tracked = answers.iter().filter_map(|answer| answer.tracked.as_deref());
    let Some(first) = tracked.next() else {
        return Traced::none();
    };
    let entry = first.commit.step("entry");
    entry.count("rookery.entry", number);
    entry.count("rookery.commands", answers.len() as u64);
    entry.count("rookery.bytes", bytes as u64);
    for other in tracked {
        entry.link(&other.commit);
        other.commit.link(&entry);
    }
    entry
}
