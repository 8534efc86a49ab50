//! What strikes the machines and the network of a simulated run, as its seed says.

use std::sync::Arc;

use crate::machine::Machine;
use crate::network::Weather;
use crate::run::Run;

/// The faults of a run.
pub struct Faults {
    over_at: u64,
    next_at: u64,
    /// The longest pause between two faults, in milliseconds.
    pause_max: u64,
    /// The longest that a machine stays away, in milliseconds.
    away_max: u64,
    /// Cuts between machines, and disks that are slow: what ends when.
    ends: Vec<(u64, End)>,
}

enum End {
    Cut(String, String),
    SlowDisk(String),
}

/// Faults that every machine knows, and that are drawn by their number; others are the test's own.
pub const KINDS: u64 = 10;

/// The longest that a machine stays away, in milliseconds, unless a test says otherwise.
const AWAY_MAX: u64 = 3_000;

impl Faults {
    /// Draws the weather, and for how many milliseconds from `first_at` on faults strike.
    pub fn draw(run: &Arc<Run>, first_at: u64, strikes: std::ops::Range<u64>) -> Self {
        run.network.lock().weather = Weather {
            lost_one_in: run.one_of(&[0, 0, 400, 60]),
            twice_one_in: run.one_of(&[0, 200, 30]),
            delay_max: run.one_of(&[4, 12, 40, 120]),
        };
        Self {
            over_at: first_at + run.draw(strikes),
            next_at: first_at + run.draw(0..2000),
            pause_max: run.one_of(&[300, 1000, 3000]),
            away_max: AWAY_MAX,
            ends: Vec::new(),
        }
    }

    /// The same with machines that stay away for so many milliseconds at most.
    pub fn away(self, away_max: u64) -> Self {
        Self { away_max, ..self }
    }

    /// The same with so many milliseconds at most between two of them.
    pub fn every(self, pause_max: u64) -> Self {
        Self { pause_max, ..self }
    }

    /// Whether no more strike.
    pub fn are_over(&self, run: &Run) -> bool {
        run.now() >= self.over_at
    }

    /// Does what is due to these machines. Gives the machine that is to be struck by a fault of the test's own, and which of so many.
    pub fn strike<T>(
        &mut self,
        run: &Arc<Run>,
        machines: &mut [Machine<T>],
        own: u64,
    ) -> Option<(usize, u64)> {
        self.end_due(run, machines, run.now());
        for machine in &mut *machines {
            match machine.returns_at {
                Some(at) if at > run.now() => {}
                Some(_) => {
                    machine.returns_at = None;
                    match machine.runs() {
                        true => machine.resume(run),
                        false => machine.start(run),
                    }
                }
                None if !machine.runs() => machine.returns_at = Some(run.now() + run.draw(50..self.away_max)),
                None => {}
            }
        }
        if run.now() < self.next_at {
            return None;
        }
        self.next_at = run.now() + 1 + run.draw(0..self.pause_max);
        let struck = run.draw(0..machines.len() as u64) as usize;
        match run.draw(0..KINDS + own) {
            kind if kind < KINDS => {
                self.fault(run, machines, struck, kind);
                None
            }
            kind => Some((struck, kind - KINDS)),
        }
    }

    fn end_due<T>(&mut self, run: &Run, machines: &mut [Machine<T>], now: u64) {
        let (due, rest) = std::mem::take(&mut self.ends)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.ends = rest;
        for (_, end) in due {
            match end {
                End::Cut(from, to) => {
                    run.trace(&format!("{from} reaches {to} again"));
                    run.network.lock().cuts.remove(&(from, to));
                }
                End::SlowDisk(name) => {
                    let slow = machines.iter_mut().filter(|machine| machine.name == name);
                    slow.for_each(|machine| machine.sync_max = machine.sync_usual);
                }
            }
        }
    }

    fn fault<T>(&mut self, run: &Arc<Run>, machines: &mut [Machine<T>], struck: usize, kind: u64) {
        let name = machines[struck].name.clone();
        let until = run.now() + 100 + run.draw(0..run.one_of(&[800, 4000]));
        match kind {
            0 | 1 => machines[struck].cut_power(run),
            2 => machines[struck].cut_power_soon(run),
            3 => machines[struck].stop(run),
            4 if machines[struck].runs() => {
                machines[struck].pause(run);
                machines[struck].returns_at = Some(until);
            }
            5 => self.cut(run, machines, &name, until, true, true),
            6 => {
                let out = run.once_in(2);
                self.cut(run, machines, &name, until, out, !out);
            }
            7 => {
                let other = run.draw(0..machines.len() as u64) as usize;
                self.cut_way(run, &name, &machines[other].name, until);
            }
            8 => {
                machines[struck].sync_max = 20 + run.draw(0..300);
                self.ends.push((until, End::SlowDisk(name)));
            }
            9 => machines[struck].flush(run),
            _ => {}
        }
    }

    /// Cuts a machine off from all others: what it sends, what is sent to it, or both.
    fn cut<T>(&mut self, run: &Run, machines: &[Machine<T>], name: &str, until: u64, out: bool, into: bool) {
        for machine in machines.iter().filter(|machine| machine.name != name) {
            if out {
                self.cut_way(run, name, &machine.name, until);
            }
            if into {
                self.cut_way(run, &machine.name, name, until);
            }
        }
    }

    fn cut_way(&mut self, run: &Run, from: &str, to: &str, until: u64) {
        run.count("ways cut");
        run.trace(&format!("{from} no longer reaches {to}"));
        let way = (from.to_owned(), to.to_owned());
        run.network.lock().cuts.insert(way);
        self.ends.push((until, End::Cut(from.to_owned(), to.to_owned())));
    }

    /// All is well again.
    pub fn end<T>(&mut self, run: &Arc<Run>, machines: &mut [Machine<T>]) {
        run.trace("all faults are over");
        self.end_due(run, machines, u64::MAX);
        run.network.lock().weather = Weather {
            delay_max: 8,
            ..Weather::default()
        };
        for machine in machines {
            machine.returns_at = None;
            machine.resume(run);
        }
    }
}
