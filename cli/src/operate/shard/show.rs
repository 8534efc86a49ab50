//! `rookery shard show`: one shard, replica by replica.

use rookery_proto::admin::v1::Shard;

use super::super::output;
use super::super::quantity::{milli, size};
use super::list;

/// Prints each shard; there is one.
pub(super) fn print(shards: &[Shard], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::json(&list::values(shards));
    }
    for shard in shards {
        output::lines(heading(shard).into_iter())?;
        output::table(&["REPLICA", "NODE", "STATE"], &members(shard))?;
    }
    Ok(())
}

fn heading(shard: &Shard) -> [String; 3] {
    let leader = match shard.leader.as_str() {
        "" => "no leader is known".to_owned(),
        leader => format!("led by {leader}"),
    };
    [
        format!("shard {}, generation {}, {leader}", shard.id, shard.generation),
        format!(
            "{} in each replica, {} accounts, {} calls a second",
            size(shard.bytes),
            shard.accounts,
            milli(shard.operations_milli)
        ),
        String::new(),
    ]
}

/// Those that are to be, and those that still vote though they are to go.
fn members(shard: &Shard) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (number, node) in shard.members.iter().zip(&shard.replicas) {
        let votes = shard.voters.contains(number);
        let mut state = vec![if votes { "votes" } else { "learns" }];
        if votes && *node == shard.leader {
            state.push("leads");
        }
        rows.push(vec![number.to_string(), node.clone(), state.join(", ")]);
    }
    for number in shard
        .voters
        .iter()
        .filter(|number| !shard.members.contains(number))
    {
        rows.push(vec![
            number.to_string(),
            "-".to_owned(),
            "votes, is leaving".to_owned(),
        ]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moving() -> Shard {
        Shard {
            id: 7,
            generation: 3,
            replicas: vec!["mailstore-2".into(), "mailstore-1".into(), "mailstore-4".into()],
            members: vec![17, 18, 40],
            voters: vec![17, 18, 19],
            accounts: 12,
            leader: "mailstore-1".to_owned(),
            bytes: 5_000,
            operations_milli: 900,
            cpu_ppm: 1_200,
            forming: false,
        }
    }

    #[test]
    fn a_shard_on_its_way_shows_who_votes_learns_and_leaves() {
        let rows: Vec<String> = members(&moving()).iter().map(|row| row.join(" ")).collect();
        assert_eq!(
            rows,
            [
                "17 mailstore-2 votes",
                "18 mailstore-1 votes, leads",
                "40 mailstore-4 learns",
                "19 - votes, is leaving",
            ]
        );
        assert_eq!(
            heading(&moving())[..2],
            [
                "shard 7, generation 3, led by mailstore-1",
                "5.0 kB in each replica, 12 accounts, 0.9 calls a second",
            ]
        );
    }

    #[test]
    fn a_shard_without_a_leader_says_so() {
        let shard = Shard {
            leader: String::new(),
            ..moving()
        };
        assert!(heading(&shard)[0].ends_with("no leader is known"));
        assert!(members(&shard).iter().all(|row| !row[2].contains("leads")));
    }
}
