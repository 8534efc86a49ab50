//! UIDs strictly ascend in a mailbox and are never used again for another message. RFC 3501 §2.3.1.1.

use std::collections::BTreeMap;

use super::super::history::{Action, Event, Nanos};
use super::super::model::{Copy, Model, Place, rows_of};
use super::Invariant;
use super::order::{Seen, violations};

/// See the file.
pub(super) struct UidsAscend;

impl Invariant for UidsAscend {
    fn name(&self) -> &'static str {
        "UIDs ascend and are not used again"
    }

    fn check(&self, model: &Model<'_>) -> Vec<String> {
        let mut wrong = used_again(model);
        let mut seen: BTreeMap<Place, Vec<Seen>> = BTreeMap::new();
        for event in &model.history.events {
            for (mailbox, low, high, what) in observations(event) {
                let place = (event.account, mailbox);
                seen.entry(place).or_default().push(Seen {
                    invoked: event.invoked,
                    completed: event.completed,
                    low,
                    high,
                    what: format!("{what} in {mailbox} of user{}", event.account),
                });
            }
        }
        for (&(account, mailbox), held) in &model.ending.mailboxes {
            seen.entry((account, mailbox)).or_default().push(Seen {
                invoked: Nanos::MAX,
                completed: Nanos::MAX,
                low: Some(u64::from(held.uid_next)),
                high: u64::from(held.uid_next).saturating_sub(1),
                what: format!(
                    "UIDNEXT {} at the end in {mailbox} of user{account}",
                    held.uid_next
                ),
            });
        }
        for seen in seen.values() {
            wrong.extend(violations(seen, |low, highest| low > highest));
        }
        wrong
    }
}

/// What an operation says of UIDs: the mailbox, the lowest that must be new, the highest that is known to be taken.
fn observations(event: &Event) -> Vec<(&'static str, Option<u64>, u64, String)> {
    let mut found = Vec::new();
    if !event.outcome.is_ok() {
        return found;
    }
    if let Action::Append { mailbox: target, .. }
    | Action::Copy { target, .. }
    | Action::Move { target, .. } = &event.action
    {
        let uids = event.answer.uids.iter().map(|(_, uid)| u64::from(*uid));
        if let (Some(low), Some(high)) = (uids.clone().min(), uids.max()) {
            let kind = event.action.kind();
            found.push((*target, Some(low), high, format!("UID {low} of {kind}")));
        }
    }
    if let Some((mailbox, rows)) = rows_of(event)
        && let Some(high) = rows.iter().map(|row| u64::from(row.uid)).max()
    {
        found.push((mailbox, None, high, format!("UID {high} that was read")));
    }
    if let Action::Select { mailbox } | Action::Changes { mailbox, .. } = &event.action
        && let Some(next) = event.answer.uid_next
    {
        let next = u64::from(next);
        found.push((
            *mailbox,
            Some(next),
            next.saturating_sub(1),
            format!("UIDNEXT {next}"),
        ));
    }
    found
}

/// UIDs under which two messages were seen.
fn used_again(model: &Model<'_>) -> Vec<String> {
    let mut messages: BTreeMap<Copy, u64> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut see = |copy: Copy, message: u64| {
        let held = *messages.entry(copy).or_insert(message);
        if held != message {
            let (account, mailbox, uid) = copy;
            wrong.push(format!(
                "UID {uid} in {mailbox} of user{account} was message {held} and is message {message}"
            ));
        }
    };
    for event in &model.history.events {
        if let Action::Append { mailbox, message, .. } = &event.action {
            for (_, uid) in &event.answer.uids {
                see((event.account, mailbox, *uid), *message);
            }
        }
        if let Some((mailbox, rows)) = rows_of(event) {
            for row in rows {
                if let Some(message) = row.message {
                    see((event.account, mailbox, row.uid), message);
                }
            }
        }
    }
    for (&(account, mailbox), held) in &model.ending.mailboxes {
        for row in &held.rows {
            if let Some(message) = row.message {
                see((account, mailbox, row.uid), message);
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{Story, row};
    use super::*;

    #[test]
    fn uids_that_ascend_are_right() {
        let mut story = Story::new();
        story
            .append(1, "INBOX", 7, Some(1))
            .append(1, "INBOX", 8, Some(3))
            .append(1, "INBOX", 9, Some(2))
            .overlapping(8)
            .ends(1, "INBOX", &[(1, 7), (2, 9), (3, 8)]);
        assert_eq!(story.check(&UidsAscend), Vec::<String>::new());
    }

    #[test]
    fn a_lower_uid_after_a_higher_one_is_seen() {
        let mut story = Story::new();
        story
            .append(1, "INBOX", 7, Some(3))
            .append(1, "INBOX", 8, Some(2));
        assert_eq!(story.check(&UidsAscend).len(), 1);
        let mut story = Story::new();
        story
            .append(1, "INBOX", 7, Some(3))
            .append(1, "Archive", 8, Some(2));
        assert!(story.check(&UidsAscend).is_empty(), "each mailbox has its own");
        let mut story = Story::new();
        story
            .fetch(1, vec![row(5, 7, &[])])
            .append(1, "INBOX", 8, Some(5));
        assert_eq!(story.check(&UidsAscend).len(), 2, "taken, and used again");
    }

    #[test]
    fn a_uid_next_that_falls_back_is_seen() {
        let mut story = Story::new();
        story.append(1, "INBOX", 7, Some(3)).ends(1, "INBOX", &[]);
        assert_eq!(story.check(&UidsAscend).len(), 1);
    }

    #[test]
    fn a_uid_of_two_messages_is_seen() {
        let mut story = Story::new();
        story.append(1, "INBOX", 7, Some(1)).ends(1, "INBOX", &[(1, 8)]);
        assert_eq!(story.check(&UidsAscend).len(), 1);
    }
}
