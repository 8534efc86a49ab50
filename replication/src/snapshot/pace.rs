//! How fast a node fetches states: all fetches that are under way share one bound, and all of them make room for what is served.
//!
//! A fetch says after each piece what it has got, and waits here until the next is due.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::catalogue::SNAPSHOT_PAUSES;
use crate::log::Log;
use crate::strain::{Copying, Strain};

/// Writes of the log that take longer than this, averaged over the last ones, mean that what is served waits for the disk.
pub(crate) const SYNC_SLOW: Duration = Duration::from_millis(50);

/// Pause after a piece for each time that writes of the log take [`SYNC_SLOW`] longer than that.
const SLOW_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause after a piece: a node whose disk is slow for good gets its replicas all the same.
const SLOW_PAUSE_MAX: Duration = Duration::from_secs(1);

/// What was not fetched for so long while it might have been may be made up for.
const CREDIT_MAX: Duration = Duration::from_millis(250);

/// What is served may take so long, in percent of what it usually takes; beyond that fetches slow down.
const STRAIN_MAX: u32 = 150;

/// How often the pause for what is served is looked at: what the last one came to has to show first.
const STRAIN_LOOK: Duration = Duration::from_millis(50);

/// The first pause for what is served.
const STRAIN_PAUSE: Duration = Duration::from_millis(2);

/// The longest one: what is served may have got slower for another reason, and copies are to end all the same.
const STRAIN_PAUSE_MAX: Duration = Duration::from_millis(100);

/// Bounds what a node fetches.
pub(crate) struct Pace {
    log: Arc<dyn Log>,
    strain: Arc<Strain>,
    /// Bytes in a second; 0: no bound.
    configured: u64,
    rate: watch::Sender<u64>,
    /// Whoever holds it is the next: turns are taken in order.
    owed: Mutex<Owed>,
}

impl Pace {
    /// Bytes in a second that all fetches of a node may get together; 0: no bound. They slow down while the log does.
    pub(crate) fn new(configured: u64, log: Arc<dyn Log>, strain: Arc<Strain>) -> Self {
        Self {
            log,
            strain,
            configured,
            rate: watch::Sender::new(configured),
            owed: Mutex::new(Owed {
                bytes: 0.0,
                at: Instant::now(),
                pause: Duration::ZERO,
                looked: Instant::now(),
            }),
        }
    }

    /// A state begins to be fetched.
    pub(crate) fn begin_copying(&self) -> Copying {
        self.strain.begin_copying()
    }

    /// Sets the bound, for fetches under way too; 0: as it was at first.
    pub(crate) fn set(&self, rate: u64) {
        let rate = if rate == 0 { self.configured } else { rate };
        self.rate
            .send_if_modified(|now| std::mem::replace(now, rate) != rate);
    }

    /// So much has been fetched from a node that says how long what it serves takes, in percent of what is usual there: waits until
    /// there may be more.
    pub(crate) async fn fetched(&self, bytes: u64, there_percent: u32) {
        let mut rates = self.rate.subscribe();
        let mut owed = self.owed.lock().await;
        let mut rate = *rates.borrow_and_update();
        owed.pay(Instant::now(), rate);
        owed.bytes += bytes as f64;
        let percent = self.strain.percent(Instant::now()).max(there_percent);
        let pause = pause(self.log.sync_time()).max(owed.pause(Instant::now(), percent));
        if !pause.is_zero() {
            SNAPSHOT_PAUSES.increment(1);
            tokio::time::sleep(pause).await;
        }
        loop {
            owed.pay(Instant::now(), rate);
            // What it was before is what counted until now.
            rate = *rates.borrow_and_update();
            let wait = owed.wait(rate);
            if wait.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // Never an error: the sender is here.
                _ = rates.changed() => {}
            }
        }
    }
}

/// The pause after a piece while writes of the log take so long.
fn pause(sync_time: Duration) -> Duration {
    let over = sync_time.saturating_sub(SYNC_SLOW);
    let times = over.as_secs_f64() / SYNC_SLOW.as_secs_f64();
    SLOW_PAUSE.mul_f64(times.min(100.0)).min(SLOW_PAUSE_MAX)
}

/// What was fetched and has not been waited for yet; below zero: what may be made up for.
struct Owed {
    bytes: f64,
    at: Instant,
    /// After each piece, for what is served.
    pause: Duration,
    /// When it was set.
    looked: Instant,
}

impl Owed {
    /// The pause after a piece while what is served takes so long, in percent of what is usual: longer from look to look while that is
    /// too long, then shorter.
    fn pause(&mut self, now: Instant, percent: u32) -> Duration {
        if now.saturating_duration_since(self.looked) >= STRAIN_LOOK {
            self.looked = now;
            self.pause = if percent > STRAIN_MAX {
                (self.pause.mul_f64(1.5) + STRAIN_PAUSE).min(STRAIN_PAUSE_MAX)
            } else {
                self.pause.mul_f64(0.8)
            };
            if self.pause < STRAIN_PAUSE / 2 {
                self.pause = Duration::ZERO;
            }
        }
        self.pause
    }

