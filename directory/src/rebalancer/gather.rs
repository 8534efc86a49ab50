//! What a plan is made from: rows, who is there, and what nodes have said.

use std::collections::HashMap;
use std::time::Duration;

use rookery_proto::directory::v1::{self as directory, NodeRole};
use rookery_proto::{Reason, Status};
use tokio::time::Instant;

use crate::core::Core;
use crate::rebalance::execute::Job;
use crate::rebalance::stored::Stage;
use crate::rebalance::{Condition, Node, Rates, Replica, Shard, Shares, State};
use crate::reports::Report;
use crate::schema::read::ReadError;
use crate::schema::{ShardId, key};

/// How long nodes have to say what they have, after a new member has taken the directory's lead, or they have just come.
const REPORTS_MAX: Duration = Duration::from_secs(10);

/// Pause between two looks at what they have said.
const REPORTS_PAUSE: Duration = Duration::from_millis(100);

/// The state of things.
pub(super) async fn state(core: &Core) -> Result<State, Status> {
    are_known(&core.picture.nodes())?;
    let reports = reports(core).await?;
    let operations = core.reports.rates();
    let rates = rates(super::last_job(core).await?.as_ref());
    // Before nodes and placements, so that what changes meanwhile makes the plan stale, and after all that waits.
    let (placement, counts) = numbers(core).await?;
    let (nodes, shards) = (core.picture.nodes(), core.picture.shards());
    Ok(State {
        version: placement,
        replicas: core.cluster.replicas,
        nodes: nodes
            .iter()
            .filter(|node| node.role() == NodeRole::Mailstore)
            .map(|held| node(held, reports.get(&held.id)))
            .collect(),
        shards: shards
            .into_iter()
            .map(|held| {
                let accounts = counts.get(&held.id).copied().unwrap_or(0);
                let operations_milli = operations.get(&held.id).copied().unwrap_or(0);
                shard(held, (accounts, operations_milli), &reports)
            })
            .collect(),
        shares: Shares::default(),
        rates,
    })
}

/// The version of nodes and placements, and how many accounts each shard has.
async fn numbers(core: &Core) -> Result<(u64, HashMap<u32, u64>), Status> {
    let read = core.state.read(|rows| {
        let counts = rows.shards()?.into_iter().map(|(id, _)| {
            let count = rows.counter(&key::count_shard_accounts(ShardId(id.0)))?;
            Ok((id.0, count))
        });
        let counts: HashMap<u32, u64> = counts.collect::<Result<_, ReadError>>()?;
        Ok::<_, ReadError>((rows.sequences()?.placement, counts))
    });
    Ok(read.await??)
}

/// A node that is silent may be back in a moment with all that it has: whether it is, the operator has to say.
fn are_known(nodes: &[directory::Node]) -> Result<(), Status> {
    let unknown = nodes
        .iter()
        .find(|node| node.role() == NodeRole::Mailstore && !node.alive && !node.draining);
    match unknown {
        None => Ok(()),
        Some(node) => {
            let id = &node.id;
            let message = format!(
                "{id} is silent: start it again, or, when it is not coming back, `rookery node drain {id}` has its replicas made anew elsewhere"
            );
            Err(Status::new(Reason::FailedPrecondition, message))
        }
    }
}

/// What the mailstores that are there have said, once each has: without that a node would seem to be empty.
async fn reports(core: &Core) -> Result<HashMap<String, Report>, Status> {
    let until = Instant::now() + REPORTS_MAX;
    loop {
        let reports = core.reports.all();
        let nodes = core.picture.nodes().into_iter();
        let mut nodes = nodes.filter(|node| node.alive && node.role() == NodeRole::Mailstore);
        let waits_for = nodes.find(|node| {
            let report = reports.get(&node.id);
            // A disk of which nothing is said even then is not measured there.
            report.is_none_or(|report| report.disk_total == 0 && Instant::now() < until)
        });
        match waits_for {
            None => return Ok(reports),
            Some(node) if Instant::now() >= until => {
                let message = format!("{} has not said what it has: is it well? Try again", node.id);
                return Err(Status::unavailable(message));
            }
            Some(_) => tokio::time::sleep(REPORTS_PAUSE).await,
        }
    }
}

