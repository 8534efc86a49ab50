//! What happened, in order: a hash that two runs of a seed have in common, and lines for who looks for a cause.

use std::hash::{DefaultHasher, Hasher};

/// The events of one run.
#[derive(Debug)]
pub struct Trace {
    hasher: DefaultHasher,
    events: u64,
    printed: bool,
}

impl Trace {
    /// Nothing happened yet.
    pub fn new(printed: bool) -> Self {
        Self {
            // Keyed with zeros, not with what the process drew.
            hasher: DefaultHasher::new(),
            events: 0,
            printed,
        }
    }

    /// Something happened.
    pub fn event(&mut self, millis: u64, event: &str) {
        self.events += 1;
        self.hasher.write_u64(millis);
        self.hasher.write(event.as_bytes());
        if self.printed {
            eprintln!("{:>4}.{:03} {event}", millis / 1000, millis % 1000);
        }
    }

    /// What helps to understand the last event, and is no part of the hash: it may differ from run to run.
    pub fn detail(&self, detail: impl FnOnce() -> String) {
        if self.printed {
            eprintln!("         {}", detail());
        }
    }

    /// Number of events, and the hash of all.
    pub fn outcome(&self) -> (u64, u64) {
        (self.events, self.hasher.finish())
    }
}
