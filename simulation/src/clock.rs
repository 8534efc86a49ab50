//! What the standard library's clocks say on a simulated machine: the time of the runtime that asks.
//!
//! `std::time` asks the C library's `clock_gettime`, and the one below takes its place in a test's process alone. A thread that was
//! given no seed is answered by the system. Clocks that only go on ([`std::time::Instant`]) show the stopped clock of the
//! machine's runtime; the wall clock shows that and how wrong the machine's is.
#![allow(unsafe_code, reason = "takes the place of a function of the C library")]

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::entropy;

/// What clocks that only go on show where no machine runs: when each machine begins.
const BEGINNING: Duration = Duration::from_secs(1_000_000);

/// What the wall clock shows when a run begins: some day in 2026.
const WALL_BEGINNING: Duration = Duration::from_secs(1_790_000_000);

thread_local! {
    /// What the wall clock showed when the running machine began.
    static WALL: Cell<Duration> = const { Cell::new(WALL_BEGINNING) };
    /// The runtime's clock is being asked.
    static ASKING: Cell<bool> = const { Cell::new(false) };
    /// [`BEGINNING`] as the standard library has it.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// From now on the wall clock shows that of a machine which began so long after the run, and whose clock is so many
/// milliseconds ahead.
pub(crate) fn enter(began: Duration, ahead_millis: i64) {
    let ahead = Duration::from_millis(ahead_millis.unsigned_abs());
    let at = WALL_BEGINNING + began;
    WALL.set(if ahead_millis < 0 { at - ahead } else { at + ahead });
}

/// How long the machine that runs has run, by its own clock. Nothing when none does.
fn elapsed() -> Duration {
    // The runtime's clock may itself ask the system's, when it is made.
    if ASKING.replace(true) {
        return Duration::ZERO;
    }
    let began = BEGAN.get().unwrap_or_else(|| {
        let began = Instant::now();
        BEGAN.set(Some(began));
        began
    });
    let now = tokio::time::Instant::now().into_std();
    ASKING.set(false);
    now.saturating_duration_since(began)
}

/// # Safety
///
/// As of clock_gettime(2): `to` points to a structure that may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, to: *mut libc::timespec) -> i32 {
    let beginning = match clock {
        _ if !entropy::is_seeded() => None,
        libc::CLOCK_MONOTONIC | libc::CLOCK_BOOTTIME => Some(BEGINNING),
        libc::CLOCK_REALTIME => WALL.try_with(Cell::get).ok(),
        _ => None,
    };
    let Some(beginning) = beginning else {
        // SAFETY: the arguments are the caller's, unchanged.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, to) as i32 };
    };
    let now = beginning + elapsed();
    let shown = libc::timespec {
        tv_sec: now.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(now.subsec_nanos()),
    };
    // SAFETY: the caller says that it may be written.
    unsafe { to.write(shown) };
    0
}
