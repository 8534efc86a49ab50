//! The right-hand side of an address: a domain name or an IP address literal.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{AddressError, DOMAIN_OCTETS_MAX, LABEL_OCTETS_MAX};

/// A domain name, lower-cased in ASCII; U-labels and A-labels stay as they were given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(Box<str>);

impl DomainName {
    /// Reads a domain name.
    ///
    /// ```text
    /// Domain     = sub-domain *("." sub-domain)      ; RFC 5321 §4.1.2
    /// sub-domain = Let-dig [Ldh-str]  / U-label      ; RFC 6531 §3.3
    /// ```
    /// An underscore is taken too: names of real senders contain it.
    pub fn parse(text: &str, utf8: bool) -> Result<DomainName, AddressError> {
        if !utf8 && !text.is_ascii() {
            return Err(AddressError::NotAscii);
        }
        if text.is_empty() {
            return Err(AddressError::NoDomain);
        }
        if text.len() > DOMAIN_OCTETS_MAX {
            return Err(AddressError::TooLong);
        }
        for label in text.split('.') {
            if label.len() > LABEL_OCTETS_MAX {
                return Err(AddressError::TooLong);
            }
            if label.is_empty() || label.starts_with('-') || label.ends_with('-') {
                return Err(AddressError::Domain);
            }
            if !label.chars().all(is_label_character) {
                return Err(AddressError::Domain);
            }
        }
        Ok(DomainName(text.to_ascii_lowercase().into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The domain of an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Domain {
    /// `example.test`
    Name(DomainName),
    /// `[127.0.0.1]` or `[IPv6:::1]`, RFC 5321 §4.1.3.
    Literal(IpAddr),
}

impl Domain {
    /// Reads a domain name or an address literal.
    pub fn parse(text: &str, utf8: bool) -> Result<Domain, AddressError> {
        let Some(literal) = text.strip_prefix('[') else {
            return Ok(Domain::Name(DomainName::parse(text, utf8)?));
        };
        let literal = literal.strip_suffix(']').ok_or(AddressError::Domain)?;
        // IPv6-address-literal = "IPv6:" IPv6-addr; the tag is matched in any case.
        let address = match literal.split_at_checked(5) {
            Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => {
                address.parse::<Ipv6Addr>().map(IpAddr::V6)
            }
            _ => literal.parse::<Ipv4Addr>().map(IpAddr::V4),
        };
        address.map(Domain::Literal).map_err(|_| AddressError::Domain)
    }

    /// The name, if it is one.
    pub fn name(&self) -> Option<&DomainName> {
        match self {
            Domain::Name(name) => Some(name),
            Domain::Literal(_) => None,
        }
    }

    /// Whether it can be sent without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.name().is_none_or(|name| name.as_str().is_ascii())
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Domain::Name(name) => name.fmt(out),
            Domain::Literal(IpAddr::V4(address)) => write!(out, "[{address}]"),
            Domain::Literal(IpAddr::V6(address)) => write!(out, "[IPv6:{address}]"),
        }
    }
}

/// A character of a label. Of those outside ASCII, what IDNA would map to a dot is refused, so that
/// a name has the same labels for everybody.
fn is_label_character(character: char) -> bool {
    match character {
        '-' | '_' => true,
        '\u{3002}' | '\u{ff0e}' | '\u{ff61}' => false,
        _ if character.is_ascii() => character.is_ascii_alphanumeric(),
        _ => !character.is_control() && !character.is_whitespace(),
    }
}
