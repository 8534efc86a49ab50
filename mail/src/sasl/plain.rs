//! The message of PLAIN, RFC 4616 §2.

use super::{Credentials, SaslError};

/// ```text
/// message = [authzid] UTF8NUL authcid UTF8NUL passwd
/// ```
/// Nobody acts for somebody else here, so authzid must be empty or the same name as authcid.
pub(super) fn decode(message: &[u8]) -> Result<Credentials, SaslError> {
    let message = std::str::from_utf8(message).map_err(|_| SaslError::Malformed)?;
    let mut parts = message.split('\0');
    let (Some(authzid), Some(authcid), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SaslError::Malformed);
    };
    let credentials = Credentials::new(authcid, password)?;
    if !authzid.is_empty() && crate::address::fold(authzid) != crate::address::fold(authcid) {
        return Err(SaslError::OtherIdentity);
    }
    Ok(credentials)
}
