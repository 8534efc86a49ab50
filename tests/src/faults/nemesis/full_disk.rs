//! A mailstore's disk that fills up: nearly, so that the node is to refuse by itself, or to the last byte, where it may end
//! rather than say what is not true. There is room again before it is started again.

use anyhow::Result;
use rand::Rng;
use rand::rngs::StdRng;

use super::super::stage::Stage;
use super::{Fault, Nemesis, any_node};

/// Its name.
pub(super) const NAME: &str = "full_disk";

/// What is left of a disk that is nearly full: less than what the nodes are told to keep free.
const NEARLY_FULL_BYTES: u64 = 24 << 20;

/// See the file.
pub(super) struct FullDisk;

struct Filled {
    node: String,
    left: u64,
}

impl Nemesis for FullDisk {
    fn name(&self) -> &'static str {
        NAME
    }

    fn needs_rooms(&self) -> bool {
        true
    }

    fn choose(&self, rng: &mut StdRng, stage: &Stage) -> Box<dyn Fault> {
        let left = if rng.random_bool(0.5) {
            NEARLY_FULL_BYTES
        } else {
            0
        };
        Box::new(Filled {
            node: any_node(rng, stage, &["mailstore"]),
            left,
        })
    }
}

impl Fault for Filled {
    fn nodes(&self) -> Vec<String> {
        vec![self.node.clone()]
    }

    fn describe(&self) -> String {
        format!("disk of {} with {} bytes left", self.node, self.left)
    }

    fn inject(&mut self, stage: &mut Stage) -> Result<()> {
        stage.room(&self.node)?.fill(self.left)
    }

    fn heal(&mut self, stage: &mut Stage) -> Result<()> {
        stage.room(&self.node)?.empty()?;
        if !stage.is_running(&self.node) {
            stage.revive_one(&self.node, NAME, &self.describe())?;
        }
        Ok(())
    }
}
