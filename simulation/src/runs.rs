//! Runs of seeds, each in a process of its own: nothing of one is left in the next, and one that hangs is ended.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::entropy;
use crate::log::Broken;
use crate::world::{self, Report, Rule};

/// How long a run may take by the real clock.
const RUN_MAX: Duration = Duration::from_secs(120);

/// What such a process runs.
const TEST: &str = "what_is_promised_holds_in_every_run";

/// Names the one seed of a process.
const SEED: &str = "SIMULATED_SEED";

/// What to run.
#[derive(Clone)]
pub(crate) struct Runs {
    pub(crate) seeds: Vec<u64>,
    pub(crate) rule: Option<Rule>,
    /// No more are begun once one has found a violation.
    pub(crate) until_found: bool,
}

impl Runs {
    pub(crate) fn of(seeds: impl IntoIterator<Item = u64>) -> Self {
        Self {
            seeds: seeds.into_iter().collect(),
            rule: None,
            until_found: false,
        }
    }

    /// `7`, `1-20` or `3,9`.
    pub(crate) fn parse(text: &str) -> Self {
        let number = |text: &str| -> u64 {
            text.trim()
                .parse()
                .unwrap_or_else(|_| panic!("SEEDS is {text}: give numbers such as 7, 1-20 or 3,9"))
        };
        let seeds = text.split(',').flat_map(|part| match part.split_once('-') {
            Some((first, last)) => number(first)..=number(last),
            None => number(part)..=number(part),
        });
        Self::of(seeds)
    }
}

/// Runs seeds, as many at a time as there are processors. Reports come in the seeds' order.
pub(crate) fn run_all(runs: &Runs) -> Vec<(u64, Report)> {
    let next = AtomicUsize::new(0);
    let found = AtomicBool::new(false);
    let reports = Mutex::new(Vec::new());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                while let Some(seed) = runs.seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if runs.until_found && found.load(Ordering::Relaxed) {
                        return;
                    }
                    let report = run(*seed, runs.rule);
                    if !report.violations.is_empty() {
                        found.store(true, Ordering::Relaxed);
                        if !runs.until_found {
                            println!("seed {seed} fails: {}", report.violations[0]);
                        }
                    }
                    reports.lock().push((*seed, report));
                }
            });
        }
    });
    let mut reports = reports.into_inner();
    reports.sort_by_key(|(seed, _)| *seed);
    reports
}

/// Runs one seed in a process of its own.
fn run(seed: u64, rule: Option<Rule>) -> Report {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(SEED, seed.to_string())
        .env("SIMULATED_RULE", rule_name(rule))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("a process");
    let mut said = child.stdout.take().expect("its output");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        // What cannot be read is missed below.
        let _ = said.read_to_string(&mut text);
        text
    });
    let ended = until_ended(&mut child);
    let said = reader.join().unwrap_or_default();
    let mut report = parse(&said);
    if !ended {
        let violation = format!("a run ends within {} s", RUN_MAX.as_secs());
        report.violations.push(violation);
    } else if report.events == 0 {
        report
            .violations
            .push(format!("a run says what it came to: {said}"));
    }
    report
}

fn until_ended(child: &mut Child) -> bool {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(_)) => return true,
            _ if began.elapsed() > RUN_MAX => {
                // It may have ended meanwhile.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
            _ => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

const RULES: [(&str, Option<Rule>); 4] = [
    ("none", None),
    ("acks-before-sync", Some(Rule::Log(Broken::AcksBeforeSync))),
    ("forgets-votes", Some(Rule::Log(Broken::ForgetsVotes))),
    ("reuses-numbers", Some(Rule::ReusesNumbers)),
];

fn rule_name(rule: Option<Rule>) -> &'static str {
    let found = RULES.iter().find(|(_, of)| *of == rule);
    found.map_or("none", |(name, _)| name)
}

/// Whether this process is to run one seed.
pub(crate) fn is_one() -> bool {
    std::env::var_os(SEED).is_some()
}

