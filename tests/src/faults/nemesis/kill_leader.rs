//! Kill -9 of the mailstore that leads some shard, and its restart.

use anyhow::Result;
use rand::rngs::StdRng;

use super::super::stage::Stage;
use super::{Fault, Nemesis, any_leader};

/// See the file.
pub(super) struct KillLeader;

struct Killed {
    node: String,
    led: Vec<u64>,
}

impl Nemesis for KillLeader {
    fn name(&self) -> &'static str {
        "kill_leader"
    }

    fn choose(&self, rng: &mut StdRng, stage: &Stage) -> Box<dyn Fault> {
        Box::new(Killed {
            node: any_leader(rng, stage),
            led: Vec::new(),
        })
    }
}

impl Fault for Killed {
    fn nodes(&self) -> Vec<String> {
        vec![self.node.clone()]
    }

    fn led(&self) -> Vec<u64> {
        self.led.clone()
    }

    fn describe(&self) -> String {
        format!("kill of {}, which leads shards {:?}", self.node, self.led)
    }

    fn inject(&mut self, stage: &mut Stage) -> Result<()> {
        // Unknown while the directory is struck as well.
        self.led = stage.led_by(&self.node).unwrap_or_default();
        stage.kill(&self.node)
    }

    fn heal(&mut self, stage: &mut Stage) -> Result<()> {
        stage.restart(&self.node)
    }
}
