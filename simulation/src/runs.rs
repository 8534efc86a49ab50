//! Runs of seeds, each in a process of its own: nothing of one is left in the next, and one that hangs is ended.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::entropy;
use crate::run::Run;

/// How long a run may take by the real clock.
const RUN_MAX: Duration = Duration::from_secs(600);

/// What such a process runs: the test of this name in the same program.
pub const TEST: &str = "what_is_promised_holds_in_every_run";

/// Room for what a run calls, in bytes.
const STACK_BYTES: usize = 16 << 20;

/// Names the one seed of a process.
const SEED: &str = "SIMULATED_SEED";

/// Names the rule that it breaks on purpose.
const RULE: &str = "SIMULATED_RULE";

/// In every violation's text.
pub const ANY: &str = "";

/// No rule.
pub const NO_RULE: &str = "none";

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Events of its trace, and their hash.
    pub events: u64,
    /// See there.
    pub hash: u64,
    /// Milliseconds, by the run's clock.
    pub millis: u64,
    /// How often what happened.
    pub counts: BTreeMap<String, u64>,
    /// What did not hold.
    pub violations: Vec<String>,
}

impl Report {
    /// Of a run that is over, with what else is counted.
    pub fn of(run: &Run, counted: &[(&'static str, u64)]) -> Self {
        let (events, hash) = run.outcome();
        let counts = run.counts().into_iter().chain(counted.iter().copied());
        Self {
            events,
            hash,
            millis: run.now(),
            counts: counts.map(|(what, count)| (what.to_owned(), count)).collect(),
            violations: run.violations(),
        }
    }

    /// The violation that says so, if there is one.
    fn finds(&self, wanted: &str) -> Option<&String> {
        self.violations
            .iter()
            .find(|violation| violation.contains(wanted))
    }
}

/// What to run.
#[derive(Clone)]
pub struct Runs {
    /// Seeds.
    pub seeds: Vec<u64>,
    /// A rule that is broken on purpose.
    pub rule: &'static str,
    /// No more are begun once one has found a violation that says so.
    pub until_found: Option<&'static str>,
}

impl Runs {
    /// Of these seeds, with all rules kept.
    pub fn of(seeds: impl IntoIterator<Item = u64>) -> Self {
        Self {
            seeds: seeds.into_iter().collect(),
            rule: NO_RULE,
            until_found: None,
        }
    }

    /// `7`, `1-20` or `3,9`.
    pub fn parse(text: &str) -> Self {
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
pub fn run_all(runs: &Runs) -> Vec<(u64, Report)> {
    let next = AtomicUsize::new(0);
    let found = AtomicBool::new(false);
    let reports = Mutex::new(Vec::new());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                while let Some(seed) = runs.seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if found.load(Ordering::Relaxed) {
                        return;
                    }
                    let report = run(*seed, runs.rule);
                    match (runs.until_found, report.violations.first()) {
                        (Some(wanted), Some(_)) if report.finds(wanted).is_some() => {
                            found.store(true, Ordering::Relaxed);
                        }
                        (None, Some(violation)) => println!("seed {seed} fails: {violation}"),
                        _ => {}
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
fn run(seed: u64, rule: &str) -> Report {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(SEED, seed.to_string())
        .env(RULE, rule)
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

/// Whether this process is to run one seed.
pub fn is_one() -> bool {
    std::env::var_os(SEED).is_some()
}

/// Runs one seed, with the rule of a name broken, and says what it came to. TRACE=1 in the environment prints every event.
pub fn one(run: fn(seed: u64, rule: &str, printed: bool) -> Report) {
    let seed = std::env::var(SEED).expect("a seed");
    let seed: u64 = seed.parse().expect("a number");
    let rule = std::env::var(RULE).unwrap_or_default();
    let printed = std::env::var("TRACE").is_ok_and(|trace| trace == "1");
    let panics = std::sync::Arc::new(Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&panics);
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.to_string().replace('\n', " ");
        eprintln!("{said}");
        seen.lock().push(said);
    }));
    // A thread that has drawn nothing yet.
    let run = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || {
            entropy::seed(seed);
            run(seed, &rule, printed)
        });
    let Ok(mut report) = run.expect("a thread").join() else {
        println!("\nviolation nothing panics: {:?}", panics.lock());
        println!("report 1 0 0");
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
    println!("report {} {} {}", report.events, report.hash, report.millis);
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
        violations,
    }
}

/// What all runs came to.
pub fn print_table(reports: &[(u64, Report)]) {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(|(_, report)| of(report)).sum::<u64>();
    println!("runs                  {}", reports.len());
    println!("events                {}", sum(|report| report.events));
    println!("simulated seconds     {}", sum(|report| report.millis) / 1000);
    let mut counts = BTreeMap::<&str, u64>::new();
    for (what, count) in reports.iter().flat_map(|(_, report)| &report.counts) {
        *counts.entry(what).or_default() += count;
    }
    for (what, count) in counts {
        println!("{what:21} {count}");
    }
}

/// Fails, and says how to run a failed seed of this kind again.
pub fn assert_holds(kind: &str, reports: &[(u64, Report)]) {
    let failed: Vec<_> = reports
        .iter()
        .filter(|(_, report)| !report.violations.is_empty())
        .collect();
    for (seed, report) in &failed {
        println!("seed {seed} fails; again: make simulate KIND={kind} SEEDS={seed} TRACE=1");
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

/// Fails unless one of the runs has found, by a violation that says so, that the rule is broken.
pub fn assert_found(rule: &'static str, seeds: impl IntoIterator<Item = u64>, wanted: &'static str) {
    let runs = Runs {
        rule,
        until_found: Some(wanted),
        ..Runs::of(seeds)
    };
    let reports = run_all(&runs);
    let mut found = reports
        .iter()
        .filter_map(|(seed, report)| Some((seed, report.finds(wanted)?)));
    let (seed, violation) = found.next().expect("a broken rule is found");
    println!("{rule}: seed {seed} of {}: {violation}", reports.len());
}

/// Fails unless each seed runs alike both times, and no two seeds alike.
pub fn assert_alike(seeds: impl IntoIterator<Item = u64> + Clone) {
    let first = run_all(&Runs::of(seeds.clone()));
    let second = run_all(&Runs::of(seeds));
    assert_eq!(first, second);
    let hashes: BTreeSet<u64> = first.iter().map(|(_, report)| report.hash).collect();
    assert_eq!(hashes.len(), first.len(), "each seed is another run");
}