    /// Time has passed at a rate.
    fn pay(&mut self, now: Instant, rate: u64) {
        let paid = now.saturating_duration_since(self.at).as_secs_f64() * rate as f64;
        let credit = CREDIT_MAX.as_secs_f64() * rate as f64;
        self.bytes = (self.bytes - paid).max(-credit);
        self.at = now;
        if rate == 0 {
            self.bytes = 0.0;
        }
    }

    /// How long until nothing is owed, at a rate.
    fn wait(&self, rate: u64) -> Duration {
        if rate == 0 || self.bytes <= 0.0 {
            return Duration::ZERO;
        }
        // A clock that counts milliseconds would find less than one still owed for ever.
        Duration::from_secs_f64(self.bytes / rate as f64).max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::log::MemoryLog;

    const PIECE: u64 = 256 * 1024;
    const RATE: u64 = 4 * 1024 * 1024;

    /// Fetches one piece after the other without taking any time for it.
    fn fetch(pace: &Arc<Pace>) -> Arc<AtomicU64> {
        let (pace, got) = (Arc::clone(pace), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&got);
        tokio::spawn(async move {
            loop {
                counted.fetch_add(PIECE, Ordering::Relaxed);
                pace.fetched(PIECE, 0).await;
            }
        });
        got
    }

    fn pace(rate: u64) -> Arc<Pace> {
        Arc::new(Pace::new(
            rate,
            Arc::new(MemoryLog::new()),
            Arc::new(Strain::default()),
        ))
    }

    /// Whether fetches got a rate's worth of some seconds, give or take what one owes and what may be made up for.
    fn is_near(got: u64, rate: u64, seconds: u64) -> bool {
        let wanted = rate * seconds;
        got.abs_diff(wanted) <= rate / 4 + 4 * PIECE
    }

    #[tokio::test(start_paused = true)]
    async fn fetches_share_a_bound_and_heed_it_when_it_changes() {
        let pace = pace(RATE);
        let fetches = [fetch(&pace), fetch(&pace), fetch(&pace)];
        let take = || fetches.iter().map(|got| got.swap(0, Ordering::Relaxed));
        tokio::time::sleep(Duration::from_secs(10)).await;
        let got: Vec<u64> = take().collect();
        assert!(is_near(got.iter().sum(), RATE, 10), "{got:?}");
        assert!(got.iter().all(|got| is_near(*got, RATE / 3, 10)), "{got:?}");
        // Slower than one piece in ten seconds; those that wait for that do not wait for it to the end.
        pace.set(PIECE / 16);
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(take().sum::<u64>() <= PIECE);
        pace.set(2 * RATE);
        tokio::time::sleep(Duration::from_secs(10)).await;
        let got: u64 = take().sum();
        assert!(is_near(got, 2 * RATE, 10), "{got}");
        pace.set(0);
        tokio::time::sleep(Duration::from_secs(10)).await;
        let got: u64 = take().sum();
        assert!(is_near(got, RATE, 10), "{got}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_bound_nothing_waits() {
        let pace = pace(0);
        let began = Instant::now();
        for _ in 0..1000 {
            pace.fetched(PIECE, 0).await;
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_served_slows_fetching_down_and_never_stops_it() {
        let pace = pace(0);
        let pieces = async |seconds: u64, percent: u32| {
            let (mut pieces, until) = (0u64, Instant::now() + Duration::from_secs(seconds));
            while Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(1)).await;
                pace.fetched(PIECE, percent).await;
                pieces += 1;
            }
            pieces
        };
        assert!(pieces(10, STRAIN_MAX).await > 9_000, "as much as usual");
        pieces(60, STRAIN_MAX + 1).await;
        let slow = pieces(10, STRAIN_MAX + 1).await;
        assert!((95..=105).contains(&slow), "{slow}");
        pieces(10, STRAIN_MAX).await;
        assert!(pieces(10, 0).await > 9_000, "nobody waits any more");
    }

    #[test]
    fn a_slow_log_slows_fetching_down_and_never_stops_it() {
        let millis = Duration::from_millis;
        assert_eq!(pause(Duration::ZERO), Duration::ZERO);
        assert_eq!(pause(SYNC_SLOW), Duration::ZERO);
        assert_eq!(pause(millis(75)), millis(50));
        assert_eq!(pause(millis(100)), millis(100));
        assert_eq!(pause(millis(300)), millis(500));
        assert_eq!(pause(millis(5000)), SLOW_PAUSE_MAX);
        assert_eq!(pause(Duration::MAX), SLOW_PAUSE_MAX);
    }
}
