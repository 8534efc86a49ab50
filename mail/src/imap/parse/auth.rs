//! AUTHENTICATE, LOGIN, ENABLE, ID.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::cursor::Cursor;
use super::error::{Parsed, SyntaxError};
use super::strings;
use crate::imap::types::{CommandBody, Secret};

/// The most pairs in an ID. RFC 2971 §3.3.
const ID_PAIRS_MAX: usize = 30;
/// The most capabilities in an ENABLE.
const ENABLE_CAPABILITIES_MAX: usize = 50;

/// ```abnf
/// authenticate     = "AUTHENTICATE" SP auth-type [SP (base64 / "=")]    ; RFC 4959 §7
/// auth-type        = atom
/// ```
pub(super) fn authenticate(cursor: &mut Cursor<'_>) -> Parsed<CommandBody> {
    cursor.space("missing mechanism")?;
    let mechanism = cursor.atom("missing mechanism")?.to_ascii_uppercase();
    let mut initial_response = None;
    // A space without a response is let through; the client then waits for the continuation request.
    if cursor.accept(b' ') && !cursor.is_at_end() {
        let text = cursor.word(|byte| byte.is_ascii_graphic(), "missing initial response")?;
        initial_response = Some(sasl_response(text.as_bytes()).ok_or(SyntaxError::new("malformed base64"))?);
    }
    Ok(CommandBody::Authenticate {
        mechanism,
        initial_response,
    })
}

/// Decodes the base64 of an initial response; `=` is an empty one.
fn sasl_response(text: &[u8]) -> Option<Secret> {
    if text == b"=" {
        return Some(Secret::new([]));
    }
    STANDARD.decode(text).ok().map(Secret::new)
}

/// `login = "LOGIN" SP userid SP password`, both `astring`
pub(super) fn login(cursor: &mut Cursor<'_>) -> Parsed<CommandBody> {
    cursor.space("missing user name")?;
    let username = strings::utf8(strings::astring(cursor, "missing user name")?)?;
    cursor.space("missing password")?;
    let password = Secret::new(strings::astring(cursor, "missing password")?);
    Ok(CommandBody::Login { username, password })
}

/// `enable = "ENABLE" 1*(SP capability)`; RFC 5161 §4
pub(super) fn enable(cursor: &mut Cursor<'_>) -> Parsed<CommandBody> {
    let mut capabilities = Vec::new();
    loop {
        cursor.space("missing capability")?;
        if capabilities.len() == ENABLE_CAPABILITIES_MAX {
            return Err(SyntaxError::too_many("capabilities", ENABLE_CAPABILITIES_MAX));
        }
        capabilities.push(cursor.atom("missing capability")?.to_ascii_uppercase());
        if cursor.is_at_end() {
            return Ok(CommandBody::Enable(capabilities));
        }
    }
}

/// ```abnf
/// id             = "ID" SP id-params-list                                          ; RFC 2971 §3.1
/// id-params-list = "(" string SP nstring *(SP string SP nstring) ")" / nil
/// ```
/// Atoms in place of strings are let through, and so is an empty list.
pub(super) fn id(cursor: &mut Cursor<'_>) -> Parsed<CommandBody> {
    cursor.space("missing parameters")?;
    if cursor.accept_text("NIL") {
        return Ok(CommandBody::Id(Vec::new()));
    }
    let pairs = cursor.list("pairs in ID", ID_PAIRS_MAX, |cursor| {
        let field = strings::astring(cursor, "missing field")?;
        cursor.space("missing value")?;
        let value = strings::lenient_nstring(cursor, "missing value")?;
        Ok((lossy(field), value.map(lossy)))
    })?;
    Ok(CommandBody::Id(pairs))
}

/// What a client says of itself is for the log alone.
fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
