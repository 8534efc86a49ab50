//! `rookery shard verify`: are the replicas of each shard equal?

use anyhow::anyhow;
use rookery_proto::admin::v1::{CompareReplicasRequest, ReplicaDigest, Shard};
use serde_json::json;

use super::super::AdminClient;
use super::super::output::{self, refused};

/// What came of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Equal,
    Different,
    /// Entries came in between the digests all the while.
    Busy,
    /// Some replica gave no digest.
    Incomplete,
}

impl Verdict {
    fn of(replicas: &[ReplicaDigest]) -> Self {
        let mut given = replicas.iter().filter(|one| one.error.is_empty());
        let Some(first) = given.next() else {
            return Verdict::Incomplete;
        };
        let at = |one: &ReplicaDigest| (one.term, one.index);
        let rest: Vec<_> = given.collect();
        if rest
            .iter()
            .any(|one| at(one) == at(first) && one.hash != first.hash)
        {
            Verdict::Different
        } else if rest.len() + 1 < replicas.len() {
            Verdict::Incomplete
        } else if rest.iter().any(|one| at(one) != at(first)) {
            Verdict::Busy
        } else {
            Verdict::Equal
        }
    }

    fn word(self) -> &'static str {
        match self {
            Verdict::Equal => "equal",
            Verdict::Different => "DIFFERENT",
            Verdict::Busy => "busy",
            Verdict::Incomplete => "incomplete",
        }
    }
}

pub(super) async fn run(client: &mut AdminClient, shards: &[Shard], as_json: bool) -> anyhow::Result<()> {
    let mut compared = Vec::with_capacity(shards.len());
    for shard in shards {
        let request = CompareReplicasRequest { shard: shard.id };
        let answer = client.compare_replicas(request).await;
        let answer = match answer {
            Err(status) if status.code() != tonic::Code::Unavailable => return Err(refused(status)),
            answer => answer.map(tonic::Response::into_inner),
        };
        compared.push(match answer {
            Ok(answer) => (
                shard.id,
                Verdict::of(&answer.replicas),
                answer.replicas,
                String::new(),
            ),
            Err(status) => (
                shard.id,
                Verdict::Incomplete,
                Vec::new(),
                status.message().to_owned(),
            ),
        });
    }
    if as_json {
        let rows: Vec<_> = compared
            .iter()
            .map(|(id, verdict, replicas, error)| {
                let replicas: Vec<_> = replicas.iter().map(to_json).collect();
                json!({ "id": id, "verdict": verdict.word().to_lowercase(), "replicas": replicas, "error": error })
            })
            .collect();
        output::json(&json!({ "shards": rows }))?;
    } else {
        let rows: Vec<_> = compared
            .iter()
            .map(|(id, verdict, replicas, error)| {
                let rows = replicas.first().map_or(0, |one| one.rows);
                let bytes = replicas.first().map_or(0, |one| one.bytes);
                let said: Vec<_> = replicas.iter().map(one_line).collect();
                vec![
                    id.to_string(),
                    verdict.word().to_owned(),
                    rows.to_string(),
                    bytes.to_string(),
                    if error.is_empty() {
                        said.join(" ")
                    } else {
                        error.clone()
                    },
                ]
            })
            .collect();
        output::table(&["SHARD", "REPLICAS", "ROWS", "BYTES", "DIGESTS"], &rows)?;
    }
    conclude(
        &compared
            .iter()
            .map(|(id, verdict, ..)| (*id, *verdict))
            .collect::<Vec<_>>(),
    )
}

/// The command's end: an error unless all are equal.
fn conclude(verdicts: &[(u32, Verdict)]) -> anyhow::Result<()> {
    let of = |wanted: &[Verdict]| -> Vec<String> {
        let found = verdicts.iter().filter(|(_, verdict)| wanted.contains(verdict));
        found.map(|(id, _)| id.to_string()).collect()
    };
    let different = of(&[Verdict::Different]);
    if !different.is_empty() {
        return Err(anyhow!(
            "replicas differ in shard {}: keep the nodes' folders, stop the node whose digest is alone, and let its replicas be made anew",
            different.join(", ")
        ));
    }
    let open = of(&[Verdict::Busy, Verdict::Incomplete]);
    if !open.is_empty() {
        return Err(anyhow!(
            "not all replicas could be compared in shard {}: try again when its nodes are there and it is written to less",
            open.join(", ")
        ));
    }
    Ok(())
}

fn to_json(one: &ReplicaDigest) -> serde_json::Value {
    json!({
        "node": one.node, "replica": one.replica, "error": one.error, "term": one.term, "index": one.index,
        "rows": one.rows, "bytes": one.bytes, "hash": hex(&one.hash),
    })
}

fn one_line(one: &ReplicaDigest) -> String {
    if one.error.is_empty() {
        let start = one.hash.get(..6).unwrap_or_default();
        format!("{}:{}@{}", one.node, hex(start), one.index)
    } else {
        format!("{}:({})", one.node, one.error)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(index: u64, hash: u8) -> ReplicaDigest {
        ReplicaDigest {
            index,
            hash: vec![hash; 32].into(),
            ..ReplicaDigest::default()
        }
    }

    fn away() -> ReplicaDigest {
        ReplicaDigest {
            error: "away".to_owned(),
            ..ReplicaDigest::default()
        }
    }

    #[test]
    fn only_digests_of_one_position_are_compared() {
        assert_eq!(Verdict::of(&[one(7, 1), one(7, 1), one(7, 1)]), Verdict::Equal);
        assert_eq!(Verdict::of(&[one(7, 1)]), Verdict::Equal);
        assert_eq!(Verdict::of(&[one(7, 1), one(8, 2)]), Verdict::Busy);
        assert_eq!(
            Verdict::of(&[one(7, 1), one(7, 2), one(7, 1)]),
            Verdict::Different
        );
        assert_eq!(Verdict::of(&[one(7, 1), away()]), Verdict::Incomplete);
        assert_eq!(Verdict::of(&[one(7, 1), one(7, 2), away()]), Verdict::Different);
        assert_eq!(Verdict::of(&[]), Verdict::Incomplete);
    }

    #[test]
    fn the_command_fails_unless_all_are_equal() {
        assert!(conclude(&[(0, Verdict::Equal)]).is_ok());
        let said = |verdict| {
            conclude(&[(0, Verdict::Equal), (5, verdict)])
                .unwrap_err()
                .to_string()
        };
        assert!(said(Verdict::Different).contains("differ in shard 5"));
        assert!(said(Verdict::Busy).contains("compared in shard 5"));
    }
}
