//! A read sees all that was acknowledged, or read, before it was asked for.

use crate::history::History;

pub(super) fn check(history: &History, violations: &mut Vec<String>) {
    for read in &history.reads {
        if read.seen < read.known {
            violations.push(format!(
                "no read is stale: {} saw {} of {} elements of {:?}",
                read.node, read.seen, read.known, read.group
            ));
        }
    }
}
