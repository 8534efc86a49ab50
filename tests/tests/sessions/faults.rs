//! What strikes the machines of a cluster beside what strikes every simulated machine: wall clocks that are wrong, the loss of
//! power of all machines of a role, and lost disks.

use std::sync::Arc;

use rookery_replication::GroupId;
use rookery_replication::group::Group;
use rookery_simulation::Run;
use rookery_simulation::faults::Faults;

use crate::cluster::{Cluster, REPLICAS};
use crate::world::Machine;

/// Kinds of faults of this test's own.
const OWN: u64 = 3;

/// How long faults strike, in milliseconds.
const STRIKES: std::ops::Range<u64> = 3_000..15_000;

/// The same in one run of five, in which machines stay away for longer than proxies are patient.
const LONG_STRIKES: std::ops::Range<u64> = 20_000..70_000;

/// How long they stay away at most there, in milliseconds.
const LONG_AWAY_MAX: u64 = 50_000;

/// How long they strike in a run that is slow, in milliseconds: tokens come to their end meanwhile, and what is remembered for
/// minutes is forgotten.
const SLOW_STRIKES: std::ops::Range<u64> = 300_000..1_200_000;

/// How long machines stay away at most there, in milliseconds.
const SLOW_AWAY_MAX: u64 = 20_000;

/// The longest pause between two faults there, in milliseconds.
const SLOW_PAUSE_MAX: u64 = 60_000;

/// How wrong a wall clock may be, in milliseconds, each way.
const AHEAD_MAX: u64 = 60_000;

/// The faults of a run whose cluster works.
pub(crate) fn draw(run: &Arc<Run>, cluster: &Cluster) -> Faults {
    if cluster.pace != 1 {
        return Faults::draw(run, run.now(), SLOW_STRIKES)
            .away(SLOW_AWAY_MAX)
            .every(SLOW_PAUSE_MAX);
    }
    match run.once_in(5) {
        true => Faults::draw(run, run.now(), LONG_STRIKES).away(LONG_AWAY_MAX),
        false => Faults::draw(run, run.now(), STRIKES),
    }
}

/// Does what is due to these machines.
pub(crate) fn strike(faults: &mut Faults, cluster: &Cluster, machines: &mut [Machine]) {
    let run = &cluster.run;
    match faults.strike(run, machines, OWN) {
        Some((struck, 0)) => skew(run, &mut machines[struck]),
        Some((struck, 1)) => black_out(run, machines, struck),
        Some((struck, _)) if cluster.is_ready() && may_lose_disk(machines, struck) => {
            machines[struck].lose_disk(run)
        }
        _ => {}
    }
}

/// The open replicas of a group.
pub(crate) fn replicas(machines: &[Machine], group: GroupId) -> Vec<Arc<Group>> {
    let members = machines
        .iter()
        .filter_map(|machine| machine.what_runs()?.as_ref());
    members.filter_map(|member| member.group(group)).collect()
}

/// Whether the disk of a machine may be lost, once the directory has noted who has which replica: each of its groups has all its replicas, and all vote.
fn may_lose_disk(machines: &[Machine], struck: usize) -> bool {
    let Some(Some(member)) = machines[struck].what_runs() else {
        return false;
    };
    // Those that are not open yet as well.
    let held = member.held_groups().expect("reads");
    held.into_iter().all(|(group, _)| {
        let replicas = replicas(machines, group);
        let leader = replicas.iter().find(|replica| replica.leads());
        leader.is_some_and(|leader| {
            let standing = leader.standing();
            let votes = |replica: &Arc<Group>| {
                let voters = standing.members.iter();
                voters
                    .filter(|(voter, _, votes)| *votes && *voter == replica.replica())
                    .count()
                    == 1
            };
            !standing.changing
                && replicas.len() == REPLICAS as usize
                && standing.members.len() == REPLICAS as usize
                && replicas.iter().all(votes)
        })
    })
}

/// All machines of one role lose their power together.
fn black_out(run: &Arc<Run>, machines: &mut [Machine], struck: usize) {
    run.count("blackouts");
    let role = |name: &str| name.split('-').next().unwrap_or_default().to_owned();
    let dark = role(&machines[struck].name);
    for machine in machines.iter_mut().filter(|machine| role(&machine.name) == dark) {
        machine.cut_power(run);
    }
}

/// The wall clock is wrong from now on.
fn skew(run: &Run, machine: &mut Machine) {
    let ahead = run.draw(0..2 * AHEAD_MAX) as i64 - AHEAD_MAX as i64;
    run.count("clocks set wrong");
    run.trace(&format!("the clock of {} is {ahead} ms ahead", machine.name));
    machine.ahead_millis = ahead;
}
