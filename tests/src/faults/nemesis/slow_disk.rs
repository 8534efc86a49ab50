//! A disk that takes its time: a delay before each sync and before each write that syncs.

use anyhow::Result;
use rand::Rng;
use rand::rngs::StdRng;

use super::super::stage::Stage;
use super::{Fault, Nemesis, any_node};

/// The longest delay, in microseconds.
const DELAY_MAX: u64 = 300_000;

/// See the file.
pub(super) struct SlowDisk;

struct Slowed {
    node: String,
    delay: u64,
}

impl Nemesis for SlowDisk {
    fn name(&self) -> &'static str {
        "slow_disk"
    }

    fn choose(&self, rng: &mut StdRng, stage: &Stage) -> Box<dyn Fault> {
        Box::new(Slowed {
            node: any_node(rng, stage, &["mailstore", "mailstore", "directory"]),
            delay: rng.random_range(2_000..DELAY_MAX),
        })
    }
}

impl Fault for Slowed {
    fn nodes(&self) -> Vec<String> {
        vec![self.node.clone()]
    }

    fn describe(&self) -> String {
        format!("disk of {} slower by {} µs a sync", self.node, self.delay)
    }

    fn inject(&mut self, stage: &mut Stage) -> Result<()> {
        set(stage, &self.node, self.delay)
    }

    fn heal(&mut self, stage: &mut Stage) -> Result<()> {
        set(stage, &self.node, 0)
    }
}

fn set(stage: &mut Stage, node: &str, delay: u64) -> Result<()> {
    let control = stage.control(node)?;
    let mut settings = control.settings();
    settings.sync_delay = delay;
    settings.write_delay = delay;
    control.set(settings)
}
