//! What strikes the machines and the network of a simulated run, as its seed says.

use std::sync::Arc;

use crate::network::Weather;
use crate::shared::Shared;
use crate::world::World;

/// How long faults strike, in milliseconds.
const STRIKES: std::ops::Range<u64> = 4_000..16_000;

/// The faults of a run.
pub(crate) struct Faults {
    over_at: u64,
    next_at: u64,
    /// The longest pause between two faults, in milliseconds.
    pause_max: u64,
    /// Cuts between machines, and disks that are slow: what ends when.
    ends: Vec<(u64, End)>,
}

enum End {
    Cut(String, String),
    SlowDisk(String),
}

impl Faults {
    pub(crate) fn draw(shared: &Arc<Shared>) -> Self {
        let one_of = |choices: &[u64]| choices[shared.draw(0..choices.len() as u64) as usize];
        shared.network.lock().weather = Weather {
            lost_one_in: one_of(&[0, 0, 400, 60]),
            twice_one_in: one_of(&[0, 200, 30]),
            delay_max: one_of(&[4, 12, 40, 120]),
        };
        Self {
            over_at: shared.draw(STRIKES),
            // The groups form first.
            next_at: 1500 + shared.draw(0..2000),
            pause_max: one_of(&[300, 1000, 3000]),
            ends: Vec::new(),
        }
    }

    pub(crate) fn are_over(&self, world: &World) -> bool {
        world.shared.now() >= self.over_at
    }

    /// Does what is due.
    pub(crate) fn strike(&mut self, world: &mut World) {
        let shared = Arc::clone(&world.shared);
        self.end_due(world, shared.now());
        for machine in &mut world.machines {
            match machine.returns_at {
                Some(at) if at > shared.now() => {}
                Some(_) => {
                    machine.returns_at = None;
                    match machine.runs() {
                        true => machine.resume(&shared),
                        false => machine.start(&shared),
                    }
                }
                None if !machine.runs() => machine.returns_at = Some(shared.now() + shared.draw(50..3000)),
                None => {}
            }
        }
        if shared.now() >= self.next_at {
            self.next_at = shared.now() + 1 + shared.draw(0..self.pause_max);
            self.fault(world, &shared);
        }
    }

    fn end_due(&mut self, world: &mut World, now: u64) {
        let (due, rest) = std::mem::take(&mut self.ends)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.ends = rest;
        for (_, end) in due {
            match end {
                End::Cut(from, to) => {
                    world.shared.trace(&format!("{from} reaches {to} again"));
                    world.shared.network.lock().cuts.remove(&(from, to));
                }
                End::SlowDisk(name) => {
                    if let Some(machine) = world.machine(&name) {
                        machine.sync_max = 2;
                    }
                }
            }
        }
    }

    fn fault(&mut self, world: &mut World, shared: &Arc<Shared>) {
        let struck = shared.draw(0..world.machines.len() as u64) as usize;
        let name = world.machines[struck].name.clone();
        let until = shared.now() + 100 + shared.draw(0..[800, 4000][shared.draw(0..2) as usize]);
        match shared.draw(0..12) {
            0 | 1 => world.machines[struck].cut_power(shared),
            2 => world.machines[struck].cut_power_soon(shared),
            3 => world.machines[struck].stop(shared),
            4 if world.machines[struck].runs() => {
                world.machines[struck].pause(shared);
                world.machines[struck].returns_at = Some(until);
            }
            5 => self.cut(world, &name, until, true, true),
            6 => {
                let out = shared.once_in(2);
                self.cut(world, &name, until, out, !out);
            }
            7 => {
                let other = world.machines[shared.draw(0..world.machines.len() as u64) as usize]
                    .name
                    .clone();
                self.cut_way(world, &name, &other, until);
            }
            8 => {
                world.machines[struck].sync_max = 20 + shared.draw(0..300);
                self.ends.push((until, End::SlowDisk(name)));
            }
            9 => world.machines[struck].flush(shared),
            10 if is_settled(world, &name) => world.machines[struck].lose_disk(shared),
            11 => move_replica(world, shared, &name),
            _ => {}
        }
    }

    /// Cuts a machine off from all others: what it sends, what is sent to it, or both.
    fn cut(&mut self, world: &World, name: &str, until: u64, out: bool, into: bool) {
        for machine in world.machines.iter().filter(|machine| machine.name != name) {
            if out {
                self.cut_way(world, name, &machine.name, until);
            }
            if into {
                self.cut_way(world, &machine.name, name, until);
            }
        }
    }

    fn cut_way(&mut self, world: &World, from: &str, to: &str, until: u64) {
        world.shared.count("ways cut");
        world.shared.trace(&format!("{from} no longer reaches {to}"));
        let way = (from.to_owned(), to.to_owned());
        world.shared.network.lock().cuts.insert(way);
        self.ends.push((until, End::Cut(from.to_owned(), to.to_owned())));
    }

    /// All is well again.
    pub(crate) fn end(&mut self, world: &mut World) {
        let shared = Arc::clone(&world.shared);
        shared.trace("all faults are over");
        self.end_due(world, u64::MAX);
        shared.network.lock().weather = Weather {
            delay_max: 8,
            ..Weather::default()
        };
        for machine in &mut world.machines {
            machine.resume(&shared);
            machine.returns_at = None;
        }
        world.restarts = true;
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
