//! A mailstore that leads some shard is told to stop, as for an upgrade: it hands its shards over. Then it starts again.

use anyhow::Result;
use rand::rngs::StdRng;

use super::super::stage::Stage;
use super::{Fault, Nemesis, any_leader};

/// See the file.
pub(super) struct Handover;

struct Stopped {
    node: String,
    led: Vec<u64>,
}

impl Nemesis for Handover {
    fn name(&self) -> &'static str {
        "handover"
    }

    fn choose(&self, rng: &mut StdRng, stage: &Stage) -> Box<dyn Fault> {
        Box::new(Stopped {
            node: any_leader(rng, stage),
            led: Vec::new(),
        })
    }
}

impl Fault for Stopped {
    fn nodes(&self) -> Vec<String> {
        vec![self.node.clone()]
    }

    fn led(&self) -> Vec<u64> {
        self.led.clone()
    }

    fn describe(&self) -> String {
        format!("stop of {}, which leads shards {:?}", self.node, self.led)
    }

    fn inject(&mut self, stage: &mut Stage) -> Result<()> {
        // Unknown while the directory is struck as well.
        self.led = stage.led_by(&self.node).unwrap_or_default();
        stage.stop(&self.node)
    }

    fn heal(&mut self, stage: &mut Stage) -> Result<()> {
        stage.restart(&self.node)
    }
}
