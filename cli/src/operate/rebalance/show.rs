//! A plan as the operator sees it: the directory's own words, or its JSON.

use std::io::Write;

use anyhow::Context;
use rookery_proto::admin::v1::{MakePlanRequest, MakePlanResponse};
use serde_json::Value;

use super::super::RebalanceClient;
use super::super::output::{self, refused};

/// `rookery rebalance plan`.
pub(super) async fn plan(client: &mut RebalanceClient, as_json: bool) -> anyhow::Result<()> {
    let made = make(client).await?;
    if as_json {
        return output::json(&json(&made)?);
    }
    text(&made)
}

/// Has a plan made.
pub(super) async fn make(client: &mut RebalanceClient) -> anyhow::Result<MakePlanResponse> {
    let made = client.make_plan(MakePlanRequest {}).await.map_err(refused)?;
    Ok(made.into_inner())
}

/// Whether a plan has nothing to do.
pub(super) fn is_empty(made: &MakePlanResponse) -> bool {
    made.transfers == 0 && made.leads == 0
}

/// The plan's JSON.
pub(super) fn json(made: &MakePlanResponse) -> anyhow::Result<Value> {
    serde_json::from_str(&made.json)
        .context("cannot read the directory's plan: are all programs of one version?")
}

/// Prints it for people.
pub(super) fn text(made: &MakePlanResponse) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", made.text.trim_end())?;
    Ok(())
}
