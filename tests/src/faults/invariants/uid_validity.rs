//! UIDVALIDITY stays: whoever asks, whenever, is told the same of a mailbox.

use std::collections::BTreeMap;

use super::super::history::{Account, Action};
use super::super::model::{Model, Place};
use super::Invariant;

/// See the file.
pub(super) struct UidValidityStays;

impl Invariant for UidValidityStays {
    fn name(&self) -> &'static str {
        "UIDVALIDITY stays"
    }

    fn check(&self, model: &Model<'_>) -> Vec<String> {
        let mut first: BTreeMap<Place, u32> = BTreeMap::new();
        let mut wrong = Vec::new();
        let mut see = |account: Account, mailbox: &'static str, validity: u32, when: &str| {
            let held = *first.entry((account, mailbox)).or_insert(validity);
            if held != validity {
                wrong.push(format!(
                    "UIDVALIDITY of {mailbox} of user{account} was {held} and is {validity} ({when})"
                ));
            }
        };
        for event in &model.history.events {
            let mailbox = match &event.action {
                Action::Append { mailbox, .. }
                | Action::Select { mailbox }
                | Action::Changes { mailbox, .. } => mailbox,
                Action::Copy { target, .. } | Action::Move { target, .. } => target,
                _ => continue,
            };
            if let Some(validity) = event.answer.uid_validity {
                see(event.account, mailbox, validity, event.action.kind());
            }
        }
        for (&(account, mailbox), held) in &model.ending.mailboxes {
            see(account, mailbox, held.uid_validity, "the end");
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::Story;
    use super::*;

    #[test]
    fn another_uid_validity_is_seen() {
        let mut story = Story::new();
        story.append(1, "INBOX", 7, Some(1)).ends(1, "INBOX", &[(1, 7)]);
        assert!(story.check(&UidValidityStays).is_empty());
        if let Some(held) = story.ending.mailboxes.get_mut(&(1, "INBOX")) {
            held.uid_validity += 1;
        }
        assert_eq!(story.check(&UidValidityStays).len(), 1);
        story.append(1, "INBOX", 8, Some(2));
        if let Some(last) = story.history.events.last_mut() {
            last.answer.uid_validity = Some(99);
        }
        assert_eq!(story.check(&UidValidityStays).len(), 2);
    }
}
