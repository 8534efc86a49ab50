//! Addresses and domain names in the one form in which the directory keeps and compares them.
//!
//! Local parts and domains are compared in lower case: `User@Example.Test` and `user@example.test` are one address. (RFC
//! 5321 §2.4 lets a host treat local parts as it likes; telling people apart by case has only ever lost mail.) Never looks
//! anything up.

use std::fmt;

/// Between a local part and its detail (RFC 5233 §1).
pub const SUBADDRESS_SEPARATOR: char = '+';

/// RFC 5321 §4.5.3.1.1.
const LOCAL_PART_BYTES_MAX: usize = 64;

/// RFC 1035 §2.3.4, less the length bytes of the wire form.
const DOMAIN_BYTES_MAX: usize = 253;

/// RFC 1035 §2.3.4.
const LABEL_BYTES_MAX: usize = 63;

/// Why a text is not an address or a domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no `@` with something on both sides.
    #[error("an address is `local@domain`")]
    Shape,
    /// The part before the `@` is too long or has characters that no local part has.
    #[error("the part before the @ must have 1 to 64 bytes, and no control characters")]
    Local,
    /// The part before the `@` may be sent to, but not given to an account or alias.
    #[error("the part before the @ may have letters, digits, !#$%&'*+-/=?^_`{{|}}~ and single dots inside")]
    Plain,
    /// Not a domain name.
    #[error(
        "not a domain: a domain has labels of 1 to 63 letters, digits and hyphens, in all at most 253 bytes"
    )]
    Domain,
}

/// A domain name in lower case, without a dot at its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(String);

