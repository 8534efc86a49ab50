//! Ordered, draining shutdown: stages one after the other, each with a grace time.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM or SIGINT and says which.
pub async fn signalled() -> std::io::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    })
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
