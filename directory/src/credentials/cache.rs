//! Secrets that were verified lately, as keyed hashes.
//!
//! The key is random and dies with the process; account and generation are part of what is hashed, so that equal passwords
//! look different and a changed one no longer matches.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;
use ring::hmac;
use ring::rand::SystemRandom;
use rookery_proto::Status;

use crate::schema::AccountId;

struct Entry {
    tag: hmac::Tag,
    generation: u64,
    expires_at: Instant,
}

/// The cache.
pub(super) struct Cache {
    key: hmac::Key,
    expiry: Duration,
    entries: Mutex<LruCache<AccountId, Entry>>,
}

impl Cache {
    pub(super) fn new(entries_max: usize, expiry: Duration) -> Result<Self, Status> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| Status::internal("the system gives no random bytes"))?;
        let entries_max = NonZeroUsize::new(entries_max).unwrap_or(NonZeroUsize::MIN);
        Ok(Self {
            key,
            expiry,
            entries: Mutex::new(LruCache::new(entries_max)),
        })
    }

    /// Whether this secret of the account was verified lately.
    pub(super) fn knows(&self, account: AccountId, generation: u64, secret: &str, now: Instant) -> bool {
        let input = input(account, generation, secret);
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get(&account) else {
            return false;
        };
        if entry.generation != generation || entry.expires_at <= now {
            entries.pop(&account);
            return false;
        }
        // Compares in constant time.
        hmac::verify(&self.key, &input, entry.tag.as_ref()).is_ok()
    }

    pub(super) fn remember(&self, account: AccountId, generation: u64, secret: &str, now: Instant) {
        let tag = hmac::sign(&self.key, &input(account, generation, secret));
        self.entries.lock().put(
            account,
            Entry {
                tag,
                generation,
                expires_at: now + self.expiry,
            },
        );
    }

    pub(super) fn forget(&self, account: AccountId) {
        self.entries.lock().pop(&account);
    }
}

fn input(account: AccountId, generation: u64, secret: &str) -> Vec<u8> {
    let mut input = Vec::with_capacity(16 + secret.len());
    input.extend_from_slice(&account.0.to_be_bytes());
    input.extend_from_slice(&generation.to_be_bytes());
    input.extend_from_slice(secret.as_bytes());
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_for_a_while_and_within_bounds() {
        let cache = Cache::new(2, Duration::from_secs(10)).unwrap();
        let now = Instant::now();
        cache.remember(AccountId(1), 1, "secret", now);
        assert!(cache.knows(AccountId(1), 1, "secret", now));
        assert!(!cache.knows(AccountId(1), 1, "secret2", now));
        assert!(!cache.knows(AccountId(2), 1, "secret", now));
        assert!(
            !cache.knows(AccountId(1), 1, "secret", now + Duration::from_secs(10)),
            "expired"
        );
        cache.remember(AccountId(1), 1, "secret", now);
        assert!(
            !cache.knows(AccountId(1), 2, "secret", now),
            "of an older generation"
        );
        for account in 1..=3 {
            cache.remember(AccountId(account), 1, "secret", now);
        }
        assert!(!cache.knows(AccountId(1), 1, "secret", now), "pushed out");
        assert!(cache.knows(AccountId(3), 1, "secret", now));
        cache.forget(AccountId(3));
        assert!(!cache.knows(AccountId(3), 1, "secret", now));
    }
}
