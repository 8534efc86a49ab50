//! Transfers over a store in memory, step by step, with late and doubled steps.

use rookery_replication::MemoryStore;

use super::*;

const NOW: u64 = 5_000;
const SHARD: ShardId = ShardId(1);

/// Shard 1 on a, b and c under the numbers 1 to 3; d and e have nothing.
fn world() -> MemoryStore {
    let mut batch = Batch::new();
    for node in ["a", "b", "c", "d", "e"] {
        let row = row::Node {
            role: NodeRole::Mailstore.into(),
            weight: 100,
            ..row::Node::default()
        };
        batch.put(Column::Rows, key::node(node), row.to_stored());
    }
    let replicas = ["a", "b", "c"].iter().zip(1..).map(|(node, id)| row::Replica {
        id,
        node: (*node).to_owned(),
        taken: true,
    });
    let placement = row::Shard {
        generation: 7,
        replicas: replicas.collect(),
        formed: true,
        added: false,
    };
    batch.put(Column::Rows, key::shard(SHARD), placement.to_stored());
    let sequences = row::Sequences {
        replicas: 3,
        placement: 9,
        ..row::Sequences::default()
    };
    batch.put(Column::Rows, key::sequences(), sequences.to_stored());
    let mut store = MemoryStore::new();
    store.apply(&batch);
    store
}

fn made<T>(store: &mut MemoryStore, planned: Result<Planned<T>, PlanError>) -> T {
    let planned = planned.expect("plans");
    store.apply(&planned.batch);
    planned.reply
}

fn transfer(from: (u64, &str), to: &str, generation: u64) -> TransferRow {
    TransferRow {
        shard: SHARD.0,
        generation,
        from_replica: from.0,
        from_node: from.1.to_owned(),
        to_node: to.to_owned(),
        ..TransferRow::default()
    }
}

/// Begins a rebalance of these transfers and leads.
fn running(store: &mut MemoryStore, transfers: Vec<TransferRow>, leads: Vec<LeadRow>) -> u64 {
    let scope = Scope {
        placement: Rows(&*store).sequences().unwrap().placement,
        transfers: transfers.len() as u32,
        leads: leads.len() as u32,
        own_reason: String::new(),
    };
    let planned = begin(Rows(&*store), &scope, Limits::default(), NOW);
    let job = made(store, planned).id;
    let planned = super::store(
        Rows(&*store),
        job,
        (0..).zip(transfers).collect(),
        (0..).zip(leads).collect(),
    );
    made(store, planned);
    let planned = start(Rows(&*store), job);
    made(store, planned);
    job
}

fn placement(store: &MemoryStore) -> (u64, Vec<(u64, String)>) {
    let shard = Rows(store).shard(SHARD).unwrap().unwrap();
    let replicas = shard.replicas.into_iter();
    (
        shard.generation,
        replicas.map(|replica| (replica.id, replica.node)).collect(),
    )
}

fn named(replicas: &[(u64, &str)]) -> Vec<(u64, String)> {
    replicas
        .iter()
        .map(|(id, node)| (*id, (*node).to_owned()))
        .collect()
}

#[test]
fn a_replica_is_replaced_and_its_files_go_last() {
    let mut store = world();
    let job = running(&mut store, vec![transfer((2, "b"), "d", 7)], Vec::new());
    let planned = begin_transfer(Rows(&store), job, 0, NOW);
    assert_eq!(made(&mut store, planned).stage(), Stage::Changing);
    let after = (8, named(&[(1, "a"), (4, "d"), (3, "c")]));
    assert_eq!(placement(&store), after);
    // Begun twice, it changes nothing more.
    let planned = begin_transfer(Rows(&store), job, 0, NOW);
    assert_eq!(made(&mut store, planned).stage(), Stage::Changing);
    assert_eq!(placement(&store), after);
    // Not before it has settled.
    let planned = finish_transfer(Rows(&store), job, 0, NOW);
    assert_eq!(made(&mut store, planned).stage(), Stage::Changing);
    let planned = settle_transfer(Rows(&store), job, 0, NOW);
    assert_eq!(made(&mut store, planned).stage(), Stage::Removing);
    // Too late to be taken back.
    let planned = revert_transfer(Rows(&store), job, 0, "late", NOW);
    assert_eq!(made(&mut store, planned).stage(), Stage::Removing);
    let planned = finish_transfer(Rows(&store), job, 0, NOW + 1);
    let done = made(&mut store, planned);
    assert_eq!((done.stage(), done.ended_at_millis), (Stage::Done, NOW + 1));
    assert_eq!(placement(&store), after);
    let planned = end(Rows(&store), job, NOW + 2);
    assert_eq!(made(&mut store, planned), JobState::Done);
}

