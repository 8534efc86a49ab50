//! Clients in a cluster that grows by a mailstore and shrinks again: what they notice, and what the moves cost.
//!
//! Beside the clients' accounts there are others with ballast, so that there is something to move. Everything that the fault test
//! demands is demanded here, and that no command fails and no connection ends.

mod ballast;
mod figures;
mod moves;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::crowd::Crowd;
use super::history::{FaultSpan, Recorder};
use super::report::Report;
use super::run::{self, RunOptions};
use super::stage::{Stage, StageOptions};
use super::workload::{Mix, Tempo};
pub use figures::{Figures, Phase};
pub use moves::Move;

/// How a run is made.
#[derive(Debug, Clone)]
pub struct ScaleOutOptions {
    /// All choices of clients come from it.
    pub seed: u64,
    /// Replicas of each shard.
    pub replicas: u32,
    /// Shards.
    pub shards: u32,
    /// The clients.
    pub mix: Mix,
    /// Bytes of mail that lie there before.
    pub ballast_bytes: u64,
    /// Accounts that they lie in.
    pub ballast_accounts: u32,
    /// How long nothing is moved: before the cluster grows, between that and the drain, and after it.
    pub quiet: Duration,
    /// A file for what each operation took.
    pub times: Option<PathBuf>,
}

impl ScaleOutOptions {
    /// 200 sessions and 50 deliveries a second over 2 GB.
    pub fn large(seed: u64) -> Self {
        Self {
            seed,
            replicas: 3,
            shards: 48,
            mix: Mix {
                accounts: 50,
                sessions: 200,
                senders: 8,
                watchers: 20,
                tempo: Tempo {
                    think: Duration::from_secs(1),
                    transactions_per_second: Some(50.0),
                },
            },
            ballast_bytes: 2_000_000_000,
            ballast_accounts: 400,
            quiet: Duration::from_secs(45),
            times: None,
        }
    }

    /// As `make test` has it.
    pub fn small(seed: u64) -> Self {
        Self {
            shards: 12,
            mix: Mix {
                accounts: 8,
                sessions: 16,
                senders: 3,
                watchers: 4,
                tempo: Tempo {
                    think: Duration::from_millis(100),
                    transactions_per_second: Some(20.0),
                },
            },
            ballast_bytes: 20_000_000,
            ballast_accounts: 24,
            quiet: Duration::from_secs(2),
            ..Self::large(seed)
        }
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct ScaleOutReport {
    /// The oracle's verdicts.
    pub report: Report,
    /// What clients had to wait, by phase.
    pub figures: Vec<Figures>,
    /// What was moved; the last one while no client was at work.
    pub moves: Vec<Move>,
}

impl ScaleOutReport {
    /// Whether nothing was lost, doubled, refused or told to try later, and no connection ended.
    pub fn is_unnoticed(&self) -> bool {
        let failed: usize = self.figures.iter().map(|phase| phase.failed).sum();
        self.report.is_good() && failed == 0 && self.report.lost == 0
    }
}

impl std::fmt::Display for ScaleOutReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.report)?;
        writeln!(f)?;
        figures::table(&self.figures, f)?;
        writeln!(f)?;
        self.moves.iter().try_for_each(|one| writeln!(f, "{one}"))
    }
}

/// Makes one run.
pub fn run(options: &ScaleOutOptions) -> Result<ScaleOutReport> {
    let mut stage = Stage::plain(&StageOptions {
        directories: 1,
        mailstores: 3,
        proxies: 2,
        accounts: options.mix.accounts + options.ballast_accounts,
        shards: options.shards,
        replicas: options.replicas,
        network: false,
        rooms: false,
        program: None,
    })
    .context("the cluster cannot be set up")?;
    stage.moves = true;
    let made = perform(options, &mut stage);
    made.map_err(|error| error.context(format!("seed {}: {}", options.seed, stage.logs())))
}

fn perform(options: &ScaleOutOptions, stage: &mut Stage) -> Result<ScaleOutReport> {
    let accounts = options.mix.accounts + 1..=options.mix.accounts + options.ballast_accounts;
    ballast::load(&stage.proxies(), accounts, options.ballast_bytes)?;
    let crowd = Crowd::start(&options.mix, options.seed, stage)?;
    let mut phases = Phases::new(crowd.recorder());
    let mut moves = Vec::new();

    // Until all have logged in and have found their mailboxes.
    std::thread::sleep(options.quiet / 3);
    phases.quiet("3 mailstores", options.quiet);
    let added = phases.during("one is added", || {
        let added = stage.grow(1)?;
        moves.push(Move::make(stage, "spread over 4", &[])?);
        Ok(added)
    })?;
    phases.quiet("4 mailstores", options.quiet);
    let node = added.first().context("no mailstore was added")?;
    phases.during("one is drained", || {
        stage.operate(&["node", "drain", node])?;
        moves.push(Move::make(stage, "drained to 3", &[])?);
        stage.remove(node)
    })?;
    phases.quiet("3 again", options.quiet);

    let spans = Vec::<FaultSpan>::new();
    let recorded = phases.recorded;
    let (history, ending) = crowd.finish(spans, Duration::from_secs(90))?;
    if let Some(path) = &options.times {
        figures::write_times(&history.events, path)?;
    }
    let figures = recorded
        .iter()
        .map(|phase| Figures::of(phase, &history.events))
        .collect();
    // What a copy comes to when it has the machine for itself.
    stage.grow(1)?;
    moves.push(Move::make(
        stage,
        "spread over 4 without clients",
        &["--max-transfers", "8"],
    )?);
    let as_run = RunOptions {
        replicas: options.replicas,
        mix: options.mix.clone(),
        shards: options.shards,
        ..RunOptions::small(options.seed, &[])
    };
    Ok(ScaleOutReport {
        report: run::judge(&as_run, stage, &history, &ending)?,
        figures,
        moves,
    })
}

/// What went on when.
struct Phases<'a> {
    recorder: &'a Recorder,
    recorded: Vec<Phase>,
}

impl<'a> Phases<'a> {
    fn new(recorder: &'a Recorder) -> Self {
        Self {
            recorder,
            recorded: Vec::new(),
        }
    }

    /// Nothing is moved for so long.
    fn quiet(&mut self, name: &'static str, lasts: Duration) {
        let from = self.recorder.now();
        std::thread::sleep(lasts);
        let to = self.recorder.now();
        self.recorded.push(Phase { name, from, to });
    }

    fn during<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let from = self.recorder.now();
        let made = work().with_context(|| name.to_owned())?;
        self.recorded.push(Phase {
            name,
            from,
            to: self.recorder.now(),
        });
        Ok(made)
    }
}
