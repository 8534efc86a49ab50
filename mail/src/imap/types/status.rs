//! The items of STATUS. RFC 3501 §6.3.10; SIZE from RFC 8438.

/// `status-att`
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StatusItem {
    /// `MESSAGES`
    Messages,
    /// `RECENT`
    Recent,
    /// `UIDNEXT`
    UidNext,
    /// `UIDVALIDITY`
    UidValidity,
    /// `UNSEEN`: how many, not which.
    Unseen,
    /// `SIZE`: the sum of all RFC822.SIZE.
    Size,
}

impl StatusItem {
    /// All of them.
    pub const EVERY: [Self; 6] = [
        Self::Messages,
        Self::Recent,
        Self::UidNext,
        Self::UidValidity,
        Self::Unseen,
        Self::Size,
    ];

    /// The item's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "MESSAGES",
            Self::Recent => "RECENT",
            Self::UidNext => "UIDNEXT",
            Self::UidValidity => "UIDVALIDITY",
            Self::Unseen => "UNSEEN",
            Self::Size => "SIZE",
        }
    }

    /// The item of that name, in any case.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::EVERY
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text))
    }
}
