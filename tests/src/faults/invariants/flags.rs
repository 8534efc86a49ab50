//! No flag update is lost, and none is read that nobody made: each flag of each copy behaves as one register.
//!
//! A value that was read, or that is there at the end, must be that of a write which may have been the last: no
//! acknowledged write of the other value came wholly after it and wholly before the read. A copy begins with a value
//! that its source had while it was copied.

use super::super::history::{Action, DELETED, Event, FLAGS, Nanos};
use super::super::model::{Copy, Model, Origin, rows_of};
use super::Invariant;

/// Copies of copies of copies: further back anything may have been.
const DEPTH_MAX: u32 = 8;

/// See the file.
pub(super) struct FlagsKept;

impl Invariant for FlagsKept {
    fn name(&self) -> &'static str {
        "no flag update is lost"
    }

    fn check(&self, model: &Model<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        for event in &model.history.events {
            let Some((mailbox, rows)) = rows_of(event) else {
                continue;
            };
            for row in rows {
                let Some(flags) = &row.flags else { continue };
                let copy = (event.account, mailbox, row.uid);
                let seen = (event.invoked, event.completed);
                wrong.extend(illegal(model, copy, flags, seen, event.action.kind()));
            }
        }
        for (&(account, mailbox), held) in &model.ending.mailboxes {
            for row in &held.rows {
                let Some(flags) = &row.flags else { continue };
                let copy = (account, mailbox, row.uid);
                wrong.extend(illegal(model, copy, flags, (Nanos::MAX, Nanos::MAX), "the end"));
            }
        }
        wrong
    }
}

fn illegal(
    model: &Model<'_>,
    copy: Copy,
    flags: &[String],
    (from, to): (Nanos, Nanos),
    seen: &str,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for flag in FLAGS.into_iter().chain([DELETED]) {
        let value = flags.iter().any(|held| held == flag);
        let legal = values(model, copy, flag, from, to, 0);
        if !legal.allows(value) {
            let (account, mailbox, uid) = copy;
            wrong.push(format!(
                "{flag} of UID {uid} in {mailbox} of user{account} is {value} in {seen} (from {:.6} to {:.6} s)",
                from as f64 / 1e9,
                to as f64 / 1e9
            ));
        }
    }
    wrong
}

/// Values that a flag may have.
#[derive(Debug, Clone, Copy, Default)]
struct Values {
    unset: bool,
    set: bool,
}

impl Values {
    const ANY: Self = Self {
        unset: true,
        set: true,
    };

    fn only(value: bool) -> Self {
        Self {
            unset: !value,
            set: value,
        }
    }

    fn allows(self, value: bool) -> bool {
        if value { self.set } else { self.unset }
    }

    fn add(&mut self, value: bool) {
        if value {
            self.set = true;
        } else {
            self.unset = true;
        }
    }
}

/// The values that a read from `from` to `to` may give.
fn values(model: &Model<'_>, copy: Copy, flag: &str, from: Nanos, to: Nanos, depth: u32) -> Values {
    let Some(known) = model.copies.get(&copy) else {
        return Values::ANY;
    };
    let writes: Vec<(&Event, bool)> = known
        .stores
        .iter()
        .filter_map(|index| {
            let event = model.event(*index);
            match &event.action {
                Action::Store { flag: of, set, .. } if *of == flag => Some((event, *set)),
                _ => None,
            }
        })
        .collect();
    // Whether a value that was there at some moment must have been overwritten before the read.
    let overwritten = |value: bool, at: Nanos| {
        writes.iter().any(|(event, set)| {
            event.outcome.is_ok() && *set != value && event.invoked > at && event.completed < from
        })
    };
    let mut legal = Values::default();
    for (event, set) in &writes {
        let ended = if event.outcome.is_ok() {
            event.completed
        } else {
            Nanos::MAX
        };
        if event.invoked < to && !overwritten(*set, ended) {
            legal.add(*set);
        }
    }
    let first = initial(model, copy, flag, depth);
    for value in [false, true] {
        if first.allows(value) && !overwritten(value, 0) {
            legal.add(value);
        }
    }
    legal
}

