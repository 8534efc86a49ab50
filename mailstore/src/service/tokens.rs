//! Account tokens as a mailstore takes them: signed by the directory, held by the caller, not ended, with the right.
//!
//! A signature is checked once for each token; what it said is remembered while there is room. Holder and end are checked
//! at every use.

use std::num::NonZeroUsize;

use bytes::Bytes;
use lru::LruCache;
use parking_lot::{Mutex, RwLock};
use prost::Message;
use rookery_process::token::{Keys, TokenError, check_not_expired};
use rookery_proto::directory::v1::{AccountToken, Rights, TokenClaims};
use rookery_proto::{Peer, Reason, Status};

use crate::catalogue::looked_up;
use crate::schema::{AccountId, ShardId};

/// Tokens that are remembered.
const TOKENS_REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// The longest token.
const TOKEN_BYTES_MAX: usize = 2048;

/// What a token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// On which account.
    pub account: AccountId,
    /// Where that was when the token was signed.
    pub shard: ShardId,
    /// Generation of the account's placement then.
    pub generation: u64,
    /// What may be done.
    pub rights: Rights,
}

/// Checks tokens.
pub struct Tokens {
    keys: RwLock<Keys>,
    checked: Mutex<LruCache<Bytes, TokenClaims>>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            keys: RwLock::default(),
            checked: Mutex::new(LruCache::new(TOKENS_REMEMBERED)),
        }
    }
}

impl Tokens {
    /// Takes the directory's keys; tokens of other keys are refused from now on.
    pub fn set_keys(&self, keys: impl IntoIterator<Item = (u32, Vec<u8>)>) {
        *self.keys.write() = Keys::new(keys);
        self.checked.lock().clear();
    }

    /// Whether keys are known.
    pub fn has_keys(&self) -> bool {
        !self.keys.read().is_empty()
    }

    /// What the token allows its holder now. `needed` is the least right that will do.
    pub fn check(
        &self,
        token: &Bytes,
        holder: &Peer,
        needed: Rights,
        now_millis: u64,
    ) -> Result<Grant, Status> {
        let claims = self.claims(token)?;
        if !claims.is_for(holder) {
            return Err(refused(TokenError::OtherHolder));
        }
        check_not_expired(claims.expires_at_millis, now_millis).map_err(refused)?;
        let rights = claims.rights();
        if !allows(rights, needed) {
            return Err(Status::new(
                Reason::PermissionDenied,
                "the token does not give the right to do this",
            ));
        }
        Ok(Grant {
            account: AccountId(claims.account),
            shard: ShardId(claims.shard),
            generation: claims.generation,
            rights,
        })
    }

    fn claims(&self, token: &Bytes) -> Result<TokenClaims, Status> {
        if token.is_empty() {
            return Err(Status::new(
                Reason::PermissionDenied,
                "the call needs an account token",
            ));
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(not_a_token());
        }
        let known = self.checked.lock().get(token).cloned();
        looked_up("tokens", known.is_some());
        if let Some(claims) = known {
            return Ok(claims);
        }
        let signed = AccountToken::decode(token.clone()).map_err(|_| not_a_token())?;
        let keys = self.keys.read();
        keys.verify(signed.key_id, &signed.claims, &signed.signature)
            .map_err(refused)?;
        let mut claims = TokenClaims::decode(signed.claims).map_err(|_| not_a_token())?;
        // What is kept must not hold on to the frame that it came in.
        claims.holder = Bytes::copy_from_slice(&claims.holder);
        // Still under the keys' lock, so that keys which were taken away leave nothing behind.
        self.checked
            .lock()
            .put(Bytes::copy_from_slice(token), claims.clone());
        Ok(claims)
    }
}

fn allows(rights: Rights, needed: Rights) -> bool {
    match rights {
        Rights::Unspecified => false,
        Rights::Deliver => needed == Rights::Deliver,
        Rights::Owner => true,
    }
}

fn not_a_token() -> Status {
    Status::new(Reason::PermissionDenied, "the account token cannot be understood")
}

fn refused(error: TokenError) -> Status {
    let reason = match error {
        // The directory may have told others of a key that it has not told this node of yet.
        TokenError::UnknownKey => Reason::Unavailable,
        _ => Reason::PermissionDenied,
    };
    Status::new(reason, format!("the account token is refused: {error}"))
}
