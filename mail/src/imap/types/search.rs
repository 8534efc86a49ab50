//! What SEARCH asks for. RFC 3501 §6.4.4; result options from RFC 4731.

use super::{Date, SequenceSet};

/// `SEARCH` or `UID SEARCH` without its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SearchCommand {
    /// RFC 4731: answer with ESEARCH and these; `None` for a plain SEARCH answer.
    pub result: Option<SearchReturn>,
    /// What messages must fulfil; several keys are one `And`.
    pub key: SearchKey,
}

/// RFC 4731 §3.1: `RETURN (…)`. An empty list means ALL and is parsed so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SearchReturn {
    /// `MIN`
    pub min: bool,
    /// `MAX`
    pub max: bool,
    /// `ALL`
    pub all: bool,
    /// `COUNT`
    pub count: bool,
}

/// One condition. Texts are decoded from the command's charset; they match as substrings without case.
/// Depth and number are bounded by the parser.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(
    missing_docs,
    reason = "the variants are named as RFC 3501 §6.4.4 names the keys"
)]
pub enum SearchKey {
    All,
    Answered,
    Bcc(String),
    /// INTERNALDATE, its time and zone disregarded, before the day.
    Before(Date),
    Body(String),
    Cc(String),
    Deleted,
    Draft,
    Flagged,
    From(String),
    /// A header field's name and a text within it; an empty text asks only for the field.
    Header(String, String),
    Keyword(String),
    Larger(u32),
    New,
    Not(Box<SearchKey>),
    Old,
    On(Date),
    Or(Box<SearchKey>, Box<SearchKey>),
    Recent,
    Seen,
    SentBefore(Date),
    SentOn(Date),
    SentSince(Date),
    Since(Date),
    Smaller(u32),
    Subject(String),
    Text(String),
    To(String),
    Uid(SequenceSet),
    Unanswered,
    Undeleted,
    Undraft,
    Unflagged,
    Unkeyword(String),
    Unseen,
    /// A bare sequence set: message numbers.
    Sequence(SequenceSet),
    /// All of these: a list in parentheses, or the command's own list of keys.
    And(Vec<SearchKey>),
}
