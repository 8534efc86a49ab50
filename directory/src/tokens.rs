//! Account tokens: what the directory says that a proxy may do for an account, signed.
//!
//! A token names the account, its shard and placement, the rights, and the proxy that may use it with its certificate. It
//! lives for minutes, or for more than an hour where it gives the right to deliver and no more. While a session lives its proxy has
//! it renewed without the password, for which the token may have ended a while ago: a directory that was away must not end
//! sessions.
//!
//! Ends are rounded up, so that tokens of one account for one proxy are the same for a while: whoever has checked one knows the next.

use std::num::NonZeroUsize;

use bytes::Bytes;
use lru::LruCache;
use parking_lot::{Mutex, RwLock};
use prost::Message;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rookery_process::token::{Keys, TokenError, check_not_expired};
use rookery_proto::directory::v1::{AccountToken, Rights, TokenClaims};
use rookery_proto::{Peer, Reason, Status};

use crate::catalogue::looked_up;
use crate::plan::signing_key::Pair;
use crate::schema::row::{Account, SigningKey};
use crate::schema::{AccountId, KeyId};

/// How long after its end a token can still be renewed.
pub const RENEWAL_GRACE_MILLIS: u64 = 60 * 60 * 1_000;

/// How long a token for deliveries lives at least. A recipient's token may have been cached for some minutes when RCPT names
/// it, its message may then take an hour to arrive (the proxy's `content_duration_max`), and its delivery some patience: a
/// token that ended before would refuse a large message on a slow line at each try.
pub const DELIVER_LIFETIME_MILLIS: u64 = 70 * 60 * 1_000;

/// How long a new key is published before anything is signed with it, so that everyone knows it by then.
const SETTLE_MILLIS: u64 = 30_000;

/// A token may live longer by this part of its life, for its end is rounded up.
const ROUNDED_PART: u64 = 8;

/// The longest that a token lives, where those of sessions live so long at least.
pub fn lifetime_max_millis(lifetime_millis: u64) -> u64 {
    let longest = lifetime_millis.max(DELIVER_LIFETIME_MILLIS);
    longest.saturating_add(longest / ROUNDED_PART)
}

/// When a token ends that is signed now: rounded up, to other moments for each account, so that not all are renewed at once.
fn end_millis(id: AccountId, lifetime_millis: u64, now_millis: u64) -> u64 {
    let step = (lifetime_millis / ROUNDED_PART).max(1);
    // Spread by the golden ratio, for ids follow each other.
    let phase = id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) % step;
    (now_millis + lifetime_millis - phase).next_multiple_of(step) + phase
}

/// Tokens that are remembered, so that they are not signed again: some 300 bytes each.
const SIGNED_REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

struct Signer {
    id: KeyId,
    created_at_millis: u64,
    pair: Ed25519KeyPair,
}

#[derive(Default)]
struct Held {
    /// Newest first.
    signers: Vec<Signer>,
    keys: Keys,
}

/// Signs and checks tokens.
pub struct Tokens {
    held: RwLock<Held>,
    lifetime_millis: u64,
    /// By the key that signed them and what they say.
    signed: Mutex<LruCache<(KeyId, Vec<u8>), Bytes>>,
}

/// A signed token.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The encoded `AccountToken`.
    pub token: Bytes,
    /// When it ends, unix milliseconds.
    pub expires_at_millis: u64,
}

impl Tokens {
    /// With no keys yet.
    pub fn new(lifetime_millis: u64) -> Self {
        Self {
            held: RwLock::default(),
            lifetime_millis,
            signed: Mutex::new(LruCache::new(SIGNED_REMEMBERED)),
        }
    }

