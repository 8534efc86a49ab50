//! The planner on small clusters: what it does for each reason, and what it makes of bad input.

mod least;

use super::*;
use crate::schema::ShardId;

/// A node of the usual weight; zones are named by the letter.
pub(super) fn node(id: &str, zone: &str) -> Node {
    Node {
        id: id.to_owned(),
        zone: zone.to_owned(),
        weight: 100,
        condition: Condition::Active,
        bytes_max: None,
    }
}

/// Nodes named by their letters, each in its own zone.
fn nodes(ids: &str) -> Vec<Node> {
    ids.chars().map(|id| node(&id.to_string(), "")).collect()
}

/// A shard of 10 bytes on the nodes of these letters; its replicas have numbers of their own.
pub(super) fn shard(id: u32, on: &str) -> Shard {
    let replicas = on.chars().zip(1..).map(|(node, number)| Replica {
        id: u64::from(id) * 10 + number,
        node: node.to_string(),
    });
    Shard {
        id: ShardId(id),
        generation: 5,
        replicas: replicas.collect(),
        leader: None,
        bytes: 10,
        accounts: 1,
        operations_milli: 1_000,
    }
}

fn state(nodes: Vec<Node>, shards: Vec<Shard>, replicas: u32) -> State {
    State {
        version: 42,
        replicas,
        nodes,
        shards,
        ..State::default()
    }
}

fn moves(plan: &Plan) -> Vec<String> {
    let from = |transfer: &Transfer| {
        transfer
            .from
            .as_ref()
            .map_or("-".to_owned(), |from| from.node.clone())
    };
    plan.transfers
        .iter()
        .map(|transfer| {
            format!(
                "{}: {} > {}, {}",
                transfer.shard,
                from(transfer),
                transfer.to,
                transfer.why
            )
        })
        .collect()
}

/// Three shards on three nodes, all even.
fn even() -> State {
    state(
        nodes("abc"),
        vec![shard(0, "abc"), shard(1, "bca"), shard(2, "cab")],
        3,
    )
}

#[test]
fn what_is_even_stays() {
    let plan = plan(&even());
    assert!(plan.is_empty() && plan.problems.is_empty(), "{plan:?}");
    assert_eq!(
        (plan.state_version, plan.bytes, plan.bytes_least, plan.eta_seconds),
        (42, 0, 0, None)
    );
    assert_eq!(plan.before, plan.after);
    assert!(plan.after.balance.load_most_ppm.abs_diff(PPM) < 10);
    assert!(text(&plan, 10).starts_with("Nothing is to be moved.\n"));
}

#[test]
fn a_drained_node_is_emptied_and_leads_no_more() {
    let mut state = even();
    state.nodes.push(node("d", ""));
    state.nodes[1].condition = Condition::Draining;
    state.rates.node_bytes_per_second = 10;
    let plan = plan(&state);
    assert_eq!(
        moves(&plan),
        [
            "0: b > d, its node is being drained",
            "1: b > d, its node is being drained",
            "2: b > d, its node is being drained"
        ]
    );
    assert_eq!(
        (plan.bytes, plan.bytes_least, plan.eta_seconds),
        (30, 30, Some(3))
    );
    assert_eq!(plan.transfers[0].generation, 5);
    assert_eq!(plan.transfers[0].from.as_ref().map(|from| from.replica), Some(2));
    let lead = &plan.leads[0];
    assert_eq!(
        (
            lead.shard.0,
            lead.from.as_deref(),
            lead.to.as_str(),
            lead.generation
        ),
        (1, Some("b"), "d", 6)
    );
    let of = |table: &Table, node: &str| table.nodes.iter().find(|row| row.node == node).unwrap().clone();
    assert_eq!(
        (of(&plan.before, "b").replicas, of(&plan.after, "b").replicas),
        (3, 0)
    );
    assert_eq!(
        (of(&plan.after, "d").replicas, of(&plan.after, "d").leads),
        (3, 1)
    );
    assert_eq!(of(&plan.after, "b").load_ppm, None);
    let text = text(&plan, 2);
    assert!(
        text.contains("3 transfers of 30 B (at least 30 B must move), 1 leads; about 3 s"),
        "{text}"
    );
    assert!(
        text.contains("  and 1 more\n") && text.contains("3 → 0"),
        "{text}"
    );
}

