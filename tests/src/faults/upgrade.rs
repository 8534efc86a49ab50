//! Clients in a cluster whose nodes are replaced by another build, one after the other: what they notice.
//!
//! The directory's members first, then mailstores, then proxies, as `docs/upgrade.md` tells operators. A mailstore or a member of the
//! directory is replaced without any command that fails and any connection that ends; a proxy's clients are told goodbye and find the
//! new one. Everything that the fault test demands is demanded here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::crowd::Crowd;
use super::history::{Action, Event, FaultSpan, History, Lost, Outcome, Recorder};
use super::nemesis::REPLACED;
use super::report::Report;
use super::run::{self, RunOptions};
use super::stage::{DIRECTORY, Stage, StageOptions};
use super::workload::{Mix, Tempo};

/// How long nothing is replaced: before the first node, and between two.
const QUIET: Duration = Duration::from_secs(1);

/// How long what was acknowledged may take to arrive at the end.
const SETTLE_MAX: Duration = Duration::from_secs(90);

/// How a run is made.
#[derive(Debug, Clone)]
pub struct UpgradeOptions {
    /// All choices of clients come from it.
    pub seed: u64,
    /// The build that the cluster runs at first.
    pub older: PathBuf,
    /// The build that its nodes run at the end.
    pub newer: PathBuf,
    /// The clients.
    pub mix: Mix,
    /// Shards, of three replicas each.
    pub shards: u32,
}

impl UpgradeOptions {
    /// As `make test` has it.
    pub fn small(seed: u64, older: PathBuf, newer: PathBuf) -> Self {
        Self {
            seed,
            older,
            newer,
            mix: Mix {
                accounts: 8,
                sessions: 16,
                senders: 4,
                watchers: 4,
                tempo: Tempo {
                    think: Duration::from_millis(100),
                    transactions_per_second: Some(20.0),
                },
            },
            shards: 6,
        }
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct UpgradeReport {
    /// The oracle's verdicts.
    pub report: Report,
    /// The nodes that were replaced, in order.
    pub replaced: Vec<String>,
    /// Operations that were acknowledged while nodes were replaced.
    pub acknowledged: usize,
    /// Operations that failed though no proxy was being replaced, in words.
    pub failed: Vec<String>,
    /// Connections that a proxy ended without a goodbye, or that ended though it was not replaced, in words.
    pub rude: Vec<String>,
}

impl UpgradeReport {
    /// Whether nothing was lost or doubled, and nobody noticed more than a proxy's goodbye.
    pub fn is_good(&self) -> bool {
        self.report.is_good() && self.failed.is_empty() && self.rude.is_empty()
    }
}

impl std::fmt::Display for UpgradeReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.report)?;
        writeln!(
            f,
            "\nreplaced: {}; {} operations acknowledged meanwhile",
            self.replaced.join(", "),
            self.acknowledged
        )?;
        let said = self.failed.iter().map(|line| ("failed", line));
        let all = said.chain(self.rude.iter().map(|line| ("without a goodbye", line)));
        all.into_iter()
            .try_for_each(|(what, line)| writeln!(f, "{what}: {line}"))
    }
}

/// Makes one run.
pub fn run(options: &UpgradeOptions) -> Result<UpgradeReport> {
    let mut stage = Stage::set(&StageOptions {
        directories: 3,
        mailstores: 3,
        proxies: 2,
        accounts: options.mix.accounts,
        shards: options.shards,
        replicas: 3,
        // So that a new process listens where the old one did.
        network: true,
        rooms: false,
        program: Some(options.older.clone()),
    })
    .context("the cluster cannot be set up")?;
    let made = perform(options, &mut stage);
    made.map_err(|error| error.context(format!("seed {}: {}", options.seed, stage.logs())))
}

fn perform(options: &UpgradeOptions, stage: &mut Stage) -> Result<UpgradeReport> {
    let crowd = Crowd::start(&options.mix, options.seed, stage)?;
    let mut spans = Vec::new();
    for role in [DIRECTORY, "mailstore", "proxy"] {
        for node in stage.of_role(role) {
            std::thread::sleep(QUIET);
            spans.push(replace(stage, &node, &options.newer, crowd.recorder())?);
        }
    }
    std::thread::sleep(QUIET);
    let (history, ending) = crowd.finish(spans, SETTLE_MAX)?;
    let as_run = RunOptions {
        replicas: 3,
        directories: 3,
        mix: options.mix.clone(),
        shards: options.shards,
        ..RunOptions::small(options.seed, &[])
    };
    Ok(UpgradeReport {
        report: run::judge(&as_run, stage, &history, &ending)?,
        replaced: history
            .faults
            .iter()
            .flat_map(|span| span.nodes.clone())
            .collect(),
        acknowledged: acknowledged(&history),
        failed: failed(&history),
        rude: rude(&history),
    })
}

