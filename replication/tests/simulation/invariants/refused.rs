//! A refused append was not done, as its refusal says.

use super::List;
use crate::history::{History, Outcome};

pub(super) fn check(history: &History, list: &List, violations: &mut Vec<String>) {
    for element in &list.elements {
        let append = history.appends.get(&element.append);
        if append.is_some_and(|append| append.outcome == Outcome::Refused) {
            violations.push(format!("a refused append is not there: {}", element.append));
        }
    }
}
