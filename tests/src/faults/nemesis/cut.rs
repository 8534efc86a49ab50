//! Messages between nodes that get lost: between two or between one and all others, both ways or one way.

use anyhow::Result;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::super::stage::Stage;
use super::{Fault, Nemesis, any_node};

/// See the file.
pub(super) struct Cut;

struct Severed {
    node: String,
    /// From whom to whom nothing arrives.
    ways: Vec<(String, String)>,
    description: String,
}

impl Nemesis for Cut {
    fn name(&self) -> &'static str {
        "cut"
    }

    fn needs_network(&self) -> bool {
        true
    }

    fn choose(&self, rng: &mut StdRng, stage: &Stage) -> Box<dyn Fault> {
        let node = any_node(rng, stage, &["mailstore", "mailstore", "proxy", "directory"]);
        let mut others = stage.nodes();
        others.retain(|other| *other != node);
        if rng.random_bool(0.5)
            && let Some(other) = others.choose(rng).cloned()
        {
            others = vec![other];
        }
        let (out, back) = *[(true, true), (true, false), (false, true)]
            .choose(rng)
            .unwrap_or(&(true, true));
        let mut ways = Vec::new();
        for other in &others {
            if out {
                ways.push((node.clone(), other.clone()));
            }
            if back {
                ways.push((other.clone(), node.clone()));
            }
        }
        let word = match (out, back) {
            (true, true) => "and back",
            (true, false) => "one way",
            _ => "the other way alone",
        };
        let description = format!("cut from {node} to {} {word}", others.join(" "));
        Box::new(Severed {
            node,
            ways,
            description,
        })
    }
}

impl Fault for Severed {
    fn nodes(&self) -> Vec<String> {
        // Not the others: they are well, and may be struck by something else.
        vec![self.node.clone()]
    }

    fn describe(&self) -> String {
        self.description.clone()
    }

    fn inject(&mut self, stage: &mut Stage) -> Result<()> {
        let network = stage.network()?;
        self.ways.iter().try_for_each(|(from, to)| network.cut(from, to))
    }

    fn heal(&mut self, stage: &mut Stage) -> Result<()> {
        let network = stage.network()?;
        self.ways.iter().try_for_each(|(from, to)| network.heal(from, to))
    }
}
