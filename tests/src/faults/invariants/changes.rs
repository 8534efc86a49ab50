//! The change log is complete from any earlier modseq: what was known then, and what has changed since, is what is there.

use std::collections::BTreeMap;

use super::super::history::{Action, Answer};
use super::super::model::{Model, Place};
use super::Invariant;

/// A mailbox as it was known at a modseq: flags by UID.
type Picture = BTreeMap<u32, Vec<String>>;

/// See the file.
pub(super) struct ChangesComplete;

impl Invariant for ChangesComplete {
    fn name(&self) -> &'static str {
        "changes since any modseq are complete"
    }

    fn check(&self, model: &Model<'_>) -> Vec<String> {
        let mut pictures: BTreeMap<(Place, u64), Picture> = BTreeMap::new();
        let mut wrong = Vec::new();
        for event in model.history.events.iter().filter(|event| event.outcome.is_ok()) {
            let Action::Changes {
                mailbox,
                since,
                closing,
            } = &event.action
            else {
                continue;
            };
            let place = (event.account, *mailbox);
            let what = format!("{mailbox} of user{} since modseq {since}", event.account);
            let before = pictures.get(&(place, *since));
            let Some(picture) = after(before, *since, &event.answer) else {
                wrong.push(format!("{what}: it was asked for what was never seen"));
                continue;
            };
            if *closing {
                wrong.extend(
                    differences(&picture, &at_the_end(model, place)).map(|all| format!("{what}: {all}")),
                );
            }
            let highest = event.answer.highest_modseq.unwrap_or_default();
            let held = pictures
                .entry((place, highest))
                .or_insert_with(|| picture.clone());
            if let Some(all) = differences(&picture, held) {
                wrong.push(format!("{what}: two pictures at modseq {highest}: {all}"));
            }
        }
        wrong
    }
}

/// What is known after an answer.
fn after(before: Option<&Picture>, since: u64, answer: &Answer) -> Option<Picture> {
    let mut picture = if answer.complete || since == 0 {
        Picture::new()
    } else {
        before?.clone()
    };
    for uid in &answer.vanished {
        picture.remove(uid);
    }
    for row in &answer.rows {
        picture.insert(row.uid, row.flags.clone().unwrap_or_default());
    }
    Some(picture)
}

fn at_the_end(model: &Model<'_>, place: Place) -> Picture {
    let held = model.ending.mailboxes.get(&place);
    held.into_iter()
        .flat_map(|held| &held.rows)
        .map(|row| (row.uid, row.flags.clone().unwrap_or_default()))
        .collect()
}

fn differences(told: &Picture, held: &Picture) -> Option<String> {
    if told == held {
        return None;
    }
    let missing: Vec<u32> = held
        .keys()
        .filter(|uid| !told.contains_key(uid))
        .copied()
        .collect();
    let surplus: Vec<u32> = told
        .keys()
        .filter(|uid| !held.contains_key(uid))
        .copied()
        .collect();
    let flags: Vec<u32> = told
        .iter()
        .filter(|(uid, flags)| held.get(uid).is_some_and(|other| other != *flags))
        .map(|(uid, _)| *uid)
        .collect();
    Some(format!(
        "UIDs not told of: {missing:?}; told of and not there: {surplus:?}; with other flags: {flags:?}"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{Story, changed};
    use super::*;

    /// Seen with UIDs 1 and 2 at modseq 5, asked again from there at modseq 9.
    fn story(rows: Vec<(u32, &[&str])>, vanished: &[u32]) -> Vec<String> {
        let mut story = Story::new();
        story.changes(
            1,
            (0, false),
            5,
            vec![changed(1, 4, &[]), changed(2, 5, &[])],
            &[],
        );
        let rows = rows.iter().map(|(uid, flags)| changed(*uid, 9, flags)).collect();
        story.changes(1, (5, true), 9, rows, vanished);
        story.ends(1, "INBOX", &[(1, 7), (3, 9)]);
        story.end_row(1, "INBOX", 1).flags = Some(vec!["later".to_owned()]);
        story.check(&ChangesComplete)
    }

    #[test]
    fn all_that_changed_is_right() {
        assert_eq!(story(vec![(1, &["later"]), (3, &[])], &[2]), Vec::<String>::new());
    }

    #[test]
    fn what_was_kept_back_is_seen() {
        assert_eq!(story(vec![(1, &["later"]), (3, &[])], &[]).len(), 1, "an expunge");
        assert_eq!(story(vec![(1, &["later"])], &[2]).len(), 1, "a new message");
        assert_eq!(story(vec![(3, &[])], &[2]).len(), 1, "flags");
    }

    #[test]
    fn two_pictures_at_one_modseq_are_seen() {
        let mut story = Story::new();
        story.changes(1, (0, false), 5, vec![changed(1, 4, &[])], &[]);
        story.changes(1, (0, false), 5, vec![], &[]);
        assert_eq!(story.check(&ChangesComplete).len(), 1);
    }
}
