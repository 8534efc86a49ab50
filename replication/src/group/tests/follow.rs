//! Reads on followers: never older than asked for, whoever leads, is cut off, or has been.

use std::time::Duration;

use super::three::{Nodes, any_leader, first_leads};
use super::*;

const NOW: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(3600);

/// What a follower reads once it is confirmed.
fn seen(member: &Member, group: &Group, key: &str) -> Option<String> {
    let snapshot = member.snapshot_of(group).expect("is whole");
    let value = snapshot.get(Column::Rows, &key_of(GROUP, key)).expect("reads");
    value.map(|value| String::from_utf8_lossy(&value).into_owned())
}

/// Asks until there is an answer: a follower may not have heard of the leader yet.
async fn confirmed(member: &Member, group: &Group) {
    while member.confirm_within(group, NOW).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_confirmed_has_all_that_was_acknowledged() {
    let (nodes, groups) = Nodes::three().await;
    let leader = first_leads(&groups).await;
    for n in 0..100 {
        let value = n.to_string();
        assert_eq!(commit(&leader, put("k", &value)).await, Ok(()));
        for (node, group) in ["a", "b", "c"].into_iter().zip(&groups) {
            let member = nodes.member(node);
            confirmed(&member, group).await;
            assert_eq!(
                seen(&member, group, "k").as_deref(),
                Some(value.as_str()),
                "{node}"
            );
        }
    }
    drop((leader, groups));
    nodes.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_is_enough_within_the_bound_and_not_beyond() {
    let (nodes, groups) = Nodes::three().await;
    let leader = first_leads(&groups).await;
    assert_eq!(commit(&leader, put("k", "1")).await, Ok(()));
    let member = nodes.member("b");
    confirmed(&member, &groups[1]).await;
    nodes.hub.cut_off("b");
    assert_eq!(member.confirm_within(&groups[1], LONG).await, Ok(()));
    assert_eq!(seen(&member, &groups[1], "k").as_deref(), Some("1"));
    for too_short in [NOW, Duration::from_nanos(1)] {
        assert!(member.confirm_within(&groups[1], too_short).await.is_err());
    }
    nodes.hub.heal();
    // One that has just been opened knows nothing.
    nodes.hub.cut_off("c");
    assert!(nodes.member("c").confirm_within(&groups[2], LONG).await.is_err());
    drop((leader, groups, member));
    nodes.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_replaced_is_as_old_as_what_it_knew() {
    let (nodes, groups) = Nodes::three().await;
    let leader = first_leads(&groups).await;
    assert_eq!(commit(&leader, put("k", "1")).await, Ok(()));
    let old = nodes.member("a");
    assert_eq!(old.confirm_within(&groups[0], LONG).await, Ok(()));
    nodes.hub.cut_off("a");
    let (_, new) = any_leader(&groups[1..]).await;
    assert_eq!(commit(&new, put("k", "2")).await, Ok(()));
    // What it knew as the leader counts for nothing.
    assert!(old.confirm_within(&groups[0], LONG).await.is_err());
    nodes.hub.heal();
    while old.confirm_within(&groups[0], LONG).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(seen(&old, &groups[0], "k").as_deref(), Some("2"));
    drop((leader, new, groups, old));
    nodes.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_question_is_put_for_all_who_wait() {
    let (nodes, groups) = Nodes::three().await;
    let leader = first_leads(&groups).await;
    assert_eq!(commit(&leader, put("k", "1")).await, Ok(()));
    let member = nodes.member("c");
    let calls = loop {
        confirmed(&member, &groups[2]).await;
        let before = nodes.hub.calls();
        let waiting = (0..1_000).map(|_| member.confirm_within(&groups[2], NOW));
        let answers = futures_util::future::join_all(waiting).await;
        if answers.iter().all(Result::is_ok) {
            break nodes.hub.calls() - before;
        }
    };
    // Beats and the leader's own rounds come in between.
    assert!(calls < 500, "{calls}");
    drop((leader, groups, member));
    nodes.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_replica_that_is_removed_nothing_is_read() {
    let (nodes, groups) = Nodes::three().await;
    let leader = first_leads(&groups).await;
    assert_eq!(commit(&leader, put("k", "1")).await, Ok(()));
    let member = nodes.member("b");
    confirmed(&member, &groups[1]).await;
    member.remove_group(GROUP).await.expect("removes");
    assert!(member.snapshot_of(&groups[1]).is_none());
    drop((leader, groups, member));
    nodes.close().await;
}
