//! What is to be done next so that a group has other members: decided from what its leader knows, and done elsewhere.
//!
//! At each moment a majority of the members that have all that was agreed on decides: new ones vote once they have caught up, the
//! old ones stop voting in the same change, and nobody lets go of itself.

use std::collections::BTreeSet;

/// The members of a group as its leader knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Members {
    /// The leader.
    pub(super) own: u64,
    /// Who votes; two sets while a change of the voters is under way.
    pub(super) voters: Vec<BTreeSet<u64>>,
    /// Who gets all and does not vote.
    pub(super) learners: BTreeSet<u64>,
    /// Whether all this is agreed on: before, nothing further can be changed.
    pub(super) agreed: bool,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// The members are those that are wanted.
    Nothing,
    /// To wait: for what is being agreed on, for what new ones lack, for one that can lead.
    Wait,
    /// These become learners.
    Learn(BTreeSet<u64>),
    /// These are to be the only voters.
    Vote(BTreeSet<u64>),
    /// This one is asked to lead.
    HandOver(u64),
}

/// The next step towards the voters that are wanted, the first of which is to lead rather than others when the leader is none of
/// them. Learners that nobody wants are left as they are.
pub(super) fn next_change(
    members: &Members,
    wanted: &[u64],
    can_lead: impl Fn(u64) -> bool,
    has_caught_up: impl Fn(u64) -> bool,
) -> Change {
    let Some(voters) = members.voters.last().filter(|_| members.agreed) else {
        return Change::Wait;
    };
    let mut target: BTreeSet<u64> = wanted.iter().copied().collect();
    let stays = target.contains(&members.own);
    if !stays {
        let mut heirs = wanted.iter().filter(|replica| voters.contains(replica));
        let has_heir = heirs.clone().next().is_some();
        if let Some(heir) = heirs.find(|replica| can_lead(**replica)) {
            return Change::HandOver(*heir);
        }
        if has_heir && members.voters.len() == 1 {
            return Change::Wait;
        }
        // Until one of the new ones votes there is nobody to hand over to.
        target.insert(members.own);
    }
    if let [before, _] = members.voters.as_slice() {
        // Both sets have to agree on whatever comes next: back, when that is what is wanted by now, or on.
        let back = *before == target;
        return Change::Vote(if back { before.clone() } else { voters.clone() });
    }
    let is_member = |replica: &u64| voters.contains(replica) || members.learners.contains(replica);
    let new: BTreeSet<u64> = target.iter().copied().filter(|one| !is_member(one)).collect();
    if !new.is_empty() {
        return Change::Learn(new);
    }
    if *voters == target {
        return Change::Nothing;
    }
    let mut waiting = target.iter().filter(|replica| !voters.contains(replica));
    if waiting.all(|replica| has_caught_up(*replica)) {
        Change::Vote(target)
    } else {
        Change::Wait
    }
}

