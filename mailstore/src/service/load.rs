//! What a node's replicas cost, and how full its disk is: measured here, told to the directory, which evens it out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rookery_proto::directory::v1::{AccountLoad, ReplicaLoad};
use tokio::time::Instant;

use super::heaviest::Heaviest;
use super::{HostedShard, Shards};
use crate::catalogue::{DISK_BYTES, DISK_FREE_BYTES, REPLICAS_BYTES};
use crate::plan::{Command, Mutation};
use crate::schema::AccountId;
use crate::shard::{Disk, disk_of};

/// How often it is looked how much replicas have on disk.
const MEASURE_INTERVAL: Duration = Duration::from_secs(10);

/// After so long what was done before counts a third of what it did.
pub(super) const RATE_TIME: Duration = Duration::from_secs(120);

/// Accounts that the directory is told of.
const HEAVIEST_TOLD_MAX: usize = 50;

/// Rates are not made anew within so short a time.
const RATE_STEP_MIN: Duration = Duration::from_secs(1);

/// One replica's load.
#[derive(Debug)]
pub(super) struct Load {
    /// Calls that it has answered as the leader, since it was opened.
    operations: AtomicU64,
    /// On disk, as measured last.
    bytes: AtomicU64,
    rate: Mutex<Rate>,
    /// Processor time of its calls, in nanoseconds.
    cpu: AtomicU64,
    cpu_rate: Mutex<Rate>,
    accounts: Mutex<Heaviest>,
}

impl Default for Load {
    /// Of a replica that is opened now.
    fn default() -> Self {
        let rate = || {
            let seen = Some((0, Instant::now()));
            Mutex::new(Rate {
                seen,
                ..Rate::default()
            })
        };
        Self {
            operations: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            rate: rate(),
            cpu: AtomicU64::new(0),
            cpu_rate: rate(),
            accounts: Mutex::default(),
        }
    }
}

/// A rate that forgets.
#[derive(Debug, Default)]
struct Rate {
    /// What was counted, and when.
    seen: Option<(u64, Instant)>,
    /// What was counted in a second, each the less the longer ago it was.
    sum: f64,
    /// What the seconds weigh in which it was counted, of all that ever were.
    known: f64,
}

impl Rate {
    /// Begins anew: what was counted before is no matter.
    fn begin(&mut self, counted: u64, now: Instant) {
        *self = Self {
            seen: Some((counted, now)),
            ..Self::default()
        };
    }

    /// The rate, when so many have been counted by now.
    fn at(&mut self, counted: u64, now: Instant) -> f64 {
        let Some((before, at)) = self.seen else {
            self.begin(counted, now);
            return 0.0;
        };
        let passed = now.saturating_duration_since(at);
        if passed >= RATE_STEP_MIN {
            let lately = counted.saturating_sub(before) as f64 / passed.as_secs_f64();
            let kept = (-passed.as_secs_f64() / RATE_TIME.as_secs_f64()).exp();
            self.sum = self.sum * kept + lately * (1.0 - kept);
            self.known = self.known * kept + (1.0 - kept);
            self.seen = Some((counted, now));
        }
        if self.known > 0.0 {
            self.sum / self.known
        } else {
            0.0
        }
    }
}

impl HostedShard {
    /// A call is answered as the shard's leader.
    pub(super) fn count_operation(&self) {
        self.load.operations.fetch_add(1, Ordering::Relaxed);
    }

    /// Of these calls, one for an account.
    pub(super) fn count_account(&self, account: AccountId) {
        self.load.accounts.lock().add(account, 1, 0, Instant::now());
    }

    /// Processor time that a call took, which was for an account, or not for one alone.
    pub(super) fn count_cpu(&self, account: Option<AccountId>, nanos: u64) {
        self.load.cpu.fetch_add(nanos, Ordering::Relaxed);
        if let Some(account) = account
            && nanos > 0
        {
            self.load.accounts.lock().add_cpu(account, nanos, Instant::now());
        }
    }

    /// Bytes that an account was given.
    pub(super) fn count_bytes(&self, account: AccountId, bytes: usize) {
        let mut accounts = self.load.accounts.lock();
        accounts.add(account, 0, bytes as u64, Instant::now());
    }

    /// Bytes that accounts are sent; to recipients a delivery is an operation as well.
    pub(super) fn count_mutation(&self, mutation: &Mutation) {
        let Command::Deliver(deliver) = &mutation.command else {
            return self.count_bytes(mutation.account, mutation.command.bytes());
        };
        let (now, bytes) = (Instant::now(), deliver.body.bytes() as u64);
        let mut accounts = self.load.accounts.lock();
        for recipient in deliver.recipients.iter().flatten() {
            accounts.add(recipient.account, 1, bytes, now);
        }
    }

    /// The accounts that it works for most.
    fn accounts_at(&self, now: Instant) -> Vec<AccountLoad> {
        if !self.shard().group().leads() {
            return Vec::new();
        }
        let accounts = self.load.accounts.lock().at(now).into_iter();
        let shard = self.id().0;
        accounts
            .map(|(account, rates)| AccountLoad {
                shard,
                account: account.0,
                operations_milli: (rates.operations * 1000.0).round() as u64,
                bytes_per_second: rates.bytes.round() as u64,
                cpu_ppm: ppm(rates.cpu_nanos),
            })
            .filter(|load| load.operations_milli > 0)
            .collect()
    }

