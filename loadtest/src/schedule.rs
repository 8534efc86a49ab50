//! When operations begin: at a rate, whatever the server does (open loop), or one after the other (closed loop).
//!
//! In open loop an operation has an intended start, and its latency counts from there. So the time that it waits for a
//! session behind a slow answer is part of what is told, and a stall is not hidden by the operations that it kept from
//! being sent (coordinated omission). All sessions share one schedule; whoever is free takes what comes next, in turn.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use crate::timer::Timer;

/// How long after its end a schedule still gives out what should have begun before.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(30);

/// How arrivals follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Arrivals {
    /// Each session begins the next operation when its last one has ended.
    Closed,
    /// So many a second, at equal distances.
    Even(f64),
    /// So many a second on average, each independent of the others, as from many people.
    Poisson(f64),
}

/// When a schedule ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bounds {
    /// After so long, counted from the start.
    pub(crate) time: Option<Duration>,
    /// After so many operations.
    pub(crate) operations: Option<u64>,
}

/// Gives out when operations begin.
pub(crate) struct Schedule {
    arrivals: Arrivals,
    bounds: Bounds,
    timer: Timer,
    start: OnceCell<Instant>,
    given: AtomicU64,
    missed: AtomicU64,
    stopped: AtomicBool,
    next: Mutex<Next>,
}

/// The next arrival of an open loop.
struct Next {
    rng: StdRng,
    /// Counted from the start.
    after: Duration,
}

impl Schedule {
    /// A schedule that has not begun. The seed is that of random arrivals.
    pub(crate) fn new(arrivals: Arrivals, bounds: Bounds, seed: u64, timer: Timer) -> Self {
        Self {
            arrivals,
            bounds,
            timer,
            start: OnceCell::new(),
            given: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            next: Mutex::new(Next {
                rng: StdRng::seed_from_u64(seed),
                after: Duration::ZERO,
            }),
        }
    }

    /// Begins; operations are given out from now on.
    pub(crate) fn begin(&self, at: Instant) {
        // It begins once.
        let _ = self.start.set(at);
    }

    /// Gives out nothing more; whether that was said before.
    pub(crate) fn stop(&self) -> bool {
        self.stopped.swap(true, Ordering::Relaxed)
    }

    /// Whether it was stopped before its end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// When it ends; `None`: only a number of operations ends it, or it has not begun.
    pub(crate) fn end(&self) -> Option<Instant> {
        Some(*self.start.get()? + self.bounds.time?)
    }

    /// Operations that should have begun before the end, and for which no session became free in time.
    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Waits for the next operation of whoever asks, and says when it should begin; `None` at the end.
    pub(crate) async fn next(&self) -> Option<Instant> {
        if self.is_stopped() {
            return None;
        }
        let rate = match self.arrivals {
            Arrivals::Closed => {
                let now = Instant::now();
                let over = self.end().is_some_and(|end| now >= end);
                return (!over && self.take_one()).then_some(now);
            }
            Arrivals::Even(rate) | Arrivals::Poisson(rate) => rate,
        };
        // Fair: who has waited longest comes next. One waits for the time, the others for the one.
        let mut next = self.next.lock().await;
        let intended = *self.start.get()? + next.after;
        if let Some(end) = self.end() {
            if intended >= end {
                return None;
            }
            if Instant::now() > end + DRAIN_MAX {
                self.miss_the_rest(&mut next, rate);
                return None;
            }
        }
        if !self.take_one() {
            return None;
        }
        self.timer.sleep_until(intended).await;
        let gap = self.gap(&mut next.rng, rate);
        next.after += gap;
        (!self.is_stopped()).then_some(intended)
    }

    fn take_one(&self) -> bool {
        let given = self.given.fetch_add(1, Ordering::Relaxed);
        self.bounds.operations.is_none_or(|most| given < most)
    }