/// The learners that are not wanted.
pub(super) fn unwanted_learners(members: &Members, wanted: &[u64]) -> BTreeSet<u64> {
    let learners = members.learners.iter().copied();
    learners.filter(|replica| !wanted.contains(replica)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(of: &[u64]) -> BTreeSet<u64> {
        of.iter().copied().collect()
    }

    fn members(voters: &[&[u64]], learners: &[u64]) -> Members {
        Members {
            own: 1,
            voters: voters.iter().map(|voters| set(voters)).collect(),
            learners: set(learners),
            agreed: true,
        }
    }

    /// The next step, when all have caught up and can lead but those that are behind.
    fn next(members: &Members, wanted: &[u64], behind: &[u64]) -> Change {
        let is_good = |replica: u64| !behind.contains(&replica);
        next_change(members, wanted, is_good, is_good)
    }

    #[test]
    fn one_of_three_is_replaced() {
        let wanted = [1, 2, 4];
        let three = members(&[&[1, 2, 3]], &[]);
        assert_eq!(next(&three, &[3, 2, 1], &[]), Change::Nothing);
        assert_eq!(next(&three, &wanted, &[4]), Change::Learn(set(&[4])));
        let learning = members(&[&[1, 2, 3]], &[4]);
        assert_eq!(next(&learning, &wanted, &[4]), Change::Wait);
        assert_eq!(next(&learning, &wanted, &[]), Change::Vote(set(&wanted)));
        // A crash of the leader, or one that was slow, leaves it half-way.
        let joint = members(&[&[1, 2, 3], &[1, 2, 4]], &[]);
        assert_eq!(next(&joint, &wanted, &[]), Change::Vote(set(&wanted)));
        assert_eq!(next(&members(&[&[1, 2, 4]], &[]), &wanted, &[]), Change::Nothing);
        let undecided = Members {
            agreed: false,
            ..three
        };
        assert_eq!(next(&undecided, &wanted, &[]), Change::Wait);
    }

    #[test]
    fn what_is_taken_back_is_heeded_at_any_point() {
        let learning = members(&[&[1, 2, 3]], &[4]);
        assert_eq!(unwanted_learners(&learning, &[1, 2, 3]), set(&[4]));
        assert_eq!(unwanted_learners(&learning, &[1, 2, 4]), set(&[]));
        assert_eq!(next(&learning, &[1, 2, 3], &[4]), Change::Nothing);
        assert_eq!(next(&learning, &[1, 2, 5], &[4]), Change::Learn(set(&[5])));
        let joint = members(&[&[1, 2, 3], &[1, 2, 4]], &[]);
        assert_eq!(next(&joint, &[1, 2, 3], &[4]), Change::Vote(set(&[1, 2, 3])));
        // What is wanted now was not when it began: first it is ended.
        assert_eq!(next(&joint, &[1, 2, 5], &[]), Change::Vote(set(&[1, 2, 4])));
    }

    #[test]
    fn a_leader_that_goes_hands_over_to_the_first_that_can_lead() {
        let three = members(&[&[1, 2, 3]], &[]);
        assert_eq!(next(&three, &[4, 3, 2], &[]), Change::HandOver(3));
        assert_eq!(next(&three, &[4, 3, 2], &[3]), Change::HandOver(2));
        assert_eq!(next(&three, &[4, 3, 2], &[2, 3]), Change::Wait);
        let four = members(&[&[1, 2, 3, 4]], &[]);
        assert_eq!(next(&four, &[4, 3, 2], &[]), Change::HandOver(4));
        let joint = members(&[&[1, 2, 3], &[2, 3, 4]], &[]);
        assert_eq!(next(&joint, &[2, 3, 4], &[]), Change::HandOver(2));
    }

    #[test]
    fn an_only_voter_has_the_new_one_vote_beside_it_before_it_goes() {
        let alone = members(&[&[1]], &[]);
        assert_eq!(next(&alone, &[4], &[4]), Change::Learn(set(&[4])));
        let learning = members(&[&[1]], &[4]);
        assert_eq!(next(&learning, &[4], &[4]), Change::Wait);
        assert_eq!(next(&learning, &[4], &[]), Change::Vote(set(&[1, 4])));
        let joint = members(&[&[1], &[1, 4]], &[]);
        assert_eq!(next(&joint, &[4], &[4]), Change::Vote(set(&[1, 4])));
        let both = members(&[&[1, 4]], &[]);
        assert_eq!(next(&both, &[4], &[4]), Change::Wait);
        assert_eq!(next(&both, &[4], &[]), Change::HandOver(4));
        let led = Members { own: 4, ..both };
        assert_eq!(next(&led, &[4], &[]), Change::Vote(set(&[4])));
        // It is to stay after all.
        assert_eq!(
            next(&members(&[&[1, 4]], &[]), &[1], &[]),
            Change::Vote(set(&[1]))
        );
        // Nobody of three stays.
        let three = members(&[&[1, 2, 3]], &[4, 5, 6]);
        assert_eq!(next(&three, &[4, 5, 6], &[]), Change::Vote(set(&[1, 4, 5, 6])));
    }
}
