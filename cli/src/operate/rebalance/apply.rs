//! From a plan to a job: shown, agreed to by the operator, and handed to the directory.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use rookery_proto::admin::v1::{ApplyPlanRequest, MakePlanResponse};
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::super::RebalanceClient;
use super::super::output::{self, refused};
use super::limits::LimitArguments;
use super::show;
use crate::usage::WrongUse;

/// Refuses what could neither ask nor has been told that it need not.
pub(super) fn refuse_without_consent(yes: bool) -> Result<(), WrongUse> {
    if yes || std::io::stdin().is_terminal() {
        return Ok(());
    }
    Err(WrongUse::new(
        "nobody can be asked whether to apply the plan, as standard input is no terminal: look at it with `rookery rebalance \
         plan`, and give --yes",
    ))
}

/// Makes a plan, shows it, asks, and applies it; the job, unless there is nothing to do. As JSON: the plan on one line, the job
/// on another.
pub(super) async fn run(
    client: &mut RebalanceClient,
    limits: LimitArguments,
    yes: bool,
    as_json: bool,
) -> anyhow::Result<Option<u64>> {
    let made = show::make(client).await?;
    carry_out(client, made, limits, yes, as_json).await
}

/// The same with a plan that was made.
pub(super) async fn carry_out(
    client: &mut RebalanceClient,
    made: MakePlanResponse,
    limits: LimitArguments,
    yes: bool,
    as_json: bool,
) -> anyhow::Result<Option<u64>> {
    if as_json {
        output::json_line(&json!({ "plan": show::json(&made)? }))?;
    } else {
        show::text(&made)?;
    }
    if show::is_empty(&made) {
        if as_json {
            output::json_line(&json!({ "job": Value::Null }))?;
        }
        return Ok(None);
    }
    if !yes && !agrees().await? {
        bail!("the plan was not applied, for the answer was not yes: nothing is moved");
    }
    let request = ApplyPlanRequest {
        plan: made.plan,
        limits: Some(limits.to_limits()),
    };
    let job = client.apply_plan(request).await.map_err(said)?.into_inner().job;
    if as_json {
        output::json_line(&json!({ "job": job }))?;
    }
    Ok(Some(job))
}

/// Why a plan was not applied; without an answer it may have been.
fn said(status: Status) -> anyhow::Error {
    if matches!(
        status.code(),
        Code::Unknown | Code::Cancelled | Code::DeadlineExceeded
    ) {
        return refused(status)
            .context("it is not known whether the plan was applied: see with `rookery rebalance watch`");
    }
    refused(status)
}

/// Says that a job has begun which nobody waits for.
pub(crate) fn say_begun(job: u64) -> anyhow::Result<()> {
    writeln!(
        std::io::stdout(),
        "job {job} has begun and goes on by itself: `rookery rebalance watch` shows how far it is"
    )?;
    Ok(())
}

/// Asks at the terminal.
async fn agrees() -> anyhow::Result<bool> {
    // On a thread of its own, so that the connection is looked after meanwhile.
    let asking = tokio::task::spawn_blocking(|| -> std::io::Result<String> {
        let mut out = std::io::stderr().lock();
        write!(out, "\nApply this plan? (yes/no) ")?;
        out.flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        Ok(answer)
    });
    Ok(is_yes(
        &asking.await?.context("cannot ask whether to apply the plan")?,
    ))
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_answered_may_have_been_done() {
        let lost = said(Status::unknown("the connection broke"));
        assert!(lost.to_string().contains("rebalance watch"), "{lost}");
        let stale = said(Status::failed_precondition("nodes have changed"));
        assert_eq!(stale.to_string(), "nodes have changed");
    }

    #[test]
    fn only_yes_is_yes() {
        for yes in ["yes\n", "YES", " y \n"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "no\n", "yes please", "ja"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
