//! What steers `shim/faults.c` in a running node: a file that the node has mapped.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

const PAGE_BYTES: u64 = 4096;

/// What a node is made to believe, and how slow its disk is. The default changes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    /// Nanoseconds that monotonic clocks are ahead; must never shrink while the node runs.
    pub monotonic_ahead: i64,
    /// Nanoseconds that the wall clock is ahead.
    pub realtime_ahead: i64,
    /// Parts per million by which clocks run too fast.
    pub rate: i64,
    /// Microseconds before each sync.
    pub sync_delay: u64,
    /// Microseconds before each write to a descriptor with O_DSYNC.
    pub write_delay: u64,
    /// The system's error number of each sync; 0: none.
    pub sync_error: u64,
    /// The system's error number of each write to a descriptor with O_DSYNC; 0: none.
    pub write_error: u64,
}

/// One node's file.
#[derive(Debug)]
pub struct Control {
    file: File,
    settings: Settings,
    /// The real monotonic time from which on the rate counts.
    base: i64,
    generation: u64,
}

impl Control {
    /// Makes the file of a node in the folder that `ROOKERY_FAULT_CONTROL` names.
    pub fn create(folder: &Path, node: &str) -> Result<Self> {
        let path = folder.join(node);
        let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        file.set_len(PAGE_BYTES)?;
        let mut control = Self {
            file,
            settings: Settings::default(),
            base: now(),
            generation: 0,
        };
        control.write()?;
        Ok(control)
    }

    /// What the node is made to believe now. What its clocks have gained by their rate is in `*_ahead`.
    pub fn settings(&mut self) -> Settings {
        let now = now();
        let gained = (now - self.base) as i128 * i128::from(self.settings.rate) / 1_000_000;
        let gained = i64::try_from(gained).unwrap_or_default();
        self.settings.monotonic_ahead += gained;
        self.settings.realtime_ahead += gained;
        self.base = now;
        self.settings
    }

    /// Makes it believe something else.
    pub fn set(&mut self, settings: Settings) -> Result<()> {
        // Not going back by a gain that was made between is up to the caller, who began with `settings`.
        self.base = now();
        self.settings = settings;
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        let held = self.settings;
        self.generation += 1;
        self.put(0, self.generation)?;
        // In the order of `struct control`.
        let words = [
            self.base as u64,
            held.monotonic_ahead as u64,
            held.realtime_ahead as u64,
            held.rate as u64,
            held.sync_delay,
            held.write_delay,
            held.sync_error,
            held.write_error,
        ];
        for (at, word) in words.into_iter().enumerate() {
            self.put(at + 1, word)?;
        }
        self.generation += 1;
        self.put(0, self.generation)
    }

    fn put(&self, word: usize, value: u64) -> Result<()> {
        self.file.write_all_at(&value.to_le_bytes(), word as u64 * 8)?;
        Ok(())
    }
}

/// The machine's own monotonic time in nanoseconds.
fn now() -> i64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
