//! How many connections a proxy holds, in all and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use rookery_process::telemetry::Held;

use crate::catalogue::CONNECTIONS;

/// Bounds on connections, shared by all listeners of a proxy.
pub struct ConnectionLimits {
    total_max: usize,
    per_address_max: usize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    total: usize,
    addresses: HashMap<IpAddr, usize>,
}

/// A connection's place; free again when dropped.
pub struct Slot {
    limits: Arc<ConnectionLimits>,
    /// The address that it counts for; `None` while nobody knows.
    address: Option<IpAddr>,
    _open: Held,
}

impl ConnectionLimits {
    /// At most so many connections in all, and from one address (an IPv6 network of /64 counts as one). Loopback
    /// addresses are bounded by the total alone: a load balancer or a local tool may stand behind them.
    pub fn new(total_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self {
            total_max,
            per_address_max,
            counts: Mutex::default(),
        })
    }

    /// A place for a connection, or `None` when a bound is reached.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        self.take_unnamed()?.named(address)
    }

    /// A place for a connection of which the client's address is not known yet, bounded by the total alone.
    pub fn take_unnamed(self: &Arc<Self>) -> Option<Slot> {
        let mut counts = self.counts.lock();
        if counts.total >= self.total_max {
            return None;
        }
        counts.total += 1;
        Some(Slot {
            limits: Arc::clone(self),
            address: None,
            _open: CONNECTIONS.hold(&[]),
        })
    }
}

impl Slot {
    /// The same place, counted for an address from now on; `None`, and the place is free, when that address has too many.
    pub fn named(mut self, address: IpAddr) -> Option<Slot> {
        let address = network(address);
        {
            let mut counts = self.limits.counts.lock();
            let held = counts.addresses.get(&address).copied().unwrap_or(0);
            if held >= self.limits.per_address_max && !address.is_loopback() {
                return None;
            }
            counts.addresses.insert(address, held + 1);
        }
        self.address = Some(address);
        Some(self)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.limits.counts.lock();
        counts.total -= 1;
        let Some(address) = self.address else { return };
        if let Some(held) = counts.addresses.get_mut(&address) {
            *held -= 1;
            if *held == 0 {
                counts.addresses.remove(&address);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None if v6.is_loopback() => address,
            None => {
                let bits = u128::from(v6) >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from(bits))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let limits = ConnectionLimits::new(3, 2);
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let first = limits.take(a).unwrap();
        let _second = limits.take(a).unwrap();
        assert!(limits.take(a).is_none(), "two from one address");
        let _other = limits.take("192.0.2.2".parse().unwrap()).unwrap();
        assert!(
            limits.take("192.0.2.3".parse().unwrap()).is_none(),
            "three in all"
        );
        drop(first);
        assert!(limits.take(a).is_some());
    }

    #[test]
    fn a_place_without_an_address_counts_for_one_once_it_is_known() {
        let limits = ConnectionLimits::new(3, 1);
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let unnamed: Vec<Slot> = (0..3).map(|_| limits.take_unnamed().unwrap()).collect();
        assert!(limits.take_unnamed().is_none(), "three in all");
        let mut named = unnamed.into_iter().map(|slot| slot.named(a));
        let first = named.next().unwrap();
        assert!(first.is_some());
        assert!(named.next().unwrap().is_none(), "one from an address");
        drop(named);
        // Refused ones have given their places back, and the address is free once nobody holds it.
        let others = (limits.take_unnamed().unwrap(), limits.take_unnamed().unwrap());
        assert!(limits.take_unnamed().is_none());
        drop((first, others));
        assert!(limits.take(a).is_some());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let limits = ConnectionLimits::new(10, 1);
        let _held = limits.take("2001:db8::1".parse().unwrap()).unwrap();
        assert!(limits.take("2001:db8::ffff".parse().unwrap()).is_none());
        assert!(limits.take("2001:db8:0:1::1".parse().unwrap()).is_some());
    }
}
