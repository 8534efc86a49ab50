//! Shards on the move: mailstores are drained, get shards back, and rebalances are paused, gone on with and aborted at any point. Goes
//! on by itself while other faults strike; what is refused just then is refused.

use anyhow::Result;
use rand::Rng;
use rand::rngs::StdRng;

use super::super::stage::{DIRECTORY, Stage};
use super::{Fault, Nemesis, any_node};

/// See the file.
pub(super) struct Rebalance;

#[derive(Debug)]
enum Wish {
    /// Empty this one, and no other.
    Drain(String),
    /// Spread over all.
    Spread,
    Abort,
    Pause,
    Resume,
}

struct Wished {
    wish: Wish,
    /// Who is asked: they are not struck while they are.
    directories: Vec<String>,
    /// What came of it.
    said: Vec<String>,
}

impl Nemesis for Rebalance {
    fn name(&self) -> &'static str {
        "rebalance"
    }

    fn choose(&self, rng: &mut StdRng, stage: &Stage) -> Box<dyn Fault> {
        let wish = match rng.random_range(0..10) {
            0..4 => Wish::Drain(any_node(rng, stage, &["mailstore"])),
            4..7 => Wish::Spread,
            7 => Wish::Abort,
            8 => Wish::Pause,
            _ => Wish::Resume,
        };
        Box::new(Wished {
            wish,
            directories: stage.of_role(DIRECTORY),
            said: Vec::new(),
        })
    }
}

impl Wished {
    fn ask(&mut self, stage: &Stage, arguments: &[&str]) -> Result<()> {
        let output = stage.try_operate(arguments)?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            let why = error.lines().next().unwrap_or_default().to_owned();
            self.said.push(format!("{}: {why}", arguments.join(" ")));
        }
        Ok(())
    }
}

impl Fault for Wished {
    fn nodes(&self) -> Vec<String> {
        self.directories.clone()
    }

    fn describe(&self) -> String {
        match self.said.as_slice() {
            [] => format!("{:?}", self.wish),
            said => format!("{:?} ({})", self.wish, said.join("; ")),
        }
    }

    fn inject(&mut self, stage: &mut Stage) -> Result<()> {
        match &self.wish {
            Wish::Drain(node) => {
                let node = node.clone();
                let others = stage.of_role("mailstore").into_iter();
                for other in others.filter(|other| *other != node) {
                    self.ask(stage, &["node", "drain", "--undo", &other])?;
                }
                self.ask(stage, &["node", "drain", &node])?;
                self.ask(stage, &["rebalance", "apply", "--yes"])
            }
            Wish::Spread => {
                for node in stage.of_role("mailstore") {
                    self.ask(stage, &["node", "drain", "--undo", &node])?;
                }
                self.ask(stage, &["rebalance", "apply", "--yes"])
            }
            Wish::Abort => self.ask(stage, &["rebalance", "abort"]),
            Wish::Pause => self.ask(stage, &["rebalance", "pause"]),
            Wish::Resume => self.ask(stage, &["rebalance", "resume"]),
        }
    }

    fn heal(&mut self, _stage: &mut Stage) -> Result<()> {
        // What has been begun goes on.
        Ok(())
    }
}

/// Lets what is under way end, and spreads the shards over all mailstores. Nothing is moved when there never was a rebalance.
pub(in super::super) fn settle(stage: &Stage) -> Result<()> {
    // Refused when none is under way, or it is being aborted.
    let _ = stage.try_operate(&["rebalance", "resume"])?;
    // Fails when there was none, or it was aborted.
    let _ = stage.try_operate(&["--json", "rebalance", "watch"])?;
    for node in stage.of_role("mailstore") {
        stage.operate(&["node", "drain", "--undo", &node])?;
    }
    let applied = stage.try_operate(&["rebalance", "apply", "--yes"])?;
    if applied.status.success() {
        let _ = stage.try_operate(&["--json", "rebalance", "watch"])?;
    }
    Ok(())
}