/// The values with which a copy may have begun.
fn initial(model: &Model<'_>, copy: Copy, flag: &str, depth: u32) -> Values {
    let (account, mailbox, _) = copy;
    let Some(known) = model.copies.get(&copy) else {
        return Values::ANY;
    };
    match known.origin {
        Origin::Made { event, from } => {
            let made = model.event(event);
            match &made.action {
                Action::Append { flags, .. } => Values::only(flags.contains(&flag)),
                Action::Copy { mailbox: source, .. } | Action::Move { mailbox: source, .. }
                    if depth < DEPTH_MAX =>
                {
                    let source = (account, *source, from);
                    values(model, source, flag, made.invoked, made.completed, depth + 1)
                }
                _ => Values::ANY,
            }
        }
        // A message that was only ever delivered begins without flags; of others it is not known which this is.
        Origin::Unnamed => {
            let delivered_only = known
                .message
                .and_then(|message| model.delivered.get(&(account, mailbox, message)));
            if delivered_only == Some(&true) {
                Values::only(false)
            } else {
                Values::ANY
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{Story, row, unknown};
    use super::*;
    use crate::faults::history::Outcome;

    const FLAG: &str = "\\Flagged";

    fn appended() -> Story {
        let mut story = Story::new();
        story.append(1, "INBOX", 7, Some(1));
        story
    }

    fn ends_with(mut story: Story, flags: &[&str]) -> Vec<String> {
        story.ends(1, "INBOX", &[(1, 7)]);
        story.end_row(1, "INBOX", 1).flags = row(1, 7, flags).flags;
        story.check(&FlagsKept)
    }

    #[test]
    fn an_acknowledged_flag_is_there() {
        let mut story = appended();
        story.store(1, 1, FLAG, true, Outcome::Ok);
        assert!(ends_with(story, &[FLAG]).is_empty());
    }

    #[test]
    fn a_lost_update_is_seen() {
        let mut story = appended();
        story.store(1, 1, FLAG, true, Outcome::Ok);
        assert_eq!(ends_with(story, &[]).len(), 1);
        let mut story = appended();
        story
            .store(1, 1, FLAG, true, Outcome::Ok)
            .store(1, 1, FLAG, false, Outcome::Ok);
        assert_eq!(ends_with(story, &[FLAG]).len(), 1);
    }

    #[test]
    fn a_flag_that_nobody_set_is_seen() {
        assert_eq!(ends_with(appended(), &["project"]).len(), 1);
        let mut story = Story::new();
        story.deliver(1, 7, true);
        assert_eq!(ends_with(story, &[FLAG]).len(), 1);
    }

    #[test]
    fn updates_at_the_same_time_and_unknown_ones_leave_either() {
        for flags in [&[FLAG][..], &[]] {
            let mut story = appended();
            story
                .store(1, 1, FLAG, true, Outcome::Ok)
                .store(1, 1, FLAG, false, Outcome::Ok)
                .overlapping(8);
            assert!(ends_with(story, flags).is_empty(), "{flags:?}");
            let mut story = appended();
            story.store(1, 1, FLAG, true, unknown());
            assert!(ends_with(story, flags).is_empty(), "{flags:?}");
        }
        // An unknown one may take effect late, after an acknowledged one.
        let mut story = appended();
        story
            .store(1, 1, FLAG, true, unknown())
            .store(1, 1, FLAG, false, Outcome::Ok);
        assert!(ends_with(story, &[FLAG]).is_empty());
    }

    #[test]
    fn a_stale_read_is_seen() {
        let mut story = appended();
        story
            .store(1, 1, FLAG, true, Outcome::Ok)
            .fetch(1, vec![row(1, 7, &[])])
            .store(1, 1, FLAG, false, Outcome::Ok);
        assert_eq!(ends_with(story, &[]).len(), 1);
    }

    #[test]
    fn a_copy_begins_with_the_flags_of_its_source() {
        let mut story = appended();
        story
            .store(1, 1, FLAG, true, Outcome::Ok)
            .copies(1, "INBOX", "Archive", 1, Some(4))
            .store(1, 1, FLAG, false, Outcome::Ok)
            .ends(1, "INBOX", &[(1, 7)])
            .ends(1, "Archive", &[(4, 7)]);
        assert_eq!(story.check(&FlagsKept).len(), 1, "the copy lost it");
        story.end_row(1, "Archive", 4).flags = row(4, 7, &[FLAG]).flags;
        assert!(story.check(&FlagsKept).is_empty());
    }
}
