//! Changing who is a member of a group: by its leader, one step after the other, each safe to break off.

use std::collections::{BTreeMap, BTreeSet};

use super::GroupMember;
use super::replica::{Group, NotLeading};
use crate::log::ReplicaId;
use crate::raft::Host;

/// The membership could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// Another node leads, or none.
    #[error(transparent)]
    NotLeading(#[from] NotLeading),
    /// A step failed; it may be tried again.
    #[error("the group's members could not be changed: {0}")]
    Failed(String),
}

impl Group {
    /// Makes these the group's voters: new ones learn until they have caught up, then vote; then those that are not named
    /// stop voting. Answers when that is agreed on. The leader must be one of them: hand over first.
    pub async fn set_members(&self, wanted: &[GroupMember]) -> Result<(), MembersError> {
        self.confirm().await?;
        let failed = |error: &dyn std::fmt::Display| MembersError::Failed(error.to_string());
        let held: BTreeMap<u64, bool> = self
            .standing()
            .members
            .into_iter()
            .map(|(replica, _, votes)| (replica.0, votes))
            .collect();
        for member in wanted {
            if !held.contains_key(&member.replica.0) {
                let host = Host {
                    node: member.node.clone(),
                    witness: member.witness,
                };
                self.raft
                    .add_learner(member.replica.0, host, false)
                    .await
                    .map_err(|error| failed(&error))?;
            }
        }
        for member in wanted {
            if held.get(&member.replica.0) != Some(&true) {
                self.until_caught_up(member.replica.0).await?;
            }
        }
        let voters: BTreeSet<u64> = wanted.iter().map(|member| member.replica.0).collect();
        let is_so = !self.standing().changing
            && held.len() == voters.len()
            && held
                .iter()
                .all(|(replica, votes)| *votes && voters.contains(replica));
        if is_so {
            return Ok(());
        }
        self.raft
            .change_membership(voters, false)
            .await
            .map_err(|error| failed(&error))?;
        Ok(())
    }

    /// Whether a member has nearly all of the log, as its leader knows; false when this replica does not lead.
    pub fn has_caught_up(&self, replica: ReplicaId) -> bool {
        use openraft::async_runtime::WatchReceiver;

        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        let matched = now.replication.as_ref().and_then(|all| all.get(&replica.0));
        let last = now.last_log_index.unwrap_or(0);
        matched
            .and_then(|matched| matched.as_ref())
            .is_some_and(|matched| matched.index + CAUGHT_UP_ENTRIES >= last)
    }

    /// How far the log and its followers are, for the operator.
    pub fn describe(&self) -> String {
        use openraft::async_runtime::WatchReceiver;

        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        let followers = now.replication.as_ref().map(|all| {
            let of = |(replica, matched): (&u64, &Option<_>)| {
                let matched: &Option<crate::raft::types::LogId> = matched;
                format!(
                    "{replica}:{}",
                    matched.as_ref().map_or(0, |matched| matched.index)
                )
            };
            all.iter().map(of).collect::<Vec<_>>().join(" ")
        });
        format!(
            "{:?} in term {}, led by {:?}, last {}, applied {}, followers {}, running {:?}",
            now.state,
            now.current_term,
            now.current_leader,
            now.last_log_index.unwrap_or(0),
            now.last_applied.as_ref().map_or(0, |applied| applied.index),
            followers.unwrap_or_default(),
            now.running_state,
        )
    }

    /// Waits until a learner has nearly all of the log.
    async fn until_caught_up(&self, replica: u64) -> Result<(), MembersError> {
        use openraft::async_runtime::WatchReceiver;

        let mut metrics = self.raft.metrics();
        loop {
            {
                let now = metrics.borrow_watched();
                let Some(replication) = &now.replication else {
                    return Err(MembersError::NotLeading(NotLeading { leader: None }));
                };
                let matched = replication.get(&replica).and_then(|matched| matched.as_ref());
                let last = now.last_log_index.unwrap_or(0);
                if matched.is_some_and(|matched| matched.index + CAUGHT_UP_ENTRIES >= last) {
                    return Ok(());
                }
            }
            if metrics.changed().await.is_err() {
                return Err(MembersError::Failed("the replica has been closed".to_owned()));
            }
        }
    }
}

/// A learner that lacks fewer entries than this has caught up: the rest comes with the next messages.
const CAUGHT_UP_ENTRIES: u64 = 64;
