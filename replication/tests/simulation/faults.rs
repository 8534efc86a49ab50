//! What strikes the machines of a run beside what strikes every simulated machine: lost disks, and replicas that move.

use std::sync::Arc;

use rookery_simulation::faults::Faults;

use crate::shared::Shared;
use crate::world::World;

/// Kinds of faults of this test's own.
const OWN: u64 = 2;

/// How long faults strike, in milliseconds; the groups form first.
const STRIKES: std::ops::Range<u64> = 2_500..14_500;

/// When the first may strike.
const FIRST_AT: u64 = 1_500;

/// The faults of a run.
pub(crate) fn draw(shared: &Shared) -> Faults {
    Faults::draw(&shared.run, FIRST_AT, STRIKES)
}

/// Does what is due.
pub(crate) fn strike(faults: &mut Faults, world: &mut World) {
    let shared = Arc::clone(&world.shared);
    let Some((struck, kind)) = faults.strike(&shared.run, &mut world.machines, OWN) else {
        return;
    };
    let name = world.machines[struck].name.clone();
    match kind {
        0 if is_settled(world, &name) => {
            world.machines[struck].lose_disk(&shared.run);
            shared.directory.lock().disk_lost(&name);
        }
        1 => move_replica(world, &shared, &name),
        _ => {}
    }
}

/// Whether no replica of the machine's groups is being replaced: only then may a disk be lost.
fn is_settled(world: &World, name: &str) -> bool {
    let directory = world.shared.directory.lock();
    world.groups.iter().all(|group| {
        let placement = directory.placement(*group);
        placement.is_settled() || placement.places.iter().all(|place| place.node != name)
    })
}

/// A replica of a group that nothing else happens to moves from a machine to one without any.
fn move_replica(world: &World, shared: &Arc<Shared>, from: &str) {
    let mut directory = shared.directory.lock();
    let group = world.groups[shared.draw(0..world.groups.len() as u64) as usize];
    let placement = directory.placement(group);
    let holds = |name: &str| placement.places.iter().any(|place| place.node == name);
    let free = world.machines.iter().find(|machine| !holds(&machine.name));
    if let Some(to) = free.filter(|_| holds(from) && placement.is_settled()) {
        shared.count("replicas moved");
        shared.trace(&format!("{group:?} moves from {from} to {}", to.name));
        directory.move_replica(group, from, &to.name);
    }
}
