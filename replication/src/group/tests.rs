//! Proposals: durable, in order, fenced, lost when the disk fails.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::batch::Column;
use crate::view::View;

fn put(key: &str, value: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(Column::Rows, key.to_owned(), value.to_owned());
    batch
}

fn value(member: &Member, key: &str) -> Option<String> {
    let value = member.store().get(Column::Rows, key.as_bytes()).expect("reads");
    value.map(|value| String::from_utf8(value.to_vec()).expect("is text"))
}

const GROUP: GroupId = GroupId(7);

#[test]
fn what_is_answered_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("tempdir");
    let first = {
        let member = Member::open(folder.path(), MemberOptions::default()).expect("opens");
        let leader = member.lead(GROUP);
        let proposals: Vec<Proposal> = (0..100)
            .map(|n| leader.propose(put("k", &n.to_string())))
            .collect();
        for (n, proposal) in proposals.into_iter().enumerate() {
            assert_eq!(proposal.number(), n as u64);
            assert_eq!(proposal.blocking_wait(), Ok(()));
        }
        leader.id()
    };
    let member = Member::open(folder.path(), MemberOptions::default()).expect("opens again");
    assert_eq!(value(&member, "k").as_deref(), Some("99"));
    let leader = member.lead(GROUP);
    assert!(leader.id() > first);
    assert_eq!(leader.propose(put("k", "new")).blocking_wait(), Ok(()));
    assert_eq!(value(&member, "k").as_deref(), Some("new"));
}

#[test]
fn an_older_leader_is_told_to_plan_anew() {
    let folder = tempfile::tempdir().expect("tempdir");
    let member = Member::open(folder.path(), MemberOptions::default()).expect("opens");
    let old = member.lead(GROUP);
    let other = member.lead(GroupId(8));
    assert_eq!(old.propose(put("k", "old")).blocking_wait(), Ok(()));
    let new = member.lead(GROUP);
    assert_eq!(
        old.propose(put("k", "late")).blocking_wait(),
        Err(ProposeError::Replan)
    );
    assert_eq!(value(&member, "k").as_deref(), Some("old"));
    assert_eq!(new.propose(put("k", "new")).blocking_wait(), Ok(()));
    assert_eq!(other.propose(put("o", "other")).blocking_wait(), Ok(()));
    assert_eq!(value(&member, "k").as_deref(), Some("new"));
}

#[test]
fn the_apply_rule_is_in_the_store() {
    let folder = tempfile::tempdir().expect("tempdir");
    let entry = |leader: u64, number: u64| Entry {
        group: GROUP,
        leader: LeaderId(leader),
        number,
        batch: Batch::new(),
    };
    let member = Member::open(folder.path(), MemberOptions::default()).expect("opens");
    let propose = |entry: Entry| {
        member.queue.take_over(GROUP, entry.leader);
        let (sender, outcome) = oneshot::channel();
        member.queue.push(sender, || entry);
        outcome.blocking_recv().expect("is answered")
    };
    assert_eq!(propose(entry(5, 1)), Err(ProposeError::Replan));
    assert_eq!(propose(entry(5, 0)), Ok(()));
    assert_eq!(propose(entry(5, 0)), Err(ProposeError::Replan));
    assert_eq!(propose(entry(5, 2)), Err(ProposeError::Replan));
    assert_eq!(propose(entry(5, 1)), Ok(()));
    assert_eq!(propose(entry(6, 1)), Err(ProposeError::Replan));
    assert_eq!(propose(entry(4, 0)), Err(ProposeError::Replan));
    assert_eq!(propose(entry(6, 0)), Ok(()));
    assert_eq!(propose(entry(5, 2)), Err(ProposeError::Replan));
}

#[test]
fn a_failed_write_is_told_and_loses_what_waits() {
    let folder = tempfile::tempdir().expect("tempdir");
    let failures = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&failures);
    let options = MemberOptions {
        on_failure: Arc::new(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        }),
        ..MemberOptions::default()
    };
    let member = Member::open(folder.path(), options).expect("opens");
    let leader = member.lead(GROUP);
    assert_eq!(leader.propose(put("k", "1")).blocking_wait(), Ok(()));
    member.store().fail_writes.store(true, Ordering::SeqCst);
    assert_eq!(
        leader.propose(put("k", "2")).blocking_wait(),
        Err(ProposeError::Lost)
    );
    member.close();
    assert_eq!(failures.load(Ordering::SeqCst), 1);
    assert_eq!(
        leader.propose(put("k", "3")).blocking_wait(),
        Err(ProposeError::Closed)
    );
    assert_eq!(value(&member, "k").as_deref(), Some("1"));
}

#[test]
fn closing_commits_what_waits() {
    let folder = tempfile::tempdir().expect("tempdir");
    let member = Member::open(folder.path(), MemberOptions::default()).expect("opens");
    let leader = member.lead(GROUP);
    let proposals: Vec<Proposal> = (0..50)
        .map(|n| leader.propose(put(&n.to_string(), "v")))
        .collect();
    member.close();
    assert!(
        proposals
            .into_iter()
            .all(|proposal| proposal.blocking_wait() == Ok(()))
    );
    assert_eq!(value(&member, "49").as_deref(), Some("v"));
}
