//! A node that stands still and goes on: SIGSTOP … SIGCONT.

use anyhow::Result;
use rand::rngs::StdRng;
use rustix::process::Signal;

use super::super::stage::Stage;
use super::{Fault, Nemesis, any_node};

/// See the file.
pub(super) struct Pause;

struct Paused(String);

impl Nemesis for Pause {
    fn name(&self) -> &'static str {
        "pause"
    }

    fn choose(&self, rng: &mut StdRng, stage: &Stage) -> Box<dyn Fault> {
        let roles = ["mailstore", "mailstore", "proxy", "directory"];
        Box::new(Paused(any_node(rng, stage, &roles)))
    }
}

impl Fault for Paused {
    fn nodes(&self) -> Vec<String> {
        vec![self.0.clone()]
    }

    fn describe(&self) -> String {
        format!("pause of {}", self.0)
    }

    fn inject(&mut self, stage: &mut Stage) -> Result<()> {
        stage.signal(&self.0, Signal::STOP)
    }

    fn heal(&mut self, stage: &mut Stage) -> Result<()> {
        stage.signal(&self.0, Signal::CONT)
    }
}
