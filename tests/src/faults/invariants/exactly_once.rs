//! Each acknowledged message is readable exactly once and whole; one with an unknown outcome at most once.
//!
//! A transaction that a client makes again is counted anew. The rule is by mailbox: as many copies of a message are ever
//! seen as were put there, and a copy that has gone was removed by somebody.

use std::collections::{BTreeMap, BTreeSet};

use super::super::history::Account;
use super::super::model::{Copy, Model};
use super::Invariant;

/// See the file.
pub(super) struct ExactlyOnce;

impl Invariant for ExactlyOnce {
    fn name(&self) -> &'static str {
        "acknowledged messages are there once and whole"
    }

    fn check(&self, model: &Model<'_>) -> Vec<String> {
        let mut wrong = not_whole(model);
        let mut seen: BTreeMap<(Account, &'static str, u64), usize> = BTreeMap::new();
        for (copy, known) in &model.copies {
            if let Some(message) = known.message {
                *seen.entry((copy.0, copy.1, message)).or_default() += 1;
            }
        }
        let keys: BTreeSet<_> = seen.keys().chain(model.creations.keys()).copied().collect();
        // Copies beyond those that were acknowledged, by account and message.
        let mut surplus: BTreeMap<(Account, u64), usize> = BTreeMap::new();
        for key in keys {
            let seen = seen.get(&key).copied().unwrap_or_default();
            let put = model.creations.get(&key).cloned().unwrap_or_default();
            let (account, mailbox, message) = key;
            let what = format!(
                "message {message} in {mailbox} of user{account}: put there {} times for certain and {} times perhaps, seen \
                 {seen} times",
                put.certain, put.possible
            );
            if seen < put.certain {
                wrong.push(format!("lost: {what}"));
            } else if seen > put.certain + put.possible {
                wrong.push(format!("too often: {what}"));
            }
            *surplus.entry((account, message)).or_default() += seen.saturating_sub(put.certain);
        }
        wrong.extend(vanished(model, &surplus));
        wrong
    }
}

fn not_whole(model: &Model<'_>) -> Vec<String> {
    let read = model.history.events.iter().flat_map(|event| {
        let rows = event.answer.rows.iter();
        rows.map(|row| (event.account, event.action.kind(), row))
    });
    let ending = model.ending.mailboxes.iter();
    let ending = ending.flat_map(|((account, mailbox), held)| {
        let rows = held.rows.iter();
        rows.map(|row| (*account, *mailbox, row))
    });
    read.chain(ending)
        .filter(|(_, _, row)| row.whole == Some(false))
        .map(|(account, place, row)| {
            format!(
                "not what was sent: message {:?} with UID {} of user{account} ({place})",
                row.message, row.uid
            )
        })
        .collect()
}

/// Copies that have gone and that nobody removed. One that a move of unknown outcome may have taken must have arrived.
fn vanished(model: &Model<'_>, surplus: &BTreeMap<(Account, u64), usize>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut moved: BTreeMap<(Account, u64), Vec<Copy>> = BTreeMap::new();
    for (copy, known) in &model.copies {
        if model.present.contains(copy) || model.may_be_expunged_or_moved(*copy) {
            continue;
        }
        let (account, mailbox, uid) = *copy;
        match known.message {
            Some(message) if model.may_be_moved_unseen(*copy) => {
                moved.entry((account, message)).or_default().push(*copy);
            }
            // Named by a command that changed nothing, and never seen.
            None => {}
            Some(message) => wrong.push(format!(
                "gone: message {message} with UID {uid} in {mailbox} of user{account}, which nobody removed"
            )),
        }
    }
    for ((account, message), copies) in moved {
        let arrived = surplus.get(&(account, message)).copied().unwrap_or_default();
        if arrived < copies.len() {
            wrong.push(format!(
                "gone on a move: message {message} of user{account} left {copies:?} and arrived {arrived} times"
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::super::made_up::Story;
    use super::*;

    fn check(story: &Story) -> Vec<String> {
        story.check(&ExactlyOnce)
    }

    #[test]
    fn what_was_acknowledged_and_is_there_once_is_right() {
        let mut story = Story::new();
        story.append(1, "INBOX", 7, Some(1)).deliver(1, 8, true);
        story
            .deliver(1, 9, false)
            .ends(1, "INBOX", &[(1, 7), (2, 8), (3, 9)]);
        assert_eq!(check(&story), Vec::<String>::new());
        let mut story = Story::new();
        story.deliver(1, 9, false).ends(1, "INBOX", &[]);
        assert!(check(&story).is_empty(), "an unknown outcome may come to nothing");
    }

    #[test]
    fn a_lost_append_and_a_lost_delivery_are_seen() {
        let mut story = Story::new();
        story.append(1, "INBOX", 7, Some(1)).ends(1, "INBOX", &[]);
        assert!(check(&story)[0].starts_with("gone"), "{:?}", check(&story));
        let mut story = Story::new();
        story.deliver(1, 8, true).ends(1, "INBOX", &[]);
        assert!(check(&story)[0].starts_with("lost"));
    }

    #[test]
    fn a_message_that_is_there_twice_is_seen() {
        for acknowledged in [true, false] {
            let mut story = Story::new();
            story
                .deliver(1, 8, acknowledged)
                .ends(1, "INBOX", &[(1, 8), (2, 8)]);
            assert!(check(&story)[0].starts_with("too often"));
        }
        // Two transactions may leave two.
        let mut story = Story::new();
        story
            .deliver(1, 8, false)
            .deliver(1, 8, true)
            .ends(1, "INBOX", &[(1, 8), (2, 8)]);
        assert!(check(&story).is_empty());
    }

    #[test]
    fn a_message_that_an_unanswered_move_dropped_is_seen() {
        let mut story = Story::new();
        story.append(1, "INBOX", 7, Some(1));
        story.moves(1, "INBOX", "Archive", 1, None);
        story.ends(1, "INBOX", &[]).ends(1, "Archive", &[]);
        assert!(check(&story)[0].starts_with("gone on a move"));
        story.ends(1, "Archive", &[(1, 7)]);
        assert!(check(&story).is_empty(), "it may have been moved");
        story.ends(1, "Archive", &[]).ends(1, "INBOX", &[(1, 7)]);
        assert!(check(&story).is_empty(), "or not");
    }

    #[test]
    fn a_copy_that_was_acknowledged_must_be_there() {
        let mut story = Story::new();
        story
            .append(1, "INBOX", 7, Some(1))
            .copies(1, "INBOX", "Archive", 1, Some(4));
        story.ends(1, "INBOX", &[(1, 7)]).ends(1, "Archive", &[]);
        assert!(check(&story)[0].starts_with("gone"));
    }

    #[test]
    fn a_message_that_is_not_whole_is_seen() {
        let mut story = Story::new();
        story.append(1, "INBOX", 7, Some(1)).ends(1, "INBOX", &[(1, 7)]);
        story.damage(1, "INBOX", 1);
        assert!(check(&story)[0].starts_with("not what was sent"));
    }
}