#[test]
fn what_is_taken_back_is_as_it_was_under_a_newer_generation() {
    let mut store = world();
    let job = running(&mut store, vec![transfer((1, "a"), "d", 7)], Vec::new());
    let planned = begin_transfer(Rows(&store), job, 0, NOW);
    made(&mut store, planned);
    // Who leads by the placement is one that stays.
    assert_eq!(placement(&store), (8, named(&[(2, "b"), (3, "c"), (4, "d")])));
    let planned = abort(Rows(&store));
    made(&mut store, planned);
    assert!(
        begin_transfer(Rows(&store), job, 0, NOW).is_err(),
        "nothing is begun any more"
    );
    let planned = revert_transfer(Rows(&store), job, 0, "aborted", NOW);
    assert_eq!(made(&mut store, planned).stage(), Stage::Reverting);
    assert_eq!(placement(&store), (9, named(&[(1, "a"), (2, "b"), (3, "c")])));
    let planned = settle_transfer(Rows(&store), job, 0, NOW);
    let reverted = made(&mut store, planned);
    assert_eq!(
        (reverted.stage(), reverted.why_not.as_str()),
        (Stage::Reverted, "aborted")
    );
    let planned = end(Rows(&store), job, NOW);
    assert_eq!(made(&mut store, planned), JobState::Aborted);
}

#[test]
fn a_transfer_for_another_placement_is_skipped() {
    let skipped = |change: fn(&mut TransferRow), drain: Option<&str>| {
        let mut store = world();
        let mut transfer = transfer((2, "b"), "d", 7);
        change(&mut transfer);
        if let Some(node) = drain {
            let planned = crate::plan::node::set_draining(Rows(&store), node, true, true);
            made(&mut store, planned);
        }
        let job = running(&mut store, vec![transfer], Vec::new());
        let planned = begin_transfer(Rows(&store), job, 0, NOW);
        let answered = made(&mut store, planned);
        assert_eq!(answered.stage(), Stage::Skipped);
        assert_eq!(placement(&store), (7, named(&[(1, "a"), (2, "b"), (3, "c")])));
        answered.why_not
    };
    assert!(skipped(|transfer| transfer.generation = 6, None).contains("has changed"));
    assert!(skipped(|transfer| transfer.generation = 8, None).contains("has changed"));
    assert!(skipped(|transfer| transfer.from_replica = 9, None).contains("another replica"));
    assert!(skipped(|transfer| transfer.to_node = "c".to_owned(), None).contains("already"));
    assert!(skipped(|transfer| transfer.to_node = "x".to_owned(), None).contains("not known"));
    assert!(skipped(|transfer| transfer.shard = 4, None).contains("no such shard"));
    assert!(skipped(|_| (), Some("d")).contains("drained"));
}

/// A node dies while the shard is being formed on it.
#[test]
fn a_shard_whose_last_replica_never_opened_is_formed_with_another() {
    let begun = |taken: [bool; 3], from: (u64, &str)| {
        let mut store = world();
        let mut row = Rows(&store).shard(SHARD).unwrap().unwrap();
        row.formed = false;
        for (replica, taken) in row.replicas.iter_mut().zip(taken) {
            replica.taken = taken;
        }
        let mut batch = Batch::new();
        batch.put(Column::Rows, key::shard(SHARD), row.to_stored());
        store.apply(&batch);
        let job = running(&mut store, vec![transfer(from, "d", 7)], Vec::new());
        let planned = begin_transfer(Rows(&store), job, 0, NOW);
        let stage = made(&mut store, planned).stage();
        (stage, Rows(&store).shard(SHARD).unwrap().unwrap())
    };
    let (stage, row) = begun([true, true, false], (3, "c"));
    assert_eq!(stage, Stage::Changing);
    assert!(row.formed, "the new one joins what the others have formed");
    let replicas: Vec<_> = row
        .replicas
        .iter()
        .map(|replica| (replica.id, replica.node.as_str(), replica.taken))
        .collect();
    assert_eq!(replicas, [(1, "a", true), (2, "b", true), (4, "d", false)]);

    // An only one forms the group itself.
    let mut store = world();
    let mut row = Rows(&store).shard(SHARD).unwrap().unwrap();
    (row.formed, row.replicas[0].taken) = (false, false);
    row.replicas.truncate(1);
    let mut batch = Batch::new();
    batch.put(Column::Rows, key::shard(SHARD), row.to_stored());
    store.apply(&batch);
    let job = running(&mut store, vec![transfer((1, "a"), "d", 7)], Vec::new());
    let planned = begin_transfer(Rows(&store), job, 0, NOW);
    assert_eq!(made(&mut store, planned).stage(), Stage::Changing);
    assert!(!Rows(&store).shard(SHARD).unwrap().unwrap().formed);
    assert_eq!(placement(&store).1, named(&[(4, "d")]));
    // Taken back, the old one still has to open it.
    let planned = revert_transfer(Rows(&store), job, 0, "no", NOW);
    made(&mut store, planned);
    let row = Rows(&store).shard(SHARD).unwrap().unwrap();
    assert_eq!(placement(&store).1, named(&[(1, "a")]));
    assert_eq!((row.formed, row.replicas[0].taken), (false, false));

    // Too few have opened theirs, and one that has opened its own may have voted.
    for (taken, from) in [
        ([true, false, false], (3, "c")),
        ([true, true, false], (2, "b")),
        ([true, true, false], (1, "a")),
    ] {
        let (stage, row) = begun(taken, from);
        assert_eq!((stage, row.formed), (Stage::Skipped, false), "{taken:?} {from:?}");
    }
}

