//! Why a command was not understood.

use std::borrow::Cow;

use crate::imap::types::Tag;

/// What kind of answer an error deserves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// BAD: not the grammar, or beyond one of its limits.
    Syntax,
    /// NO with BADCHARSET: a SEARCH in a charset that is not known. RFC 3501 §6.4.4.
    BadCharset,
    /// NO with USEATTR: CREATE for a use that is not known. RFC 6154 §3.
    BadUse,
}

/// A command that was not understood. The connection answers with the tag, or untagged when there is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct CommandError {
    /// The command's tag, when it could be read.
    pub tag: Option<Tag>,
    /// What kind of answer it deserves.
    pub kind: ErrorKind,
    /// What is wrong, for people: one line of printable ASCII.
    pub reason: Cow<'static, str>,
}

impl CommandError {
    pub(super) fn new(tag: Option<Tag>, error: SyntaxError) -> Self {
        Self {
            tag,
            kind: error.kind,
            reason: error.reason,
        }
    }
}

/// An error within a command, before it is known whose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SyntaxError {
    kind: ErrorKind,
    reason: Cow<'static, str>,
}

/// What a parser function gives.
pub(super) type Parsed<T> = Result<T, SyntaxError>;

impl SyntaxError {
    pub(super) fn new(reason: &'static str) -> Self {
        Self {
            kind: ErrorKind::Syntax,
            reason: Cow::Borrowed(reason),
        }
    }

    pub(super) fn of_kind(kind: ErrorKind, reason: &'static str) -> Self {
        Self {
            kind,
            reason: Cow::Borrowed(reason),
        }
    }

    /// More than `max` of something.
    pub(super) fn too_many(what: &str, max: usize) -> Self {
        Self {
            kind: ErrorKind::Syntax,
            reason: Cow::Owned(format!("more than {max} {what}")),
        }
    }
}
