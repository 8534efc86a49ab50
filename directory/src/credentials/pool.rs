//! Threads that do nothing but hash, behind a bounded queue; or none, when who asks is to hash by itself.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use rookery_proto::{Reason, Status};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::catalogue::{PASSWORD_QUEUE, PASSWORD_QUEUE_MAX};

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They end when the pool is dropped and the queue is empty.
pub(super) struct Pool {
    /// `None`: there are no threads.
    jobs: Option<mpsc::Sender<Job>>,
    /// Hashes of new passwords take at most half of the threads (at least one) from those who log in.
    hashing: Semaphore,
}

impl Pool {
    pub(super) fn new(threads: usize, queue_max: usize) -> Result<Self, Status> {
        let threads = threads.max(1);
        let (jobs, receiver) = mpsc::channel::<Job>(queue_max.max(1));
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..threads {
            let receiver = Arc::clone(&receiver);
            std::thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || {
                    loop {
                        // Held while waiting: the others wait for the lock instead of for a job.
                        let job = receiver.lock().blocking_recv();
                        let Some(job) = job else { return };
                        job();
                    }
                })
                .map_err(|error| Status::internal(format!("cannot start a thread for passwords: {error}")))?;
        }
        PASSWORD_QUEUE_MAX.set(jobs.max_capacity() as f64);
        Ok(Self {
            jobs: Some(jobs),
            hashing: Semaphore::new(threads.div_ceil(2)),
        })
    }

    /// Without threads: each job is done by the task that asks.
    pub(super) fn in_place() -> Self {
        Self {
            jobs: None,
            hashing: Semaphore::new(1),
        }
    }

    /// Runs a verification, or answers UNAVAILABLE at once when the queue is full. A verification that did not begin before
    /// its deadline, or whose caller has gone, is not run.
    pub(super) async fn verify(
        &self,
        deadline: Instant,
        verify: impl FnOnce() -> bool + Send + 'static,
    ) -> Result<bool, Status> {
        let (sender, receiver) = oneshot::channel();
        let waiting = PASSWORD_QUEUE.hold(&[]);
        let job: Job = Box::new(move || {
            drop(waiting);
            if !sender.is_closed() && Instant::now() < deadline {
                let _ = sender.send(verify());
            }
        });
        match &self.jobs {
            Some(jobs) => {
                if jobs.try_send(job).is_err() {
                    super::count("refused");
                    return Err(Status::unavailable("too many logins wait already; try again"));
                }
            }
            None => job(),
        }
        let late = || {
            Status::new(
                Reason::DeadlineExceeded,
                "too many logins were waiting; try again",
            )
        };
        receiver.await.map_err(|_| late())
    }

    /// Runs a hash, after waiting for a place.
    pub(super) async fn hash<T: Send + 'static>(
        &self,
        hash: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let stopping = || Status::unavailable("the directory is stopping");
        let _permit = self.hashing.acquire().await.map_err(|_| stopping())?;
        let (sender, receiver) = oneshot::channel();
        let waiting = PASSWORD_QUEUE.hold(&[]);
        let job: Job = Box::new(move || {
            drop(waiting);
            if !sender.is_closed() {
                let _ = sender.send(hash());
            }
        });
        match &self.jobs {
            Some(jobs) => jobs.send(job).await.map_err(|_| stopping())?,
            None => job(),
        }
        receiver.await.map_err(|_| stopping())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let pool = Pool::new(1, 1).unwrap();
        let (entered, is_entered) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let deadline = Instant::now() + Duration::from_secs(60);
        // One runs, one waits, the third is refused.
        let running = pool.verify(deadline, move || {
            entered.send(()).unwrap();
            released.recv().is_ok()
        });
        let mut running = std::pin::pin!(running);
        assert!(futures_util::poll!(&mut running).is_pending());
        is_entered.recv().unwrap();
        let mut waiting = std::pin::pin!(pool.verify(deadline, || true));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        let refused = pool.verify(deadline, || true).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Unavailable);
        release.send(()).unwrap();
        assert!(running.await.unwrap());
        assert!(waiting.await.unwrap());
    }
}
