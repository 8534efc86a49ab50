//! When garbage is worked off: beside what clients wait for, and never for more than a part of the time.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The pause after some garbage was worked off, by the time that took.
const PAUSE_TIMES: u32 = 3;

/// The pause is as long as this at least: much is worked off together, and what is little can wait.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// Of one leadership.
#[derive(Debug, Default)]
pub(super) struct Collecting {
    /// Whether there may be garbage.
    garbage: bool,
    /// Since when some is worked off: its entry is not settled yet.
    since: Option<Instant>,
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
        self.garbage && self.since.is_none()
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
            self.since = Some(now);
        }
        begins
    }

    /// The entry that worked some off is settled.
    pub(super) fn ended(&mut self) {
        if let Some(since) = self.since.take() {
            let now = Instant::now();
            self.at = Some(now + (PAUSE_TIMES * (now - since)).max(PAUSE_MIN));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_quarter_of_the_time_at_most_is_spent_on_garbage() {
        let mut collecting = Collecting::default();
        assert!(!collecting.begin());
        collecting.found();
        assert!(collecting.waits() && collecting.begin(), "at once");
        // More is found while it is under way.
        collecting.found();
        assert!(!collecting.waits() && !collecting.begin());
        advance(Duration::from_millis(20)).await;
        collecting.ended();
        let ended = Instant::now();
        assert!(collecting.waits() && !collecting.begin());
        collecting.is_due().await;
        assert_eq!(ended.elapsed(), Duration::from_millis(60));
        assert!(collecting.begin());
        collecting.ended();
        assert!(!collecting.waits(), "nothing was left");
        collecting.found();
        let found = Instant::now();
        collecting.is_due().await;
        assert_eq!(found.elapsed(), PAUSE_MIN);
    }
}
