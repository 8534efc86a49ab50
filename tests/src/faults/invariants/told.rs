//! An IDLE session whose connection held was told of everything, and of nothing that was not.

use super::super::history::Action;
use super::super::model::Model;
use super::Invariant;

/// See the file.
pub(super) struct IdleTold;

impl Invariant for IdleTold {
    fn name(&self) -> &'static str {
        "IDLE sessions are told of everything"
    }

    fn check(&self, model: &Model<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        for event in &model.history.events {
            let Action::Told {
                mailbox,
                view,
                faults,
            } = &event.action
            else {
                continue;
            };
            let whose = format!("session {} on {mailbox} of user{}", event.session, event.account);
            wrong.extend(faults.iter().map(|fault| format!("{whose} was told {fault}")));
            let Some(held) = model.ending.mailboxes.get(&(event.account, *mailbox)) else {
                continue;
            };
            if view.len() != held.rows.len() {
                wrong.push(format!(
                    "{whose} was told of {} messages, and there are {}",
                    view.len(),
                    held.rows.len()
                ));
                continue;
            }
            for (number, (told, row)) in view.iter().zip(&held.rows).enumerate() {
                if told.is_some() && *told != row.flags {
                    wrong.push(format!(
                        "{whose} was told that message {} has {told:?}, and it has {:?}",
                        number + 1,
                        row.flags
                    ));
                }
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::Story;
    use super::*;
    use crate::faults::history::{Answer, Outcome};

    fn told(view: Vec<Option<Vec<String>>>, faults: Vec<String>) -> Vec<String> {
        let mut story = Story::new();
        let action = Action::Told {
            mailbox: "INBOX",
            view,
            faults,
        };
        story
            .event(1, action, Outcome::Ok, Answer::default())
            .ends(1, "INBOX", &[(1, 7), (4, 8)]);
        story.check(&IdleTold)
    }

    #[test]
    fn the_picture_that_is_there_is_right() {
        assert_eq!(
            told(vec![None, Some(Vec::new())], Vec::new()),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_was_kept_back_or_made_up_is_seen() {
        assert_eq!(told(vec![None], Vec::new()).len(), 1);
        let flagged = Some(vec!["\\Seen".to_owned()]);
        assert_eq!(told(vec![None, flagged], Vec::new()).len(), 1);
        let fault = "* 3 EXPUNGE with 2".to_owned();
        assert_eq!(told(vec![None, None], vec![fault]).len(), 1);
    }
}
