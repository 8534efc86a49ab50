//! The one thread of a node that writes: gathers entries of all groups, writes and syncs them together, answers each.
//!
//! One sync serves whatever has gathered while the one before was under way.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use rocksdb::WriteBatch;

use super::queue::{Outcome, Queue, Waiting};
use super::{MemberOptions, OnFailure, ProposeError};
use crate::entry::{Entry, GroupId, LeaderId};
use crate::store::{Store, StoreError};
use crate::view::ViewError;

/// Own row: how often the store was opened.
const EPOCH_KEY: &[u8] = b"epoch";
/// Own rows: what was applied last in each group.
const APPLIED_KEY: &[u8] = b"applied/";

/// What a group has applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Applied {
    leader: LeaderId,
    next: u64,
}

impl Applied {
    /// The apply rule: the leader's next entry, or the first of a newer leader.
    fn after(before: Option<Applied>, entry: &Entry) -> Option<Applied> {
        let fits = match before {
            None => entry.number == 0,
            Some(before) if before.leader == entry.leader => before.next == entry.number,
            Some(before) => before.leader < entry.leader && entry.number == 0,
        };
        fits.then_some(Applied {
            leader: entry.leader,
            next: entry.number + 1,
        })
    }
}

/// Counts one more start of the store, durably, so that no leader's id is ever used again.
pub(super) fn next_epoch(store: &Store) -> Result<u64, StoreError> {
    let before = store.own_row(EPOCH_KEY)?.map_or(Ok(0), |row| number(&row))?;
    let mut writes = WriteBatch::default();
    writes.put(EPOCH_KEY, (before + 1).to_be_bytes());
    store.write(writes)?;
    Ok(before + 1)
}

/// Starts the committer.
pub(super) fn spawn(
    store: Arc<Store>,
    queue: Arc<Queue>,
    options: &MemberOptions,
) -> std::io::Result<JoinHandle<()>> {
    let committer = Committer {
        store,
        queue,
        commit_bytes_max: options.commit_bytes_max,
        on_failure: Arc::clone(&options.on_failure),
        applied: HashMap::new(),
    };
    std::thread::Builder::new()
        .name("committer".to_owned())
        .spawn(move || committer.run())
}

struct Committer {
    store: Arc<Store>,
    queue: Arc<Queue>,
    commit_bytes_max: usize,
    on_failure: OnFailure,
    applied: HashMap<GroupId, Applied>,
}

impl Committer {
    fn run(mut self) {
        // Whatever ends this thread, nobody waits for it for ever.
        let queue = Arc::clone(&self.queue);
        let _guard = FailOnDrop(&queue);
        while let Some(taken) = self.queue.take(self.commit_bytes_max) {
            if let Err(error) = self.commit(taken) {
                self.queue.fail();
                (self.on_failure)(&error);
                return;
            }
        }
    }

    fn commit(&mut self, taken: Vec<Waiting>) -> Result<(), StoreError> {
        let mut writes = WriteBatch::default();
        let mut outcomes: Vec<(Outcome, Result<(), ProposeError>)> = Vec::with_capacity(taken.len());
        let mut groups = Vec::with_capacity(taken.len());
        let mut changed: HashMap<GroupId, Applied> = HashMap::new();
        for Waiting {
            entry,
            bytes,
            outcome,
        } in taken
        {
            groups.push((entry.group, bytes));
            let before = match changed.get(&entry.group) {
                Some(applied) => Some(*applied),
                None => self.applied(entry.group)?,
            };
            match Applied::after(before, &entry) {
                Some(applied) => {
                    self.store.gather(&mut writes, &entry.batch)?;
                    changed.insert(entry.group, applied);
                    outcomes.push((outcome, Ok(())));
                }
                None => outcomes.push((outcome, Err(ProposeError::Replan))),
            }
        }
        if !changed.is_empty() {
            for (group, applied) in &changed {
                writes.put(applied_key(*group), applied_row(applied));
            }
            let started = Instant::now();
            self.store.write(writes)?;
            metrics::histogram!("rookery_store_commit_seconds").record(started.elapsed().as_secs_f64());
            metrics::histogram!("rookery_store_commit_entries").record(groups.len() as f64);
            metrics::counter!("rookery_store_commits_total").increment(1);
        }
        self.applied.extend(changed);
        // First the count, so that who has an answer finds nothing of it under way.
        self.queue.finish(groups.into_iter());
        for (outcome, result) in outcomes {
            // Who dropped the proposal does not care.
            let _ = outcome.send(result);
        }
        Ok(())
    }

    fn applied(&mut self, group: GroupId) -> Result<Option<Applied>, ViewError> {
        if let Some(applied) = self.applied.get(&group) {
            return Ok(Some(*applied));
        }
        let Some(row) = self.store.own_row(&applied_key(group))? else {
            return Ok(None);
        };
        let (leader, next) = row.split_at_checked(8).ok_or_else(|| damaged("applied row"))?;
        let applied = Applied {
            leader: LeaderId(number(leader)?),
            next: number(next)?,
        };
        self.applied.insert(group, applied);
        Ok(Some(applied))
    }
}

struct FailOnDrop<'a>(&'a Queue);

impl Drop for FailOnDrop<'_> {
    fn drop(&mut self) {
        self.0.fail();
    }
}

fn applied_key(group: GroupId) -> Vec<u8> {
    [APPLIED_KEY, &group.0.to_be_bytes()].concat()
}

fn applied_row(applied: &Applied) -> Vec<u8> {
    [applied.leader.0.to_be_bytes(), applied.next.to_be_bytes()].concat()
}

fn number(row: &[u8]) -> Result<u64, ViewError> {
    row.try_into()
        .map(u64::from_be_bytes)
        .map_err(|_| damaged("number"))
}

fn damaged(what: &str) -> ViewError {
    ViewError(format!("the store's own {what} is damaged"))
}
