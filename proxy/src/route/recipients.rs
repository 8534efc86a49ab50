//! A bounded cache of recipients, so that a known one costs no call.
//!
//! Only found recipients are kept, never a negative; entries expire, and the directory's watch voids them. Bounded by what
//! the answers hold, not by their number alone.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;
use rookery_proto::directory::v1::ResolvedRecipient;

use super::watch::Notice;

/// Recipients kept.
const RECIPIENTS_MAX: NonZeroUsize = NonZeroUsize::new(100_000).expect("not zero");

/// Destinations kept in all. Each takes some hundred bytes, its token above all.
const DESTINATIONS_MAX: usize = 200_000;

/// Destinations of a recipient that is kept: a large alias is rare, and its lookup is little beside its deliveries.
const DESTINATIONS_OF_ONE_MAX: usize = 32;

/// The cache.
pub struct Recipients {
    entries: Mutex<Entries>,
    /// Grows with each notice: an answer asked for before one is not kept after it.
    epoch: AtomicU64,
}

/// What is kept, and how much that is.
struct Entries {
    by_address: LruCache<String, Entry>,
    destinations: usize,
}

struct Entry {
    expires_at: Instant,
    /// The watch's snapshots when it was asked for. Voiding comes a moment after a snapshot; this is at one with it.
    snapshots: u64,
    resolved: ResolvedRecipient,
}

impl Entries {
    fn put(&mut self, address: String, entry: Entry) {
        self.destinations += entry.resolved.destinations.len();
        // What had the address before, or was used longest ago.
        if let Some((_, gone)) = self.by_address.push(address, entry) {
            self.destinations -= gone.resolved.destinations.len();
        }
        while self.destinations > DESTINATIONS_MAX
            && let Some((_, gone)) = self.by_address.pop_lru()
        {
            self.destinations -= gone.resolved.destinations.len();
        }
    }

    fn pop(&mut self, address: &str) {
        if let Some(gone) = self.by_address.pop(address) {
            self.destinations -= gone.resolved.destinations.len();
        }
    }

    fn clear(&mut self) {
        self.by_address.clear();
        self.destinations = 0;
    }
}

impl Default for Recipients {
    fn default() -> Self {
        Self {
            entries: Mutex::new(Entries {
                by_address: LruCache::new(RECIPIENTS_MAX),
                destinations: 0,
            }),
            epoch: AtomicU64::new(0),
        }
    }
}

impl Recipients {
    /// What is known of an address since the last of so many snapshots and has not expired.
    pub fn get(&self, address: &str, snapshots: u64) -> Option<ResolvedRecipient> {
        let mut entries = self.entries.lock();
        let entry = entries.by_address.get(address)?;
        if entry.expires_at <= Instant::now() || entry.snapshots != snapshots {
            entries.pop(address);
            return None;
        }
        Some(entry.resolved.clone())
    }

    /// To be read before the directory is asked, and given to [`Recipients::put`].
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Keeps an answer for as long as it says, unless something became void since it was asked for.
    /// `snapshots` is the number from before it was asked for.
    pub fn put(&self, address: &str, resolved: &ResolvedRecipient, epoch: u64, snapshots: u64) {
        if resolved.cache_millis == 0 || resolved.destinations.len() > DESTINATIONS_OF_ONE_MAX {
            return;
        }
        let expires_at = Instant::now() + Duration::from_millis(resolved.cache_millis.into());
        let mut entries = self.entries.lock();
        if self.epoch() == epoch {
            let resolved = resolved.clone();
            let entry = Entry {
                expires_at,
                snapshots,
                resolved,
            };
            entries.put(address.to_owned(), entry);
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
                    .by_address
                    .iter()
                    .filter(|(_, entry)| {
                        let mut destinations = entry.resolved.destinations.iter();
                        destinations.any(|to| to.account == *account)
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

#[cfg(test)]
mod tests {
    use rookery_proto::directory::v1::Destination;

    use super::*;

    fn leading_to(accounts: std::ops::Range<u64>) -> ResolvedRecipient {
        let destination = |account| Destination {
            account,
            ..Default::default()
        };
        ResolvedRecipient {
            destinations: accounts.map(destination).collect(),
            cache_millis: 60_000,
        }
    }

    fn put(cache: &Recipients, address: &str, resolved: &ResolvedRecipient) {
        cache.put(address, resolved, cache.epoch(), 1);
    }

    #[test]
    fn destinations_are_bounded_and_who_was_used_longest_ago_goes_first() {
        let cache = Recipients::default();
        let largest = leading_to(0..DESTINATIONS_OF_ONE_MAX as u64);
        let fit = DESTINATIONS_MAX / DESTINATIONS_OF_ONE_MAX;
        for number in 0..fit {
            put(&cache, &number.to_string(), &largest);
        }
        // The same again takes nothing more.
        put(&cache, "0", &largest);
        assert!(cache.get("1", 1).is_some() && cache.get("2", 1).is_some());
        put(&cache, "one more", &largest);
        assert!(cache.get("3", 1).is_none());
        assert!(
            cache.get("0", 1).is_some() && cache.get("1", 1).is_some() && cache.get("one more", 1).is_some()
        );
        assert!(cache.entries.lock().destinations <= DESTINATIONS_MAX);
        cache.void(&Notice::Account {
            account: 0,
            end_sessions: false,
            version: 1,
            moved_to: None,
        });
        assert_eq!(cache.entries.lock().destinations, 0);
    }

    #[test]
    fn a_large_alias_is_not_kept() {
        let cache = Recipients::default();
        put(&cache, "list", &leading_to(0..DESTINATIONS_OF_ONE_MAX as u64 + 1));
        assert!(cache.get("list", 1).is_none());
    }
}
