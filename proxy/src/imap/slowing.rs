//! How long the answer to a failed login is held back: longer with each failure of the connection and of the address.
//!
//! The table of addresses is bounded and forgets; it never locks anybody out, since many people may share an address.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;

/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 10_000;

/// How long after its last failure an address is forgotten.
const MEMORY: Duration = Duration::from_secs(600);

/// Failures from one address that are free, since people mistype.
const FREE_FAILURES: u32 = 5;

/// Failures by address.
pub struct LoginSlowing {
    unit: Duration,
    delay_max: Duration,
    addresses: Mutex<LruCache<IpAddr, (u32, Instant)>>,
}

impl LoginSlowing {
    /// The first failure of a connection waits `unit`, the next ones twice as long each, up to `delay_max`.
    pub fn new(unit: Duration, delay_max: Duration) -> Self {
        let capacity = NonZeroUsize::new(ADDRESSES_MAX).unwrap_or(NonZeroUsize::MIN);
        Self {
            unit,
            delay_max,
            addresses: Mutex::new(LruCache::new(capacity)),
        }
    }

    /// How long the answer to a first failure waits.
    pub fn unit(&self) -> Duration {
        self.unit
    }

    /// Takes note of a failed login and says how long its answer waits. `on_connection` counts this one in.
    pub fn failed(&self, address: IpAddr, on_connection: u32, now: Instant) -> Duration {
        let of_address = if address.is_loopback() {
            // A load balancer or a web mailer may stand behind it.
            0
        } else {
            let mut addresses = self.addresses.lock();
            let (failures, at) = addresses.get(&address).copied().unwrap_or((0, now));
            let failures = if now.saturating_duration_since(at) > MEMORY {
                1
            } else {
                failures.saturating_add(1)
            };
            addresses.put(address, (failures, now));
            failures.saturating_sub(FREE_FAILURES)
        };
        let doublings = on_connection.saturating_sub(1).saturating_add(of_address).min(16);
        self.unit.saturating_mul(1 << doublings).min(self.delay_max)
    }
}

impl Default for LoginSlowing {
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(15))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_wait_longer_and_longer_and_are_forgotten() {
        let second = Duration::from_secs(1);
        let slowing = LoginSlowing::new(second, second * 10);
        let (address, now) = ("192.0.2.1".parse().unwrap(), Instant::now());
        assert_eq!(slowing.failed(address, 1, now), second);
        assert_eq!(slowing.failed(address, 2, now), second * 2);
        assert_eq!(slowing.failed(address, 3, now), second * 4);
        for _ in 0..20 {
            slowing.failed(address, 1, now);
        }
        assert_eq!(
            slowing.failed(address, 1, now),
            second * 10,
            "the address is known by now"
        );
        assert_eq!(
            slowing.failed("192.0.2.2".parse().unwrap(), 1, now),
            second,
            "another one is not"
        );
        assert_eq!(slowing.failed(address, 1, now + MEMORY * 2), second, "forgotten");
    }
}
