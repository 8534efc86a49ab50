//! Faults make the server say "try later" and nothing worse: the workload asks for nothing that could be refused.

use std::collections::BTreeMap;

use super::super::history::Outcome;
use super::super::model::Model;
use super::Invariant;

/// See the file.
pub(super) struct LegalAnswers;

impl Invariant for LegalAnswers {
    fn name(&self) -> &'static str {
        "faults are answered by \"try later\" at worst"
    }

    fn check(&self, model: &Model<'_>) -> Vec<String> {
        let mut refused: BTreeMap<(&'static str, &str), usize> = BTreeMap::new();
        for event in &model.history.events {
            if let Outcome::Refused(answer) = &event.outcome {
                *refused.entry((event.action.kind(), answer)).or_default() += 1;
            }
        }
        refused
            .into_iter()
            .map(|((kind, answer), count)| format!("{kind} was answered {answer:?} {count} times"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{Story, unknown};
    use super::*;

    #[test]
    fn a_refusal_is_seen() {
        let mut story = Story::new();
        story.expunge(1, 1, unknown());
        assert!(story.check(&LegalAnswers).is_empty());
        story.expunge(1, 1, Outcome::Refused("NO [SERVERBUG] internal error".to_owned()));
        assert_eq!(story.check(&LegalAnswers).len(), 1);
    }
}
