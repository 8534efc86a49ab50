//! Trying again what failed because a node was away for a moment.

use std::time::{Duration, Instant};

use super::output::refused;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Why a step failed.
pub(crate) enum Failure {
    /// The cluster said so.
    Cluster(Box<tonic::Status>),
    /// Something of this command's own.
    Own(anyhow::Error),
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        Failure::Cluster(Box::new(status))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::Own(error)
    }
}

/// Whether a call that failed so may succeed by itself later. A connection that broke is made anew by the next call.
pub(crate) fn may_pass(status: &tonic::Status) -> bool {
    matches!(
        status.code(),
        tonic::Code::Unavailable
            | tonic::Code::Unknown
            | tonic::Code::Cancelled
            | tonic::Code::DeadlineExceeded
    )
}

/// Tries for some time.
pub(crate) struct Retry {
    patience: Duration,
    failing_since: Option<Instant>,
}

impl Retry {
    /// Nothing has failed yet.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            patience,
            failing_since: None,
        }
    }

    /// Pauses before the next try, or gives the error when trying again is of no use or has been long enough.
    pub(crate) async fn pause_or(
        &mut self,
        failure: Failure,
        what: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        let status = match failure {
            Failure::Own(error) => return Err(error),
            Failure::Cluster(status) => *status,
        };
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if !may_pass(&status) || since.elapsed() >= self.patience {
            return Err(refused(status).context(format!(
                "{}: run the command again when the cause is gone",
                what()
            )));
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}