#[test]
fn who_leads_goes_on_though_the_first_replica_is_replaced() {
    let mut state = even();
    state.nodes.push(node("d", ""));
    state.nodes[0].condition = Condition::Gone;
    // b comes first in the placement once a has gone.
    for (shard, leader) in state.shards.iter_mut().zip(["c", "b", "c"]) {
        shard.leader = Some(leader.to_owned());
    }
    let plan = plan(&state);
    let lead = plan.leads.iter().find(|lead| lead.shard == ShardId(0)).unwrap();
    assert_eq!(
        (lead.from.as_deref(), lead.to.as_str(), lead.why),
        (Some("c"), "c", WhyLead::Stays)
    );
    assert_eq!(lead.generation, 6, "after its transfer");
}

#[test]
fn a_new_node_gets_its_share_and_no_byte_more() {
    let mut state = state(nodes("abc"), (0..16).map(|id| shard(id, "abc")).collect(), 3);
    state.nodes.push(node("d", ""));
    let plan = plan(&state);
    // 48 replicas, 12 for each; eleven would be 92 % of that.
    assert_eq!(plan.transfers.len(), 12);
    assert!(plan.transfers.iter().all(|transfer| transfer.to == "d"));
    assert!(
        plan.after.balance.load_most_ppm <= 1_050_000,
        "{:?}",
        plan.after.balance
    );
    assert_eq!(plan.problems, []);
}

#[test]
fn zones_are_told_apart_before_anything_else() {
    let zones = vec![node("a", "x"), node("b", "x"), node("c", "y"), node("d", "z")];
    let plan_of = |nodes: &[Node]| plan(&state(nodes.to_vec(), vec![shard(0, "abc")], 3));
    let parted = plan_of(&zones);
    assert_eq!(parted.transfers.len(), 1);
    assert_eq!(
        (parted.transfers[0].to.as_str(), &parted.transfers[0].why),
        ("d", &Why::SameZone { zone: "x".into() })
    );
    // With two zones it cannot be helped.
    let few = plan_of(&zones[..3]);
    assert_eq!(moves(&few), [""; 0]);
    assert!(
        few.problems.contains(&Problem::FewZones {
            zones: 2,
            replicas: 3
        }),
        "{:?}",
        few.problems
    );
    // Nor with a third one that is being emptied.
    let mut draining = zones;
    draining[3].condition = Condition::Draining;
    assert_eq!(moves(&plan_of(&draining)), [""; 0]);
}

#[test]
fn a_zone_that_goes_comes_together_elsewhere_and_parts_again() {
    let mut state = state(
        vec![
            node("a", "x"),
            node("b", "y"),
            node("c", "z"),
            node("d", "x"),
            node("e", "y"),
            node("f", "z"),
        ],
        vec![shard(0, "abc"), shard(1, "def")],
        3,
    );
    for node in state.nodes.iter_mut().filter(|node| node.zone == "z") {
        node.condition = Condition::Gone;
    }
    let without = plan(&state);
    assert_eq!(without.transfers.len(), 2);
    assert!(
        without
            .transfers
            .iter()
            .all(|transfer| transfer.why == Why::NodeGone)
    );
    // As carried out; then the zone comes back.
    for transfer in &without.transfers {
        let shard = &mut state.shards[transfer.shard.0 as usize];
        shard.generation += 1;
        for replica in &mut shard.replicas {
            if Some(replica.id) == transfer.from.as_ref().map(|from| from.replica) {
                replica.id += 100;
                replica.node.clone_from(&transfer.to);
            }
        }
    }
    for node in &mut state.nodes {
        node.condition = Condition::Active;
    }
    let with = plan(&state);
    let parted = |transfer: &Transfer| {
        ["c", "f"].contains(&transfer.to.as_str()) && matches!(transfer.why, Why::SameZone { .. })
    };
    assert!(
        with.transfers.len() == 2 && with.transfers.iter().all(parted),
        "{:?}",
        moves(&with)
    );
}

