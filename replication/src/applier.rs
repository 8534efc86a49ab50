//! The one thread of a node that writes applied entries into the store, where a write may wait for a flush.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rocksdb::WriteBatch;
use tokio::sync::oneshot;

use crate::group::OnFailure;
use crate::store::Store;

struct Job {
    writes: WriteBatch,
    done: oneshot::Sender<io::Result<()>>,
}

/// The thread. Ends when the last of its users has gone.
pub(crate) struct Applier {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Applier {
    pub(crate) fn start(store: Arc<Store>, on_failure: OnFailure) -> io::Result<Arc<Self>> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new()
            .name("applier".to_owned())
            .spawn(move || {
                for Job { writes, done } in queue {
                    let result = store.apply(writes).map_err(|error| {
                        on_failure(&error);
                        io::Error::other(error)
                    });
                    let failed = result.is_err();
                    // A replica that is being stopped does not wait.
                    let _ = done.send(result);
                    if failed {
                        return;
                    }
                }
            })?;
        Ok(Arc::new(Self {
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// Writes, and answers when reads see it.
    pub(crate) async fn apply(&self, writes: WriteBatch) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        let closed = || io::Error::other("the store has been closed");
        let job = Job { writes, done };
        match &*self.jobs.lock() {
            Some(jobs) => jobs.send(job).map_err(|_| closed())?,
            None => return Err(closed()),
        }
        written.await.map_err(|_| closed())?
    }

    /// Writes what waits and ends the thread. Blocks.
    pub(crate) fn close(&self) {
        self.jobs.lock().take();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the applier has panicked");
        }
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.close();
    }
}
