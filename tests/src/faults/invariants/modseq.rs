//! Modseqs ascend: that of a mailbox never falls, that of a message neither, and flags that changed have a higher one.
//! RFC 7162 §3.1.

use std::collections::BTreeMap;

use super::super::model::{Copy, Model, Place, rows_of};
use super::Invariant;
use super::order::{Seen, violations};

/// See the file.
pub(super) struct ModseqsAscend;

impl Invariant for ModseqsAscend {
    fn name(&self) -> &'static str {
        "modseqs ascend"
    }

    fn check(&self, model: &Model<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut mailboxes: BTreeMap<Place, Vec<Seen>> = BTreeMap::new();
        let mut copies: BTreeMap<Copy, Vec<Seen>> = BTreeMap::new();
        let mut flags: BTreeMap<(Copy, u64), &[String]> = BTreeMap::new();
        for event in &model.history.events {
            let mailbox = match (&event.action, rows_of(event)) {
                (super::super::history::Action::Select { mailbox }, _) => mailbox,
                (_, Some((mailbox, _))) => mailbox,
                _ => continue,
            };
            let seen = |modseq: u64, what: String| Seen {
                invoked: event.invoked,
                completed: event.completed,
                low: Some(modseq),
                high: modseq,
                what,
            };
            let whose = format!("{mailbox} of user{}", event.account);
            if let Some(highest) = event.answer.highest_modseq {
                let place = (event.account, mailbox);
                let observed = seen(highest, format!("modseq {highest} of {whose}"));
                mailboxes.entry(place).or_default().push(observed);
            }
            for row in &event.answer.rows {
                let Some(modseq) = row.modseq else { continue };
                let copy = (event.account, mailbox, row.uid);
                let what = format!("modseq {modseq} of UID {} in {whose}", row.uid);
                if event
                    .answer
                    .highest_modseq
                    .is_some_and(|highest| modseq > highest)
                {
                    wrong.push(format!("{what} is above the mailbox's"));
                }
                if let Some(held) = row.flags.as_deref()
                    && flags
                        .insert((copy, modseq), held)
                        .is_some_and(|before| before != held)
                {
                    wrong.push(format!("{what} was seen with two sets of flags"));
                }
                copies.entry(copy).or_default().push(seen(modseq, what));
            }
        }
        for seen in mailboxes.values().chain(copies.values()) {
            wrong.extend(violations(seen, |low, highest| low >= highest));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{Story, changed};
    use super::*;

    /// UID, modseq, flags.
    type Look<'a> = (u32, u64, &'a [&'a str]);

    /// The mailbox's modseq and what was seen at it, one look after the other.
    fn story(looks: &[(u64, &[Look<'_>])]) -> Vec<String> {
        let mut story = Story::new();
        for (highest, rows) in looks {
            let rows = rows
                .iter()
                .map(|(uid, modseq, flags)| changed(*uid, *modseq, flags))
                .collect();
            story.changes(1, (0, false), *highest, rows, &[]);
        }
        story.check(&ModseqsAscend)
    }

    #[test]
    fn modseqs_that_ascend_are_right() {
        let wrong = story(&[
            (4, &[(1, 4, &[])]),
            (4, &[(1, 4, &[])]),
            (9, &[(1, 9, &["later"])]),
        ]);
        assert_eq!(wrong, Vec::<String>::new());
    }

    #[test]
    fn what_falls_or_stays_while_flags_change_is_seen() {
        assert_eq!(story(&[(9, &[]), (8, &[])]).len(), 1);
        assert_eq!(story(&[(9, &[(1, 7, &[])]), (9, &[(1, 6, &[])])]).len(), 1);
        assert_eq!(story(&[(9, &[(1, 7, &[])]), (9, &[(1, 7, &["later"])])]).len(), 1);
        assert_eq!(story(&[(9, &[(1, 10, &[])])]).len(), 1);
    }
}
