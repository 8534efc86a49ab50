//! `rookery rebalance watch`: asks how far the job is until it has ended, and shows it.
//!
//! A bar that is drawn in place on a terminal, plain lines elsewhere, one JSON object a line for programs. The directory may have no
//! leader for a moment, or another one: the job goes on meanwhile, and so does this, within a bound.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{anyhow, bail};
use rookery_directory::admin::json;
use rookery_proto::admin::v1::{GetJobRequest, GetJobResponse, JobState};
use tonic::Request;

use super::super::output::{self, refused};
use super::super::retry::{Retry, may_pass};
use super::{RebalanceClient, progress};

/// Between two questions.
const POLL: Duration = Duration::from_millis(500);

/// Between two lines where nothing but figures changes.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// How long one question may take: a member that stands still is not waited for when another may lead.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How long the directory may be away.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shows how far a job is until it has ended; the last one, if none is named. An error when it was aborted.
pub(crate) async fn watch(
    client: &mut RebalanceClient,
    job: Option<u64>,
    as_json: bool,
) -> anyhow::Result<()> {
    let mut screen = Screen::new(as_json);
    let mut watched = job;
    let mut retry = Retry::new(PATIENCE);
    loop {
        let mut request = Request::new(GetJobRequest {});
        request.set_timeout(ANSWER_MAX);
        let held = match client.get_job(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if !may_pass(&status) => {
                screen.leave()?;
                return Err(refused(status));
            }
            Err(status) => {
                screen.silent()?;
                let what = || "the job goes on, but cannot be watched".to_owned();
                retry.pause_or(status.into(), what).await?;
                continue;
            }
        };
        retry = Retry::new(PATIENCE);
        let expected = *watched.get_or_insert(held.job);
        if held.job != expected {
            screen.leave()?;
            bail!(
                "job {expected} has ended and job {} has begun: see it with `rookery rebalance watch`",
                held.job
            );
        }
        screen.show(&held)?;
        if progress::has_ended(&held) {
            return screen.conclude(&held);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Where progress is shown.
enum Screen {
    /// A terminal; whether a bar is on it.
    Bar { is_drawn: bool },
    /// A file or a pipe, and when what was written last.
    Lines {
        last: Option<(Instant, JobState)>,
        as_json: bool,
    },
}

impl Screen {
    fn new(as_json: bool) -> Self {
        if !as_json && std::io::stdout().is_terminal() {
            Self::Bar { is_drawn: false }
        } else {
            Self::Lines { last: None, as_json }
        }
    }

    fn show(&mut self, job: &GetJobResponse) -> anyhow::Result<()> {
        match self {
            Self::Bar { is_drawn } => {
                *is_drawn = true;
                draw(&progress::bar(job, now_millis()))
            }
            Self::Lines { last, as_json } => {
                let is_due = is_line_due(*last, Instant::now(), job.state());
                if !is_due {
                    return Ok(());
                }
                *last = Some((Instant::now(), job.state()));
                if *as_json {
                    output::json_line(&json::job(job))
                } else if progress::has_ended(job) {
                    // The summary says it.
                    Ok(())
                } else {
                    output::lines(std::iter::once(progress::line(job, now_millis())))
                }
            }
        }
    }

    /// The directory says nothing.
    fn silent(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Bar { is_drawn: true } => draw("the directory does not answer; the job goes on by itself"),
            _ => Ok(()),
        }
    }

    /// What is written next begins on a line of its own.
    fn leave(&self) -> anyhow::Result<()> {
        if matches!(self, Self::Bar { is_drawn: true }) {
            writeln!(std::io::stdout())?;
        }
        Ok(())
    }

    /// Sums up a job that has ended.
    fn conclude(&self, job: &GetJobResponse) -> anyhow::Result<()> {
        self.leave()?;
        let summary = progress::summary(job, now_millis());
        let is_done = job.state() == JobState::Done;
        if !matches!(self, Self::Lines { as_json: true, .. }) {
            let not_done = progress::not_done(job)
                .into_iter()
                .map(|line| format!("  {line}"));
            let first = is_done.then(|| summary.clone());
            output::lines(first.into_iter().chain(not_done))?;
        }
        if is_done {
            return Ok(());
        }
        Err(anyhow!(
            "{summary}: what was moved stays; make a plan anew with `rookery rebalance`"
        ))
    }
}

/// Lines come at intervals, and at once when the state has changed.
fn is_line_due(last: Option<(Instant, JobState)>, now: Instant, state: JobState) -> bool {
    last.is_none_or(|(at, shown)| shown != state || now.duration_since(at) >= LINE_INTERVAL)
}

fn draw(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "\r\x1b[K{text}")?;
    out.flush()?;
    Ok(())
}

fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_seldom_unless_the_state_changes() {
        let now = Instant::now();
        assert!(is_line_due(None, now, JobState::Running));
        let last = Some((now, JobState::Running));
        assert!(!is_line_due(last, now + POLL, JobState::Running));
        assert!(is_line_due(last, now + LINE_INTERVAL, JobState::Running));
        assert!(is_line_due(last, now + POLL, JobState::Done));
    }

    #[test]
    fn an_aborted_job_is_an_error_and_a_done_one_is_not() {
        let screen = Screen::Lines {
            last: None,
            as_json: true,
        };
        let ended = |state: JobState| GetJobResponse {
            job: 3,
            state: state.into(),
            ..GetJobResponse::default()
        };
        assert!(screen.conclude(&ended(JobState::Done)).is_ok());
        let error = screen
            .conclude(&ended(JobState::Aborted))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("job 3 was aborted"), "{error}");
    }
}
