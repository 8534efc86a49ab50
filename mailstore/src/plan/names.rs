//! Names of mailboxes: which may be, and how they are written.

use rookery_proto::Status;

use crate::schema::mailbox::{MAILBOX_LEVELS_MAX, MAILBOX_NAME_BYTES_MAX};

/// The separator of levels.
pub(super) const SEPARATOR: char = '/';

/// The inbox's name.
pub(super) const INBOX: &str = "INBOX";

/// The name as it is stored, or why it cannot be one.
pub fn canonical_name(name: &str) -> Result<String, Status> {
    if name.is_empty() || name.len() > MAILBOX_NAME_BYTES_MAX {
        return Err(Status::invalid(format!(
            "a mailbox name has 1 to {MAILBOX_NAME_BYTES_MAX} bytes"
        )));
    }
    if name.chars().any(|c| c.is_control() || matches!(c, '%' | '*')) {
        return Err(Status::invalid(
            "a mailbox name has no control characters and no wildcards",
        ));
    }
    let mut levels: Vec<&str> = name.split(SEPARATOR).collect();
    if levels.len() > MAILBOX_LEVELS_MAX {
        return Err(Status::invalid(format!(
            "a mailbox name has at most {MAILBOX_LEVELS_MAX} levels"
        )));
    }
    if levels.iter().any(|level| level.is_empty()) {
        return Err(Status::invalid("a level of a mailbox name is empty"));
    }
    // RFC 3501 §5.1: INBOX is matched without regard to case.
    if levels[0].eq_ignore_ascii_case(INBOX) {
        levels[0] = INBOX;
    }
    Ok(levels.join("/"))
}

/// The names above it, the highest first.
pub(super) fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices(SEPARATOR).map(|(at, _)| &name[..at])
}

/// What follows `above` and a separator.
pub(super) fn below<'a>(name: &'a str, above: &str) -> Option<&'a str> {
    name.strip_prefix(above)?.strip_prefix(SEPARATOR)
}