#[test]
fn no_step_is_planned_without_a_majority() {
    let mut state = even();
    state.nodes.extend(nodes("de"));
    state.nodes[0].condition = Condition::Gone;
    state.nodes[1].condition = Condition::Gone;
    let two_gone = plan(&state);
    assert_eq!(moves(&two_gone), [""; 0]);
    assert_eq!(
        two_gone
            .problems
            .iter()
            .filter(|problem| matches!(problem, Problem::MajorityGone { .. }))
            .count(),
        3
    );
    // One of two is no majority either.
    let mut two = state.clone();
    two.nodes[1].condition = Condition::Active;
    two.shards = vec![shard(0, "ab")];
    assert_eq!(moves(&plan(&two)), [""; 0]);
    // A sick node votes still, so both can be replaced: first the one that is gone.
    state.nodes[1].condition = Condition::Sick;
    let whys: Vec<Why> = plan(&state)
        .transfers
        .into_iter()
        .map(|transfer| transfer.why)
        .collect();
    assert_eq!(
        whys,
        [
            Why::NodeGone,
            Why::NodeGone,
            Why::NodeGone,
            Why::NodeSick,
            Why::NodeSick,
            Why::NodeSick
        ]
    );
}

#[test]
fn a_full_node_is_relieved_and_none_is_filled() {
    let mut state = state(nodes("ab"), vec![shard(0, "a"), shard(1, "a"), shard(2, "a")], 1);
    state.nodes[0].bytes_max = Some(15);
    state.nodes[1].bytes_max = Some(15);
    let relieved = plan(&state);
    // b has room for one, and a is full all the same.
    assert_eq!(relieved.transfers.len(), 1);
    assert_eq!(relieved.transfers[0].why, Why::NodeFull);
    assert!(
        relieved
            .problems
            .contains(&Problem::StaysFull { node: "a".into() }),
        "{:?}",
        relieved.problems
    );
    state.nodes[1].bytes_max = Some(20);
    let relieved = plan(&state);
    assert_eq!(relieved.transfers.len(), 2);
    assert!(relieved.transfers.iter().all(|transfer| transfer.to == "b"));
}

#[test]
fn first_replicas_are_placed_and_lacking_ones_added() {
    let shards = (0..12)
        .map(|id| shard(id, if id == 0 { "a" } else { "" }))
        .collect();
    let plan = plan(&state(nodes("abcd"), shards, 3));
    assert_eq!(plan.transfers.len(), 35);
    assert!(
        plan.transfers
            .iter()
            .all(|transfer| transfer.from.is_none() && transfer.why == Why::Missing)
    );
    let generations: Vec<u64> = plan
        .transfers
        .iter()
        .filter(|transfer| transfer.shard.0 == 1)
        .map(|transfer| transfer.generation)
        .collect();
    assert_eq!(generations, [5, 6, 7]);
    assert!(
        plan.after
            .nodes
            .iter()
            .all(|row| row.replicas == 9 && row.leads == 3),
        "{:?}",
        plan.after
    );
}

