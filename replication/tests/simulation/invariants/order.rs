//! What was asked for after something else was acknowledged comes after it.

use super::List;
use crate::history::{History, Outcome};

pub(super) fn check(history: &History, list: &List, violations: &mut Vec<String>) {
    // The latest time at which an element that comes later may have been acknowledged: from the end backwards.
    let mut asked_last: Option<(u64, u64)> = None;
    for element in &list.elements {
        let Some(append) = history.appends.get(&element.append) else {
            violations.push(format!(
                "nothing is there that nobody asked for: {}",
                element.append
            ));
            continue;
        };
        if let (Some((asked, earlier)), Some(answered)) = (asked_last, append.answered)
            && append.outcome == Outcome::Applied
            && answered < asked
        {
            violations.push(format!(
                "acknowledged before asked is stored before: {} comes after {earlier}",
                element.append
            ));
        }
        if asked_last.is_none_or(|(asked, _)| asked < append.asked) {
            asked_last = Some((append.asked, element.append));
        }
    }
}