fn replace(stage: &mut Stage, node: &str, program: &Path, recorder: &Recorder) -> Result<FaultSpan> {
    let from = recorder.now();
    stage.replace(node, program)?;
    let to = recorder.now();
    Ok(FaultSpan {
        nemesis: REPLACED,
        description: format!("{node} replaced"),
        nodes: vec![node.to_owned()],
        led: Vec::new(),
        from,
        struck: from,
        to,
    })
}

/// Whether the event was under way during the span.
fn meets(event: &Event, span: &FaultSpan) -> bool {
    event.invoked <= span.to && event.completed >= span.from
}

fn acknowledged(history: &History) -> usize {
    let within = |event: &&Event| history.faults.iter().any(|span| meets(event, span));
    let events = history.events.iter().filter(within);
    events.filter(|event| event.outcome == Outcome::Ok).count()
}

/// Commands and deliveries that were not acknowledged, but for those through a proxy that was being replaced.
fn failed(history: &History) -> Vec<String> {
    let proxies: Vec<&FaultSpan> = history.faults.iter().filter(|span| is_of_proxy(span)).collect();
    let events = history.events.iter().filter(|event| {
        event.outcome != Outcome::Ok
            // What an observer asks is no client's command, and what an IDLE session was told no answer to one.
            && !matches!(event.action, Action::Changes { .. } | Action::Told { .. })
            && !proxies.iter().any(|span| meets(event, span))
    });
    let words = |event: &Event| {
        let meanwhile: Vec<&str> = history
            .faults
            .iter()
            .filter(|span| meets(event, span))
            .map(|span| span.description.as_str())
            .collect();
        format!(
            "{} of session {} at {:.3} s, {}: {:?}",
            event.action.kind(),
            event.session,
            event.invoked as f64 / 1e9,
            meanwhile.join(", "),
            event.outcome
        )
    };
    events.map(words).collect()
}

fn is_of_proxy(span: &FaultSpan) -> bool {
    span.nodes.iter().any(|node| node.starts_with("proxy"))
}

/// IMAP connections that ended without a goodbye.
// RFC 9051 §7.1.5
fn rude(history: &History) -> Vec<String> {
    let without_goodbye = |lost: &&Lost| !lost.error.contains("* BYE");
    let lost = history.lost.iter().filter(without_goodbye);
    lost.map(|lost| {
        format!(
            "session {} at proxy-{}, {:.3} s: {}",
            lost.session,
            lost.proxy + 1,
            lost.at as f64 / 1e9,
            lost.error
        )
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::history::Answer;
    use super::*;

    fn span(node: &str, from: u64, to: u64) -> FaultSpan {
        FaultSpan {
            nemesis: REPLACED,
            description: format!("{node} replaced"),
            nodes: vec![node.to_owned()],
            led: Vec::new(),
            from,
            struck: from,
            to,
        }
    }

    fn event(invoked: u64, completed: u64, outcome: Outcome) -> Event {
        Event {
            session: 1,
            account: 1,
            invoked,
            completed,
            action: Action::Fetch { mailbox: "INBOX" },
            outcome,
            answer: Answer::default(),
        }
    }

    #[test]
    fn what_fails_is_excused_by_a_proxy_and_by_nothing_else() {
        let later = || Outcome::Unknown("NO [UNAVAILABLE] later".to_owned());
        let history = History {
            events: vec![
                event(5, 15, later()),
                event(25, 26, later()),
                event(45, 46, later()),
                event(12, 13, Outcome::Ok),
                event(35, 36, Outcome::Ok),
            ],
            faults: vec![span("mailstore-1", 10, 20), span("proxy-1", 40, 50)],
            ..History::default()
        };
        let failed = failed(&history);
        assert_eq!(failed.len(), 2, "{failed:?}");
        assert!(failed[0].contains("mailstore-1 replaced"), "{failed:?}");
        assert_eq!(acknowledged(&history), 1);
    }

    #[test]
    fn a_connection_is_to_end_with_a_goodbye() {
        let lost = |error: &str| Lost {
            session: 1,
            proxy: 0,
            since: 1,
            at: 2,
            error: error.to_owned(),
        };
        let history = History {
            lost: vec![lost("the server had said \"* BYE stopping\""), lost("reset")],
            ..History::default()
        };
        assert_eq!(rude(&history).len(), 1);
    }
}
