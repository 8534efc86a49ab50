//! The simulated network: messages arrive late, out of order or never, as the seed says.
//!
//! Messages of one call stay in order, as on a connection. One that is lost breaks its call; both ends learn of that after a while.

use std::collections::{BTreeMap, BTreeSet};

use crate::call::Line;
use crate::here::Here;
use crate::run::Run;

/// What a message does where it arrives, if a machine is there.
type Arrival = Box<dyn FnOnce(Option<&Here>) + Send>;

struct Packet {
    to: String,
    arrives: Arrival,
}

/// How the network behaves.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    /// Of how many messages one is lost; 0: none.
    pub lost_one_in: u64,
    /// Of how many calls between replicas one arrives twice; 0: none.
    pub twice_one_in: u64,
    /// The longest that a message takes, in milliseconds.
    pub delay_max: u64,
}

/// What is under way, by when it arrives.
#[derive(Default)]
pub struct Network {
    /// How it behaves now.
    pub weather: Weather,
    under_way: BTreeMap<(u64, u64), Packet>,
    sent: u64,
    calls: u64,
    /// From whom to whom nothing gets through.
    pub cuts: BTreeSet<(String, String)>,
    /// Calls that have not ended.
    lines: BTreeMap<u64, Line>,
    /// Machines that run, by name.
    machines: BTreeMap<String, Here>,
}

impl Network {
    pub(crate) fn next_call(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    /// A machine runs.
    pub(crate) fn joined(&mut self, here: Here) {
        self.machines.insert(here.name.to_string(), here);
    }

    /// The machine of that name, if it runs.
    pub fn machine(&self, name: &str) -> Option<&Here> {
        self.machines.get(name)
    }

    pub(crate) fn begun(&mut self, line: Line) {
        self.lines.insert(line.id(), line);
    }

    pub(crate) fn ended(&mut self, call: u64) {
        self.lines.remove(&call);
    }

    /// Something arrives somewhere, at a certain time.
    pub(crate) fn put(&mut self, at: u64, to: &str, arrives: impl FnOnce(Option<&Here>) + Send + 'static) {
        self.sent += 1;
        let packet = Packet {
            to: to.to_owned(),
            arrives: Box::new(arrives),
        };
        self.under_way.insert((at, self.sent), packet);
    }

    /// How long a message takes; `None` when it is lost.
    pub(crate) fn travel(&self, run: &Run, from: &str, to: &str) -> Option<u64> {
        let is_cut = self.cuts.contains(&(from.to_owned(), to.to_owned()));
        if is_cut || run.once_in(self.weather.lost_one_in) {
            return None;
        }
        // Most are quick: now and then one is overtaken by many.
        let longest = match run.once_in(8) {
            true => self.weather.delay_max,
            false => self.weather.delay_max / 4,
        };
        Some(1 + run.draw(0..longest.max(1)))
    }
}

/// Lets arrive what is due.
pub(crate) fn deliver(run: &Run) {
    loop {
        let (packet, here) = {
            let mut network = run.network.lock();
            let Some(first) = network.under_way.first_entry() else {
                return;
            };
            if first.key().0 > run.now() {
                return;
            }
            let packet = first.remove();
            let here = network.machines.get(&packet.to).cloned();
            (packet, here)
        };
        (packet.arrives)(here.as_ref());
    }
}

/// A machine has gone: calls from it and to it break.
pub(crate) fn gone(run: &Run, name: &str) {
    let broken: Vec<Line> = {
        let mut network = run.network.lock();
        network.machines.remove(name);
        let lines = network.lines.values();
        lines.filter(|line| line.is_of(name)).cloned().collect()
    };
    for line in broken {
        line.breaks(run);
    }
}
