//! `rookery shard transfer`: one replica to another node, as a job of its own.

use clap::Args;
use rookery_proto::admin::v1::TransferShardRequest;
use serde_json::json;

use super::super::RebalanceClient;
use super::super::output::{self, refused};
use super::super::rebalance::{LimitArguments, say_begun, watch};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The shard's number
    id: u32,
    /// The node whose replica goes
    #[arg(long, value_name = "NODE")]
    from: String,
    /// The node that gets a new one
    #[arg(long, value_name = "NODE")]
    to: String,
    #[command(flatten)]
    limits: LimitArguments,
    /// Show how far it is until it ends
    #[arg(long)]
    watch: bool,
}

impl Arguments {
    pub(super) async fn run(self, client: &mut RebalanceClient, as_json: bool) -> anyhow::Result<()> {
        let request = TransferShardRequest {
            shard: self.id,
            from: self.from,
            to: self.to,
            limits: Some(self.limits.to_limits()),
        };
        let job = client
            .transfer_shard(request)
            .await
            .map_err(refused)?
            .into_inner()
            .job;
        if as_json {
            output::json_line(&json!({ "job": job }))?;
        }
        if self.watch {
            return watch(client, Some(job), as_json).await;
        }
        if as_json { Ok(()) } else { say_begun(job) }
    }
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

    #[test]
    fn both_nodes_are_named() {
        let parse = |words: &str| {
            let words = std::iter::once("transfer").chain(words.split_whitespace());
            Line::try_parse_from(words).map(|line| line.arguments)
        };
        let given = parse("7 --from mailstore-1 --to mailstore-4 --throttle 5MB/s --watch").unwrap();
        assert_eq!(
            (given.id, given.from.as_str(), given.to.as_str()),
            (7, "mailstore-1", "mailstore-4")
        );
        assert_eq!(given.limits.to_limits().bytes_per_second, 5_000_000);
        assert!(given.watch);
        for wrong in [
            "7",
            "7 --from mailstore-1",
            "7 --to mailstore-4",
            "seven --from a --to b",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