#[test]
fn one_rebalance_at_a_time_and_only_by_the_newest_state() {
    let mut store = world();
    let scope = |placement| Scope {
        placement,
        transfers: 1,
        leads: 0,
        own_reason: String::new(),
    };
    let refused = begin(Rows(&store), &scope(8), Limits::default(), NOW);
    assert!(matches!(refused, Err(PlanError::Precondition(_))));
    let job = running(&mut store, vec![transfer((2, "b"), "d", 7)], Vec::new());
    let refused = begin(Rows(&store), &scope(9), Limits::default(), NOW);
    assert!(refused.unwrap_err().to_string().contains("is under way"));
    // A drain makes plans of before it stale.
    let planned = end(Rows(&store), job, NOW);
    made(&mut store, planned);
    let planned = crate::plan::node::set_draining(Rows(&store), "b", true, true);
    made(&mut store, planned);
    assert!(begin(Rows(&store), &scope(9), Limits::default(), NOW).is_err());
    let planned = begin(Rows(&store), &scope(10), Limits::default(), NOW);
    let next = made(&mut store, planned);
    assert_eq!((next.id, next.transfers_max), (job + 1, TRANSFERS_USUAL));
    // What the one before has left is forgotten.
    assert_eq!(Rows(&store).transfers(job).unwrap().len(), 1);
    let planned = forget_older(Rows(&store), next.id, 100);
    assert!(!made(&mut store, planned));
    assert_eq!(Rows(&store).transfers(job).unwrap().len(), 0);
}

#[test]
fn a_pause_and_its_end() {
    let mut store = world();
    assert!(pause(Rows(&store)).is_err(), "nothing is under way");
    let job = running(&mut store, vec![transfer((2, "b"), "d", 7)], Vec::new());
    let planned = pause(Rows(&store));
    made(&mut store, planned);
    assert!(begin_transfer(Rows(&store), job, 0, NOW).is_err());
    let limits = Limits {
        transfers_max: 5,
        bytes_per_second: 1_000_000,
    };
    let planned = resume(Rows(&store), Some(limits));
    made(&mut store, planned);
    let row = Rows(&store).job().unwrap().unwrap();
    assert_eq!((row.state(), row.transfers_max), (JobState::Running, 5));
    let slow = Limits {
        bytes_per_second: 1,
        ..limits
    };
    assert!(matches!(
        resume(Rows(&store), Some(slow)),
        Err(PlanError::Invalid(_))
    ));
    let planned = abort(Rows(&store));
    made(&mut store, planned);
    assert!(resume(Rows(&store), None).is_err());
    assert!(pause(Rows(&store)).is_err());
}

#[test]
fn a_lead_is_changed_by_naming_another_first() {
    let mut store = world();
    let lead = |generation, to: &str| LeadRow {
        shard: SHARD.0,
        generation,
        to_node: to.to_owned(),
        ..LeadRow::default()
    };
    let leads = vec![lead(7, "c"), lead(7, "b"), lead(8, "x"), lead(8, "c")];
    let job = running(&mut store, Vec::new(), leads);
    let planned = begin_lead(Rows(&store), job, 0, NOW);
    assert_eq!(made(&mut store, planned).stage(), Stage::Changing);
    assert_eq!(placement(&store), (8, named(&[(3, "c"), (1, "a"), (2, "b")])));
    for place in [1, 2] {
        let planned = begin_lead(Rows(&store), job, place, NOW);
        assert_eq!(made(&mut store, planned).stage(), Stage::Skipped, "{place}");
    }
    // Who is first already only has to lead.
    let planned = begin_lead(Rows(&store), job, 3, NOW);
    assert_eq!(made(&mut store, planned).stage(), Stage::Changing);
    assert_eq!(placement(&store).0, 8);
    let planned = end_lead(Rows(&store), job, 3, "");
    assert_eq!(made(&mut store, planned).stage(), Stage::Done);
}

#[test]
fn a_node_with_replicas_is_not_removed() {
    use crate::plan::node::remove;
    let mut store = world();
    let refused = |store: &MemoryStore, node: &str, is_alive| {
        let refused = remove(Rows(store), node, is_alive, NOW);
        refused.map(|_| ()).unwrap_err().to_string()
    };
    assert!(refused(&store, "a", false).contains("has 1 replicas"));
    assert!(refused(&store, "d", true).contains("is running"));
    assert!(refused(&store, "x", false).contains("no node"));
    let planned = remove(Rows(&store), "d", false, NOW);
    made(&mut store, planned);
    assert_eq!(Rows(&store).node("d").unwrap(), None);
    assert_eq!(Rows(&store).sequences().unwrap().placement, 10);
}