    /// From now on uses these keys.
    pub fn set_keys(&self, rows: &[(KeyId, SigningKey)]) -> Result<(), Status> {
        let mut signers = Vec::with_capacity(rows.len());
        for (id, row) in rows.iter().rev() {
            let pair = Ed25519KeyPair::from_pkcs8(&row.private).map_err(|error| {
                Status::internal(format!("the signing key {} cannot be used: {error}", id.0))
            })?;
            signers.push(Signer {
                id: *id,
                created_at_millis: row.created_at_millis,
                pair,
            });
        }
        let keys = Keys::new(rows.iter().map(|(id, row)| (id.0, row.public.clone())));
        *self.held.write() = Held { signers, keys };
        self.signed.lock().clear();
        Ok(())
    }

    /// Signs a token for an account that `holder` may use.
    pub fn sign(
        &self,
        id: AccountId,
        account: &Account,
        rights: Rights,
        holder: &Peer,
        now_millis: u64,
    ) -> Result<Signed, Status> {
        let lifetime_millis = match rights {
            Rights::Deliver => self.lifetime_millis.max(DELIVER_LIFETIME_MILLIS),
            _ => self.lifetime_millis,
        };
        let expires_at_millis = end_millis(id, lifetime_millis, now_millis);
        let claims = TokenClaims {
            account: id.0,
            shard: account.shard,
            generation: account.generation,
            credential_generation: account.credential_generation,
            rights: rights.into(),
            holder: holder.certificate.clone(),
            expires_at_millis,
            holder_name: match holder.certificate.is_empty() {
                true => String::new(),
                false => holder.name(),
            },
        }
        .encode_to_vec();
        let held = self.held.read();
        let is_settled =
            |signer: &&Signer| now_millis.saturating_sub(signer.created_at_millis) >= SETTLE_MILLIS;
        let signer = held
            .signers
            .iter()
            .find(is_settled)
            .or(held.signers.last())
            .ok_or_else(|| Status::unavailable("the directory has no signing key yet"))?;
        let said = (signer.id, claims);
        let known = self.signed.lock().get(&said).cloned();
        looked_up("tokens", known.is_some());
        if let Some(token) = known {
            return Ok(Signed {
                token,
                expires_at_millis,
            });
        }
        let signature = signer.pair.sign(&said.1).as_ref().to_vec();
        let token = AccountToken {
            claims: said.1.clone().into(),
            key_id: signer.id.0,
            signature: signature.into(),
        };
        let token = Bytes::from(token.encode_to_vec());
        // Still under the keys' lock, so that keys which were taken away leave nothing behind.
        self.signed.lock().put(said, token.clone());
        Ok(Signed {
            token,
            expires_at_millis,
        })
    }

    /// What a token says, if it is one of ours, for this holder, and has not ended more than the grace time ago.
    pub fn check(&self, token: &[u8], holder: &Peer, now_millis: u64) -> Result<TokenClaims, Status> {
        let denied =
            |why: &str| Status::new(Reason::PermissionDenied, format!("the token is refused: {why}"));
        let token = AccountToken::decode(token).map_err(|_| denied("it is not one"))?;
        self.held
            .read()
            .keys
            .verify(token.key_id, &token.claims, &token.signature)
            .map_err(|error| denied(&error.to_string()))?;
        let claims = TokenClaims::decode(token.claims).map_err(|_| denied("it is not one"))?;
        if !claims.is_for(holder) {
            return Err(denied(&TokenError::OtherHolder.to_string()));
        }
        check_not_expired(
            claims.expires_at_millis.saturating_add(RENEWAL_GRACE_MILLIS),
            now_millis,
        )
        .map_err(|error| denied(&error.to_string()))?;
        Ok(claims)
    }
}

