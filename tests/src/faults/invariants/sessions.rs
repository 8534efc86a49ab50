//! With replicas, no fault but the death of its own proxy ends a client's connection.

use super::super::history::{FaultSpan, Lost};
use super::super::model::Model;
use super::super::nemesis::ENDS_CONNECTIONS;
use super::Invariant;

/// See the file.
pub(super) struct SessionsSurvive;

impl Invariant for SessionsSurvive {
    fn name(&self) -> &'static str {
        "connections outlive the faults of others"
    }

    fn check(&self, model: &Model<'_>) -> Vec<String> {
        let lost = model.history.lost.iter();
        lost.filter(|lost| !is_excused(lost, &model.history.faults))
            .map(|lost| {
                format!(
                    "session {} at proxy-{} was lost after {:.3} s: {}",
                    lost.session,
                    lost.proxy + 1,
                    lost.at as f64 / 1e9,
                    lost.error
                )
            })
            .collect()
    }
}

/// Whether the connection's proxy was killed between the moment it was last heard of and its loss.
pub fn is_excused(lost: &Lost, faults: &[FaultSpan]) -> bool {
    let proxy = format!("proxy-{}", lost.proxy + 1);
    faults.iter().any(|fault| {
        ENDS_CONNECTIONS.contains(&fault.nemesis)
            && fault.nodes.contains(&proxy)
            && fault.from <= lost.at
            && fault.to >= lost.since
    })
}

#[cfg(test)]
mod tests {
    use super::super::made_up::Story;
    use super::*;

    #[test]
    fn a_connection_that_was_lost_for_nothing_is_seen() {
        let mut story = Story::new();
        story.history.lost.push(Lost {
            session: 3,
            proxy: 0,
            since: 10,
            at: 20,
            error: "closed".to_owned(),
        });
        assert_eq!(story.check(&SessionsSurvive).len(), 1);
        story.history.faults.push(FaultSpan {
            nemesis: "kill",
            description: "kill of proxy-1".to_owned(),
            nodes: vec!["proxy-1".to_owned()],
            led: Vec::new(),
            from: 15,
            struck: 16,
            to: 30,
        });
        assert!(story.check(&SessionsSurvive).is_empty());
        story.history.faults[0].nodes = vec!["proxy-2".to_owned()];
        assert_eq!(story.check(&SessionsSurvive).len(), 1);
    }
}
