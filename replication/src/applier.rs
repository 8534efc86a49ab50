//! Writes applied entries into the store: at once where that needs no wait, and on the node's one thread for it where it may have to
//! wait for a flush or for room. A store that never waits needs no thread.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use crate::group::OnFailure;
use crate::store::{Store, StoreError, Writes};

/// Pause before a write is tried again for which there was no room.
const ROOM_PAUSE: Duration = Duration::from_millis(250);

struct Job {
    writes: Writes,
    done: oneshot::Sender<io::Result<()>>,
}

/// Writes applied entries. Its thread ends when the last of its users has gone.
pub(crate) struct Applier {
    writer: Arc<Writer>,
    jobs: RwLock<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Applier {
    pub(crate) fn start(store: Arc<Store>, on_failure: OnFailure) -> io::Result<Arc<Self>> {
        let writer = Arc::new(Writer {
            store,
            on_failure,
            closing: AtomicBool::new(false),
        });
        let (jobs, queue) = mpsc::channel::<Job>();
        let applier = Self {
            writer: Arc::clone(&writer),
            jobs: RwLock::new(Some(jobs)),
            thread: Mutex::new(None),
        };
        if !writer.store.may_wait() {
            return Ok(Arc::new(applier));
        }
        let thread = std::thread::Builder::new()
            .name("applier".to_owned())
            .spawn(move || {
                for Job { writes, done } in queue {
                    let result = writer.write(writes);
                    let failed = result.is_err();
                    // A replica that is being stopped does not wait.
                    let _ = done.send(result);
                    if failed {
                        return;
                    }
                }
            })?;
        *applier.thread.lock() = Some(thread);
        Ok(Arc::new(applier))
    }

    /// Writes, and answers when reads see it.
    pub(crate) async fn apply(&self, writes: Writes) -> io::Result<()> {
        if !self.writer.store.may_wait() {
            return self.writer.write(writes);
        }
        let closed = || io::Error::other("the store has been closed");
        let written = match &*self.jobs.read() {
            Some(_) if self.writer.store.try_apply(&writes) => return Ok(()),
            Some(jobs) => {
                let (done, written) = oneshot::channel();
                jobs.send(Job { writes, done }).map_err(|_| closed())?;
                written
            }
            None => return Err(closed()),
        };
        written.await.map_err(|_| closed())?
    }

    /// Has something written that may be tried again while there is no room, and ends the node when it fails otherwise. Blocks.
    pub(crate) fn insist(&self, write: impl FnMut() -> Result<(), StoreError>) -> io::Result<()> {
        self.writer.insist(write)
    }

    /// Writes what waits and ends the thread. Blocks.
    pub(crate) fn close(&self) {
        self.writer.closing.store(true, Ordering::Relaxed);
        self.jobs.write().take();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the applier has panicked");
        }
    }
}

struct Writer {
    store: Arc<Store>,
    on_failure: OnFailure,
    closing: AtomicBool,
}

impl Writer {
    fn write(&self, writes: Writes) -> io::Result<()> {
        self.insist(|| self.store.apply(writes.clone()))
    }

    fn insist(&self, write: impl FnMut() -> Result<(), StoreError>) -> io::Result<()> {
        self.when_there_is_room(write).map_err(|error| {
            // What is damaged is dealt with by whoever watches for it: what is on disk is known.
            let is_known = error.damage().is_some() || error.is_no_space();
            if !is_known {
                (self.on_failure)(&error);
            }
            io::Error::other(error)
        })
    }

    /// Writes, and waits while there is no room for it: the log has what it says, and the store takes writes again by itself.
    fn when_there_is_room(
        &self,
        mut write: impl FnMut() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut result = write();
        let mut told = false;
        while matches!(&result, Err(error) if error.is_no_space()) && !self.closing.load(Ordering::Relaxed) {
            if !std::mem::replace(&mut told, true) {
                tracing::error!(
                    "the disk is full: what is agreed on waits to be applied until there is room"
                );
            }
            std::thread::sleep(ROOM_PAUSE);
            result = write();
        }
        if told && result.is_ok() {
            tracing::info!("the disk has room again");
        }
        result
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Column};
    use crate::store::StoreOptions;
    use crate::view::View;

    const FULL: &str = "IO error: No space left on device: While appending to file";

    fn open(folder: &tempfile::TempDir) -> (Arc<Store>, Arc<Applier>) {
        let store = Store::open(folder.path(), &StoreOptions::default()).expect("opens");
        let store = Arc::new(store);
        let on_failure: OnFailure = Arc::new(|error| panic!("a full disk is no failure: {error}"));
        let applier = Applier::start(Arc::clone(&store), on_failure).expect("starts");
        (store, applier)
    }

    fn row(store: &Store, key: &'static str) -> Writes {
        let mut batch = Batch::new();
        batch.put(Column::Rows, key, "value");
        let mut writes = store.begin();
        store.gather(&mut writes, &batch).expect("gathers");
        writes
    }

    async fn until_refused(store: &Store, times: u64) {
        while store.failing.times() < times {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_finds_no_room_is_written_once_there_is_room_and_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, applier) = open(&folder);
        store.failing.set(Some(FULL));
        let apply = |key| {
            let (applier, writes) = (Arc::clone(&applier), row(&store, key));
            tokio::spawn(async move { applier.apply(writes).await })
        };
        let (first, second) = (apply("first"), apply("second"));
        until_refused(&store, 3).await;
        assert!(!first.is_finished() && !second.is_finished());
        assert!(!store.contains(Column::Rows, b"first").expect("reads"));
        store.failing.set(None);
        first.await.expect("ends").expect("is written");
        second.await.expect("ends").expect("is written");
        for key in ["first", "second"] {
            assert!(
                store.contains(Column::Rows, key.as_bytes()).expect("reads"),
                "{key}"
            );
        }
    }

    #[tokio::test]
    async fn nobody_waits_where_others_sync() {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, applier) = open(&folder);
        let at_once = |key| store.try_apply(&row(&store, key));
        assert!(at_once("alone"));
        let syncing = store.hold_writes();
        assert!(!at_once("beside"));
        drop(syncing);
        let large = vec![0; 100 << 10];
        let mut batch = Batch::new();
        batch.put(Column::Bodies, "large", large);
        let mut writes = store.begin();
        store.gather(&mut writes, &batch).expect("gathers");
        assert!(!store.try_apply(&writes), "that takes long");
        applier.apply(writes).await.expect("is written");
        assert!(store.contains(Column::Bodies, b"large").expect("reads"));
        assert!(!store.contains(Column::Rows, b"beside").expect("reads"));
    }

    #[tokio::test]
    async fn who_closes_does_not_wait_for_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, applier) = open(&folder);
        store.failing.set(Some(FULL));
        let waiting = {
            let (applier, writes) = (Arc::clone(&applier), row(&store, "never"));
            tokio::spawn(async move { applier.apply(writes).await })
        };
        until_refused(&store, 2).await;
        let closing = Arc::clone(&applier);
        tokio::task::spawn_blocking(move || closing.close())
            .await
            .expect("ends");
        assert!(waiting.await.expect("ends").is_err());
    }
}
