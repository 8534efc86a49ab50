//! What LIST asks for. RFC 3501 §6.3.8, RFC 5258, RFC 5819, RFC 6154.

use super::StatusItem;

/// `LIST` without its name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListCommand {
    /// Whether the client used the syntax of RFC 5258 (options, or several patterns).
    pub extended: bool,
    /// Which mailboxes.
    pub selection: ListSelection,
    /// The reference, as UTF-8.
    pub reference: String,
    /// The patterns, as UTF-8; a plain LIST with an empty one asks for the delimiter only.
    pub patterns: Vec<String>,
    /// What to say of each.
    pub returns: ListReturn,
}

/// RFC 5258 §3.1: the options in front.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ListSelection {
    /// `SUBSCRIBED`: only those, existing or not.
    pub subscribed: bool,
    /// `REMOTE`: taken, and nothing follows from it here.
    pub remote: bool,
    /// `RECURSIVEMATCH`: parents of matches too, with CHILDINFO.
    pub recursive_match: bool,
    /// `SPECIAL-USE`: only mailboxes with such an attribute.
    pub special_use: bool,
}

/// RFC 5258 §3.2: the options behind `RETURN`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListReturn {
    /// `SUBSCRIBED`
    pub subscribed: bool,
    /// `CHILDREN`
    pub children: bool,
    /// `SPECIAL-USE`
    pub special_use: bool,
    /// `STATUS (…)`: an untagged STATUS for each selectable mailbox. Empty when not asked for.
    pub status: Vec<StatusItem>,
}

/// RFC 6154 §2: what a mailbox is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SpecialUse {
    /// `\All`
    All,
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Flagged`
    Flagged,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

impl SpecialUse {
    /// All of them.
    pub const EVERY: [Self; 7] = [
        Self::All,
        Self::Archive,
        Self::Drafts,
        Self::Flagged,
        Self::Junk,
        Self::Sent,
        Self::Trash,
    ];

    /// The attribute, backslash included.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "\\All",
            Self::Archive => "\\Archive",
            Self::Drafts => "\\Drafts",
            Self::Flagged => "\\Flagged",
            Self::Junk => "\\Junk",
            Self::Sent => "\\Sent",
            Self::Trash => "\\Trash",
        }
    }

    /// The use of that attribute, backslash included, in any case.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::EVERY
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_uses_read_back() {
        for known in SpecialUse::EVERY {
            assert_eq!(SpecialUse::from_text(&known.as_str().to_lowercase()), Some(known));
        }
        assert_eq!(SpecialUse::from_text("Sent"), None);
    }
}
