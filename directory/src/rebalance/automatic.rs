//! What the directory may do without an operator's word, and why: pure, so that who is told of an act is told what it rested on.
//!
//! A lost mailstore is given up when all that it has is elsewhere too; loads are evened when they are outside of a band and a plan
//! brings them nearer to it. In doubt nothing is done.

use std::collections::HashMap;
use std::time::Duration;

use rookery_proto::directory::v1::{Node, NodeRole, Shard};

use super::plan::{Plan, Why};
use super::table::PPM;

/// A plan that brings the most loaded node by less than this nearer to its share is not worth its bytes.
const GAIN_PPM_MIN: u64 = PPM / 50;

/// Whether a mailstore is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loss {
    /// None is.
    None,
    /// This one, and it can be given up.
    Of {
        /// Its id.
        node: String,
        /// How long nothing has been heard of it.
        silence: Duration,
    },
    /// One may be, but somebody has to look.
    Doubtful(String),
}

/// Looks for a mailstore of which nothing has been heard for so long that its replicas are to be made anew elsewhere.
pub(crate) fn loss(
    nodes: &[Node],
    shards: &[Shard],
    silent: &HashMap<String, Duration>,
    silent_max: Duration,
) -> Loss {
    let mailstores = || nodes.iter().filter(|node| node.role() == NodeRole::Mailstore);
    let away = || mailstores().filter(|node| !node.alive && !node.draining);
    let silence = |node: &Node| silent.get(&node.id).copied().unwrap_or_default();
    let Some(lost) = away().find(|node| silence(node) >= silent_max) else {
        return Loss::None;
    };
    if away().count() > 1 {
        let names: Vec<&str> = away().map(|node| node.id.as_str()).collect();
        return Loss::Doubtful(format!(
            "several mailstores are silent ({}): that looks like the network, so none is given up",
            names.join(", ")
        ));
    }
    let is_there = |id: &String| mailstores().any(|node| node.alive && node.id == *id);
    let held: Vec<&Shard> = shards
        .iter()
        .filter(|shard| shard.replicas.contains(&lost.id))
        .collect();
    let alone = held.iter().find(|shard| {
        let there = shard.replicas.iter().filter(|node| is_there(node)).count();
        there * 2 <= shard.replicas.len()
    });
    if let Some(shard) = alone {
        return Loss::Doubtful(format!(
            "{} is silent, and without it shard {} has no majority: start it again",
            lost.id, shard.id
        ));
    }
    let able = mailstores().filter(|node| node.alive && !node.draining).count();
    let needed = held.iter().map(|shard| shard.replicas.len()).max().unwrap_or(0);
    if able < needed {
        return Loss::Doubtful(format!(
            "{} is silent, and {able} mailstores are too few for {needed} replicas: start it again, or add one",
            lost.id
        ));
    }
    Loss::Of {
        node: lost.id.clone(),
        silence: silence(lost),
    }
}

