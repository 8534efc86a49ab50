//! Kill -9 of any node, and its restart.

use anyhow::Result;
use rand::rngs::StdRng;

use super::super::stage::Stage;
use super::{Fault, Nemesis, any_node};

/// Its name.
pub(super) const NAME: &str = "kill";

/// See the file.
pub(super) struct Kill;

struct Killed(String);

impl Nemesis for Kill {
    fn name(&self) -> &'static str {
        NAME
    }

    fn choose(&self, rng: &mut StdRng, stage: &Stage) -> Box<dyn Fault> {
        let roles = ["mailstore", "mailstore", "mailstore", "proxy", "directory"];
        Box::new(Killed(any_node(rng, stage, &roles)))
    }
}

impl Fault for Killed {
    fn nodes(&self) -> Vec<String> {
        vec![self.0.clone()]
    }

    fn describe(&self) -> String {
        format!("kill of {}", self.0)
    }

    fn inject(&mut self, stage: &mut Stage) -> Result<()> {
        stage.kill(&self.0)
    }

    fn heal(&mut self, stage: &mut Stage) -> Result<()> {
        stage.restart(&self.0)
    }
}
