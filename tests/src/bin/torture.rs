//! `make torture`: many runs of the fault test, and one table of what they came to.
//!
//! Options come from the environment: SEEDS (`7`, `1-20`, `3,9`), SECONDS_EACH or OPERATIONS, REPLICAS, MAILSTORES,
//! DIRECTORIES (1, 3 or 5), NEMESES (names, separated by commas), PAIRS (how likely a second fault meanwhile is, 0 to 1), SIZE (`small` as in `make test`, or `large`), EVIDENCE (a folder).
//!
//! With SCENARIO=scale-out there are no nemeses: clients work while mailstores are added and drained, and times are told. SEEDS, REPLICAS
//! (3), SIZE, BALLAST (bytes of mail that lie there before) and TIMES (a file for what each operation took) are its options.
//!
//! With SCENARIO=upgrade every node is replaced by another build under load: OLDER is the program that the cluster runs at first (this
//! build if it is not named), NEWER the one that it runs at the end (likewise).

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rookery_tests::cluster::program;
use rookery_tests::faults::nemesis;
use rookery_tests::faults::report::Report;
use rookery_tests::faults::run::{RunOptions, run};
use rookery_tests::faults::scale_out::{self, ScaleOutOptions};
use rookery_tests::faults::upgrade::{self, UpgradeOptions};
use rookery_tests::faults::workload::{Mix, Tempo};

/// Seeds when nothing else is said.
const SEEDS: &str = "1-20";

/// Seconds of operations for each when nothing else is said.
const SECONDS_EACH: &str = "65";

fn main() -> ExitCode {
    let done = match variable("SCENARIO", "faults").as_str() {
        "faults" => torture(),
        "scale-out" => scale_out(),
        "upgrade" => upgrade(),
        other => Err(anyhow!("SCENARIO is {other}: use faults, scale-out or upgrade")),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("{error:?}"));
            ExitCode::FAILURE
        }
    }
}

fn torture() -> Result<bool> {
    let seeds = seeds(&variable("SEEDS", SEEDS))?;
    let mut total = Report::default();
    for seed in seeds {
        let options = options(seed)?;
        let report = run(&options).unwrap_or_else(|error| Report::failed(&options, &error));
        let word = if report.is_good() { "holds" } else { "BROKEN" };
        let operations: usize = report
            .operations
            .values()
            .map(|count| count.ok + count.refused + count.unknown)
            .sum();
        let faults: usize = report.faults.values().sum();
        say(&format!(
            "seed {seed}: {operations} operations, {faults} faults: {word}"
        ));
        if !report.is_good() {
            say(&report.to_string());
        }
        total.add(report);
    }
    say(&total.to_string());
    Ok(total.is_good())
}

fn scale_out() -> Result<bool> {
    let mut is_good = true;
    for seed in seeds(&variable("SEEDS", "1"))? {
        let mut options = match variable("SIZE", "large").as_str() {
            "small" => ScaleOutOptions::small(seed),
            "large" => ScaleOutOptions::large(seed),
            other => bail!("SIZE is {other}: use small or large"),
        };
        options.replicas = number("REPLICAS", "3")?;
        options.ballast_bytes = number("BALLAST", &options.ballast_bytes.to_string())?;
        let times = variable("TIMES", "");
        options.times = (!times.is_empty()).then(|| times.into());
        let report = scale_out::run(&options)?;
        say(&report.to_string());
        is_good &= report.is_unnoticed();
    }
    Ok(is_good)
}

fn upgrade() -> Result<bool> {
    let mut is_good = true;
    let build = |name: &str| match variable(name, "") {
        none if none.is_empty() => program(),
        path => Ok(path.into()),
    };
    for seed in seeds(&variable("SEEDS", "1"))? {
        let options = UpgradeOptions::small(seed, build("OLDER")?, build("NEWER")?);
        let report = upgrade::run(&options)?;
        say(&report.to_string());
        is_good &= report.is_good();
    }
    Ok(is_good)
}

fn options(seed: u64) -> Result<RunOptions> {
    let known: Vec<&str> = nemesis::all().iter().map(|nemesis| nemesis.name()).collect();
    let names = variable("NEMESES", &known.join(","));
    let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
    let mut options = RunOptions::small(seed, &names);
    options.duration = Duration::from_secs(number("SECONDS_EACH", SECONDS_EACH)?);
    let operations: usize = number("OPERATIONS", "0")?;
    options.operations = (operations > 0).then_some(operations);
    options.replicas = number("REPLICAS", "1")?;
    options.mailstores = number("MAILSTORES", "3")?;
    options.directories = number("DIRECTORIES", "1")?;
    if ![1, 3, 5].contains(&options.directories) {
        bail!("DIRECTORIES is {}: use 1, 3 or 5", options.directories);
    }
    options.pace.pairs = number::<f64>("PAIRS", &options.pace.pairs.to_string())?.clamp(0.0, 1.0);
    options.evidence = variable("EVIDENCE", &options.evidence.display().to_string()).into();
    match variable("SIZE", "large").as_str() {
        "small" => {}
        "large" => {
            options.shards = 12;
            options.mix = Mix {
                accounts: 16,
                sessions: 24,
                senders: 5,
                watchers: 8,
                tempo: Tempo::default(),
            };
            options.pace.hold = Duration::from_millis(200)..Duration::from_millis(2_500);
        }
        other => bail!("SIZE is {other}: use small or large"),
    }
    Ok(options)
}

/// A variable of the environment; an empty one is as good as none.
fn variable(name: &str, default: &str) -> String {
    let held = std::env::var(name).ok().filter(|value| !value.is_empty());
    held.unwrap_or_else(|| default.to_owned())
}

fn number<T: std::str::FromStr>(name: &str, default: &str) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let value = variable(name, default);
    value
        .parse()
        .with_context(|| format!("{name} is {value}: give a number"))
}

/// `7`, `1-20`, `3,9`.
fn seeds(text: &str) -> Result<Vec<u64>> {
    let mut seeds = Vec::new();
    for part in text.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let read = |word: &str| -> Result<u64> {
            word.trim()
                .parse()
                .with_context(|| format!("SEEDS is {text}: give numbers such as 7, 1-20 or 3,9"))
        };
        seeds.extend(read(low)?..=read(high)?);
    }
    Ok(seeds)
}

fn say(text: &str) {
    // Whoever has stopped reading has seen enough.
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_numbers_and_ranges() {
        assert_eq!(seeds("7").unwrap(), [7]);
        assert_eq!(seeds("1-3,9").unwrap(), [1, 2, 3, 9]);
        assert!(seeds("all").is_err());
    }
}
