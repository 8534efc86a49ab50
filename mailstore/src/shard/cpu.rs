//! Processor time, of a thread and of planning.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

thread_local! {
    static OF_OTHERS: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Counts what other threads have spent on this one's work.
pub(crate) fn count_as_own(spent: Duration) {
    OF_OTHERS.set(OF_OTHERS.get() + spent);
}

/// Processor time that this thread has had, and others for it.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Never negative.
    let own = Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    );
    own + OF_OTHERS.get()
}

/// Processor time that planning a shard's changes takes.
pub(super) struct Planning {
    is_measured: bool,
    nanos: AtomicU64,
}

impl Planning {
    pub(super) fn new(is_measured: bool) -> Self {
        Self {
            is_measured,
            nanos: AtomicU64::new(0),
        }
    }

    /// So far, in nanoseconds.
    pub(super) fn nanos(&self) -> u64 {
        self.nanos.load(Ordering::Relaxed)
    }

    pub(super) fn measure(&self, plan: impl FnOnce()) {
        if !self.is_measured {
            return plan();
        }
        let before = thread_time();
        plan();
        let nanos = thread_time().saturating_sub(before).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}
