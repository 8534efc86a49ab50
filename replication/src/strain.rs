//! How much longer what a node serves waits than usual, so that what can wait makes room for it.
//!
//! Proposals are what is looked at: each waits for processors, the log's disk and other nodes, as all that is served does. Usual
//! is what they took while no state was being copied from or to this node.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::recent::RecentTime;

/// What is usual is an average over about so long.
const USUAL_SPAN: Duration = Duration::from_secs(60);

/// The largest share of one proposal in what is usual.
const SHARE_MAX: f64 = 0.25;

/// Nobody feels a proposal that takes less, so less is not held for usual.
const USUAL_MIN: Duration = Duration::from_millis(3);

/// With fewer proposals than this in a second hardly anybody waits: those of housekeeping and of changes of members are not felt.
const FREQUENT: f64 = 10.0;

/// How long proposals take, and usually take, on a node.
#[derive(Default)]
pub(crate) struct Strain {
    recent: RecentTime,
    usual: Mutex<Option<Usual>>,
    frequency: Mutex<Option<Frequency>>,
    /// States that are being copied from or to here.
    copies: AtomicUsize,
}

struct Usual {
    at: Instant,
    average: Duration,
}

/// Proposals of about the last second.
struct Frequency {
    at: Instant,
    count: f64,
}

impl Frequency {
    fn at(&self, now: Instant) -> f64 {
        self.count * (-now.saturating_duration_since(self.at).as_secs_f64()).exp()
    }
}

/// A state is being copied until this is dropped.
pub(crate) struct Copying(Arc<Strain>);

impl Drop for Copying {
    fn drop(&mut self) {
        self.0.copies.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Strain {
    /// A state begins to be copied from or to this node.
    pub(crate) fn begin_copying(self: &Arc<Self>) -> Copying {
        self.copies.fetch_add(1, Ordering::Relaxed);
        Copying(Arc::clone(self))
    }

    /// A proposal has been applied that took so long.
    pub(crate) fn note(&self, now: Instant, took: Duration) {
        self.recent.note(now.into_std(), took);
        let mut frequency = self.frequency.lock();
        let count = 1.0 + frequency.as_ref().map_or(0.0, |before| before.at(now));
        *frequency = Some(Frequency { at: now, count });
        drop(frequency);
        if self.copies.load(Ordering::Relaxed) > 0 {
            return;
        }
        let mut usual = self.usual.lock();
        let average = usual.as_ref().map_or(took, |before| {
            let passed = now.saturating_duration_since(before.at).as_secs_f64();
            let share = (passed / USUAL_SPAN.as_secs_f64()).min(SHARE_MAX);
            before.average.mul_f64(1.0 - share) + took.mul_f64(share)
        });
        *usual = Some(Usual { at: now, average });
    }

    /// How long proposals take just now, in percent of what they usually take; 0 when there are few.
    pub(crate) fn percent(&self, now: Instant) -> u32 {
        let frequency = self
            .frequency
            .lock()
            .as_ref()
            .map_or(0.0, |lately| lately.at(now));
        if frequency < FREQUENT {
            return 0;
        }
        let usual = self
            .usual
            .lock()
            .as_ref()
            .map_or(Duration::ZERO, |usual| usual.average);
        let recent = self.recent.at(now.into_std()).as_secs_f64();
        // Saturates.
        (recent / usual.max(USUAL_MIN).as_secs_f64() * 100.0).round() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLIS: Duration = Duration::from_millis(1);

    /// So many proposals, one each ten milliseconds, that take so long.
    fn propose(strain: &Strain, now: &mut Instant, count: u32, took: Duration) {
        for _ in 0..count {
            *now += 10 * MILLIS;
            strain.note(*now, took);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_slow_while_states_are_copied_is_told_from_what_is_slow_always() {
        let (strain, mut now) = (Arc::new(Strain::default()), Instant::now());
        assert_eq!(strain.percent(now), 0);
        propose(&strain, &mut now, 1000, 10 * MILLIS);
        assert_eq!(strain.percent(now), 100);
        let copying = strain.begin_copying();
        propose(&strain, &mut now, 100_000, 40 * MILLIS);
        assert_eq!(strain.percent(now), 400, "however long it lasts");
        drop(copying);
        propose(&strain, &mut now, 100_000, 40 * MILLIS);
        assert_eq!(
            strain.percent(now),
            100,
            "it is not the copying that makes it slow"
        );
        assert_eq!(strain.percent(now + Duration::from_secs(3)), 0, "nobody waits");
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_proposals_do_not_count() {
        let (strain, mut now) = (Arc::new(Strain::default()), Instant::now());
        propose(&strain, &mut now, 1000, 4 * MILLIS);
        let _copying = strain.begin_copying();
        for _ in 0..100 {
            now += 300 * MILLIS;
            strain.note(now, 100 * MILLIS);
        }
        assert_eq!(strain.percent(now), 0);
        propose(&strain, &mut now, 100, 100 * MILLIS);
        assert!(strain.percent(now) > 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn little_is_never_much_of_less() {
        let (strain, mut now) = (Arc::new(Strain::default()), Instant::now());
        propose(&strain, &mut now, 1000, MILLIS / 10);
        let _copying = strain.begin_copying();
        propose(&strain, &mut now, 100, MILLIS);
        assert!(strain.percent(now) < 50);
    }
}
