//! Decisions on jobs of a few transfers.

use super::*;

fn transfer(shard: u32, from: &str, to: &str, stage: Stage) -> TransferRow {
    TransferRow {
        shard,
        generation: 1,
        from_replica: 10 * u64::from(shard) + 3,
        from_node: from.to_owned(),
        to_node: to.to_owned(),
        stage: stage.into(),
        ..TransferRow::default()
    }
}

fn job(state: JobState, transfers: Vec<TransferRow>) -> Job {
    Job {
        row: JobRow {
            id: 1,
            state: state.into(),
            transfers_max: 2,
            ..JobRow::default()
        },
        transfers,
        leads: Vec::new(),
    }
}

/// Shards on a, b and c, led by a, settled.
fn world(shards: std::ops::RangeInclusive<u32>) -> World {
    let seen = |shard: u32| {
        let replica = |at: u64| 10 * u64::from(shard) + at;
        Seen {
            generation: 1,
            members: [(1, "a"), (2, "b"), (3, "c")]
                .map(|(at, node)| (replica(at), node.to_owned()))
                .to_vec(),
            voters: (1..=3).map(replica).collect(),
            leader: "a".to_owned(),
        }
    };
    World {
        shards: shards.map(|shard| (shard, seen(shard))).collect(),
        ..World::default()
    }
}

fn unsettled(mut world: World) -> World {
    for shard in world.shards.values_mut() {
        shard.voters.clear();
    }
    world
}

fn aborted() -> String {
    "the rebalance was aborted".to_owned()
}

#[test]
fn a_node_has_a_part_in_few_transfers_at_a_time() {
    let waiting = |shard, to| transfer(shard, "c", to, Stage::Waiting);
    let all = vec![waiting(1, "d"), waiting(2, "d"), waiting(3, "e"), waiting(4, "e")];
    let mut job = job(JobState::Running, all);
    let mut world = world(1..=4);
    // a sends all of them.
    assert_eq!(acts(&job, &world, 0), [Act::Begin(0), Act::Begin(1)]);
    world.shards.get_mut(&3).unwrap().leader = "b".to_owned();
    assert_eq!(
        acts(&job, &world, 0),
        [Act::Begin(0), Act::Begin(1), Act::Begin(2)]
    );
    // What is under way counts, and what is only being removed does not.
    let world = unsettled(world);
    job.transfers[0].stage = Stage::Changing.into();
    assert_eq!(acts(&job, &world, 0), [Act::Begin(1), Act::Begin(2)]);
    job.transfers[0].stage = Stage::Removing.into();
    assert_eq!(
        acts(&job, &world, 0),
        [Act::Begin(1), Act::Begin(2), Act::Begin(3)]
    );
}

#[test]
fn transfers_of_one_shard_follow_each_other() {
    let mut job = job(
        JobState::Running,
        vec![
            transfer(1, "c", "d", Stage::Waiting),
            transfer(1, "b", "e", Stage::Waiting),
        ],
    );
    let world = world(1..=1);
    assert_eq!(acts(&job, &world, 0), [Act::Begin(0)]);
    for stage in [Stage::Changing, Stage::Removing, Stage::Reverting] {
        job.transfers[0].stage = stage.into();
        assert!(!acts(&job, &unsettled(world.clone()), 0).contains(&Act::Begin(1)));
    }
    job.transfers[0].stage = Stage::Done.into();
    assert_eq!(acts(&job, &world, 0), [Act::Begin(1)]);
}

#[test]
fn a_transfer_goes_on_with_what_nodes_have_said() {
    let mut job = job(JobState::Running, vec![transfer(1, "c", "d", Stage::Changing)]);
    let settled = world(1..=1);
    assert_eq!(acts(&job, &unsettled(settled.clone()), 0), []);
    assert_eq!(acts(&job, &settled, 0), [Act::Settle(0)]);
    let mut other = settled.clone();
    other.shards.get_mut(&1).unwrap().voters[2] = 99;
    assert_eq!(acts(&job, &other, 0), [], "others vote still");
    job.transfers[0].stage = Stage::Removing.into();
    let mut holding = settled.clone();
    holding.held.insert("c".to_owned(), HashSet::from([(1, 13)]));
    assert_eq!(acts(&job, &holding, 0), [], "its files are there");
    holding.silent.insert("c".to_owned(), 1);
    assert_eq!(acts(&job, &holding, 0), [Act::Finish(0)], "it is gone with them");
    assert_eq!(acts(&job, &settled, 0), [], "nothing is known of its files");
    let mut empty = settled.clone();
    empty.held.insert("c".to_owned(), HashSet::from([(2, 23)]));
    assert_eq!(acts(&job, &empty, 0), [Act::Finish(0)]);
    job.transfers[0].stage = Stage::Done.into();
    assert_eq!(acts(&job, &settled, 0), [Act::End]);
}

