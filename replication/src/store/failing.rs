//! Writes that fail when a test says so.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::StoreError;

/// What writes fail with, and how often those of applied entries have.
#[derive(Default)]
pub(crate) struct Failing {
    with: Mutex<Option<&'static str>>,
    times: AtomicU64,
    /// Writes of any kind that are still made.
    steps: Mutex<Option<u64>>,
}

impl Failing {
    /// From now on writes of applied entries fail with this, or no longer.
    pub(crate) fn set(&self, with: Option<&'static str>) {
        *self.with.lock() = with;
    }

    /// How many of those have failed.
    pub(crate) fn times(&self) -> u64 {
        self.times.load(Ordering::SeqCst)
    }

    /// After so many writes, flushes and files taken in from now on all fail, as if the machine had stopped.
    pub(crate) fn stop_after(&self, steps: u64) {
        *self.steps.lock() = Some(steps);
    }

    /// Whether all have failed since.
    pub(crate) fn has_stopped(&self) -> bool {
        *self.steps.lock() == Some(0)
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        let Some(reason) = *self.with.lock() else {
            return Ok(());
        };
        self.times.fetch_add(1, Ordering::SeqCst);
        Err(StoreError::Write(reason.to_owned()))
    }

    pub(super) fn step(&self) -> Result<(), StoreError> {
        match self.steps.lock().as_mut() {
            None => Ok(()),
            Some(0) => Err(StoreError::Write("the machine has stopped".to_owned())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}
