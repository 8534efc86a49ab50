//! Mailbox names: UTF-8 inside, modified UTF-7 on the wire, INBOX without case.

use std::fmt;

use super::utf7;

/// What separates the levels of a name.
pub const HIERARCHY_DELIMITER: char = '/';
/// The one mailbox that every account has. RFC 3501 §5.1.
pub const INBOX: &str = "INBOX";
/// The longest name that can be created, in bytes of UTF-8.
pub const MAILBOX_NAME_BYTES_MAX: usize = 1000;
/// The most levels that a created name can have.
const MAILBOX_NAME_LEVELS_MAX: usize = 50;

/// A mailbox's name as UTF-8; a first level that says `inbox` in any case is written `INBOX`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MailboxName(String);

/// Why a name cannot be given to a new mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MailboxNameError {
    /// Nothing at all.
    #[error("the mailbox name is empty")]
    Empty,
    /// More than [`MAILBOX_NAME_BYTES_MAX`] bytes or too many levels.
    #[error("the mailbox name is too long")]
    TooLong,
    /// Two delimiters in a row, or one in front.
    #[error("the mailbox name has an empty level")]
    EmptyLevel,
    /// A control character or a wildcard.
    #[error("the mailbox name has a character that is not allowed")]
    Character,
}

impl MailboxName {
    /// A name from UTF-8 text, as stored.
    pub fn new(text: impl Into<String>) -> Self {
        let mut text = text.into();
        let level = text.split(HIERARCHY_DELIMITER).next().map_or(0, str::len);
        if text[..level].eq_ignore_ascii_case(INBOX) {
            text.replace_range(..level, INBOX);
        }
        Self(text)
    }

    /// A name as a client sent it: modified UTF-7, taken leniently, or plain UTF-8.
    pub fn from_wire(name: &str) -> Self {
        Self::new(utf7::decode(name))
    }

    /// The canonical modified UTF-7 of the name.
    pub fn to_wire(&self) -> String {
        utf7::encode(&self.0)
    }

    /// The name as UTF-8.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is INBOX itself.
    pub fn is_inbox(&self) -> bool {
        self.0 == INBOX
    }

    /// The name without delimiters at its end: with one, CREATE only announces children (RFC 3501 §6.3.3), and
    /// Thunderbird sends one in other commands too.
    pub fn without_trailing_delimiter(&self) -> Self {
        Self(self.0.trim_end_matches(HIERARCHY_DELIMITER).to_owned())
    }

    /// Whether a new mailbox may have this name.
    pub fn check_new(&self) -> Result<(), MailboxNameError> {
        if self.0.is_empty() {
            return Err(MailboxNameError::Empty);
        }
        if self.0.len() > MAILBOX_NAME_BYTES_MAX
            || self.0.split(HIERARCHY_DELIMITER).count() > MAILBOX_NAME_LEVELS_MAX
        {
            return Err(MailboxNameError::TooLong);
        }
        if self.0.split(HIERARCHY_DELIMITER).any(str::is_empty) {
            return Err(MailboxNameError::EmptyLevel);
        }
        if self
            .0
            .chars()
            .any(|character| character.is_control() || matches!(character, '%' | '*'))
        {
            return Err(MailboxNameError::Character);
        }
        Ok(())
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_has_no_case() {
        assert!(MailboxName::from_wire("inBox").is_inbox());
        assert_eq!(MailboxName::from_wire("inbox/Sub").as_str(), "INBOX/Sub");
        assert_eq!(MailboxName::from_wire("inboxes").as_str(), "inboxes");
        assert_eq!(MailboxName::new("").as_str(), "");
    }

    #[test]
    fn trailing_delimiters_go() {
        assert_eq!(
            MailboxName::new("a/b//").without_trailing_delimiter().as_str(),
            "a/b"
        );
    }

    #[test]
    fn new_names_are_checked() {
        use MailboxNameError::*;
        for (name, wanted) in [
            ("Entwürfe/2024", Ok(())),
            ("", Err(Empty)),
            ("/a", Err(EmptyLevel)),
            ("a//b", Err(EmptyLevel)),
            ("a*", Err(Character)),
            ("a\0b", Err(Character)),
        ] {
            assert_eq!(MailboxName::new(name).check_new(), wanted, "{name:?}");
        }
        assert_eq!(MailboxName::new("a".repeat(1001)).check_new(), Err(TooLong));
        assert_eq!(MailboxName::new("a/".repeat(60) + "a").check_new(), Err(TooLong));
    }
}
