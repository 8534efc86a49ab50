//! How a transfer is carried out, step by step, and which majorities each step needs.
//!
//! A replica is replaced by five steps, each of them a state in which the shard can stay for as long as it takes: the new replica
//! learns; when it has caught up, old and new voters have to agree alike (joint consensus); then the new ones alone; the lead is
//! handed on by then, if the old replica had it; at last the old one is removed. So no step takes away a vote before another has
//! come in its place. Nothing here sends anything: it is the order, and the check.

use std::fmt::Debug;

/// A step of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The new replica is there, gets the state and the log, and does not vote.
    Learn,
    /// The lead goes to a replica that stays. Left out when it is there already.
    HandOn,
    /// The new replica votes: entries need a majority of the old voters and one of the new.
    Join,
    /// Only the new voters count.
    Settle,
    /// The old replica is removed with its files.
    Remove,
}

/// All steps, in order.
pub const STEPS: [Step; 5] = [Step::Learn, Step::Join, Step::HandOn, Step::Settle, Step::Remove];

/// The members of a shard's group during a transfer, by whatever names a replica: no two are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership<M> {
    /// Who votes.
    pub voters: Vec<M>,
    /// Who votes beside them, in joint consensus.
    pub joining: Option<Vec<M>>,
    /// Who gets what is agreed on and does not vote.
    pub learner: Option<M>,
    /// Who holds files of the shard and is no member any more.
    pub leaving: Option<M>,
    /// Who leads.
    pub leader: Option<M>,
}

/// Why a step cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// Not in this order.
    #[error("this step does not follow the last one")]
    OutOfOrder,
    /// The members could not agree on it.
    #[error("too few members answer to agree on it")]
    NoMajority,
    /// Nobody that stays can lead.
    #[error("no replica that stays can lead")]
    NoLeader,
}

impl<M: Copy + PartialEq + Debug> Membership<M> {
    /// A group at rest.
    pub fn new(voters: Vec<M>, leader: Option<M>) -> Self {
        Self {
            voters,
            joining: None,
            learner: None,
            leaving: None,
            leader,
        }
    }

    /// Whether the group can agree on anything: a majority of each set of voters that counts answers. A group that has no voters yet
    /// has nobody to ask: its first replica forms it.
    pub fn has_majority(&self, answers: impl Fn(&M) -> bool) -> bool {
        let agrees = |voters: &[M]| voters.iter().filter(|member| answers(member)).count() > voters.len() / 2;
        (self.voters.is_empty() || agrees(&self.voters)) && self.joining.as_deref().is_none_or(agrees)
    }

    /// Takes a step of the transfer that replaces `from`, if there is one, by `to`. Every step but the last is agreed on by the
    /// members first, so it is refused while too few of them answer.
    pub fn take(
        &mut self,
        step: Step,
        from: Option<M>,
        to: M,
        answers: impl Fn(&M) -> bool,
    ) -> Result<(), StepError> {
        if step != Step::Remove && !self.has_majority(&answers) {
            return Err(StepError::NoMajority);
        }
        match step {
            Step::Learn if self.learner.is_none() && self.joining.is_none() && !self.voters.contains(&to) => {
                self.learner = Some(to);
            }
            Step::Join if self.learner == Some(to) && self.joining.is_none() => {
                let stay = self.voters.iter().copied().filter(|member| Some(*member) != from);
                self.joining = Some(stay.chain([to]).collect());
                self.learner = None;
            }
            Step::HandOn if self.joining.is_some() => {
                if self.leader.is_none()
                    || self.leader == from
                    || self.leader.is_some_and(|leader| !answers(&leader))
                {
                    let stay = self.joining.iter().flatten();
                    self.leader = Some(
                        stay.copied()
                            .find(|member| answers(member))
                            .ok_or(StepError::NoLeader)?,
                    );
                }
            }
            Step::Settle if self.leader != from || from.is_none() => {
                let joined = self.joining.take().ok_or(StepError::OutOfOrder)?;
                let next = Membership {
                    voters: joined,
                    ..self.clone()
                };
                if !next.has_majority(&answers) {
                    self.joining = Some(next.voters);
                    return Err(StepError::NoMajority);
                }
                self.voters = next.voters;
                self.leaving = from;
            }
            Step::Remove if self.joining.is_none() && self.leaving == from => self.leaving = None,
            _ => return Err(StepError::OutOfOrder),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(from: u32, away: &[u32]) -> Result<Membership<u32>, (Step, StepError)> {
        let mut membership = Membership::new(vec![1, 2, 3], Some(1));
        for step in STEPS {
            let answers = |member: &u32| !away.contains(member);
            membership
                .take(step, Some(from), 4, answers)
                .map_err(|error| (step, error))?;
            assert!(membership.has_majority(answers), "{step:?}");
        }
        Ok(membership)
    }

    #[test]
    fn a_replica_is_replaced_and_the_lead_handed_on_first() {
        assert_eq!(replaced(1, &[]), Ok(Membership::new(vec![2, 3, 4], Some(2))));
        assert_eq!(replaced(3, &[3]), Ok(Membership::new(vec![1, 2, 4], Some(1))));
        assert_eq!(replaced(1, &[1]), Ok(Membership::new(vec![2, 3, 4], Some(2))));
    }

    #[test]
    fn nothing_is_done_without_a_majority() {
        assert_eq!(replaced(1, &[1, 2]), Err((Step::Learn, StepError::NoMajority)));
        // One is away and another is replaced by one that has just gone.
        let mut membership = Membership::new(vec![1, 2, 3], Some(1));
        assert_eq!(membership.take(Step::Learn, Some(2), 4, |_| true), Ok(()));
        let answers = |member: &u32| *member == 1 || *member == 2;
        assert_eq!(membership.take(Step::Join, Some(2), 4, answers), Ok(()));
        assert_eq!(
            membership.take(Step::Settle, Some(2), 4, answers),
            Err(StepError::NoMajority)
        );
    }

    #[test]
    fn steps_have_an_order() {
        let mut membership = Membership::new(vec![1, 2, 3], Some(1));
        for step in [Step::Join, Step::HandOn, Step::Settle, Step::Remove] {
            assert_eq!(
                membership.take(step, Some(1), 4, |_| true),
                Err(StepError::OutOfOrder),
                "{step:?}"
            );
        }
        assert_eq!(membership.take(Step::Learn, Some(1), 4, |_| true), Ok(()));
        assert_eq!(membership.take(Step::Join, Some(1), 4, |_| true), Ok(()));
        // The old replica leads still.
        assert_eq!(
            membership.take(Step::Settle, Some(1), 4, |_| true),
            Err(StepError::OutOfOrder)
        );
    }
}
