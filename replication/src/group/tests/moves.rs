//! Replicas that move to other nodes: one step at a time, whatever new members do, and nothing acknowledged is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::three::{Nodes, any_leader, first_leads, members, until_value};
use super::*;

/// How long a group may take to get where it is to be.
const PATIENCE: Duration = Duration::from_secs(60);

/// The replica that leads, once there is one.
async fn leading(groups: &[Arc<Group>]) -> Arc<Group> {
    let led = async {
        loop {
            if let Some(group) = groups.iter().find(|group| group.leads() && !group.hands_over()) {
                return Arc::clone(group);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, led).await.expect("somebody leads")
}

/// Goes step by step until the members are these; who has led meanwhile.
async fn until_members(groups: &[Arc<Group>], wanted: &[GroupMember]) -> Vec<u64> {
    let mut leaders = Vec::new();
    let moved = async {
        loop {
            let group = leading(groups).await;
            leaders.push(group.replica().0);
            match group.step_members(wanted).await {
                Ok(MembersStep::Settled) => return,
                Ok(MembersStep::Changed) => {}
                // What is waited for comes by itself.
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    if tokio::time::timeout(PATIENCE, moved).await.is_err() {
        let said: Vec<_> = groups.iter().map(|group| group.describe()).collect();
        panic!("the members are not as wanted: {said:#?}");
    }
    leaders.dedup();
    leaders
}

fn standing_of(group: &Group) -> Vec<(u64, bool)> {
    let members = group.standing().members;
    members
        .iter()
        .map(|(replica, _, votes)| (replica.0, *votes))
        .collect()
}

/// Proposes numbers one after the other, to whoever leads, until told to end; gives how many were acknowledged. One that is not
/// acknowledged is proposed again.
async fn propose_all(groups: Vec<Arc<Group>>, ends: Arc<AtomicBool>) -> u64 {
    let mut acknowledged = 0;
    while !ends.load(Ordering::Relaxed) {
        let (_, leader) = any_leader(&groups).await;
        loop {
            let number = acknowledged.to_string();
            if commit(&leader, put(&number, &number)).await.is_err() {
                break;
            }
            acknowledged += 1;
            if ends.load(Ordering::Relaxed) {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn an_only_replica_moves_while_proposals_go_on() {
    let (mut nodes, mut groups) = Nodes::of(&[(1, "a")], false).await;
    nodes.start("d");
    groups.push(nodes.join("d", 4).await);
    let ends = Arc::new(AtomicBool::new(false));
    let proposing = tokio::spawn(propose_all(groups.clone(), Arc::clone(&ends)));
    let leaders = until_members(&groups, &members(&[(4, "d")])).await;
    assert_eq!(leaders, [1, 4]);
    assert_eq!(standing_of(&groups[1]), [(4, true)]);
    // It goes on without the other, and has all that was acknowledged.
    nodes.hub.cut_off("a");
    ends.store(true, Ordering::Relaxed);
    let acknowledged = proposing.await.expect("ends");
    assert!(acknowledged > 0);
    assert_eq!(groups[1].confirm().await, Ok(()));
    for number in 0..acknowledged {
        let number = number.to_string();
        assert_eq!(value(&nodes.member("d"), &number), Some(number));
    }
    let leader = leader_of(&groups[1]).await;
    assert_eq!(commit(&leader, put("k", "alone")).await, Ok(()));
    nodes.hub.heal();
    drop((leader, groups));
    nodes.member("a").remove_group(GROUP).await.expect("removes");
    nodes.close().await;
}

/// A step that has nothing to wait for but that the last one is known to be agreed on, which is told a moment after it was.
async fn step_once_agreed(group: &Group, wanted: &[GroupMember]) -> MembersStep {
    let stepped = async {
        loop {
            match group.step_members(wanted).await {
                Ok(MembersStep::Waiting) => tokio::time::sleep(Duration::from_millis(10)).await,
                step => return step.expect("the group leads"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, stepped)
        .await
        .expect("it is agreed on")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_step_waits_for_a_new_member_and_one_that_is_taken_back_is_let_go_of() {
    let (mut nodes, groups) = Nodes::three().await;
    let leader = first_leads(&groups).await;
    assert_eq!(commit(&leader, put("k", "1")).await, Ok(()));
    // Its node is not there, and stays away.
    let moved = members(&[(1, "a"), (2, "b"), (4, "d")]);
    assert_eq!(
        groups[0].step_members(&moved).await.ok(),
        Some(MembersStep::Changed)
    );
    let learning = [(1, true), (2, true), (3, true), (4, false)];
    assert_eq!(standing_of(&groups[0]), learning);
    assert_eq!(
        groups[0].step_members(&moved).await.ok(),
        Some(MembersStep::Waiting)
    );
    let back = members(&[(1, "a"), (2, "b"), (3, "c")]);
    assert_eq!(step_once_agreed(&groups[0], &back).await, MembersStep::Changed);
    assert_eq!(standing_of(&groups[0]), [(1, true), (2, true), (3, true)]);
    assert_eq!(step_once_agreed(&groups[0], &back).await, MembersStep::Settled);
    // Another one is taken in instead.
    nodes.start("d");
    nodes.join("d", 5).await;
    until_members(&groups, &members(&[(1, "a"), (2, "b"), (5, "d")])).await;
    until_value(&nodes.member("d"), "k", "1").await;
    assert_eq!(standing_of(&groups[0]), [(1, true), (2, true), (5, true)]);
    drop((leader, groups));
    nodes.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_goes_hands_over_to_the_one_that_is_named_first() {
    let (mut nodes, mut groups) = Nodes::three().await;
    nodes.start("d");
    groups.push(nodes.join("d", 4).await);
    let leader = first_leads(&groups).await;
    assert_eq!(commit(&leader, put("k", "1")).await, Ok(()));
    let leaders = until_members(&groups, &members(&[(3, "c"), (4, "d"), (2, "b")])).await;
    assert_eq!(leaders, [1, 3]);
    let (_, new) = any_leader(&groups).await;
    assert_eq!(commit(&new, put("k", "2")).await, Ok(()));
    until_value(&nodes.member("d"), "k", "2").await;
    drop((leader, new, groups));
    nodes.close().await;
}

/// Writes more than a few pieces of a state and cuts the leader's log, so that a new member needs the state.
async fn fill_and_cut(member: &Member, leader: &Leader) {
    for number in 0..12u8 {
        let mut batch = put("k", "1");
        let key = key_of(GROUP, &format!("body-{number}"));
        batch.put(Column::Bodies, key, vec![number; 200_000]);
        assert_eq!(commit(leader, batch).await, Ok(()));
    }
    for _ in 0..2 {
        member.cut_log().await;
        assert_eq!(commit(leader, put("more", "m")).await, Ok(()));
    }
    while member.log.state(ReplicaId(1)).purged.is_none() {
        tokio::task::yield_now().await;
    }
}

async fn until_fetched(group: &Group, is_so: impl Fn(u64) -> bool) {
    let fetched = async {
        while !is_so(group.fetched()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, fetched).await.expect("is fetched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_fetched_as_fast_as_is_said_and_not_to_its_end_when_it_is_no_longer_wanted() {
    let (mut nodes, groups) = Nodes::of(&[(1, "a")], false).await;
    let leader = first_leads(&groups).await;
    let member = nodes.member("a");
    fill_and_cut(&member, &leader).await;
    nodes.start("d");
    let behind = nodes.member("d");
    // The first piece is to be waited for much longer than this test may take.
    behind.set_fetch_rate(100);
    let learning = nodes.join("d", 4).await;
    let wanted = members(&[(1, "a"), (4, "d")]);
    assert_eq!(
        groups[0].step_members(&wanted).await.ok(),
        Some(MembersStep::Changed)
    );
    until_fetched(&learning, |bytes| bytes > 0).await;
    assert!(learning.fetched() < 1_000_000);
    // It is not to be a member after all.
    let back = members(&[(1, "a")]);
    assert_eq!(
        groups[0].step_members(&back).await.ok(),
        Some(MembersStep::Changed)
    );
    behind.set_fetch_rate(0);
    until_fetched(&learning, |bytes| bytes == 0).await;
    assert_eq!(learning.applied(), None);
    // And then it is: what is said of the rate counts for what is under way.
    behind.set_fetch_rate(100);
    assert_eq!(
        groups[0].step_members(&wanted).await.ok(),
        Some(MembersStep::Changed)
    );
    until_fetched(&learning, |bytes| bytes > 0).await;
    behind.set_fetch_rate(0);
    until_members(&groups, &wanted).await;
    until_value(&behind, "more", "m").await;
    drop((leader, groups, member, behind, learning));
    nodes.close().await;
}
