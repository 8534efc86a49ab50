//! What all of a run shares beside what every simulated run has: the history, and the directory's part.

use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;
use rookery_simulation::Run;

use crate::directory::Directory;
use crate::history::History;

/// What all of a run shares. One thread uses it.
pub(crate) struct Shared {
    pub(crate) run: Arc<Run>,
    pub(crate) history: Mutex<History>,
    pub(crate) directory: Mutex<Directory>,
}

impl Shared {
    pub(crate) fn new(seed: u64, printed: bool, directory: Directory) -> Arc<Self> {
        Arc::new(Self {
            run: Run::new(seed, printed),
            history: Mutex::default(),
            directory: Mutex::new(directory),
        })
    }
}

impl Deref for Shared {
    type Target = Run;

    fn deref(&self) -> &Run {
        &self.run
    }
}

/// A running machine as seen by what runs on it.
#[derive(Clone)]
pub(crate) struct Here {
    pub(crate) machine: rookery_simulation::Here,
    pub(crate) shared: Arc<Shared>,
    pub(crate) node: String,
}

impl Here {
    /// Whether its power was cut: nothing that it does is seen by anybody any more.
    pub(crate) fn is_dark(&self) -> bool {
        self.machine.is_dark()
    }

    pub(crate) fn trace(&self, event: &str) {
        self.machine.trace(event);
    }
}
