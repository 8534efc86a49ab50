//! `rookery node drain`: a node gets nothing new; with `--wait` it is emptied at once, and only an empty one is a success.

use anyhow::{anyhow, bail};
use clap::Args;
use rookery_proto::admin::v1::{GetJobRequest, GetJobResponse, ListNodesRequest, SetDrainingRequest};
use serde_json::json;
use tonic::Code;

use super::super::Clients;
use super::super::output::{self, refused};
use super::super::rebalance::{self, LimitArguments};

/// Arguments of `rookery node drain`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The node's id
    node: String,
    /// Let it get and keep shards again
    #[arg(long)]
    undo: bool,
    /// Empty it now and wait for that, whatever else a plan moves; fails as long as it has replicas
    #[arg(long, conflicts_with = "undo")]
    wait: bool,
    #[command(flatten)]
    limits: LimitArguments,
}

impl Arguments {
    pub(super) async fn run(self, clients: &mut Clients, as_json: bool) -> anyhow::Result<()> {
        let request = SetDrainingRequest {
            node: self.node.clone(),
            draining: !self.undo,
        };
        clients.rebalance.set_draining(request).await.map_err(refused)?;
        if !self.wait {
            return output::done(as_json, &said(&self.node, self.undo));
        }
        self.empty(clients, as_json).await?;
        let done = format!(
            "node {0} has no replicas: stop it, then `rookery node remove {0}`",
            self.node
        );
        // After the lines of a plan and its job, a line of its own.
        match as_json {
            true => output::json_line(&json!({ "done": done })),
            false => output::done(false, &done),
        }
    }

    /// Has job after job move what the node has, until it has nothing.
    async fn empty(&self, clients: &mut Clients, as_json: bool) -> anyhow::Result<()> {
        let mut before = None;
        loop {
            // Another's job has to end first: there is one at a time.
            if let Some(job) = job_under_way(clients).await? {
                rebalance::watch(&mut clients.rebalance, Some(job), as_json).await?;
            }
            let left = replicas(clients, &self.node).await?;
            if left == 0 {
                return Ok(());
            }
            if before.is_some_and(|before| left >= before) {
                bail!("{}", said_of_rest(&self.node, left));
            }
            before = Some(left);
            match rebalance::apply(&mut clients.rebalance, self.limits, as_json).await? {
                Some(job) => rebalance::watch(&mut clients.rebalance, Some(job), as_json).await?,
                None => bail!("{}", said_of_rest(&self.node, left)),
            }
        }
    }
}

/// The job that is being carried out. One that is paused would be waited for in vain.
async fn job_under_way(clients: &mut Clients) -> anyhow::Result<Option<u64>> {
    let job = match clients.rebalance.get_job(GetJobRequest {}).await {
        Ok(job) => job.into_inner(),
        Err(status) if status.code() == Code::NotFound => return Ok(None),
        Err(status) => return Err(refused(status)),
    };
    waits_for(&job)
}

fn waits_for(job: &GetJobResponse) -> anyhow::Result<Option<u64>> {
    use rookery_proto::admin::v1::JobState;
    match job.state() {
        JobState::Running | JobState::Aborting => Ok(Some(job.job)),
        JobState::Paused => Err(anyhow!(
            "job {} is paused: the node is emptied after it; go on with `rookery rebalance resume`, or end it with `rookery \
             rebalance abort`",
            job.job
        )),
        JobState::Done | JobState::Aborted | JobState::Unspecified => Ok(None),
    }
}

/// How many replicas a node has, as they are placed.
async fn replicas(clients: &mut Clients, node: &str) -> anyhow::Result<u32> {
    let listed = clients.admin.list_nodes(ListNodesRequest {}).await;
    let nodes = listed.map_err(refused)?.into_inner().nodes;
    nodes
        .iter()
        .find(|listed| listed.id == node)
        .map(|listed| listed.shards)
        .ok_or_else(|| anyhow!("node {node} is not there any more"))
}

fn said(node: &str, undo: bool) -> String {
    if undo {
        format!("node {node} gets shards again: run `rookery rebalance` to give it its share")
    } else {
        format!("node {node} gets nothing new: run `rookery rebalance` to empty it")
    }
}

fn said_of_rest(node: &str, left: u32) -> String {
    format!(
        "node {node} has {left} replicas still, and must not go: they have no other place, or could not be moved; `rookery \
         rebalance plan` and `rookery node list` show why, `rookery node drain {node} --undo` lets it stay"
    )
}

#[cfg(test)]
mod tests {
    use rookery_proto::admin::v1::JobState;

    use super::*;

    #[test]
    fn a_drain_says_what_to_do_next() {
        assert!(said("mailstore-2", false).contains("`rookery rebalance` to empty it"));
        assert!(said("mailstore-2", true).contains("gets shards again"));
        assert!(said_of_rest("mailstore-2", 3).contains("3 replicas"));
    }

    #[test]
    fn jobs_that_go_on_are_waited_for_and_paused_ones_are_named() {
        let job = |state: JobState| GetJobResponse {
            job: 4,
            state: state.into(),
            ..GetJobResponse::default()
        };
        assert_eq!(waits_for(&job(JobState::Running)).unwrap(), Some(4));
        assert_eq!(waits_for(&job(JobState::Aborting)).unwrap(), Some(4));
        assert_eq!(waits_for(&job(JobState::Done)).unwrap(), None);
        let paused = waits_for(&job(JobState::Paused)).unwrap_err().to_string();
        assert!(
            paused.contains("job 4 is paused") && paused.contains("resume"),
            "{paused}"
        );
    }
}
