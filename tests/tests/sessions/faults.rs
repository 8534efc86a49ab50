//! What strikes the machines of a cluster beside what strikes every simulated machine: wall clocks that are wrong, and the loss of
//! power of all machines of a role.

use std::sync::Arc;

use rookery_simulation::Run;
use rookery_simulation::faults::Faults;

use crate::world::Machine;

/// Kinds of faults of this test's own.
const OWN: u64 = 2;

/// How long faults strike, in milliseconds.
const STRIKES: std::ops::Range<u64> = 3_000..15_000;

/// How wrong a wall clock may be, in milliseconds, each way.
const AHEAD_MAX: u64 = 60_000;

/// The faults of a run whose cluster works.
pub(crate) fn draw(run: &Arc<Run>) -> Faults {
    Faults::draw(run, run.now(), STRIKES)
}

/// Does what is due to these machines.
pub(crate) fn strike(faults: &mut Faults, run: &Arc<Run>, machines: &mut [Machine]) {
    match faults.strike(run, machines, OWN) {
        Some((struck, 0)) => skew(run, &mut machines[struck]),
        Some((struck, _)) => black_out(run, machines, struck),
        None => {}
    }
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
