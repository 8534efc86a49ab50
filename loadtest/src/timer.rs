//! Waits until an instant more exactly than tokio's clock, which ticks each millisecond.
//!
//! An arrival that begins a millisecond late would add that to each latency of an open loop, more than a fast server takes.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::net::unix::pipe::Receiver;
use tokio::time::Instant;

/// A timer that one task waits for at a time.
pub(crate) struct Timer(Option<Receiver>);

impl Timer {
    /// A timer of the kernel's, exact to some tens of microseconds. Must be made within a tokio runtime.
    pub(crate) fn exact() -> Result<Self> {
        let fd = rustix::time::timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )
        .context("the system gives no timer")?;
        // It becomes readable as a pipe does, which is all that is asked of it.
        Ok(Self(Some(Receiver::from_owned_fd_unchecked(fd)?)))
    }

    /// Tokio's own clock, which a test can stop.
    #[cfg(test)]
    pub(crate) fn coarse() -> Self {
        Self(None)
    }

    /// Returns at the instant, or at once when it is past.
    pub(crate) async fn sleep_until(&self, at: Instant) {
        let wait = at.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            return;
        }
        if let Some(timer) = &self.0
            && sleep_exactly(timer, wait).await.is_ok()
        {
            return;
        }
        tokio::time::sleep_until(at).await;
    }
}

async fn sleep_exactly(timer: &Receiver, wait: Duration) -> Result<()> {
    let once = Itimerspec {
        it_interval: Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: Timespec::try_from(wait)?,
    };
    rustix::time::timerfd_settime(timer, TimerfdTimerFlags::empty(), &once)?;
    loop {
        timer.readable().await?;
        match timer.try_read(&mut [0; 8]) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_exact_timer_returns_at_its_instant_and_not_before() {
        let timer = Timer::exact().unwrap();
        for micros in [0, 50, 1_500] {
            let at = Instant::now() + Duration::from_micros(micros);
            timer.sleep_until(at).await;
            assert!(Instant::now() >= at);
        }
    }
}
