//! Changing who is a member of a group: by its leader, one step after the other, each safe to break off.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;

use super::GroupMember;
use super::change::{Change, Members, next_change, unwanted_learners};
use super::replica::{Group, NotLeading, leads};
use crate::log::ReplicaId;
use crate::raft::Host;

/// Pause before what does not show in the figures of a replica is looked at again.
const LOOK: Duration = Duration::from_millis(50);

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

/// What a step towards other members came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MembersStep {
    /// The members are those that are wanted, and that is agreed on.
    Settled,
    /// Nothing can be done now: new members are still given what they lack, a change is being agreed on, or nobody that stays can lead.
    Waiting,
    /// The members have changed: there may be more to do.
    Changed,
    /// The leader is none of those that are wanted and has asked this one to take over, and to go on.
    HandedOver(ReplicaId),
}

impl Group {
    /// Makes these the group's voters, in as many steps as that takes: new ones learn until they have caught up, then vote; then those
    /// that are not named stop voting. Answers when that is agreed on, and may wait for a new one for ever. The leader
    /// must be one of them: hand over first.
    pub async fn set_members(&self, wanted: &[GroupMember]) -> Result<(), MembersError> {
        self.confirm().await?;
        let mut metrics = self.raft.metrics();
        loop {
            match self.step_voters(wanted).await? {
                MembersStep::Settled => {
                    // Others may have been wanted until now: what they have learnt is given up last.
                    self.remove_learners(wanted).await?;
                    return Ok(());
                }
                MembersStep::Changed => {}
                MembersStep::HandedOver(_) => return Err(NotLeading { leader: None }.into()),
                MembersStep::Waiting => {
                    let changed = tokio::time::timeout(LOOK, metrics.changed()).await;
                    if matches!(changed, Ok(Err(_))) {
                        return Err(MembersError::Failed("the replica has been closed".to_owned()));
                    }
                }
            }
        }
    }

    /// Goes one step towards these voters, the first of which is to lead rather than others; never waits for a new member, only until
    /// those that vote have agreed on the step. Learners that are not wanted are let go of first. A leader that is not among
    /// them has one of those that stay take over; when there is none it has new ones vote beside itself before.
    /// Dropping what this returns breaks nothing: the next step goes on with whatever came of it.
    pub async fn step_members(&self, wanted: &[GroupMember]) -> Result<MembersStep, MembersError> {
        if self.remove_learners(wanted).await? {
            return Ok(MembersStep::Changed);
        }
        self.step_voters(wanted).await
    }

    /// Removes the learners that are not wanted; whether there were any. They are sent nothing more then.
    pub async fn remove_learners(&self, wanted: &[GroupMember]) -> Result<bool, MembersError> {
        let members = self.members()?;
        let gone = unwanted_learners(&members, &ids(wanted));
        if gone.is_empty() || !members.agreed {
            return Ok(false);
        }
        self.change(ChangeMembers::RemoveNodes(gone)).await?;
        Ok(true)
    }

    async fn step_voters(&self, wanted: &[GroupMember]) -> Result<MembersStep, MembersError> {
        let members = self.members()?;
        let standing = self.standing();
        let can_lead = |replica: u64| {
            let mut of = standing.members.iter();
            let member = of.find(|(member, _, votes)| *votes && member.0 == replica);
            member.is_some_and(|(replica, node, _)| self.is_there(node) && self.has_caught_up(*replica))
        };
        let has_caught_up = |replica: u64| self.has_caught_up(ReplicaId(replica));
        match next_change(&members, &ids(wanted), can_lead, has_caught_up) {
            Change::Nothing => return Ok(MembersStep::Settled),
            Change::Wait => return Ok(MembersStep::Waiting),
            Change::HandOver(heir) => {
                // Asking again would only put off the moment from which on others may stand for election.
                if self.hands_over() {
                    return Ok(MembersStep::Waiting);
                }
                self.hand_over(ReplicaId(heir)).await;
                return Ok(MembersStep::HandedOver(ReplicaId(heir)));
            }
            Change::Learn(new) => {
                let hosts: BTreeMap<u64, Host> = wanted
                    .iter()
                    .filter(|member| new.contains(&member.replica.0))
                    .map(|member| {
                        let host = Host {
                            node: member.node.clone(),
                            witness: member.witness,
                        };
                        (member.replica.0, host)
                    })
                    .collect();
                self.change(ChangeMembers::AddNodes(hosts)).await?;
            }
            Change::Vote(voters) => self.change(ChangeMembers::ReplaceAllVoters(voters)).await?,
        }
        Ok(MembersStep::Changed)
    }

    /// Has the voters agree on a change.
    async fn change(&self, change: ChangeMembers<u64, Host>) -> Result<(), MembersError> {
        // A group at rest has no quorum that was heard of lately.
        self.confirm().await?;
        let changed = self.raft.change_membership(change, false).await;
        changed.map_err(|error| MembersError::Failed(error.to_string()))?;
        Ok(())
    }

    /// The members as the leader knows them; an error when this replica does not lead.
    fn members(&self) -> Result<Members, MembersError> {
        let metrics = self.metrics();
        let metrics = metrics.borrow_watched();
        if !leads(&metrics) {
            return Err(NotLeading { leader: None }.into());
        }
        let membership = metrics.membership_config.membership();
        Ok(Members {
            own: metrics.id,
            voters: membership.get_joint_config().clone(),
            learners: membership.learner_ids().collect(),
            agreed: metrics.membership_config.log_id() == metrics.committed_membership_config.log_id(),
        })
    }

    /// Whether a member has nearly all of the log, as its leader knows; false when this replica does not lead.
    pub fn has_caught_up(&self, replica: ReplicaId) -> bool {
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
}

fn ids(members: &[GroupMember]) -> Vec<u64> {
    members.iter().map(|member| member.replica.0).collect()
}

/// A learner that lacks fewer entries than this has caught up: the rest comes with the next messages.
const CAUGHT_UP_ENTRIES: u64 = 64;
