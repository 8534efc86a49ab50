//! How far a long command is: one line on standard error that is written over, when a person looks.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two updates.
const INTERVAL: Duration = Duration::from_millis(200);

/// Parts and bytes so far.
pub(super) struct Progress {
    doing: &'static str,
    parts: usize,
    part: usize,
    bytes: u64,
    shown: Option<Instant>,
    is_watched: bool,
}

impl Progress {
    /// Nothing done of so many parts.
    pub(super) fn new(doing: &'static str, parts: usize) -> Self {
        Self {
            doing,
            parts,
            part: 0,
            bytes: 0,
            shown: None,
            is_watched: std::io::stderr().is_terminal(),
        }
    }

    /// The next part begins.
    pub(super) fn next_part(&mut self) {
        self.part += 1;
        self.show();
    }

    /// Some more bytes.
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.show();
    }

    fn show(&mut self) {
        if !self.is_watched || self.shown.is_some_and(|shown| shown.elapsed() < INTERVAL) {
            return;
        }
        self.shown = Some(Instant::now());
        let mut out = std::io::stderr().lock();
        // Who does not see it misses nothing.
        let _ = write!(
            out,
            "\r\x1b[K{}: part {} of {}, {} MB",
            self.doing,
            self.part,
            self.parts,
            self.bytes / 1_000_000
        );
        let _ = out.flush();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
