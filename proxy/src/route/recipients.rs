//! A bounded cache of recipients, so that a known one costs no call.
//!
//! Only found recipients are kept, never a negative; entries expire, and the directory's watch voids them.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;
use rookery_proto::directory::v1::ResolvedRecipient;

use super::watch::Notice;

/// Recipients kept.
const RECIPIENTS_MAX: NonZeroUsize = NonZeroUsize::new(100_000).expect("not zero");

/// The cache.
pub struct Recipients {
    entries: Mutex<LruCache<String, (Instant, ResolvedRecipient)>>,
    /// Grows with each notice: an answer asked for before one is not kept after it.
    epoch: AtomicU64,
}

impl Default for Recipients {
    fn default() -> Self {
        Self {
            entries: Mutex::new(LruCache::new(RECIPIENTS_MAX)),
            epoch: AtomicU64::new(0),
        }
    }
}

impl Recipients {
    /// What is known of an address and has not expired.
    pub fn get(&self, address: &str) -> Option<ResolvedRecipient> {
        let mut entries = self.entries.lock();
        let (expires_at, resolved) = entries.get(address)?;
        if *expires_at <= Instant::now() {
            entries.pop(address);
            return None;
        }
        Some(resolved.clone())
    }

    /// To be read before the directory is asked, and given to [`Recipients::put`].
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Keeps an answer for as long as it says, unless something became void since it was asked for.
    pub fn put(&self, address: &str, resolved: &ResolvedRecipient, epoch: u64) {
        if resolved.cache_millis == 0 {
            return;
        }
        let expires_at = Instant::now() + Duration::from_millis(resolved.cache_millis.into());
        let mut entries = self.entries.lock();
        if self.epoch() == epoch {
            entries.put(address.to_owned(), (expires_at, resolved.clone()));
        }
    }

    /// Drops what a notice makes void.
    pub fn void(&self, notice: &Notice) {
        let mut entries = self.entries.lock();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        match notice {
            Notice::All | Notice::Recipients => entries.clear(),
            Notice::Account { account, .. } => {
                let stale: Vec<String> = entries
                    .iter()
                    .filter(|(_, (_, resolved))| {
                        resolved.destinations.iter().any(|to| to.account == *account)
                    })
                    .map(|(address, _)| address.clone())
                    .collect();
                for address in stale {
                    entries.pop(&address);
                }
            }
        }
    }
}
