//! All randomness of a simulated run from its seed: that of `rand`, of hash maps and of tokio itself.
//!
//! They all ask the C library's `getrandom`, and the one below takes its place in a test's process alone. A thread that
//! was given no seed is answered by the system.
#![allow(unsafe_code, reason = "takes the place of a function of the C library")]

use std::cell::Cell;

thread_local! {
    static STATE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on all that this thread draws follows from the seed.
pub fn seed(seed: u64) {
    STATE.set(Some(seed));
}

/// Whether what this thread draws follows from a seed.
pub(crate) fn is_seeded() -> bool {
    STATE.try_with(|state| state.get().is_some()).unwrap_or(false)
}

/// SplitMix64.
fn next(state: u64) -> (u64, u64) {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (state, mixed ^ (mixed >> 31))
}

/// # Safety
///
/// As of getrandom(2): `to` points to `len` bytes that may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(to: *mut u8, len: usize, flags: u32) -> isize {
    let Some(mut state) = STATE.try_with(Cell::get).ok().flatten() else {
        // SAFETY: the arguments are the caller's, unchanged.
        return unsafe { libc::syscall(libc::SYS_getrandom, to, len, flags) as isize };
    };
    for at in 0..len {
        let mixed;
        (state, mixed) = next(state);
        // SAFETY: `at` is below `len`.
        unsafe { to.add(at).write(mixed as u8) };
    }
    STATE.set(Some(state));
    len as isize
}
