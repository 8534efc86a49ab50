//! Things that only grow: what was known before an operation began bounds what it may answer.

use super::super::history::Nanos;

/// Something that was observed from `invoked` to `completed`.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) invoked: Nanos,
    pub(super) completed: Nanos,
    /// The least that it says must be above (or at) all that came wholly before it; absent: it bounds others alone.
    pub(super) low: Option<u64>,
    /// What it makes the bound for all that come wholly after it.
    pub(super) high: u64,
    /// In words.
    pub(super) what: String,
}

/// Observations whose `low` is not `beyond` the highest `high` of those that had completed before they began.
pub(super) fn violations(seen: &[Seen], beyond: impl Fn(u64, u64) -> bool) -> Vec<String> {
    let mut by_end: Vec<&Seen> = seen.iter().collect();
    by_end.sort_by_key(|seen| seen.completed);
    let mut by_start: Vec<&Seen> = seen.iter().filter(|seen| seen.low.is_some()).collect();
    by_start.sort_by_key(|seen| seen.invoked);
    let mut wrong = Vec::new();
    let mut ended = by_end.into_iter().peekable();
    let mut highest: Option<&Seen> = None;
    for seen in by_start {
        while let Some(before) = ended.next_if(|before| before.completed < seen.invoked) {
            if highest.is_none_or(|highest| highest.high < before.high) {
                highest = Some(before);
            }
        }
        let low = seen.low.unwrap_or_default();
        if let Some(before) = highest
            && !beyond(low, before.high)
        {
            wrong.push(format!("{} came after {}", seen.what, before.what));
        }
    }
    wrong
}
