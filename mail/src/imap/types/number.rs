//! The names and numbers that must not be mixed: tags, UIDs and sequence numbers.

use std::fmt;
use std::num::NonZeroU32;

/// A command's tag, as the client chose it. RFC 3501 §2.2.1.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tag(Box<str>);

impl Tag {
    /// The longest tag that is taken, in bytes.
    pub const BYTES_MAX: usize = 128;

    /// A tag, when `bytes` are one: `1*<any ASTRING-CHAR except "+">`.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let legal = |byte: u8| byte != b'+' && crate::imap::parse::is_astring_char(byte);
        if bytes.is_empty() || bytes.len() > Self::BYTES_MAX || !bytes.iter().all(|byte| legal(*byte)) {
            return None;
        }
        std::str::from_utf8(bytes).ok().map(|text| Self(text.into()))
    }

    /// The tag as it goes into the answer.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Tag({})", self.0)
    }
}

/// A message's unique identifier in its mailbox, never 0. RFC 3501 §2.3.1.1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Uid(NonZeroU32);

impl Uid {
    /// A UID; `None` for 0.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A message's position in the selected mailbox, counted from 1. RFC 3501 §2.3.1.2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SeqNo(NonZeroU32);

impl SeqNo {
    /// A sequence number; `None` for 0.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for SeqNo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_checked() {
        assert_eq!(
            Tag::new(b"A.001]").map(|tag| tag.to_string()),
            Some("A.001]".to_owned())
        );
        for bad in [&b""[..], b"+", b"a+", b"a b", b"a{", b"*", b"\xff", b"a\0"] {
            assert_eq!(Tag::new(bad), None, "{bad:?}");
        }
        assert!(Tag::new(&[b'a'; Tag::BYTES_MAX]).is_some());
        assert!(Tag::new(&[b'a'; Tag::BYTES_MAX + 1]).is_none());
    }

    #[test]
    fn zero_is_no_number() {
        assert_eq!(Uid::new(0), None);
        assert_eq!(SeqNo::new(0), None);
        assert_eq!(Uid::new(u32::MAX).map(Uid::get), Some(u32::MAX));
    }
}
