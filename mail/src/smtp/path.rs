//! The paths of MAIL and RCPT, RFC 5321 §4.1.2.
//!
//! Owns the angle brackets, the null sender, the bare `<postmaster>` and the source routes, which
//! are read and ignored (RFC 5321 §4.1.1.3, appendix C). What is between them is an
//! [`Address`].

use std::fmt;

use crate::address::{Address, AddressError, Rules};

/// Where a message comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`: a notification, which must never be answered (RFC 5321 §4.5.5).
    Null,
    /// `<user@example.test>`
    Address(Address),
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain, in any case, RFC 5321 §4.5.1.
    Postmaster,
    /// `<user@example.test>`
    Address(Address),
}

impl ReversePath {
    /// The address, if there is one.
    pub fn address(&self) -> Option<&Address> {
        match self {
            ReversePath::Null => None,
            ReversePath::Address(address) => Some(address),
        }
    }

    /// Whether it can be sent without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.address().is_none_or(Address::is_ascii)
    }

    /// Reads the path at the beginning of `text`; gives the text behind it.
    pub(crate) fn take(text: &str) -> Result<(ReversePath, &str), AddressError> {
        let (content, rest) = bracketed(text)?;
        if content.is_empty() {
            return Ok((ReversePath::Null, rest));
        }
        let address = Address::parse(without_route(content)?, Rules::SENDER)?;
        Ok((ReversePath::Address(address), rest))
    }
}

impl ForwardPath {
    /// The address, if it is complete.
    pub fn address(&self) -> Option<&Address> {
        match self {
            ForwardPath::Postmaster => None,
            ForwardPath::Address(address) => Some(address),
        }
    }

    /// Whether it can be sent without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.address().is_none_or(Address::is_ascii)
    }

    /// Reads the path at the beginning of `text`; gives the text behind it.
    pub(crate) fn take(text: &str) -> Result<(ForwardPath, &str), AddressError> {
        let (content, rest) = bracketed(text)?;
        if content.eq_ignore_ascii_case("postmaster") {
            return Ok((ForwardPath::Postmaster, rest));
        }
        let address = Address::parse(without_route(content)?, Rules::UTF8)?;
        Ok((ForwardPath::Address(address), rest))
    }
}

impl fmt::Display for ReversePath {
    /// Writes the path with its brackets.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReversePath::Null => out.write_str("<>"),
            ReversePath::Address(address) => write!(out, "<{address}>"),
        }
    }
}

impl fmt::Display for ForwardPath {
    /// Writes the path with its brackets.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardPath::Postmaster => out.write_str("<postmaster>"),
            ForwardPath::Address(address) => write!(out, "<{address}>"),
        }
    }
}

/// Splits `<content>rest`, minding that a quoted string may hold a `>`.
fn bracketed(text: &str) -> Result<(&str, &str), AddressError> {
    let text = text.strip_prefix('<').ok_or(AddressError::Local)?;
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Ok((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    Err(AddressError::Local)
}

/// ```text
/// Path      = "<" [ A-d-l ":" ] Mailbox ">"
/// A-d-l     = At-domain *( "," At-domain )
/// At-domain = "@" Domain
/// ```
fn without_route(content: &str) -> Result<&str, AddressError> {
    if !content.starts_with('@') {
        return Ok(content);
    }
    let mut in_literal = false;
    for (at, byte) in content.bytes().enumerate() {
        match byte {
            b'[' => in_literal = true,
            b']' => in_literal = false,
            b':' if !in_literal => {
                let hops = content[..at].split(',');
                let named = hops.map(|hop| hop.strip_prefix('@').is_some_and(|domain| !domain.is_empty()));
                return if named.into_iter().all(|named| named) {
                    Ok(&content[at + 1..])
                } else {
                    Err(AddressError::Local)
                };
            }
            _ => {}
        }
    }
    Err(AddressError::Local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_paths() {
        for (input, path, rest) in [
            ("<>", "<>", ""),
            ("<> SIZE=1", "<>", " SIZE=1"),
            ("<a@b>", "<a@b>", ""),
            ("<a@b>x", "<a@b>", "x"),
            ("<@c,@d:a@b>", "<a@b>", ""),
            ("<@[IPv6:::1]:a@b>", "<a@b>", ""),
            ("<\"a>b\"@c> X", "<\"a>b\"@c>", " X"),
            ("<\"a\\\">b\"@c>", "<\"a\\\">b\"@c>", ""),
        ] {
            let (taken, left) = ReversePath::take(input).expect(input);
            assert_eq!((taken.to_string().as_str(), left), (path, rest), "{input}");
        }
        for input in [
            "",
            "a@b",
            "<a@b",
            "<a>",
            "< a@b>",
            "<a@b >",
            "<<a@b>>",
            "<@c>",
            "<@:a@b>",
            "<@c,:a@b>",
            "<@c:>",
        ] {
            assert!(ReversePath::take(input).is_err(), "{input}");
        }
    }

    #[test]
    fn forward_paths() {
        assert_eq!(
            ForwardPath::take("<postmaster>"),
            Ok((ForwardPath::Postmaster, ""))
        );
        assert_eq!(
            ForwardPath::take("<POSTMASTER> X=1"),
            Ok((ForwardPath::Postmaster, " X=1"))
        );
        assert!(matches!(
            ForwardPath::take("<postmaster@x>"),
            Ok((ForwardPath::Address(_), ""))
        ));
        assert!(ForwardPath::take("<>").is_err());
        assert!(ForwardPath::take("<user>").is_err());
    }
}
