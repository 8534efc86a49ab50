//! Makes the next segment before it is needed and takes back those that nothing needs, on a thread of its own, so that
//! going on to the next segment waits for no file.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::file::{SegmentFile, Writing, spare_path, sync_folder};
use super::format::segment_header;

pub(super) struct Supply {
    folder: PathBuf,
    log: u64,
    segment_bytes: u64,
    spares_max: usize,
    writing: Writing,
    state: Mutex<State>,
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    /// Number of the segment to make next.
    next: u64,
    ready: Option<io::Result<SegmentFile>>,
    spares: Vec<PathBuf>,
    freed: VecDeque<Arc<SegmentFile>>,
    /// A segment could not be freed.
    stuck: bool,
    /// A segment could not be made.
    failed: bool,
    stopped: bool,
}

impl Supply {
    /// `ready` has been made before; `next` is the number of the one after it, or of the first one.
    pub(super) fn start(
        folder: &Path,
        log: u64,
        (ready, next): (Option<SegmentFile>, u64),
        spares: Vec<PathBuf>,
        options: &super::LogOptions,
    ) -> io::Result<Arc<Self>> {
        let supply = Arc::new(Self {
            folder: folder.to_owned(),
            log,
            segment_bytes: options.segment_bytes,
            spares_max: options.spares_max,
            writing: options.writing,
            state: Mutex::new(State {
                next,
                ready: ready.map(Ok),
                spares,
                freed: VecDeque::new(),
                stuck: false,
                failed: false,
                stopped: false,
            }),
            changed: Condvar::new(),
            thread: Mutex::new(None),
        });
        let thread = {
            let supply = Arc::clone(&supply);
            std::thread::Builder::new()
                .name("log-segments".to_owned())
                .spawn(move || supply.run())?
        };
        *supply.thread.lock() = Some(thread);
        Ok(supply)
    }

    /// The next segment, which holds a header only.
    pub(super) fn take(&self) -> io::Result<SegmentFile> {
        let mut state = self.state.lock();
        loop {
            if let Some(ready) = state.ready.take() {
                self.changed.notify_all();
                return ready;
            }
            if state.stopped || state.failed {
                return Err(io::Error::other("no segments are made any more"));
            }
            self.changed.wait(&mut state);
        }
    }

    /// Takes back segments, oldest first, that nothing durable needs.
    pub(super) fn free(&self, segments: Vec<Arc<SegmentFile>>) {
        self.state.lock().freed.extend(segments);
        self.changed.notify_all();
    }

    /// Ends the thread when it has taken back what was freed.
    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread that makes segments of the log has panicked");
        }
    }

    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            if state.stuck {
                state.freed.clear();
            }
            if let Some(segment) = state.freed.pop_front() {
                let keep = state.spares.len() < self.spares_max;
                match parking_lot::MutexGuard::unlocked(&mut state, || self.take_back(&segment, keep)) {
                    Ok(spare) => state.spares.extend(spare),
                    Err(error) => {
                        // It costs space, nothing else, and the next opening frees it. So must those behind it stay, or
                        // there would be a hole.
                        tracing::error!(%error, file = %segment.path.display(), "cannot free a segment of the log");
                        state.stuck = true;
                    }
                }
            } else if state.stopped {
                return;
            } else if state.ready.is_none() && !state.failed {
                let number = state.next;
                let spare = state.spares.pop();
                let made = parking_lot::MutexGuard::unlocked(&mut state, || self.make(number, spare));
                if made.is_ok() {
                    state.next += 1;
                } else {
                    // The log fails with it. A later number would leave a hole.
                    state.failed = true;
                }
                state.ready = Some(made);
                self.changed.notify_all();
            } else {
                self.changed.wait(&mut state);
            }
        }
    }

    fn make(&self, number: u64, spare: Option<PathBuf>) -> io::Result<SegmentFile> {
        let header = segment_header(self.log, number);
        SegmentFile::create(
            &self.folder,
            number,
            &header,
            spare,
            self.segment_bytes,
            self.writing,
        )
    }

    /// Removes a segment, or makes it a spare. Synced one by one, so that no crash leaves a hole among the segments.
    fn take_back(&self, segment: &SegmentFile, keep: bool) -> io::Result<Option<PathBuf>> {
        let keep = keep && self.writing != Writing::Growing && segment.len()? == self.segment_bytes;
        let spare = keep.then(|| spare_path(&self.folder, segment.number));
        match &spare {
            Some(spare) => std::fs::rename(&segment.path, spare)?,
            None => std::fs::remove_file(&segment.path)?,
        }
        sync_folder(&self.folder)?;
        Ok(spare)
    }
}
