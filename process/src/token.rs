//! The check of a signed token, as every role makes it: the signature, who may use it, how long.
//!
//! Knows bytes only; what the claims say is the caller's to decode and judge. Never signs.

use std::collections::HashMap;

use ring::signature::{ED25519, UnparsedPublicKey};

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No key of this id is known; a newer one may be known soon.
    #[error("it is signed with a key that is not known here")]
    UnknownKey,
    /// The signature is not that of the claims.
    #[error("its signature is wrong")]
    BadSignature,
    /// It was made for another node.
    #[error("it belongs to another process")]
    OtherHolder,
    /// It has ended.
    #[error("it has expired")]
    Expired,
}

/// The public keys with which tokens may be signed.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    keys: HashMap<u32, Vec<u8>>,
}

impl Keys {
    /// Keys by id: Ed25519 public keys of 32 bytes.
    pub fn new(keys: impl IntoIterator<Item = (u32, Vec<u8>)>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
        }
    }

    /// Whether no key is known yet.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether the signature over the claims' bytes is that of the key.
    pub fn verify(&self, key_id: u32, claims: &[u8], signature: &[u8]) -> Result<(), TokenError> {
        let key = self.keys.get(&key_id).ok_or(TokenError::UnknownKey)?;
        UnparsedPublicKey::new(&ED25519, key)
            .verify(claims, signature)
            .map_err(|_| TokenError::BadSignature)
    }
}

/// Whether a token that ends at a time (unix milliseconds) has not ended now.
pub fn check_not_expired(expires_at_millis: u64, now_millis: u64) -> Result<(), TokenError> {
    if now_millis < expires_at_millis {
        Ok(())
    } else {
        Err(TokenError::Expired)
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    #[test]
    fn takes_only_what_the_key_signed() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let keys = Keys::new([(3, pair.public_key().as_ref().to_vec())]);
        let signature = pair.sign(b"claims");
        assert_eq!(keys.verify(3, b"claims", signature.as_ref()), Ok(()));
        assert_eq!(
            keys.verify(3, b"other", signature.as_ref()),
            Err(TokenError::BadSignature)
        );
        assert_eq!(keys.verify(3, b"claims", b""), Err(TokenError::BadSignature));
        assert_eq!(
            keys.verify(4, b"claims", signature.as_ref()),
            Err(TokenError::UnknownKey)
        );
    }

    #[test]
    fn checks_the_end() {
        assert_eq!(check_not_expired(10, 9), Ok(()));
        assert_eq!(check_not_expired(10, 10), Err(TokenError::Expired));
    }
}