/// Why a plan is to be carried out; nothing when it is not.
pub(crate) fn worth(plan: &Plan, band_ppm: u64) -> Option<String> {
    let evens = |why: &Why| matches!(why, Why::Overloaded { .. } | Why::Underloaded { .. });
    let needful: Vec<&Why> = plan
        .transfers
        .iter()
        .map(|transfer| &transfer.why)
        .filter(|why| !evens(why))
        .collect();
    if let Some(first) = needful.first() {
        let count = needful.len();
        return Some(format!("{count} replicas cannot stay where they are ({first})"));
    }
    let (before, after) = (&plan.before.balance, &plan.after.balance);
    let percent = |ppm: u64| ppm * 100 / PPM;
    let has_too_much = before.load_most_ppm > PPM + band_ppm;
    if has_too_much && after.load_most_ppm + GAIN_PPM_MIN <= before.load_most_ppm {
        return Some(format!(
            "the most loaded mailstore has {} % of its share, and will have {} %",
            percent(before.load_most_ppm),
            percent(after.load_most_ppm)
        ));
    }
    let has_too_little = before.load_least_ppm + band_ppm < PPM;
    if has_too_little && after.load_least_ppm >= before.load_least_ppm + GAIN_PPM_MIN {
        return Some(format!(
            "the least loaded mailstore has {} % of its share, and will have {} %",
            percent(before.load_least_ppm),
            percent(after.load_least_ppm)
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::table::{Balance, Table};
    use super::*;
    use crate::rebalance::plan::{Place, Transfer};
    use crate::schema::ShardId;

    const GRACE: Duration = Duration::from_secs(900);

    fn node(id: &str, alive: bool) -> Node {
        Node {
            id: id.to_owned(),
            role: NodeRole::Mailstore.into(),
            alive,
            ..Node::default()
        }
    }

    fn shard(id: u32, replicas: &[&str]) -> Shard {
        Shard {
            id,
            replicas: replicas.iter().map(|node| (*node).to_owned()).collect(),
            ..Shard::default()
        }
    }

    fn silent(nodes: &[(&str, u64)]) -> HashMap<String, Duration> {
        let of = |(node, seconds): &(&str, u64)| ((*node).to_owned(), Duration::from_secs(*seconds));
        nodes.iter().map(of).collect()
    }

    #[test]
    fn a_mailstore_is_given_up_when_all_that_it_has_is_elsewhere() {
        let nodes = ["a", "b", "c", "d"].map(|id| node(id, id != "a"));
        let shards = [shard(1, &["a", "b", "c"]), shard(2, &["b", "c", "d"])];
        let look = |seconds| loss(&nodes, &shards, &silent(&[("a", seconds)]), GRACE);
        assert_eq!(look(899), Loss::None);
        let given_up = Loss::Of {
            node: "a".to_owned(),
            silence: GRACE,
        };
        assert_eq!(look(900), given_up);
        // Given up once: it is being drained from then on.
        let mut drained = nodes.clone();
        drained[0].draining = true;
        assert_eq!(
            loss(&drained, &shards, &silent(&[("a", 9_000)]), GRACE),
            Loss::None
        );
    }

    #[test]
    fn in_doubt_nothing_is_given_up() {
        let doubtful = |nodes: &[Node], shards: &[Shard], about: &str| {
            let silent = silent(&[("a", 2_000), ("b", 5)]);
            match loss(nodes, shards, &silent, GRACE) {
                Loss::Doubtful(why) => assert!(why.contains(about), "{why}"),
                other => panic!("{other:?}"),
            }
        };
        let two_away = ["a", "b", "c", "d"].map(|id| node(id, id > "b"));
        doubtful(&two_away, &[shard(1, &["a", "c", "d"])], "network");
        let one_away = ["a", "b", "c"].map(|id| node(id, id != "a"));
        doubtful(&one_away, &[shard(7, &["a"])], "shard 7");
        doubtful(&one_away, &[shard(7, &["a", "b", "c"])], "too few");
    }

    fn plan(whys: &[Why], before: (u64, u64), after: (u64, u64)) -> Plan {
        let transfer = |why: &Why| Transfer {
            shard: ShardId(1),
            generation: 1,
            from: Some(Place {
                replica: 1,
                node: "a".to_owned(),
            }),
            to: "b".to_owned(),
            bytes: 1,
            why: why.clone(),
        };
        let table = |(most, least): (u64, u64)| Table {
            balance: Balance {
                load_most_ppm: most * PPM / 100,
                load_least_ppm: least * PPM / 100,
                ..Balance::default()
            },
            ..Table::default()
        };
        Plan {
            state_version: 1,
            transfers: whys.iter().map(transfer).collect(),
            leads: Vec::new(),
            problems: Vec::new(),
            bytes: 1,
            bytes_least: 1,
            eta_seconds: None,
            before: table(before),
            after: table(after),
        }
    }

    #[test]
    fn loads_are_evened_outside_of_the_band_and_when_it_helps() {
        let even = [Why::Overloaded { percent: 130 }];
        let worth = |before, after| worth(&plan(&even, before, after), PPM / 10);
        assert_eq!(worth((109, 95), (100, 100)), None, "within the band");
        let why = worth((130, 95), (104, 97)).expect("is worth it");
        assert!(why.contains("130 %") && why.contains("104 %"), "{why}");
        let why = worth((104, 40), (103, 98)).expect("is worth it");
        assert!(why.contains("least") && why.contains("40 %"), "{why}");
        assert_eq!(
            worth((130, 95), (129, 95)),
            None,
            "one shard is as large as it is"
        );
        assert_eq!(worth((104, 40), (104, 41)), None);
    }

    #[test]
    fn replicas_that_cannot_stay_are_moved_whatever_the_balance() {
        let whys = [Why::Underloaded { percent: 1 }, Why::NodeDraining];
        let why = worth(&plan(&whys, (100, 100), (100, 100)), PPM / 10).expect("is worth it");
        assert!(why.starts_with("1 replicas") && why.contains("drained"), "{why}");
        assert_eq!(worth(&plan(&[], (100, 100), (100, 100)), PPM / 10), None);
    }
}
