//! Every acknowledged append is in its group's list, where its plan put it, exactly once.

use rookery_replication::GroupId;

use super::List;
use crate::history::{History, Outcome};

pub(super) fn check(history: &History, group: GroupId, list: &List, violations: &mut Vec<String>) {
    let acknowledged = history
        .appends
        .iter()
        .filter(|(_, append)| append.group == group && append.outcome == Outcome::Applied);
    for (number, append) in acknowledged {
        let found = list.elements.get(append.index as usize);
        if found.is_none_or(|found| found.append != *number) {
            violations.push(format!(
                "every acknowledged append is there: {number} is not element {}, {found:?} is",
                append.index
            ));
        }
    }
    let mut numbers: Vec<u64> = list.elements.iter().map(|element| element.append).collect();
    numbers.sort_unstable();
    if let Some(twice) = numbers.windows(2).find(|pair| pair[0] == pair[1]) {
        violations.push(format!("an append is there once: {} is twice", twice[0]));
    }
    if list.counted != list.elements.len() as u64 {
        violations.push(format!(
            "an append is applied once: {} elements, {} were counted",
            list.elements.len(),
            list.counted
        ));
    }
}
