//! A power cut: the node is killed and what it had not synced is taken away.

use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;

use super::super::stage::Stage;
use super::super::workload::Stop;
use super::{Fault, Nemesis, any_node};

/// How long syncs take before the cut, in microseconds, so that it finds much that is not synced.
const SYNC_DELAY: u64 = 40_000;

/// For how long they do.
const BEFORE: Duration = Duration::from_millis(250);

/// See the file.
pub(super) struct PowerCut;

struct Off(String);

impl Nemesis for PowerCut {
    fn name(&self) -> &'static str {
        "power_cut"
    }

    fn choose(&self, rng: &mut StdRng, stage: &Stage) -> Box<dyn Fault> {
        let roles = ["mailstore", "mailstore", "mailstore", "directory"];
        Box::new(Off(any_node(rng, stage, &roles)))
    }
}

impl Fault for Off {
    fn nodes(&self) -> Vec<String> {
        vec![self.0.clone()]
    }

    fn describe(&self) -> String {
        format!("power cut of {}", self.0)
    }

    fn inject(&mut self, stage: &mut Stage) -> Result<()> {
        if stage.lies {
            stage.lie(true)?;
            Stop::default().wait(BEFORE);
            stage.cut_power(&self.0)?;
            return stage.lie(false);
        }
        delay_syncs(stage, &self.0, SYNC_DELAY)?;
        Stop::default().wait(BEFORE);
        stage.cut_power(&self.0)?;
        delay_syncs(stage, &self.0, 0)
    }

    fn heal(&mut self, stage: &mut Stage) -> Result<()> {
        stage.restart(&self.0)
    }
}

fn delay_syncs(stage: &mut Stage, node: &str, delay: u64) -> Result<()> {
    let control = stage.control(node)?;
    let mut settings = control.settings();
    settings.sync_delay = delay;
    control.set(settings)
}
