//! `rookery rebalance`: plan, ask, apply, watch; each in a file of its own.
//!
//! The job belongs to the directory: it goes on whatever becomes of the command that began it or looks at it.

mod apply;
mod limits;
mod progress;
mod show;
mod watch;

use clap::{Args, Subcommand};
use rookery_proto::admin::v1::{AbortJobRequest, GetJobRequest, Limits, PauseJobRequest, ResumeJobRequest};

use super::output::{self, refused};
use super::{Connection, RebalanceClient};
use crate::usage::WrongUse;
pub(super) use apply::say_begun;
pub(super) use limits::LimitArguments;
pub(super) use watch::watch;

/// Arguments of `rookery rebalance`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    step: Option<Step>,
    #[command(flatten)]
    limits: LimitArguments,
    #[command(flatten)]
    consent: Consent,
}

#[derive(Debug, Subcommand)]
enum Step {
    /// Say what would be moved, and why; moves nothing
    Plan,
    /// Plan anew, ask, and begin; does not wait
    Apply {
        #[command(flatten)]
        limits: LimitArguments,
        #[command(flatten)]
        consent: Consent,
    },
    /// Show how far the last job is until it ends; exits 0 when it is done, 1 when it was aborted
    Watch,
    /// Begin no more transfers; those that are under way end
    Pause,
    /// Go on after a pause, or with other limits
    Resume {
        #[command(flatten)]
        limits: LimitArguments,
    },
    /// Begin no more transfers and take back those that are under way
    Abort,
}

/// Whether the operator has agreed to the plan before it is made.
#[derive(Debug, Clone, Copy, Args)]
struct Consent {
    /// Apply the plan without asking
    #[arg(long)]
    yes: bool,
}

impl Arguments {
    pub(super) async fn run(self, connection: &Connection, as_json: bool) -> anyhow::Result<()> {
        if self.step.is_some() && (self.consent.yes || self.limits != LimitArguments::default()) {
            return Err(WrongUse::new(
                "--yes, --max-transfers and --throttle come after `apply`, and the last two after `resume`: no other step has them",
            )
            .into());
        }
        let (limits, consent, waits) = match self.step {
            None => (self.limits, self.consent, true),
            Some(Step::Apply { limits, consent }) => (limits, consent, false),
            Some(step) => {
                return step
                    .run(&mut connection.connect_all().await?.rebalance, as_json)
                    .await;
            }
        };
        apply::refuse_without_consent(consent.yes)?;
        let mut client = connection.connect_all().await?.rebalance;
        let begun = apply::run(&mut client, limits, consent.yes, as_json).await?;
        match begun {
            Some(job) if waits => watch(&mut client, Some(job), as_json).await,
            Some(job) if !as_json => say_begun(job),
            _ => Ok(()),
        }
    }
}

/// Makes a plan and applies it without asking; the job. Of a plan with nothing to do nothing is said.
pub(super) async fn apply(
    client: &mut RebalanceClient,
    limits: LimitArguments,
    as_json: bool,
) -> anyhow::Result<Option<u64>> {
    let made = show::make(client).await?;
    if show::is_empty(&made) {
        return Ok(None);
    }
    apply::carry_out(client, made, limits, true, as_json).await
}

impl Step {
    async fn run(self, client: &mut RebalanceClient, as_json: bool) -> anyhow::Result<()> {
        match self {
            Step::Plan => show::plan(client, as_json).await,
            Step::Apply { .. } => Ok(()),
            Step::Watch => watch(client, None, as_json).await,
            Step::Pause => {
                client.pause_job(PauseJobRequest {}).await.map_err(refused)?;
                output::done(
                    as_json,
                    "paused: transfers that are under way end, no more begin before `rookery rebalance resume`",
                )
            }
            Step::Resume { limits } => {
                let limits = with_those_that_stay(client, limits).await?;
                client
                    .resume_job(ResumeJobRequest { limits })
                    .await
                    .map_err(refused)?;
                output::done(as_json, "resumed: `rookery rebalance watch` shows how far it is")
            }
            Step::Abort => {
                client.abort_job(AbortJobRequest {}).await.map_err(refused)?;
                output::done(
                    as_json,
                    "being aborted: transfers that are under way are taken back, unless their new replica votes already",
                )
            }
        }
    }
}

/// The limits to go on with: a new one goes with the other one as it is, none at all leaves both.
async fn with_those_that_stay(
    client: &mut RebalanceClient,
    given: LimitArguments,
) -> anyhow::Result<Option<Limits>> {
    if given == LimitArguments::default() {
        return Ok(None);
    }
    let job = client
        .get_job(GetJobRequest {})
        .await
        .map_err(refused)?
        .into_inner();
    Ok(Some(given.over(job.limits.unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(words: &str) -> Result<Arguments, clap::Error> {
        let words = std::iter::once("rebalance").chain(words.split_whitespace());
        Line::try_parse_from(words).map(|line| line.arguments)
    }

    #[test]
    fn every_step_is_understood_with_what_belongs_to_it() {
        let plain = parse("--max-transfers 4 --throttle 50MB/s --yes").unwrap();
        assert!(plain.step.is_none() && plain.consent.yes);
        let limits = Limits {
            transfers_max: 4,
            bytes_per_second: 50_000_000,
        };
        assert_eq!(plain.limits.to_limits(), limits);
        let Some(Step::Apply { limits, consent }) = parse("apply --throttle 1MiB").unwrap().step else {
            panic!("apply");
        };
        assert_eq!(limits.to_limits().bytes_per_second, 1 << 20);
        assert!(!consent.yes);
        assert!(matches!(parse("plan").unwrap().step, Some(Step::Plan)));
        assert!(matches!(parse("watch").unwrap().step, Some(Step::Watch)));
        assert!(matches!(parse("pause").unwrap().step, Some(Step::Pause)));
        assert!(matches!(parse("abort").unwrap().step, Some(Step::Abort)));
        assert!(matches!(
            parse("resume --max-transfers 1").unwrap().step,
            Some(Step::Resume { .. })
        ));
        for wrong in [
            "stop",
            "plan --yes",
            "watch --throttle 1MB/s",
            "resume --yes",
            "--throttle slow",
            "--throttle 0",
            "--max-transfers 0",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn what_is_given_before_a_step_is_refused_before_anything_is_asked() {
        let nowhere = Connection::default();
        for words in ["--yes watch", "--throttle 1MB/s apply --yes"] {
            let error = parse(words).unwrap().run(&nowhere, false).await.unwrap_err();
            assert!(error.is::<WrongUse>(), "{words}: {error}");
            assert!(error.to_string().contains("--yes"), "{error}");
        }
    }
}