/// A fresh key pair.
pub fn generate() -> Result<Pair, Status> {
    let no_key = || Status::internal("cannot make a signing key");
    let private = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| no_key())?;
    let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).map_err(|_| no_key())?;
    Ok(Pair {
        private: private.as_ref().to_vec(),
        public: pair.public_key().as_ref().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const LIFETIME: u64 = 600_000;
    const NOW: u64 = 1_000_000_000;

    fn key(id: u32, created_at_millis: u64) -> (KeyId, SigningKey) {
        let pair = generate().unwrap();
        (
            KeyId(id),
            SigningKey {
                private: pair.private,
                public: pair.public,
                created_at_millis,
            },
        )
    }

    fn tokens(keys: &[(KeyId, SigningKey)]) -> Tokens {
        let tokens = Tokens::new(LIFETIME);
        tokens.set_keys(keys).unwrap();
        tokens
    }

    /// A proxy whose id and certificate are known by this word; one in this process when it is empty.
    fn peer(word: &str) -> Peer {
        Peer {
            role: rookery_proto::Role::Proxy,
            node: word.to_owned(),
            certificate: word.as_bytes().to_vec().into(),
        }
    }

    fn account() -> Account {
        Account {
            shard: 3,
            generation: 1,
            credential_generation: 2,
            ..Account::default()
        }
    }

    #[test]
    fn says_what_was_signed() {
        let tokens = tokens(&[key(1, 0)]);
        let signed = tokens
            .sign(AccountId(7), &account(), Rights::Owner, &peer("proxy"), NOW)
            .unwrap();
        let longest = LIFETIME + LIFETIME / ROUNDED_PART;
        assert!((LIFETIME..longest).contains(&(signed.expires_at_millis - NOW)));
        let claims = tokens.check(&signed.token, &peer("proxy"), NOW).unwrap();
        assert_eq!(
            (claims.account, claims.shard, claims.credential_generation),
            (7, 3, 2)
        );
        assert_eq!(claims.rights(), Rights::Owner);
    }

    #[test]
    fn a_proxy_uses_its_tokens_with_its_next_certificate() {
        let tokens = tokens(&[key(1, 0)]);
        let signed = tokens
            .sign(AccountId(7), &account(), Rights::Owner, &peer("proxy"), NOW)
            .unwrap();
        let with = |role, node: &str, certificate: &'static [u8]| Peer {
            role,
            node: node.to_owned(),
            certificate: Bytes::from_static(certificate),
        };
        use rookery_proto::Role::{Mailstore, Proxy};
        for (caller, taken) in [
            (with(Proxy, "proxy", b"renewed"), true),
            (with(Proxy, "proxy-2", b"renewed"), false),
            (with(Proxy, "", b"renewed"), false),
            (with(Mailstore, "proxy", b"renewed"), false),
        ] {
            assert_eq!(
                tokens.check(&signed.token, &caller, NOW).is_ok(),
                taken,
                "{caller:?}"
            );
        }
        // One of a directory that names certificates alone.
        let claims = TokenClaims {
            holder: Bytes::from_static(b"proxy"),
            ..TokenClaims::default()
        };
        assert!(claims.is_for(&peer("proxy")));
        assert!(!claims.is_for(&with(Proxy, "proxy", b"renewed")));
        assert!(!claims.is_for(&with(Proxy, "", b"renewed")));
    }

    #[test]
    fn one_proxy_gets_the_same_token_again_for_a_while() {
        let tokens = tokens(&[key(1, 0)]);
        let sign = |account: &Account, rights, holder: &Peer, now| {
            tokens.sign(AccountId(7), account, rights, holder, now).unwrap()
        };
        let owner = |now| sign(&account(), Rights::Owner, &peer("proxy"), now);
        let one = owner(NOW);
        // The last moment at which its end is the next one.
        let last = one.expires_at_millis - LIFETIME;
        let again = owner(last);
        assert_eq!(again.expires_at_millis, one.expires_at_millis);
        assert_eq!(again.token.as_ptr(), one.token.as_ptr(), "it is not signed again");
        let next = owner(last + 1);
        assert_eq!(
            next.expires_at_millis,
            one.expires_at_millis + LIFETIME / ROUNDED_PART
        );
        let moved = Account {
            generation: 2,
            ..account()
        };
        let others = [
            next,
            sign(&account(), Rights::Owner, &peer("other"), NOW),
            sign(&account(), Rights::Deliver, &peer("proxy"), NOW),
            sign(&moved, Rights::Owner, &peer("proxy"), NOW),
        ];
        for other in others {
            assert_ne!(other.token, one.token);
        }
        tokens.set_keys(&[key(1, 0)]).unwrap();
        assert_ne!(owner(NOW).token, one.token, "its key is not known any more");
    }

    #[test]
    fn tokens_of_different_accounts_end_at_different_moments() {
        let ends: HashSet<u64> = (1..=100)
            .map(|id| end_millis(AccountId(id), LIFETIME, NOW))
            .collect();
        assert_eq!(ends.len(), 100);
        let longest = NOW + LIFETIME + LIFETIME / ROUNDED_PART;
        assert!(ends.iter().all(|end| (NOW + LIFETIME..longest).contains(end)));
    }

    #[test]
    fn a_token_for_deliveries_outlives_the_longest_content() {
        let tokens = tokens(&[key(1, 0)]);
        let signed = tokens
            .sign(AccountId(7), &account(), Rights::Deliver, &peer("proxy"), NOW)
            .unwrap();
        let (content, patience, cached) = (60 * 60 * 1_000, 30_000, 120_000);
        assert!(signed.expires_at_millis > NOW + content + patience + cached);
    }

    #[test]
    fn refuses_what_is_not_ours() {
        let ours = tokens(&[key(1, 0)]);
        let signed = ours
            .sign(AccountId(7), &account(), Rights::Deliver, &peer("proxy"), NOW)
            .unwrap();
        let end = signed.expires_at_millis + RENEWAL_GRACE_MILLIS;
        let signed = signed.token;
        let denied = |tokens: &Tokens, token: &[u8], holder: &Peer, now: u64| {
            tokens
                .check(token, holder, now)
                .is_err_and(|status| status.reason == Reason::PermissionDenied)
        };
        assert!(denied(&ours, &signed, &peer("another"), NOW), "another holder");
        assert!(denied(&ours, &signed, &peer(""), NOW), "no holder");
        assert!(!denied(&ours, &signed, &peer("proxy"), end - 1));
        assert!(denied(&ours, &signed, &peer("proxy"), end), "ended too long ago");
        assert!(
            denied(&tokens(&[key(1, 0)]), &signed, &peer("proxy"), NOW),
            "signed by another cluster"
        );
        assert!(
            denied(&tokens(&[key(2, 0)]), &signed, &peer("proxy"), NOW),
            "an unknown key"
        );
        assert!(denied(&ours, b"junk", &peer("proxy"), NOW));
        assert!(denied(&ours, b"", &peer("proxy"), NOW));
        // More rights than were signed.
        let mut forged = AccountToken::decode(signed.clone()).unwrap();
        let mut claims = TokenClaims::decode(forged.claims.clone()).unwrap();
        claims.rights = Rights::Owner.into();
        forged.claims = claims.encode_to_vec().into();
        assert!(
            denied(&ours, &forged.encode_to_vec(), &peer("proxy"), NOW),
            "forged"
        );
    }

    #[test]
    fn a_new_key_signs_once_everyone_knows_it() {
        let (old, new) = (key(1, 0), key(2, NOW));
        let tokens = tokens(&[old.clone(), new]);
        let key_at = |now| {
            let signed = tokens
                .sign(AccountId(7), &account(), Rights::Owner, &peer(""), now)
                .unwrap();
            assert!(tokens.check(&signed.token, &peer(""), now).is_ok());
            AccountToken::decode(signed.token).unwrap().key_id
        };
        assert_eq!(key_at(NOW + SETTLE_MILLIS - 1), 1);
        assert_eq!(key_at(NOW + SETTLE_MILLIS), 2);
    }
}
