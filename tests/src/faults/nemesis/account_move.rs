//! Accounts on the move from shard to shard. A move goes on by itself while other faults strike; what is refused just then is refused.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use serde_json::Value;

use super::super::history::Account;
use super::super::stage::{DIRECTORY, Stage};
use super::super::workload::address;
use super::{Fault, Nemesis};

/// How long a move may take when nothing strikes any more.
const END_MAX: Duration = Duration::from_secs(120);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Most accounts that set out at once.
const TOGETHER_MAX: usize = 3;

/// See the file.
pub(super) struct AccountMove;

struct Moves {
    accounts: Vec<(Account, u64)>,
    /// Who is asked: they are not struck while they are.
    directories: Vec<String>,
    /// What was refused.
    said: Vec<String>,
}

impl Nemesis for AccountMove {
    fn name(&self) -> &'static str {
        "account_move"
    }

    fn choose(&self, rng: &mut StdRng, stage: &Stage) -> Box<dyn Fault> {
        let count = rng.random_range(1..=TOGETHER_MAX);
        let accounts = stage.placement.shard.keys().copied().choose_multiple(rng, count);
        let shards: Vec<u64> = stage.placement.nodes.keys().copied().collect();
        let accounts = accounts.into_iter().filter_map(|account| {
            let to = shards.iter().copied().choose(rng)?;
            Some((account, to))
        });
        Box::new(Moves {
            accounts: accounts.collect(),
            directories: stage.of_role(DIRECTORY),
            said: Vec::new(),
        })
    }
}

impl Fault for Moves {
    fn nodes(&self) -> Vec<String> {
        self.directories.clone()
    }

    fn describe(&self) -> String {
        let moves = self.accounts.iter();
        let moves: Vec<String> = moves
            .map(|(account, to)| format!("user{account} to shard {to}"))
            .collect();
        match self.said.as_slice() {
            [] => moves.join(", "),
            said => format!("{} ({})", moves.join(", "), said.join("; ")),
        }
    }

    fn inject(&mut self, stage: &mut Stage) -> Result<()> {
        for (account, to) in &self.accounts {
            let (address, to) = (address(*account), to.to_string());
            let output = stage.try_operate(&["account", "move", &address, "--to-shard", &to, "--no-wait"])?;
            // It may have begun all the same.
            stage.moved_accounts.insert(*account);
            if !output.status.success() {
                let error = String::from_utf8_lossy(&output.stderr);
                self.said
                    .push(error.lines().next().unwrap_or_default().to_owned());
            }
        }
        Ok(())
    }

    fn heal(&mut self, _stage: &mut Stage) -> Result<()> {
        // What has been begun goes on.
        Ok(())
    }
}

/// Lets the moves that are under way end. One that waits for an upload of a session that has ended is under way for minutes, and
/// its account is live where it was.
pub(in super::super) fn arrive(stage: &Stage) -> Result<()> {
    let began = Instant::now();
    for account in &stage.moved_accounts {
        let address = address(*account);
        loop {
            let output = stage.try_operate(&["--json", "account", "move", &address, "--no-wait"])?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            // None: none has ever begun.
            let Some(last) = said.lines().last() else { break };
            let seen: Value = serde_json::from_str(last)?;
            let is_over = seen["state"] == "done" || seen["state"] == "reverted";
            let waits_for = seen["waits_for"].as_str().unwrap_or_default();
            if is_over || waits_for.contains("upload") {
                break;
            }
            if began.elapsed() > END_MAX {
                bail!("{address} does not arrive: {last}");
            }
            std::thread::sleep(LOOK);
        }
    }
    Ok(())
}
