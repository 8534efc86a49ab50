//! Threads for what can wait: reading and writing states that are copied. The system gives them what others leave of a processor.
//!
//! Nothing runs here that others wait for, as whoever holds a lock would hold it for long.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// As many copies as a node takes part in at one time, by default.
const THREADS: usize = 2;

/// How much less than others they get: a tenth, where two want the same processor (`nice(2)`).
const NICE: i32 = 10;

type Work = Box<dyn FnOnce() + Send>;

/// The threads; they end with this.
pub(crate) struct Aside {
    work: Sender<Work>,
}

impl Aside {
    /// Starts them.
    pub(crate) fn start() -> io::Result<Self> {
        let (work, waiting) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..THREADS {
            let waiting = Arc::clone(&waiting);
            std::thread::Builder::new()
                .name("aside".to_owned())
                .spawn(move || run(&waiting))?;
        }
        Ok(Self { work })
    }

    /// Does work that may wait for the disk and for others. Errors: the work panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (done, result) = oneshot::channel();
        let work = move || {
            if !done.is_closed() {
                // Whoever waits may go meanwhile.
                let _ = done.send(work());
            }
        };
        self.work
            .send(Box::new(work))
            .map_err(|_| io::Error::other("the threads have ended"))?;
        result.await.map_err(io::Error::other)
    }
}

fn run(waiting: &Mutex<Receiver<Work>>) {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "states are copied as if others waited for it");
    }
    loop {
        let next = waiting.lock().recv();
        let Ok(work) = next else { return };
        // A panic is told to whoever waits, and ends nothing else.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
            tracing::error!("work on a state that is copied panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_can_wait_gets_less_and_one_panic_ends_nothing() {
        let aside = Aside::start().unwrap();
        assert!(aside.run(|| panic!("told to")).await.is_err());
        let nice = || rustix::process::getpriority_process(None).unwrap();
        for _ in 0..THREADS + 1 {
            assert_eq!(aside.run(nice).await.unwrap(), NICE);
        }
        assert_eq!(nice(), 0);
    }
}