fn node(node: &directory::Node, report: Option<&Report>) -> Node {
    let condition = match (node.draining, node.alive) {
        (false, _) => Condition::Active,
        (true, true) => Condition::Draining,
        (true, false) => Condition::Gone,
    };
    Node {
        id: node.id.clone(),
        zone: node.zone.clone(),
        weight: node.weight,
        condition,
        bytes_max: report.and_then(Report::bytes_max),
    }
}

/// With its accounts, and calls a second in thousandths.
fn shard(
    shard: directory::Shard,
    (accounts, operations_milli): (u64, u64),
    reports: &HashMap<String, Report>,
) -> Shard {
    let load = |node: &String| reports.get(node).and_then(|report| report.loads.get(&shard.id));
    let leader = Some(&shard.leader).filter(|leader| !leader.is_empty());
    let led = leader.and_then(load);
    let most = || {
        shard
            .replicas
            .iter()
            .filter_map(load)
            .map(|load| load.bytes)
            .max()
    };
    Shard {
        id: ShardId(shard.id),
        generation: shard.generation,
        bytes: led.map(|load| load.bytes).or_else(most).unwrap_or(0),
        operations_milli,
        accounts,
        leader: leader.cloned(),
        replicas: shard
            .members
            .iter()
            .map(|member| Replica {
                id: member.id,
                node: member.node.clone(),
            })
            .collect(),
    }
}

/// How fast the last rebalance was.
fn rates(job: Option<&Job>) -> Rates {
    let Some(job) = job else { return Rates::default() };
    let done = || {
        job.transfers
            .iter()
            .filter(|transfer| transfer.stage() == Stage::Done && transfer.bytes > 0)
    };
    let bytes: u64 = done().map(|transfer| transfer.bytes).sum();
    let began = done().map(|transfer| transfer.began_at_millis).min();
    let ended = done().map(|transfer| transfer.ended_at_millis).max();
    let each: u64 = done()
        .map(|transfer| transfer.ended_at_millis.saturating_sub(transfer.began_at_millis))
        .sum();
    let (Some(began), Some(ended)) = (began, ended) else {
        return Rates::default();
    };
    let together = ended.saturating_sub(began).max(1);
    let rate = |millis: u64| {
        u64::try_from(u128::from(bytes) * 1_000 / u128::from(millis.max(1))).unwrap_or(u64::MAX)
    };
    Rates {
        // A node has a part in so many at one time.
        node_bytes_per_second: rate(each).saturating_mul(u64::from(job.row.transfers_max.max(1))),
        all_bytes_per_second: rate(together),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rebalance::stored::{JobRow, TransferRow};

    #[test]
    fn a_silent_node_is_waited_for_until_it_is_drained() {
        let silent = |draining| directory::Node {
            id: "a".to_owned(),
            role: NodeRole::Mailstore.into(),
            draining,
            ..directory::Node::default()
        };
        let refused = are_known(&[silent(false)]).unwrap_err();
        assert!(refused.message.contains("node drain a"), "{}", refused.message);
        assert!(are_known(&[silent(true)]).is_ok());
        assert_eq!(node(&silent(true), None).condition, Condition::Gone);
    }

    #[test]
    fn rates_are_those_of_the_last_rebalance() {
        let transfer = |began, ended| TransferRow {
            bytes: 1_000_000,
            stage: Stage::Done.into(),
            began_at_millis: began,
            ended_at_millis: ended,
            ..TransferRow::default()
        };
        let mut job = Job {
            row: JobRow {
                transfers_max: 2,
                ..JobRow::default()
            },
            transfers: vec![transfer(1_000, 3_000), transfer(1_000, 3_000)],
            leads: Vec::new(),
        };
        let rates = rates(Some(&job));
        assert_eq!(rates.all_bytes_per_second, 1_000_000);
        assert_eq!(rates.node_bytes_per_second, 1_000_000);
        job.transfers.clear();
        assert_eq!(super::rates(Some(&job)), Rates::default());
    }
}
