//! The parser of `Mailbox`, RFC 5321 §4.1.2 with RFC 6531 §3.3.

use super::{ADDRESS_OCTETS_MAX, Address, AddressError, Domain, Rules};

/// ```text
/// Mailbox    = Local-part "@" ( Domain / address-literal )
/// Local-part = Dot-string / Quoted-string
/// ```
pub(super) fn address(text: &str, rules: Rules) -> Result<Address, AddressError> {
    if text.len() > ADDRESS_OCTETS_MAX {
        return Err(AddressError::TooLong);
    }
    if !rules.utf8 && !text.is_ascii() {
        return Err(AddressError::NotAscii);
    }
    let (local, domain) = match text.strip_prefix('"') {
        Some(quoted) => {
            let (local, rest) = quoted_string(quoted)?;
            (local, rest.strip_prefix('@').ok_or(AddressError::NoDomain)?)
        }
        None => {
            let (local, domain) = text.split_once('@').ok_or(AddressError::NoDomain)?;
            if !is_dot_string(local) {
                return Err(AddressError::Local);
            }
            (local.to_owned(), domain)
        }
    };
    check_local(&local, rules)?;
    Ok(Address {
        local: local.into(),
        domain: Domain::parse(domain, rules.utf8)?,
    })
}

/// Whether an unquoted local part may be one at all: no control character, not too long.
pub(super) fn check_local(local: &str, rules: Rules) -> Result<(), AddressError> {
    if local.len() > rules.local_octets_max {
        return Err(AddressError::TooLong);
    }
    if !rules.utf8 && !local.is_ascii() {
        return Err(AddressError::NotAscii);
    }
    if local.chars().any(char::is_control) {
        return Err(AddressError::Local);
    }
    Ok(())
}

/// ```text
/// Quoted-string    = DQUOTE *QcontentSMTP DQUOTE
/// QcontentSMTP     = qtextSMTP / quoted-pairSMTP
/// quoted-pairSMTP  = %d92 %d32-126
/// qtextSMTP        = %d32-33 / %d35-91 / %d93-126 / UTF8-non-ascii
/// ```
/// Takes the text behind the opening quote, gives the content and what follows the closing quote.
fn quoted_string(text: &str) -> Result<(String, &str), AddressError> {
    let mut content = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((content, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, quoted @ ' '..='~')) => content.push(quoted),
                _ => return Err(AddressError::Local),
            },
            _ if character.is_control() => return Err(AddressError::Local),
            _ => content.push(character),
        }
    }
    Err(AddressError::Local)
}

/// ```text
/// Dot-string = Atom *("." Atom)
/// Atom       = 1*atext
/// ```
pub(super) fn is_dot_string(local: &str) -> bool {
    local
        .split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// RFC 5322 §3.2.3, and every character outside ASCII that is neither control nor space
/// (RFC 6531 §3.3).
fn is_atext(character: char) -> bool {
    match character {
        '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '-' | '/' | '=' | '?' | '^' | '_' | '`' | '{'
        | '|' | '}' | '~' => true,
        _ if character.is_ascii() => character.is_ascii_alphanumeric(),
        _ => !character.is_control() && !character.is_whitespace(),
    }
}