    /// What it costs at this moment.
    fn load_at(&self, now: Instant) -> ReplicaLoad {
        let group = self.shard().group();
        let counted = self.load.operations.load(Ordering::Relaxed);
        let cpu = self.load.cpu.load(Ordering::Relaxed) + self.shard().planning_nanos();
        let (mut rate, mut cpu_rate) = (self.load.rate.lock(), self.load.cpu_rate.lock());
        let (per_second, cpu_nanos) = if group.leads() {
            (rate.at(counted, now), cpu_rate.at(cpu, now))
        } else {
            // What it did as the leader is another's work by now.
            rate.begin(counted, now);
            cpu_rate.begin(cpu, now);
            (0.0, 0.0)
        };
        ReplicaLoad {
            shard: self.id().0,
            bytes: self.load.bytes.load(Ordering::Relaxed),
            operations_milli: (per_second * 1000.0).round() as u64,
            led_percent: (rate.known * 100.0).ceil() as u32,
            cpu_ppm: ppm(cpu_nanos),
            fetched: group.fetched(),
        }
    }
}

/// Nanoseconds in a second, as millionths of a processor.
fn ppm(nanos: f64) -> u64 {
    (nanos / 1_000.0).round() as u64
}

impl Shards {
    /// What the replicas that are open here cost.
    pub fn loads(&self) -> Vec<ReplicaLoad> {
        let now = Instant::now();
        let mut loads: Vec<ReplicaLoad> = self.all().iter().map(|hosted| hosted.load_at(now)).collect();
        loads.sort_by_key(|load| load.shard);
        loads
    }

    /// The accounts that the shards which are led here work for most.
    pub fn heaviest_accounts(&self) -> Vec<AccountLoad> {
        let now = Instant::now();
        let all = self.all();
        let mut accounts: Vec<AccountLoad> = all.iter().flat_map(|hosted| hosted.accounts_at(now)).collect();
        accounts.sort_by_key(|load| (std::cmp::Reverse(load.operations_milli), load.account));
        accounts.truncate(HEAVIEST_TOLD_MAX);
        accounts
    }

    /// The disk that the store is on, as it was seen last.
    pub fn disk(&self) -> Disk {
        *self.disk.lock()
    }

    /// Measures again and again what replicas have on disk. Does not end.
    pub async fn measure(&self) {
        let mut ticks = tokio::time::interval(MEASURE_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.measure_once().await;
        }
    }

    pub(super) async fn measure_once(&self) {
        let (all, store) = (self.all(), Arc::clone(self.member().store()));
        let measured = self.member().store().blocking(move || {
            let sizes = store
                .sizes()
                .inspect_err(|error| tracing::warn!(%error, "sizes of shards cannot be measured"))
                .ok()?;
            let mut sum = 0;
            for hosted in all {
                match sizes.of(hosted.shard().group().id()) {
                    Ok(bytes) => {
                        hosted.load.bytes.store(bytes, Ordering::Relaxed);
                        sum += bytes;
                    }
                    Err(error) => {
                        tracing::warn!(shard = hosted.id().0, %error, "its size cannot be measured");
                    }
                }
            }
            let disk = store.may_wait().then(|| disk_of(store.path())).flatten();
            Some((sum, disk.unwrap_or_default()))
        });
        // Otherwise the node is stopping.
        if let Ok(Some((sum, disk))) = measured.await {
            REPLICAS_BYTES.set(sum as f64);
            if disk != Disk::default() {
                DISK_FREE_BYTES.set(disk.free as f64);
                DISK_BYTES.set(disk.total as f64);
            }
            *self.disk.lock() = disk;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rate after so many calls a second, told every other second, for so many seconds.
    fn after(rate: &mut Rate, counted: &mut u64, now: &mut Instant, per_second: u64, seconds: u64) -> f64 {
        let mut last = 0.0;
        for _ in 0..seconds / 2 {
            *counted += per_second * 2;
            *now += Duration::from_secs(2);
            last = rate.at(*counted, *now);
        }
        last
    }

    #[test]
    fn a_rate_is_known_soon_and_forgotten_over_minutes() {
        let (mut rate, mut counted, mut now) = (Rate::default(), 1000, Instant::now());
        assert_eq!(rate.at(counted, now), 0.0, "nothing is known of before");
        let soon = after(&mut rate, &mut counted, &mut now, 100, 10);
        assert!((99.9..100.1).contains(&soon), "{soon}");
        assert!(rate.known < 0.1, "{}", rate.known);
        let long = after(&mut rate, &mut counted, &mut now, 100, 1200);
        assert!((99.9..100.1).contains(&long), "{long}");
        assert!(rate.known > 0.99, "{}", rate.known);
        let rests = after(&mut rate, &mut counted, &mut now, 0, 120);
        assert!((35.0..38.0).contains(&rests), "{rests}");
        rate.begin(counted, now);
        let anew = after(&mut rate, &mut counted, &mut now, 7, 10);
        assert!((6.9..7.1).contains(&anew), "{anew}");
    }

    #[test]
    fn a_rate_is_the_same_however_often_it_is_asked_for() {
        let (mut often, mut counted, mut now) = (Rate::default(), 0, Instant::now());
        let mut seldom = Rate::default();
        seldom.at(0, now);
        often.at(0, now);
        let told = after(&mut often, &mut counted, &mut now, 50, 60);
        let at_once = seldom.at(counted, now);
        assert!((told - at_once).abs() < 0.1, "{told} and {at_once}");
        assert_eq!(often.at(counted + 1000, now + Duration::from_millis(10)), told);
    }
}
