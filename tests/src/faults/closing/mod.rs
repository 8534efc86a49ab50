//! What is asked of the nodes themselves when all is well again, beside what clients can see.
//!
//! An invariant over the history goes into `invariants`; one that needs the cluster, such as whether the replicas of a
//! shard are equal, is a file here: it asks by [`Stage::operate`] and says what is wrong.

mod ended;
mod placement;
mod replicas;

use anyhow::Result;

use super::stage::Stage;

/// One question.
pub trait Closing {
    /// A few words for tables.
    fn name(&self) -> &'static str;

    /// What is wrong, in words; nothing when all is right. An error is a question that could not be asked.
    fn check(&self, stage: &Stage) -> Result<Vec<String>>;
}

/// All questions.
pub fn all() -> Vec<Box<dyn Closing>> {
    vec![
        Box::new(ended::NoneEnded),
        Box::new(placement::PlacementKept),
        Box::new(replicas::ReplicasEqual),
    ]
}