/// Runs one seed, and says what it came to. TRACE=1 in the environment prints every event.
pub(crate) fn one() {
    let seed = std::env::var(SEED).expect("a seed");
    let seed: u64 = seed.parse().expect("a number");
    let rule = std::env::var("SIMULATED_RULE").unwrap_or_default();
    let rule = RULES
        .iter()
        .find(|(name, _)| *name == rule)
        .and_then(|(_, rule)| *rule);
    let printed = std::env::var("TRACE").is_ok_and(|trace| trace == "1");
    let panics = std::sync::Arc::new(Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&panics);
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.to_string().replace('\n', " ");
        eprintln!("{said}");
        seen.lock().push(said);
    }));
    // A thread that has drawn nothing yet.
    let run = std::thread::spawn(move || {
        entropy::seed(seed);
        world::run(seed, rule, printed)
    });
    let Ok(mut report) = run.join() else {
        println!("\nviolation nothing panics: {:?}", panics.lock());
        println!("report 1 0 0 0 0 0 0");
        return;
    };
    let panics = panics.lock().clone();
    report
        .violations
        .extend(panics.into_iter().map(|panic| format!("nothing panics: {panic}")));
    println!();
    for violation in &report.violations {
        println!("violation {violation}");
    }
    for (what, count) in &report.counts {
        println!("count {count} {what}");
    }
    println!(
        "report {} {} {} {} {} {} {}",
        report.events,
        report.hash,
        report.millis,
        report.applied,
        report.unknown,
        report.refused,
        report.reads
    );
}

fn parse(said: &str) -> Report {
    let lines = said.lines();
    let violations = lines
        .clone()
        .filter_map(|line| line.strip_prefix("violation "))
        .map(str::to_owned)
        .collect();
    let numbers: Vec<u64> = lines
        .clone()
        .find_map(|line| line.strip_prefix("report "))
        .unwrap_or_default()
        .split(' ')
        .filter_map(|number| number.parse().ok())
        .collect();
    let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
    let counts = lines
        .filter_map(|line| line.strip_prefix("count ")?.split_once(' '))
        .filter_map(|(count, what)| Some((what.to_owned(), count.parse().ok()?)));
    Report {
        counts: counts.collect(),
        events: number(0),
        hash: number(1),
        millis: number(2),
        applied: number(3) as usize,
        unknown: number(4) as usize,
        refused: number(5) as usize,
        reads: number(6) as usize,
        violations,
    }
}

/// What all runs came to.
pub(crate) fn print_table(reports: &[(u64, Report)]) {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(|(_, report)| of(report)).sum::<u64>();
    println!("runs                  {}", reports.len());
    println!("events                {}", sum(|report| report.events));
    println!("simulated seconds     {}", sum(|report| report.millis) / 1000);
    println!("appends acknowledged  {}", sum(|report| report.applied as u64));
    println!("        unknown       {}", sum(|report| report.unknown as u64));
    println!("        refused       {}", sum(|report| report.refused as u64));
    let mut counts = BTreeMap::<&str, u64>::new();
    for (what, count) in reports.iter().flat_map(|(_, report)| &report.counts) {
        *counts.entry(what).or_default() += count;
    }
    for (what, count) in counts {
        println!("{what:21} {count}");
    }
    println!("reads                 {}", sum(|report| report.reads as u64));
}

/// Fails, and says how to run a failed seed again.
pub(crate) fn assert_holds(reports: &[(u64, Report)]) {
    let failed: Vec<_> = reports
        .iter()
        .filter(|(_, report)| !report.violations.is_empty())
        .collect();
    for (seed, report) in &failed {
        println!("seed {seed} fails; again: make simulate SEEDS={seed} TRACE=1");
        for violation in report.violations.iter().take(5) {
            println!("    does not hold: {violation}");
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {} seeds fail",
        failed.len(),
        reports.len()
    );
}
