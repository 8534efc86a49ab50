//! Ordered, draining shutdown: stages one after the other, each with a grace time.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, heard from the moment this is made: one that comes between two waits is not lost.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on neither ends the process by itself.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next of them and says which.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// Runs one stage of a shutdown; says so when it takes longer than its grace time, and goes on.
pub async fn stage(name: &'static str, grace: Duration, stopping: impl Future<Output = ()>) {
    tracing::info!(stage = name, "stopping");
    if tokio::time::timeout(grace, stopping).await.is_err() {
        tracing::warn!(
            stage = name,
            grace_seconds = grace.as_secs(),
            "did not stop within its grace time"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_stage_ends_with_its_work_or_its_grace_time() {
        let mut done = false;
        stage("quick", Duration::MAX, async { done = true }).await;
        assert!(done);
        // Would never return if it waited for what is stuck.
        stage("stuck", Duration::from_millis(10), pending()).await;
    }
}
