//! No expunged message returns: once it was acknowledged that a copy has gone, nobody sees it any more.

use std::collections::BTreeMap;

use super::super::history::Nanos;
use super::super::model::{Copy, Model, rows_of};
use super::Invariant;

/// See the file.
pub(super) struct StaysExpunged;

impl Invariant for StaysExpunged {
    fn name(&self) -> &'static str {
        "no expunged message returns"
    }

    fn check(&self, model: &Model<'_>) -> Vec<String> {
        let mut gone: BTreeMap<Copy, Nanos> = BTreeMap::new();
        for copy in model.copies.keys() {
            if let Some(since) = model.gone_since(*copy) {
                gone.insert(*copy, since);
            }
        }
        for event in &model.history.events {
            // What was told to have vanished has gone, whoever removed it.
            if let Some((mailbox, _)) = rows_of(event) {
                for uid in &event.answer.vanished {
                    let since = gone.entry((event.account, mailbox, *uid)).or_insert(Nanos::MAX);
                    *since = (*since).min(event.completed);
                }
            }
        }
        let mut wrong = Vec::new();
        for event in &model.history.events {
            let Some((mailbox, rows)) = rows_of(event) else {
                continue;
            };
            for row in rows {
                let copy = (event.account, mailbox, row.uid);
                if gone.get(&copy).is_some_and(|since| *since < event.invoked) {
                    wrong.push(format!(
                        "UID {} in {mailbox} of user{} was read {:.3} s after it had gone",
                        row.uid,
                        event.account,
                        (event.invoked - gone[&copy]) as f64 / 1e9
                    ));
                }
            }
        }
        for copy in gone.keys().filter(|copy| model.present.contains(*copy)) {
            let (account, mailbox, uid) = copy;
            wrong.push(format!(
                "UID {uid} in {mailbox} of user{account} had gone and is there at the end"
            ));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{Story, row, unknown};
    use super::*;
    use crate::faults::history::{DELETED, Outcome};

    fn expunged() -> Story {
        let mut story = Story::new();
        story
            .append(1, "INBOX", 7, Some(1))
            .store(1, 1, DELETED, true, Outcome::Ok)
            .expunge(1, 1, Outcome::Ok);
        story
    }

    #[test]
    fn what_is_expunged_and_stays_away_is_right() {
        let mut story = expunged();
        story.ends(1, "INBOX", &[]);
        assert_eq!(story.check(&StaysExpunged), Vec::<String>::new());
    }

    #[test]
    fn what_is_there_at_the_end_or_read_later_is_seen() {
        let mut story = expunged();
        story.ends(1, "INBOX", &[(1, 7)]);
        assert_eq!(story.check(&StaysExpunged).len(), 1);
        let mut story = expunged();
        story.fetch(1, vec![row(1, 7, &[])]).ends(1, "INBOX", &[]);
        assert_eq!(story.check(&StaysExpunged).len(), 1);
        let mut story = expunged();
        story
            .fetch(1, vec![row(1, 7, &[])])
            .overlapping(8)
            .ends(1, "INBOX", &[]);
        assert!(
            story.check(&StaysExpunged).is_empty(),
            "it was read at the same time"
        );
    }

    #[test]
    fn what_was_moved_away_or_told_to_vanish_is_gone() {
        let mut story = Story::new();
        story
            .append(1, "INBOX", 7, Some(1))
            .moves(1, "INBOX", "Archive", 1, Some(3))
            .ends(1, "INBOX", &[(1, 7)]);
        assert_eq!(story.check(&StaysExpunged).len(), 1);
        let mut story = Story::new();
        story
            .changes(1, (4, false), 9, Vec::new(), &[2])
            .ends(1, "INBOX", &[(2, 7)]);
        assert_eq!(story.check(&StaysExpunged).len(), 1);
    }

    #[test]
    fn an_expunge_of_which_nobody_knows_proves_nothing() {
        let mut story = Story::new();
        story
            .append(1, "INBOX", 7, Some(1))
            .store(1, 1, DELETED, true, Outcome::Ok)
            .expunge(1, 1, unknown())
            .ends(1, "INBOX", &[(1, 7)]);
        assert!(story.check(&StaysExpunged).is_empty());
    }
}