impl DomainName {
    /// Reads a domain name. Literals such as `[192.0.2.1]` are none.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_lowercase();
        if name.is_empty() || name.len() > DOMAIN_BYTES_MAX {
            return Err(AddressError::Domain);
        }
        for label in name.split('.') {
            let is_char =
                |char: char| char.is_alphanumeric() || char == '-' || char == '_' || !char.is_ascii();
            let fits = !label.is_empty() && label.len() <= LABEL_BYTES_MAX;
            if !fits
                || label.starts_with('-')
                || label.ends_with('-')
                || !label
                    .chars()
                    .all(|char| is_char(char) && !char.is_control() && !char.is_whitespace())
            {
                return Err(AddressError::Domain);
            }
        }
        Ok(Self(name))
    }

    /// A name that is known to be one, as when it comes from a key.
    pub(crate) fn trusted(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address: what mail is sent to.
#[derive(Debug, Clone)]
pub struct Address {
    local: String,
    /// What follows the first separator, in the case in which it was written (a Sieve script may look at it).
    detail: Option<String>,
    domain: DomainName,
}

impl Address {
    /// Reads `local@domain`. A quoted local part is unquoted (RFC 5321 §4.1.2).
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::Shape)?;
        if local.is_empty() || domain.is_empty() {
            return Err(AddressError::Shape);
        }
        let local = unquote(local)?;
        if local.is_empty() || local.len() > LOCAL_PART_BYTES_MAX || local.chars().any(char::is_control) {
            return Err(AddressError::Local);
        }
        Ok(Self::new(&local, DomainName::parse(domain)?))
    }

    /// Reads an address that an account or alias is to have: what people can type without quotes.
    pub fn parse_plain(text: &str) -> Result<Self, AddressError> {
        let address = Self::parse(text)?;
        // RFC 5321 §4.1.2, Dot-string; RFC 6531 §3.3 adds everything beyond ASCII.
        let atoms_ok = address.local.split('.').all(|atom| {
            !atom.is_empty()
                && atom.chars().all(|char| {
                    char.is_ascii_alphanumeric()
                        || "!#$%&'*+-/=?^_`{|}~".contains(char)
                        || (!char.is_ascii() && !char.is_whitespace())
                })
        });
        if atoms_ok {
            Ok(address)
        } else {
            Err(AddressError::Plain)
        }
    }

    /// An address of a local part and a domain.
    pub fn new(local: &str, domain: DomainName) -> Self {
        let detail = local
            .split_once(SUBADDRESS_SEPARATOR)
            .map(|(_, detail)| detail.to_owned());
        Self {
            local: local.to_lowercase(),
            detail,
            domain,
        }
    }

    /// The local part in lower case, with its detail.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain.
    pub fn domain(&self) -> &DomainName {
        &self.domain
    }

    /// What follows the separator, if there is one.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The address without its detail, if it has one and something before it.
    pub fn base(&self) -> Option<Address> {
        let (base, _) = self.local.split_once(SUBADDRESS_SEPARATOR)?;
        if base.is_empty() {
            return None;
        }
        Some(Self {
            local: base.to_owned(),
            detail: None,
            domain: self.domain.clone(),
        })
    }

    /// The address with a detail, unless it has one of its own.
    pub fn with_detail(mut self, detail: Option<&str>) -> Self {
        if self.detail.is_none()
            && let Some(detail) = detail
        {
            self.local = format!("{}{SUBADDRESS_SEPARATOR}{}", self.local, detail.to_lowercase());
            self.detail = Some(detail.to_owned());
        }
        self
    }

    /// As it goes into Delivered-To: the detail in the case in which it was written.
    pub fn spelled(&self) -> String {
        match (&self.detail, self.local.split_once(SUBADDRESS_SEPARATOR)) {
            (Some(detail), Some((base, _))) => {
                format!("{base}{SUBADDRESS_SEPARATOR}{detail}@{}", self.domain)
            }
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// Takes quotes and quoted pairs off a local part.
fn unquote(local: &str) -> Result<String, AddressError> {
    let Some(inner) = local.strip_prefix('"') else {
        return Ok(local.to_owned());
    };
    let inner = inner.strip_suffix('"').ok_or(AddressError::Local)?;
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => text.push(chars.next().ok_or(AddressError::Local)?),
            '"' => return Err(AddressError::Local),
            char => text.push(char),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_in_one_form() {
        let cases = [
            ("User@Example.TEST", Some("user@example.test")),
            ("user@example.test.", Some("user@example.test")),
            ("\"us er\"@example.test", Some("us er@example.test")),
            ("\"a\\\"b\"@example.test", Some("a\"b@example.test")),
            ("\"a@b\"@example.test", Some("a@b@example.test")),
            ("jürgen@bücher.test", Some("jürgen@bücher.test")),
            ("user", None),
            ("@example.test", None),
            ("user@", None),
            ("user@[192.0.2.1]", None),
            ("user@-example.test", None),
            ("user@example..test", None),
            ("\"user@example.test", None),
            ("us\u{0}er@example.test", None),
        ];
        for (text, wanted) in cases {
            let got = Address::parse(text).ok().map(|address| address.to_string());
            assert_eq!(got.as_deref(), wanted, "{text:?}");
        }
        assert!(Address::parse(&format!("{}@example.test", "x".repeat(65))).is_err());
        assert!(DomainName::parse(&"x.".repeat(128)).is_err());
    }

    #[test]
    fn refuses_what_needs_quotes_for_accounts() {
        for text in [
            "us er@example.test",
            ".user@example.test",
            "us..er@example.test",
            "user.@example.test",
        ] {
            assert!(Address::parse_plain(text).is_err(), "{text:?}");
        }
        assert!(Address::parse_plain("o'neil+x.y@example.test").is_ok());
    }

    #[test]
    fn keeps_the_detail_as_written() {
        let address = Address::parse("User+ToDo+x@Example.test").unwrap();
        assert_eq!(address.to_string(), "user+todo+x@example.test");
        assert_eq!(address.spelled(), "user+ToDo+x@example.test");
        assert_eq!(address.base().unwrap().to_string(), "user@example.test");
        assert_eq!(
            address.base().unwrap().with_detail(Some("ToDo")).spelled(),
            "user+ToDo@example.test"
        );
        assert!(Address::parse("+x@example.test").unwrap().base().is_none());
    }
}