    fn gap(&self, rng: &mut StdRng, rate: f64) -> Duration {
        let share = match self.arrivals {
            // The gaps of independent arrivals are distributed exponentially.
            Arrivals::Poisson(_) => -f64::ln(1.0 - rng.random::<f64>()),
            Arrivals::Closed | Arrivals::Even(_) => 1.0,
        };
        Duration::from_secs_f64(share / rate)
    }

    fn miss_the_rest(&self, next: &mut Next, rate: f64) {
        let Some(time) = self.bounds.time else { return };
        let mut missed = 0;
        while next.after < time {
            let gap = self.gap(&mut next.rng, rate);
            next.after += gap;
            missed += 1;
        }
        self.missed.fetch_add(missed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(arrivals: Arrivals, seconds: Option<u64>, operations: Option<u64>) -> Schedule {
        let bounds = Bounds {
            time: seconds.map(Duration::from_secs),
            operations,
        };
        let schedule = Schedule::new(arrivals, bounds, 1, Timer::coarse());
        schedule.begin(Instant::now());
        schedule
    }

    #[tokio::test(start_paused = true)]
    async fn an_even_schedule_gives_out_equal_distances_until_its_end() {
        let schedule = schedule(Arrivals::Even(10.0), Some(2), None);
        let start = Instant::now();
        let mut given = Vec::new();
        while let Some(at) = schedule.next().await {
            given.push((at - start).as_millis());
        }
        let expected: Vec<u128> = (0..20).map(|number| number * 100).collect();
        assert_eq!(given, expected);
        assert_eq!(schedule.missed(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_stall_delays_counts_from_when_it_should_have_begun() {
        let schedule = schedule(Arrivals::Even(10.0), Some(2), None);
        let mut latencies = Vec::new();
        while let Some(at) = schedule.next().await {
            // The fifth answer takes a second, the others nothing.
            if latencies.len() == 4 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            latencies.push((Instant::now() - at).as_millis());
        }
        assert_eq!(latencies.len(), 20, "none is left out");
        assert_eq!(latencies[..4], [0; 4]);
        assert_eq!(latencies[4..8], [1000, 900, 800, 700]);
        assert_eq!(latencies[14..], [0; 6]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_was_free_for_is_counted() {
        let schedule = schedule(Arrivals::Even(10.0), Some(2), None);
        assert!(schedule.next().await.is_some());
        tokio::time::sleep(Duration::from_secs(3) + DRAIN_MAX).await;
        assert_eq!(schedule.next().await, None);
        assert_eq!(schedule.missed(), 19);
    }

    #[tokio::test(start_paused = true)]
    async fn independent_arrivals_have_the_rate_on_average() {
        let schedule = schedule(Arrivals::Poisson(50.0), Some(100), None);
        let mut given = 0;
        while schedule.next().await.is_some() {
            given += 1;
        }
        assert!((4_700..5_300).contains(&given), "{given} in 100 s at 50 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_take_turns() {
        let schedule = std::sync::Arc::new(schedule(Arrivals::Even(100.0), Some(1), None));
        let sessions = (0..4).map(|_| {
            let schedule = std::sync::Arc::clone(&schedule);
            tokio::spawn(async move {
                let mut taken = 0;
                while schedule.next().await.is_some() {
                    taken += 1;
                }
                taken
            })
        });
        for session in sessions.collect::<Vec<_>>() {
            let taken = session.await.unwrap();
            assert!((24..=26).contains(&taken), "{taken} of 100 for one of four");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_loop_ends_after_its_time_or_its_operations() {
        let counted = schedule(Arrivals::Closed, None, Some(3));
        for _ in 0..3 {
            assert_eq!(counted.next().await, Some(Instant::now()));
        }
        assert_eq!(counted.next().await, None);
        let timed = schedule(Arrivals::Closed, Some(1), None);
        assert!(timed.next().await.is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(timed.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_schedule_gives_out_nothing() {
        let schedule = schedule(Arrivals::Even(1.0), None, None);
        assert!(schedule.next().await.is_some());
        assert!(!schedule.stop() && schedule.stop());
        assert_eq!(schedule.next().await, None);
    }
}
