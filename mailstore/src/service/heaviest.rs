//! The accounts of a shard that make it work most, in bounded memory.
//!
//! Space-Saving (Metwally, Agrawal, El Abbadi: Efficient computation of frequent and top-k elements in data streams, 2005) over
//! counts that are forgotten: a count of now weighs more than one of before, by `e` in [`RATE_TIME`], instead of the old ones being made
//! smaller (forward decay: Cormode, Shkapenyuk, Srivastava, Xu, 2009).

use std::collections::HashMap;

use tokio::time::Instant;

use super::load::RATE_TIME;
use crate::schema::AccountId;

/// Accounts that are remembered. One that does more than a part of this of all work is always among them.
const ACCOUNTS_MAX: usize = 32;

/// Weights are made small again from here on.
const AGE_MAX: f64 = 100.0;

/// What an account has done lately.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    /// Calls a second; at least so many.
    pub(super) operations: f64,
    /// Bytes a second that were given or taken; at least so many.
    pub(super) bytes: f64,
    /// Nanoseconds of processor time a second; at least so many.
    pub(super) cpu_nanos: f64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    operations: f64,
    /// Of them, those that may be another's, which was forgotten for this one.
    inherited: f64,
    bytes: f64,
    cpu_nanos: f64,
}

/// See the file.
#[derive(Debug, Default)]
pub(super) struct Heaviest {
    /// When a count weighs 1.
    since: Option<Instant>,
    counts: HashMap<AccountId, Count>,
}

impl Heaviest {
    /// An account was worked for.
    pub(super) fn add(&mut self, account: AccountId, operations: u32, bytes: u64, now: Instant) {
        let weight = self.weight(now);
        let is_known = self.counts.contains_key(&account);
        let mut inherited = 0.0;
        if !is_known && self.counts.len() >= ACCOUNTS_MAX {
            let least = self
                .counts
                .iter()
                .min_by(|(_, one), (_, other)| one.operations.total_cmp(&other.operations))
                .map(|(account, count)| (*account, count.operations));
            if let Some((forgotten, operations)) = least {
                self.counts.remove(&forgotten);
                inherited = operations;
            }
        }
        let count = self.counts.entry(account).or_insert(Count {
            operations: inherited,
            inherited,
            bytes: 0.0,
            cpu_nanos: 0.0,
        });
        count.operations += f64::from(operations) * weight;
        count.bytes += bytes as f64 * weight;
    }

    /// What has been counted for an account took so much processor time, in nanoseconds.
    pub(super) fn add_cpu(&mut self, account: AccountId, nanos: u64, now: Instant) {
        let weight = self.weight(now);
        if let Some(count) = self.counts.get_mut(&account) {
            count.cpu_nanos += nanos as f64 * weight;
        }
    }

    /// What each remembered account does, the busiest first.
    pub(super) fn at(&mut self, now: Instant) -> Vec<(AccountId, Rates)> {
        // What was done at a steady rate weighs, all together, the rate times this.
        let whole = self.weight(now) * RATE_TIME.as_secs_f64();
        let mut rates: Vec<(AccountId, Rates)> = self
            .counts
            .iter()
            .map(|(account, count)| {
                let rates = Rates {
                    operations: (count.operations - count.inherited) / whole,
                    bytes: count.bytes / whole,
                    cpu_nanos: count.cpu_nanos / whole,
                };
                (*account, rates)
            })
            .collect();
        rates.sort_by(|(_, one), (_, other)| other.operations.total_cmp(&one.operations));
        rates
    }

    /// What a count of now weighs.
    fn weight(&mut self, now: Instant) -> f64 {
        let since = *self.since.get_or_insert(now);
        let age = now.saturating_duration_since(since).as_secs_f64() / RATE_TIME.as_secs_f64();
        if age <= AGE_MAX {
            return age.exp();
        }
        let smaller = (-age).exp();
        for count in self.counts.values_mut() {
            count.operations *= smaller;
            count.inherited *= smaller;
            count.bytes *= smaller;
            count.cpu_nanos *= smaller;
        }
        self.since = Some(now);
        1.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_busiest_are_found_among_many() {
        let mut heaviest = Heaviest::default();
        let mut now = Instant::now();
        for second in 0..600u64 {
            now += Duration::from_secs(1);
            heaviest.add(AccountId(7), 10, 1000, now);
            heaviest.add(AccountId(8), 4, 50_000, now);
            for other in 0..20 {
                heaviest.add(AccountId(1000 + second * 20 + other), 1, 10, now);
            }
        }
        let rates = heaviest.at(now);
        assert!(rates.len() <= ACCOUNTS_MAX);
        let first: Vec<u64> = rates.iter().take(2).map(|(account, _)| account.0).collect();
        assert_eq!(first, [7, 8]);
        let seven = rates[0].1;
        assert!((9.0..=10.1).contains(&seven.operations), "{seven:?}");
        assert!((900.0..=1010.0).contains(&seven.bytes), "{seven:?}");
        assert!(rates[2].1.operations < 1.0, "{:?}", rates[2]);
    }

    #[test]
    fn what_was_is_forgotten() {
        let mut heaviest = Heaviest::default();
        let start = Instant::now();
        heaviest.add(AccountId(1), 1200, 0, start);
        let rate = |heaviest: &mut Heaviest, seconds| {
            let at = heaviest.at(start + Duration::from_secs(seconds));
            at[0].1.operations
        };
        assert!((rate(&mut heaviest, 0) - 10.0).abs() < 0.01);
        assert!((rate(&mut heaviest, 120) - 3.68).abs() < 0.01);
        // Beyond what a weight can be.
        let later = start + Duration::from_secs(100 * 3600);
        assert!(heaviest.at(later)[0].1.operations < 1e-6);
        heaviest.add(AccountId(2), 120, 0, later);
        let rates = heaviest.at(later);
        assert_eq!(rates[0].0, AccountId(2));
        assert!((rates[0].1.operations - 1.0).abs() < 0.01);
    }
}
