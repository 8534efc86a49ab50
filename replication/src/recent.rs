//! How long something takes just now: writes of the log, proposals.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The share of the last one in the average.
const LAST_SHARE: f64 = 0.25;

/// After so long without one it is not known how long one would take, and nobody waits for one.
const AGE_MAX: Duration = Duration::from_secs(2);

/// The average over the last ones.
#[derive(Default)]
pub(crate) struct RecentTime {
    last: Mutex<Option<Last>>,
}

struct Last {
    at: Instant,
    average: Duration,
}

impl RecentTime {
    /// One has ended that took so long.
    pub(crate) fn note(&self, at: Instant, took: Duration) {
        let mut last = self.last.lock();
        let before = last.as_ref().filter(|last| is_recent(last, at));
        let average = before.map_or(took, |before| {
            before.average.mul_f64(1.0 - LAST_SHARE) + took.mul_f64(LAST_SHARE)
        });
        *last = Some(Last { at, average });
    }

    /// The average; zero when there was none lately.
    pub(crate) fn at(&self, now: Instant) -> Duration {
        let last = self.last.lock();
        let recent = last.as_ref().filter(|last| is_recent(last, now));
        recent.map_or(Duration::ZERO, |last| last.average)
    }
}

fn is_recent(last: &Last, now: Instant) -> bool {
    now.saturating_duration_since(last.at) <= AGE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_count_and_old_ones_do_not() {
        let millis = Duration::from_millis;
        let (time, start) = (RecentTime::default(), Instant::now());
        assert_eq!(time.at(start), Duration::ZERO);
        time.note(start, millis(100));
        assert_eq!(time.at(start), millis(100));
        time.note(start + millis(10), millis(20));
        assert_eq!(time.at(start + millis(10)), millis(80));
        assert_eq!(time.at(start + millis(10) + AGE_MAX), millis(80));
        assert_eq!(time.at(start + millis(11) + AGE_MAX), Duration::ZERO);
        time.note(start + AGE_MAX * 2, millis(4));
        assert_eq!(time.at(start + AGE_MAX * 2), millis(4));
    }
}
