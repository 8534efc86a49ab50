//! What strikes the cluster: each nemesis in a file, behind one trait, its choices from the seed.

mod account_move;
mod clock;
mod cut;
mod driver;
mod full_disk;
mod handover;
mod kill;
mod kill_leader;
mod pause;
mod power_cut;
mod rebalance;
mod slow_disk;

use anyhow::Result;
use rand::rngs::StdRng;

use super::stage::Stage;
pub(super) use account_move::arrive;
pub use driver::{Pace, torment};
pub(super) use rebalance::settle;

/// Another build in a node's place: no nemesis, but its proxy's end is the end of a client's connection as well.
pub const REPLACED: &str = "replaced";

/// Nemeses of a proxy that end its clients' connections.
pub const ENDS_CONNECTIONS: [&str; 2] = [kill::NAME, REPLACED];

/// Nemeses after which a node may be found to have ended by itself.
pub const MAY_END_NODES: [&str; 1] = [full_disk::NAME];

/// A kind of fault.
pub trait Nemesis: Send {
    /// Its name in options and tables.
    fn name(&self) -> &'static str;

    /// Whether the nodes must have a network of their own.
    fn needs_network(&self) -> bool {
        false
    }

    /// Whether the mailstores must have small disks of their own.
    fn needs_rooms(&self) -> bool {
        false
    }

    /// The next fault.
    fn choose(&self, rng: &mut StdRng, stage: &Stage) -> Box<dyn Fault>;
}

/// One fault.
pub trait Fault: Send {
    /// The nodes that it strikes; no two faults strike one node at the same time.
    fn nodes(&self) -> Vec<String>;

    /// The shards that its nodes led as it struck, when it is about them.
    fn led(&self) -> Vec<u64> {
        Vec::new()
    }

    /// In words.
    fn describe(&self) -> String;

    /// Begins.
    fn inject(&mut self, stage: &mut Stage) -> Result<()>;

    /// Ends, with the nodes serving again.
    fn heal(&mut self, stage: &mut Stage) -> Result<()>;
}

/// All kinds.
pub fn all() -> Vec<Box<dyn Nemesis>> {
    vec![
        Box::new(kill::Kill),
        Box::new(kill_leader::KillLeader),
        Box::new(handover::Handover),
        Box::new(pause::Pause),
        Box::new(cut::Cut),
        Box::new(clock::Clock),
        Box::new(full_disk::FullDisk),
        Box::new(slow_disk::SlowDisk),
        Box::new(power_cut::PowerCut),
        Box::new(rebalance::Rebalance),
        Box::new(account_move::AccountMove),
    ]
}

/// The kinds of these names; an error names those that there are.
pub fn named(names: &[&str]) -> Result<Vec<Box<dyn Nemesis>>> {
    let mut found = Vec::new();
    for name in names {
        let kinds = all();
        let known: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        let known = known.join(", ");
        let kind = kinds.into_iter().find(|kind| kind.name() == *name);
        found.push(kind.ok_or_else(|| anyhow::anyhow!("there is no nemesis {name}: use {known}"))?);
    }
    Ok(found)
}

/// A node of any of these roles.
fn any_node(rng: &mut StdRng, stage: &Stage, roles: &[&str]) -> String {
    use rand::seq::IndexedRandom;
    // The role first: else the most numerous would be struck most.
    let role = roles.choose(rng).copied().unwrap_or("mailstore");
    let nodes = stage.of_role(role);
    nodes.choose(rng).cloned().unwrap_or_default()
}

/// The leader of any shard.
fn any_leader(rng: &mut StdRng, stage: &Stage) -> String {
    use rand::seq::IndexedRandom;
    let leaders: Vec<String> = stage.leaders().unwrap_or_default().into_values().collect();
    match leaders.choose(rng) {
        Some(leader) => leader.clone(),
        // The directory knows of none just now.
        None => any_node(rng, stage, &["mailstore"]),
    }
}
