//! When garbage is worked off: beside what clients wait for, and for no more than a part of the time while there is little of it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The pause after some garbage was worked off, by the time that planning it took; to apply it takes about as long.
const PAUSE_TIMES: u32 = 6;

/// The pause is as long as this at least: much is worked off together, and what is little can wait.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// And no longer than this.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// After so many times without an end the pause is half as long, after twice as many a third: who deletes all the time
/// faster than garbage is worked off is not to fill the disk.
const PATIENCE: u32 = 1000;

/// Of one leadership.
#[derive(Debug, Default)]
pub(super) struct Collecting {
    /// Whether there may be garbage.
    garbage: bool,
    /// Whether some is worked off: its entry is not settled yet.
    under_way: bool,
    /// When that was begun.
    began: Option<Instant>,
    /// How long planning it took.
    took: Duration,
    /// How often in a row some was worked off and more was left.
    in_a_row: u32,
    /// Not before then; absent: at once.
    at: Option<Instant>,
}

impl Collecting {
    /// There is garbage.
    pub(super) fn found(&mut self) {
        self.garbage = true;
    }

    /// Whether some is to be worked off, now or later.
    pub(super) fn waits(&self) -> bool {
        self.garbage && !self.under_way
    }

    /// Waits until the pause is over.
    pub(super) fn is_due(&self) -> impl Future<Output = ()> + use<> {
        let at = self.at;
        async move {
            if let Some(at) = at {
                sleep_until(at).await;
            }
        }
    }

    /// Whether the next entry is to work some off. If so, what [`Collecting::found`] has said before is forgotten.
    pub(super) fn begin(&mut self) -> bool {
        let now = Instant::now();
        let begins = self.waits() && self.at.is_none_or(|at| at <= now);
        if begins {
            self.garbage = false;
            self.under_way = true;
            self.began = Some(now);
        }
        begins
    }

    /// The entry that [`Collecting::begin`] was asked about is planned.
    pub(super) fn planned(&mut self) {
        if let Some(began) = self.began.take() {
            self.took = began.elapsed();
        }
    }

    /// The entry that worked some off is settled.
    pub(super) fn ended(&mut self) {
        if std::mem::take(&mut self.under_way) {
            self.in_a_row = if self.garbage {
                self.in_a_row.saturating_add(1)
            } else {
                0
            };
            let pause = PAUSE_TIMES * self.took / (1 + self.in_a_row / PATIENCE);
            self.at = Some(Instant::now() + pause.clamp(PAUSE_MIN, PAUSE_MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// Works some off that takes so long to plan, and leaves more; the pause that follows.
    async fn pause_after(collecting: &mut Collecting, planning: Duration) -> Duration {
        collecting.found();
        collecting.is_due().await;
        assert!(collecting.begin());
        advance(planning).await;
        collecting.planned();
        collecting.found();
        // A disk that takes its time is not waited for any longer afterwards.
        advance(Duration::from_secs(1)).await;
        assert!(!collecting.waits() && !collecting.begin(), "one at a time");
        collecting.ended();
        assert!(collecting.waits() && !collecting.begin());
        let ended = Instant::now();
        collecting.is_due().await;
        ended.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_goes_by_what_planning_takes() {
        let mut collecting = Collecting::default();
        assert!(!collecting.begin());
        for (planning, pause) in [(10, 60), (0, 5), (1000, 250)].map(|(a, b)| (millis(a), millis(b))) {
            assert_eq!(pause_after(&mut collecting, planning).await, pause);
        }
        assert!(collecting.begin());
        collecting.planned();
        collecting.ended();
        assert!(!collecting.waits(), "nothing was left");
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_worked_off_faster_and_faster() {
        let mut collecting = Collecting::default();
        let mut pauses = Vec::new();
        for _ in 0..3 * PATIENCE {
            pauses.push(pause_after(&mut collecting, millis(10)).await);
        }
        let of = |round: u32| pauses[round as usize];
        assert_eq!(
            [of(0), of(PATIENCE), of(3 * PATIENCE - 2)],
            [60, 30, 20].map(millis)
        );
        // It has come to an end once.
        assert!(collecting.begin());
        collecting.planned();
        collecting.ended();
        assert_eq!(pause_after(&mut collecting, millis(10)).await, millis(60));
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
}
