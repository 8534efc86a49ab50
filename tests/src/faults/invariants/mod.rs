//! What must hold whatever fails: each invariant in a file, over the history and the state at the end.
//!
//! A check looks for proof that something is wrong; where clients could not know what happened, it allows all that may
//! have. Each has tests in which a made-up history breaks it.

mod answers;
mod changes;
mod exactly_once;
mod expunged;
mod flags;
#[cfg(test)]
mod made_up;
mod modseq;
mod order;
mod privacy;
pub mod sessions;
mod told;
mod uid_validity;
mod uids;

use super::model::Model;

/// One invariant.
pub trait Invariant {
    /// A few words for tables.
    fn name(&self) -> &'static str;

    /// What breaks it, in words; nothing when it holds.
    fn check(&self, model: &Model<'_>) -> Vec<String>;
}

/// The invariants that hold for a cluster with so many replicas of each shard.
pub fn all(replicas: u32) -> Vec<Box<dyn Invariant>> {
    let mut invariants: Vec<Box<dyn Invariant>> = vec![
        Box::new(exactly_once::ExactlyOnce),
        Box::new(expunged::StaysExpunged),
        Box::new(flags::FlagsKept),
        Box::new(uids::UidsAscend),
        Box::new(uid_validity::UidValidityStays),
        Box::new(modseq::ModseqsAscend),
        Box::new(changes::ChangesComplete),
        Box::new(told::IdleTold),
        Box::new(privacy::Privacy),
        Box::new(answers::LegalAnswers),
    ];
    if replicas > 1 {
        invariants.push(Box::new(sessions::SessionsSurvive));
    }
    invariants
}

/// Whether what was acknowledged has arrived; until then the cluster may still be at work on it.
pub fn is_settled(model: &Model<'_>) -> bool {
    exactly_once::ExactlyOnce.check(model).is_empty()
}
