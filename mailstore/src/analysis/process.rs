//! Worker processes that analyse unusual messages: the parent's side.
//!
//! A worker takes one message at a time as a frame (length as 4 bytes big-endian, bytes) on its standard input and answers
//! the stored analysis alike. One that overruns, dies or answers nonsense is killed; the next message gets a new one.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_mail::mime::Analysis;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Semaphore;

use super::{Analyzed, Failure};
use crate::catalogue::ANALYSIS_WORKERS_KILLED;

/// The longest answer of a worker.
const ANSWER_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// Bytes of a message for which a worker gets one more second.
const BYTES_PER_EXTRA_SECOND: usize = 16 * 1024 * 1024;

/// Messages that one worker serves, so that its CPU limit need not grow.
const MESSAGES_PER_WORKER_MAX: u32 = 256;

pub(super) struct ProcessPool {
    command: Vec<String>,
    permits: Semaphore,
    idle: Mutex<Vec<Worker>>,
    deadline: Duration,
}

struct Worker {
    /// Killed when it is dropped.
    _child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    served: u32,
}

impl ProcessPool {
    pub(super) fn new(command: Vec<String>, workers: usize, deadline: Duration) -> Self {
        Self {
            command,
            permits: Semaphore::new(workers),
            idle: Mutex::default(),
            deadline,
        }
    }

    pub(super) async fn analyze(&self, message: &Bytes) -> Result<Analyzed, Failure> {
        if self.command.is_empty() {
            return Err(Failure::Nobody);
        }
        // Whoever floods the workers makes mail opaque, not late.
        let Ok(Ok(_permit)) = tokio::time::timeout(self.deadline, self.permits.acquire()).await else {
            return Err(Failure::Nobody);
        };
        let idle = self.idle.lock().pop();
        let mut worker = match idle {
            Some(worker) => worker,
            None => Worker::start(&self.command).map_err(|error| {
                tracing::error!(%error, command = ?self.command, "cannot start a worker to analyse mail");
                Failure::Nobody
            })?,
        };
        let deadline = self.deadline + Duration::from_secs((message.len() / BYTES_PER_EXTRA_SECOND) as u64);
        match tokio::time::timeout(deadline, worker.exchange(message)).await {
            Err(_) => {
                ANALYSIS_WORKERS_KILLED.increment(1);
                Err(Failure::Overran)
            }
            Ok(None) => Err(Failure::Died),
            Ok(Some(analysed)) => {
                if worker.served < MESSAGES_PER_WORKER_MAX {
                    self.idle.lock().push(worker);
                }
                Ok(analysed)
            }
        }
    }
}

impl Worker {
    fn start(command: &[String]) -> std::io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let stdout = child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        Ok(Self {
            _child: child,
            stdin,
            stdout,
            served: 0,
        })
    }

    /// `None` when the worker is of no use any more.
    async fn exchange(&mut self, message: &[u8]) -> Option<Analyzed> {
        self.served += 1;
        self.stdin
            .write_u32(u32::try_from(message.len()).ok()?)
            .await
            .ok()?;
        self.stdin.write_all(message).await.ok()?;
        let length = self.stdout.read_u32().await.ok()?;
        if length > ANSWER_BYTES_MAX {
            return None;
        }
        let mut answer = vec![0; length as usize];
        self.stdout.read_exact(&mut answer).await.ok()?;
        let stored = Bytes::from(answer);
        // A worker whose memory a message has got hold of may say anything: only what decodes is kept.
        let analysis = Analysis::decode(stored.clone()).ok()?;
        Some(Analyzed {
            header_len: analysis.header_len,
            stored,
        })
    }
}
