//! `rookery shard list`.

use rookery_directory::admin::json;
use rookery_proto::admin::v1::Shard;
use serde_json::{Value, json};

use super::super::output;
use super::super::quantity::{milli, size};

pub(super) fn print(shards: &[Shard], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::json(&values(shards));
    }
    let rows: Vec<_> = shards.iter().map(row).collect();
    output::table(
        &[
            "SHARD",
            "GENERATION",
            "LEADER",
            "REPLICAS",
            "ACCOUNTS",
            "BYTES",
            "OPS/S",
        ],
        &rows,
    )
}

fn row(shard: &Shard) -> Vec<String> {
    vec![
        shard.id.to_string(),
        shard.generation.to_string(),
        shard.leader.clone(),
        shard.replicas.join(" "),
        shard.accounts.to_string(),
        size(shard.bytes),
        milli(shard.operations_milli),
    ]
}

/// Shards as JSON.
pub(super) fn values(shards: &[Shard]) -> Value {
    json!({ "shards": json::shards(shards) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_where_a_shard_lies_and_what_it_weighs() {
        let shard = Shard {
            id: 7,
            generation: 3,
            replicas: vec!["mailstore-2".to_owned(), "mailstore-1".to_owned()],
            accounts: 12,
            leader: "mailstore-2".to_owned(),
            bytes: 1_234_567,
            operations_milli: 3_450,
            ..Shard::default()
        };
        assert_eq!(
            row(&shard).join(" | "),
            "7 | 3 | mailstore-2 | mailstore-2 mailstore-1 | 12 | 1.2 MB | 3.4"
        );
        let listed = values(&[shard]);
        assert_eq!(listed["shards"][0]["operations_milli"], 3_450);
    }
}
