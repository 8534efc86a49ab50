//! One run: a stage, clients, nemeses, the state at the end, and the verdicts.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::closing;
use super::crowd::Crowd;
use super::ending::Ending;
use super::history::History;
use super::model::Model;
use super::nemesis::{self, Pace};
use super::report::{Report, Verdict};
use super::stage::{Stage, StageOptions};
use super::workload::{Mix, Tempo};
use super::{invariants, report};

/// The nemesis that leaves something under way.
const REBALANCE: &str = "rebalance";

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// All choices come from it; what threads make of them is theirs.
    pub seed: u64,
    /// How long clients work under faults.
    pub duration: Duration,
    /// With it, the run is over when so many operations have ended, however long that takes.
    pub operations: Option<usize>,
    /// Replicas of each shard.
    pub replicas: u32,
    /// Members of the directory.
    pub directories: u32,
    /// Mailstores.
    pub mailstores: u32,
    /// Names of the nemeses.
    pub nemeses: Vec<String>,
    /// Clients.
    pub mix: Mix,
    /// Shards.
    pub shards: u32,
    /// How fast faults follow each other.
    pub pace: Pace,
    /// How long the cluster may take, when all is well again, until what was acknowledged has arrived: hand-offs of what
    /// could not be delivered, retries of proxies.
    pub settle_max: Duration,
    /// Where the history goes when a verdict is bad.
    pub evidence: PathBuf,
    /// Makes syncs lies before each power cut, so that acknowledged mail is lost and the oracle has to see it.
    pub lie: bool,
}

impl RunOptions {
    /// A small run, as `make test` has them.
    pub fn small(seed: u64, nemeses: &[&str]) -> Self {
        Self {
            seed,
            duration: Duration::from_secs(8),
            operations: None,
            replicas: 1,
            directories: 1,
            mailstores: 3,
            nemeses: nemeses.iter().map(|name| (*name).to_owned()).collect(),
            mix: Mix {
                accounts: 6,
                sessions: 9,
                senders: 3,
                watchers: 3,
                tempo: Tempo::default(),
            },
            shards: 6,
            pace: Pace {
                calm: Duration::from_millis(200)..Duration::from_millis(900),
                hold: Duration::from_millis(200)..Duration::from_millis(1_200),
                pairs: 0.4,
            },
            settle_max: Duration::from_secs(90),
            evidence: std::env::temp_dir().join("rookery-faults-evidence"),
            lie: false,
        }
    }

    /// The command that makes the run again.
    pub fn replay(&self) -> String {
        format!(
            "make torture SEEDS={} SECONDS_EACH={} REPLICAS={} DIRECTORIES={} MAILSTORES={} NEMESES={} SIZE={}",
            self.seed,
            self.duration.as_secs(),
            self.replicas,
            self.directories,
            self.mailstores,
            self.nemeses.join(","),
            if self.mix.accounts > 6 { "large" } else { "small" }
        )
    }

    fn stage(&self, nemeses: &[Box<dyn nemesis::Nemesis>]) -> StageOptions {
        StageOptions {
            directories: self.directories,
            mailstores: self.mailstores,
            proxies: 2,
            accounts: self.mix.accounts,
            shards: self.shards,
            replicas: self.replicas,
            network: nemeses.iter().any(|nemesis| nemesis.needs_network()),
            rooms: nemeses.iter().any(|nemesis| nemesis.needs_rooms()),
            program: None,
        }
    }
}

/// Makes one run. An error is a run that could not be made; what it found is in the report.
pub fn run(options: &RunOptions) -> Result<Report> {
    let names: Vec<&str> = options.nemeses.iter().map(String::as_str).collect();
    let nemeses = nemesis::named(&names)?;
    let mut stage = Stage::set(&options.stage(&nemeses)).context("the cluster cannot be set up")?;
    let result = perform(options, &nemeses, &mut stage);
    result.map_err(|error| error.context(format!("seed {}: {}", options.seed, stage.logs())))
}

fn perform(options: &RunOptions, nemeses: &[Box<dyn nemesis::Nemesis>], stage: &mut Stage) -> Result<Report> {
    stage.lies = options.lie;
    stage.moves = options.nemeses.iter().any(|name| name == REBALANCE);
    let crowd = Crowd::start(&options.mix, options.seed, stage)?;
    let recorder = crowd.recorder();
    let mut rng = StdRng::seed_from_u64(options.seed);
    let began = Instant::now();
    let is_over = || match options.operations {
        Some(operations) => recorder.len() >= operations,
        None => began.elapsed() >= options.duration,
    };
    let faults = nemesis::torment(stage, nemeses, &mut rng, &options.pace, recorder, is_over)?;
    nemesis::arrive(stage).context("an account that moves does not arrive")?;
    if stage.moves {
        nemesis::settle(stage).context("the last rebalance does not end")?;
    }
    let (history, ending) = crowd.finish(faults, options.settle_max)?;
    judge(options, stage, &history, &ending)
}

/// Holds what clients were told against what is there.
pub(super) fn judge(
    options: &RunOptions,
    stage: &Stage,
    history: &History,
    ending: &Ending,
) -> Result<Report> {
    let model = Model::of(history, ending);
    let mut verdicts: Vec<Verdict> = invariants::all(options.replicas)
        .iter()
        .map(|invariant| Verdict {
            invariant: invariant.name(),
            broken: invariant.check(&model),
        })
        .collect();
    for closing in closing::all() {
        verdicts.push(Verdict {
            invariant: closing.name(),
            broken: closing.check(stage)?,
        });
    }
    let mut report = report::of(options, stage, history, verdicts);
    if !report.is_good() {
        report.evidence = Some(write_evidence(options, history, ending)?);
    }
    Ok(report)
}

/// The history as lines of JSON, and the state at the end as the last one.
fn write_evidence(options: &RunOptions, history: &History, ending: &Ending) -> Result<PathBuf> {
    use std::io::Write;
    std::fs::create_dir_all(&options.evidence)?;
    let name = format!("seed-{}-{}.jsonl", options.seed, std::process::id());
    let path: &Path = &options.evidence.join(name);
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for event in &history.events {
        writeln!(file, "{}", serde_json::to_string(event)?)?;
    }
    for fault in &history.faults {
        writeln!(file, "{}", serde_json::to_string(fault)?)?;
    }
    writeln!(file, "{}", serde_json::to_string(ending)?)?;
    file.flush()?;
    Ok(path.to_owned())
}
