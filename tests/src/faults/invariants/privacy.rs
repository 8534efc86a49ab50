//! No account ever sees another's mail: what is read there was sent or appended to it.

use std::collections::BTreeSet;

use super::super::history::{Account, Action};
use super::super::model::Model;
use super::Invariant;

/// See the file.
pub(super) struct Privacy;

impl Invariant for Privacy {
    fn name(&self) -> &'static str {
        "no account sees another's mail"
    }

    fn check(&self, model: &Model<'_>) -> Vec<String> {
        let events = &model.history.events;
        let meant: BTreeSet<(Account, u64)> = events
            .iter()
            .filter_map(|event| match &event.action {
                Action::Append { message, .. } | Action::Deliver { message, .. } => {
                    Some((event.account, *message))
                }
                _ => None,
            })
            .collect();
        let read = events.iter().flat_map(|event| {
            let rows = event.answer.rows.iter();
            rows.map(|row| (event.account, row))
        });
        let ending = model.ending.mailboxes.iter();
        let ending = ending.flat_map(|((account, _), held)| held.rows.iter().map(|row| (*account, row)));
        let wrong: BTreeSet<String> = read
            .chain(ending)
            .filter_map(|(account, row)| Some((account, row.message?)))
            .filter(|seen| !meant.contains(seen))
            .map(|(account, message)| format!("user{account} saw message {message}, which nobody sent there"))
            .collect();
        wrong.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{Story, row};
    use super::*;

    #[test]
    fn mail_of_another_account_is_seen() {
        let mut story = Story::new();
        story.deliver(1, 7, true).append(2, "INBOX", 8, Some(1));
        story.ends(1, "INBOX", &[(1, 7)]).ends(2, "INBOX", &[(1, 8)]);
        assert_eq!(story.check(&Privacy), Vec::<String>::new());
        story.fetch(2, vec![row(1, 7, &[])]);
        assert_eq!(story.check(&Privacy).len(), 1);
        story.ends(1, "INBOX", &[(1, 8)]);
        assert_eq!(story.check(&Privacy).len(), 2);
    }
}
