//! Mail addresses: what `local@domain` means, how it is read, compared and written again.
//!
//! Owns the syntax of RFC 5321 §4.1.2 (`Mailbox`) with RFC 6531 §3.3 (UTF-8), the limits of
//! RFC 5321 §4.5.3.1 and the subaddressing of RFC 5233. It must never decide whether an address
//! exists, nor look anything up: that is the directory's work.

mod domain;
mod parse;
mod subaddress;

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use unicode_normalization::UnicodeNormalization;

pub use domain::{Domain, DomainName};
pub use subaddress::Subaddress;

/// Octets of a local part, RFC 5321 §4.5.3.1.1.
pub const LOCAL_OCTETS_MAX: usize = 64;
/// Octets of a domain, RFC 5321 §4.5.3.1.2.
pub const DOMAIN_OCTETS_MAX: usize = 255;
/// Octets of a label of a domain name, RFC 1035 §2.3.4.
pub const LABEL_OCTETS_MAX: usize = 63;
/// Octets of a whole address without its angle brackets: RFC 5321 §4.5.3.1.3 allows 256 with them.
pub const ADDRESS_OCTETS_MAX: usize = 254;

/// What a caller is ready to take as an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Characters outside ASCII are taken (RFC 6531 §3.3).
    pub utf8: bool,
    /// Octets of the local part; RFC 5321 §4.5.3.1 asks that longer objects be taken where possible.
    pub local_octets_max: usize,
}

impl Rules {
    /// An address of ours or a recipient's, ASCII only.
    pub const ASCII: Rules = Rules {
        utf8: false,
        local_octets_max: LOCAL_OCTETS_MAX,
    };
    /// An address of ours or a recipient's, UTF-8 included.
    pub const UTF8: Rules = Rules {
        utf8: true,
        local_octets_max: LOCAL_OCTETS_MAX,
    };
    /// A foreign sender's address. Mailing lists encode the recipient into it (VERP, SRS) and so
    /// overrun 64 octets; to refuse them would lose their mail.
    pub const SENDER: Rules = Rules {
        utf8: true,
        local_octets_max: ADDRESS_OCTETS_MAX,
    };
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No `@`, or nothing after it.
    #[error("the address has no domain")]
    NoDomain,
    /// The part before the `@` is neither a dot-string nor a quoted string.
    #[error("the local part is not well formed")]
    Local,
    /// The part after the `@` is neither a domain name nor an IP address literal.
    #[error("the domain is not well formed")]
    Domain,
    /// Characters outside ASCII where the rules forbid them.
    #[error("the address is not ASCII")]
    NotAscii,
    /// Longer than RFC 5321 §4.5.3.1 allows.
    #[error("the address is too long")]
    TooLong,
}

/// A mail address, `local@domain`.
///
/// The local part is kept as its meaning: `"a b"@x` holds `a b`, and `"ab"@x` is the same address
/// as `ab@x` (RFC 5321 §4.1.2). Its case is kept for writing, but two addresses are equal, and hash
/// alike, when they differ only by case or by Unicode composition: a server may do so with its own
/// addresses (RFC 5321 §2.4), and people expect it.
#[derive(Clone)]
pub struct Address {
    local: Box<str>,
    domain: Domain,
}

impl Address {
    /// Reads `local@domain`, quoted local parts and address literals included.
    pub fn parse(text: &str, rules: Rules) -> Result<Address, AddressError> {
        parse::address(text, rules)
    }

    /// Puts an address together of an unquoted local part (`a b`, not `"a b"`) and a domain.
    pub fn new(local: &str, domain: Domain, rules: Rules) -> Result<Address, AddressError> {
        parse::check_local(local, rules)?;
        let address = Address {
            local: local.into(),
            domain,
        };
        if address.to_string().len() > ADDRESS_OCTETS_MAX {
            return Err(AddressError::TooLong);
        }
        Ok(address)
    }

    /// The local part, unquoted, in the case in which it came.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The local part as addresses are compared and looked up: composed (NFC) and lower-cased.
    pub fn folded_local(&self) -> Cow<'_, str> {
        fold(&self.local)
    }

    /// The whole address as it is looked up: folded local part, `@`, domain. Unquoted, so it is a
    /// key and never sent to anybody.
    pub fn lookup_key(&self) -> String {
        format!("{}@{}", self.folded_local(), self.domain)
    }

    /// Whether it can be sent without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii() && self.domain.is_ascii()
    }

    /// The user and the detail of `user+detail@domain`, RFC 5233 §1.
    pub fn subaddress(&self, separator: char) -> Subaddress<'_> {
        Subaddress::of(&self.local, separator)
    }

    /// The same address without its detail.
    pub fn without_detail(&self, separator: char) -> Address {
        Address {
            local: self.subaddress(separator).user.into(),
            domain: self.domain.clone(),
        }
    }
}

/// Lower-cases and composes a local part or a user name for comparison.
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Cow::Owned(text.to_ascii_lowercase());
        }
        return Cow::Borrowed(text);
    }
    // Lower-casing may decompose (U+0130 gives `i` and a dot), so composition comes last.
    Cow::Owned(text.nfc().collect::<String>().to_lowercase().nfc().collect())
}

impl fmt::Display for Address {
    /// Writes the address for a path or a header, quoted where it must be.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if parse::is_dot_string(&self.local) {
            return write!(out, "{}@{}", self.local, self.domain);
        }
        out.write_str("\"")?;
        for character in self.local.chars() {
            if matches!(character, '"' | '\\') {
                out.write_str("\\")?;
            }
            write!(out, "{character}")?;
        }
        write!(out, "\"@{}", self.domain)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Address({self})")
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Address) -> bool {
        self.domain == other.domain && self.folded_local() == other.folded_local()
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded_local().hash(state);
        self.domain.hash(state);
    }
}

#[cfg(test)]
mod tests;
