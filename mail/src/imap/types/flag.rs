//! Message flags. RFC 3501 §2.3.2.

use std::fmt;

/// The longest keyword in bytes: as much as a mailbox stores. A longer one is no keyword anywhere.
pub const KEYWORD_BYTES_MAX: usize = 128;

/// A flag of a message. System flags compare without case; keywords keep the case they were given.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Flag {
    /// `\Answered`
    Answered,
    /// `\Flagged`
    Flagged,
    /// `\Deleted`
    Deleted,
    /// `\Seen`
    Seen,
    /// `\Draft`
    Draft,
    /// `\Recent`: the session's own, never stored by a client.
    Recent,
    /// A keyword, such as `$Forwarded`.
    Keyword(Box<str>),
    /// A system flag of an extension, without the backslash.
    Extension(Box<str>),
}

impl Flag {
    /// The five system flags that a client may set.
    pub const SYSTEM: [Flag; 5] = [
        Flag::Answered,
        Flag::Flagged,
        Flag::Deleted,
        Flag::Seen,
        Flag::Draft,
    ];

    /// A system flag by its name without the backslash.
    pub fn system(name: &str) -> Self {
        let known = Self::SYSTEM.into_iter().chain([Self::Recent]);
        known
            .into_iter()
            .find(|flag| flag.name().eq_ignore_ascii_case(name))
            .unwrap_or_else(|| Self::Extension(name.into()))
    }

    /// Reads a flag as it is written, backslash included; `None` when it is not an atom.
    pub fn from_text(text: &str) -> Option<Self> {
        let name = text.strip_prefix('\\').unwrap_or(text);
        if name.is_empty() || !name.bytes().all(crate::imap::parse::is_atom_char) {
            return None;
        }
        Some(if name.len() < text.len() {
            Self::system(name)
        } else {
            Self::Keyword(name.into())
        })
    }

    /// Whether a client may put it on a message.
    pub fn is_storable(&self) -> bool {
        !matches!(self, Self::Recent | Self::Extension(_))
    }

    /// The name, without the backslash of system flags.
    pub fn name(&self) -> &str {
        match self {
            Self::Answered => "Answered",
            Self::Flagged => "Flagged",
            Self::Deleted => "Deleted",
            Self::Seen => "Seen",
            Self::Draft => "Draft",
            Self::Recent => "Recent",
            Self::Keyword(name) | Self::Extension(name) => name,
        }
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backslash = if matches!(self, Self::Keyword(_)) {
            ""
        } else {
            "\\"
        };
        write!(out, "{backslash}{}", self.name())
    }
}

/// What STORE does with its flags. RFC 3501 §6.4.6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreAction {
    /// `FLAGS`: exactly these (apart from `\Recent`).
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, flag) in [
            ("\\seen", Flag::Seen),
            ("\\RECENT", Flag::Recent),
            ("$Forwarded", Flag::Keyword("$Forwarded".into())),
            ("\\Foo", Flag::Extension("Foo".into())),
        ] {
            let read = Flag::from_text(text).unwrap();
            assert_eq!(read, flag);
            assert!(read.to_string().eq_ignore_ascii_case(text));
        }
        for bad in ["", "\\", "a b", "a\\", "a]", "(", "ä"] {
            assert_eq!(Flag::from_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn recent_is_not_storable() {
        assert!(Flag::SYSTEM.iter().all(Flag::is_storable));
        assert!(!Flag::Recent.is_storable());
    }
}