#[test]
fn a_new_replica_whose_node_is_gone_is_given_up() {
    let mut job = job(JobState::Running, vec![transfer(1, "c", "d", Stage::Changing)]);
    let mut world = unsettled(world(1..=1));
    world.silent.insert("d".to_owned(), SILENCE_MAX_MILLIS - 1);
    assert_eq!(acts(&job, &world, 0), []);
    world.silent.insert("d".to_owned(), SILENCE_MAX_MILLIS);
    assert_eq!(
        acts(&job, &world, 0),
        [Act::Revert(0, "d does not answer".to_owned())]
    );
    job.transfers[0].stage = Stage::Waiting.into();
    assert_eq!(acts(&job, &world, 0), [], "it may be back");
    // So is one whose disk is full.
    world.silent.clear();
    world.untold.insert("d".to_owned());
    assert_eq!(acts(&job, &world, 0), [], "it would fetch too fast");
    world.untold.clear();
    world.full.insert("d".to_owned());
    assert_eq!(acts(&job, &world, 0), [], "it may have room later");
    job.transfers[0].stage = Stage::Changing.into();
    assert_eq!(
        acts(&job, &world, 0),
        [Act::Revert(0, "the disk of d is full".to_owned())]
    );
}

#[test]
fn a_pause_begins_nothing_and_an_abort_takes_back() {
    let transfers = vec![
        transfer(1, "c", "d", Stage::Changing),
        transfer(2, "c", "d", Stage::Waiting),
        transfer(3, "c", "d", Stage::Reverting),
        transfer(4, "c", "d", Stage::Removing),
    ];
    let mut job = job(JobState::Paused, transfers);
    let mut world = world(1..=4);
    world.held.insert("c".to_owned(), HashSet::from([(4, 43)]));
    assert_eq!(acts(&job, &world, 0), [Act::Settle(0), Act::Settle(2)]);
    let half = unsettled(world.clone());
    assert_eq!(acts(&job, &half, 0), []);
    job.row.state = JobState::Aborting.into();
    assert_eq!(
        acts(&job, &half, 0),
        [Act::Revert(0, aborted()), Act::Revert(1, aborted())]
    );
    // What votes has all, and is not taken back.
    assert_eq!(acts(&job, &world, 0)[0], Act::Settle(0));
    for transfer in &mut job.transfers {
        transfer.stage = Stage::Reverted.into();
    }
    assert_eq!(acts(&job, &world, 0), [Act::End]);
    job.row.state = JobState::Storing.into();
    assert_eq!(acts(&job, &world, 0), [Act::End]);
    for state in [JobState::Done, JobState::Aborted] {
        job.row.state = state.into();
        assert_eq!(acts(&job, &world, 0), []);
    }
}

#[test]
fn a_lead_changes_after_the_transfers_of_its_shard() {
    let mut job = job(JobState::Running, vec![transfer(1, "c", "d", Stage::Changing)]);
    job.leads.push(LeadRow {
        shard: 1,
        to_node: "d".to_owned(),
        began_at_millis: 1_000,
        ..LeadRow::default()
    });
    let mut world = unsettled(world(1..=1));
    assert_eq!(acts(&job, &world, 1_000), []);
    job.transfers[0].stage = Stage::Done.into();
    assert_eq!(acts(&job, &world, 1_000), [Act::BeginLead(0)]);
    job.row.state = JobState::Paused.into();
    assert_eq!(acts(&job, &world, 1_000), []);
    job.row.state = JobState::Running.into();
    job.leads[0].stage = Stage::Changing.into();
    assert_eq!(acts(&job, &world, 1_000), []);
    let late = acts(&job, &world, 1_000 + LEAD_MAX_MILLIS);
    assert!(matches!(&late[..], [Act::EndLead(0, why_not)] if !why_not.is_empty()));
    world.shards.get_mut(&1).unwrap().leader = "d".to_owned();
    assert_eq!(acts(&job, &world, 1_000), [Act::EndLead(0, String::new())]);
}