#[test]
fn bad_input_is_named_and_left_alone() {
    let nothing = plan(&State::default());
    assert_eq!(nothing.problems, [Problem::ReplicasInvalid { replicas: 0 }]);
    let no_nodes = plan(&state(Vec::new(), vec![shard(0, "abc")], 3));
    assert!(no_nodes.is_empty() && no_nodes.problems.contains(&Problem::NoNodes));
    assert!(no_nodes.problems.contains(&Problem::UnknownNode {
        node: "a".into(),
        replicas: 1
    }));

    let mut state = even();
    state.nodes.push(node("a", "elsewhere"));
    state.nodes.push(Node {
        weight: 0,
        ..node("d", "")
    });
    state.nodes.push(Node {
        bytes_max: Some(0),
        ..node("e", "")
    });
    state.shards.push(shard(1, "dbc"));
    state.shards.push(shard(3, "xbc"));
    state.shards.push(shard(4, "bbc"));
    state.shards.push(shard(5, "abcde"));
    let plan = plan(&state);
    let said: Vec<String> = plan.problems.iter().map(Problem::to_string).collect();
    for expected in [
        "a is the id of several nodes: they keep what they have and get nothing",
        "d has no weight or no room: it gets nothing",
        "e has no weight or no room: it gets nothing",
        "1 is the id of several shards: they are left alone",
        "x has 1 replicas and is not known: it counts as gone",
        "2 nodes can take replicas, and each shard is to have 3: add nodes",
        "shard 3 stays on x, for no node can take it: its node is not known",
        "shard 4 stays on b, for no node can take it: its node has the shard twice",
        "shard 5 has 5 replicas, more than it is to have: they stay",
    ] {
        assert!(
            said.iter().any(|line| line == expected),
            "{expected:?} is not in {said:#?}"
        );
    }
    assert!(
        plan.transfers
            .iter()
            .all(|transfer| transfer.shard.0 != 1 && transfer.to != "a"),
        "{:?}",
        moves(&plan)
    );
}

#[test]
fn extremes_are_planned_without_a_panic() {
    let mut state = even();
    for shard in &mut state.shards {
        (shard.bytes, shard.accounts, shard.operations_milli) = (u64::MAX, u64::MAX, u64::MAX);
        shard.generation = u64::MAX;
    }
    state.nodes.push(Node {
        weight: u32::MAX,
        bytes_max: None,
        ..node("d", "")
    });
    state.nodes[0].condition = Condition::Draining;
    let plan_of_much = plan(&state);
    assert_eq!(plan_of_much.transfers.len(), 3);
    for shard in &mut state.shards {
        (shard.bytes, shard.accounts, shard.operations_milli) = (0, 0, 0);
    }
    assert_eq!(plan(&state).transfers.len(), 3);
    state.replicas = REPLICAS_MAX + 1;
    assert!(plan(&state).is_empty());
    state.replicas = 3;
    for node in &mut state.nodes {
        node.condition = Condition::Draining;
    }
    assert_eq!(plan(&state).problems, [Problem::NoNodes]);
}

#[test]
fn leads_are_evened_out_without_moving_a_byte() {
    let mut state = state(nodes("abc"), (0..30).map(|id| shard(id, "abc")).collect(), 3);
    for shard in &mut state.shards {
        shard.leader = Some("a".to_owned());
    }
    let plan = plan(&state);
    assert_eq!(plan.transfers, []);
    let leads: Vec<u64> = plan.after.nodes.iter().map(|row| row.leads).collect();
    assert!(leads.iter().all(|leads| (9..=11).contains(leads)), "{leads:?}");
    assert!(plan.leads.iter().all(|lead| lead.from.as_deref() == Some("a")));
}

#[test]
fn the_order_of_the_state_does_not_matter() {
    let mut shuffled = state(
        nodes("abcdef"),
        (0..40)
            .map(|id| shard(id, ["abc", "abd", "bcd"][id as usize % 3]))
            .collect(),
        3,
    );
    let first = plan(&shuffled);
    assert!(!first.transfers.is_empty());
    assert_eq!(plan(&shuffled), first);
    shuffled.nodes.reverse();
    shuffled.shards.reverse();
    assert_eq!(plan(&shuffled), first);
}

#[test]
fn the_plan_can_be_read_by_programs() {
    let mut state = even();
    state.nodes.push(node("d", ""));
    state.nodes[1].condition = Condition::Draining;
    let json = serde_json::to_value(plan(&state)).unwrap();
    assert_eq!(json["transfers"][0]["from"]["node"], "b");
    assert_eq!(json["transfers"][0]["why"], "node_draining");
    assert_eq!(json["after"]["nodes"][3]["replicas"], 3);
    assert_eq!(json["before"]["nodes"][1]["condition"], "draining");
}
