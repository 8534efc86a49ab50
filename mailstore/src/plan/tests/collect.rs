//! How much garbage one plan works off.

use rookery_replication::Batch;

use super::*;
use crate::schema::garbage::GARBAGE_ITEMS_MAX;

fn put(rig: &mut Rig, account: u64, part: u32, garbage: &Garbage) {
    let mut batch = Batch::new();
    let key = keys::garbage(SHARD, AccountId(account), ModSeq(1), part);
    batch.put(Column::Rows, key, garbage.encode());
    rig.store.apply(&batch);
}

/// Works some off; how many rows are left, and whether the plan says so.
fn collect(rig: &mut Rig) -> (usize, bool) {
    let context = PlanContext {
        shard: SHARD,
        now_millis: rig.now,
        limits: rig.limits,
        disk_nearly_full: false,
    };
    let mutation = Mutation {
        account: AccountId(0),
        key: None,
        command: Command::Collect,
    };
    let plan = plan(&rig.store, &context, &mutation).expect("collects");
    rig.store.apply(&plan.batch);
    let (from, to) = keys::kind_range(SHARD, keys::Kind::Garbage);
    let rows = rig.store.iter(Column::Rows);
    let left = rows.filter(|(key, _)| **key >= from && **key < to).count();
    (left, plan.garbage)
}

fn messages(numbers: std::ops::Range<u64>) -> Garbage {
    Garbage::Messages(numbers.map(MessageNumber).collect())
}

#[test]
fn small_rows_of_many_accounts_go_together_and_large_ones_alone() {
    let mut rig = Rig::new();
    for number in 0..300 {
        put(
            &mut rig,
            10 + number % 3,
            number as u32,
            &messages(number..number + 1),
        );
    }
    assert_eq!(collect(&mut rig), (50, true));
    assert_eq!(collect(&mut rig), (0, false));

    let most = GARBAGE_ITEMS_MAX as u64;
    put(&mut rig, 10, 0, &messages(0..most));
    put(&mut rig, 10, 1, &messages(0..most));
    put(&mut rig, 10, 2, &messages(0..1));
    put(&mut rig, 11, 0, &Garbage::Account);
    put(&mut rig, 12, 0, &messages(0..1));
    let left: Vec<_> = std::iter::repeat_with(|| collect(&mut rig)).take(5).collect();
    assert_eq!(left, [(4, true), (3, true), (2, true), (1, true), (0, false)]);
}

#[test]
fn a_message_is_gone_with_its_last_reference_though_several_go_together() {
    let mut rig = Rig::new();
    rig.append(prepared(b"one")).expect("appends");
    let key = keys::message(SHARD, ACCOUNT, MessageNumber(1));
    let mut batch = Batch::new();
    batch.add(key.clone(), 2);
    rig.store.apply(&batch);
    put(&mut rig, ACCOUNT.0, 0, &messages(1..2));
    put(&mut rig, ACCOUNT.0, 1, &messages(1..2));
    assert_eq!(collect(&mut rig), (0, false));
    let there = |rig: &Rig| rig.reader().message(MessageNumber(1)).expect("reads").is_some();
    assert!(there(&rig), "a reference is left");
    put(&mut rig, ACCOUNT.0, 2, &messages(1..2));
    assert_eq!(collect(&mut rig), (0, false));
    assert!(!there(&rig));
    assert_eq!(rig.store.len(Column::Bodies), 0);
}
