//! What a run or many came to: operations, faults, pauses, lost connections, verdicts, as a table.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::history::{Event, FaultSpan, History, Nanos, Outcome};
use super::invariants::sessions;
use super::run::RunOptions;
use super::stage::{Placement, Stage};

/// Violations of one invariant that are shown.
const SHOWN_MAX: usize = 8;

/// The longest silences that are shown of each nemesis.
const LONGEST_SHOWN: usize = 3;

/// What became of one invariant.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Which.
    pub invariant: &'static str,
    /// What broke it.
    pub broken: Vec<String>,
}

/// Operations of one kind by their outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Acknowledged.
    pub ok: usize,
    /// Refused for good.
    pub refused: usize,
    /// Told to try later, or nothing.
    pub unknown: usize,
}

/// What one run or many came to.
#[derive(Debug, Default)]
pub struct Report {
    /// The seeds, with the command for each whose verdict is bad.
    pub seeds: Vec<(u64, Option<String>)>,
    /// By kind.
    pub operations: BTreeMap<&'static str, Count>,
    /// By nemesis.
    pub faults: BTreeMap<&'static str, usize>,
    /// From a fault to the next acknowledged operation on each shard that it struck, by nemesis.
    pub pauses: BTreeMap<&'static str, Vec<Nanos>>,
    /// The longest time without an acknowledged operation on each shard that the struck nodes led, by nemesis.
    pub silences: BTreeMap<&'static str, Vec<Silence>>,
    /// Connections lost.
    pub lost: usize,
    /// Of them, those whose own proxy was not killed.
    pub lost_unexcused: usize,
    /// Nodes that ended by themselves.
    pub ended: usize,
    /// Bytes and files that power cuts took.
    pub dropped: (u64, u64),
    /// By invariant.
    pub verdicts: Vec<Verdict>,
    /// The history of a run whose verdict is bad.
    pub evidence: Option<PathBuf>,
}

/// What a run came to.
pub fn of(options: &RunOptions, stage: &Stage, history: &History, verdicts: Vec<Verdict>) -> Report {
    let mut report = Report {
        lost: history.lost.len(),
        ended: stage.ended.len(),
        dropped: (stage.dropped.bytes, stage.dropped.files),
        verdicts,
        pauses: pauses(history, &stage.placement),
        silences: silences(history, &stage.placement),
        ..Report::default()
    };
    let unexcused = history.lost.iter();
    report.lost_unexcused = unexcused
        .filter(|lost| !sessions::is_excused(lost, &history.faults))
        .count();
    for event in &history.events {
        let count = report.operations.entry(event.action.kind()).or_default();
        match event.outcome {
            Outcome::Ok => count.ok += 1,
            Outcome::Refused(_) => count.refused += 1,
            Outcome::Unknown(_) => count.unknown += 1,
        }
    }
    for fault in &history.faults {
        *report.faults.entry(fault.nemesis).or_default() += 1;
    }
    let replay = (!report.is_good()).then(|| options.replay());
    report.seeds.push((options.seed, replay));
    report
}

/// For each fault and each shard that it struck: until the first acknowledged operation that began after it.
fn pauses(history: &History, placement: &Placement) -> BTreeMap<&'static str, Vec<Nanos>> {
    // By shard: acknowledged operations as (began, ended), by beginning, each ending no later than those after it.
    let mut acknowledged: BTreeMap<u64, Vec<(Nanos, Nanos)>> = BTreeMap::new();
    for event in history.events.iter().filter(|event| event.outcome.is_ok()) {
        if let Some(shard) = placement.shard.get(&event.account) {
            let operation = (event.invoked, event.completed);
            acknowledged.entry(*shard).or_default().push(operation);
        }
    }
    for operations in acknowledged.values_mut() {
        operations.sort_unstable();
        let mut earliest = Nanos::MAX;
        for (_, ended) in operations.iter_mut().rev() {
            earliest = earliest.min(*ended);
            *ended = earliest;
        }
    }
    let mut pauses: BTreeMap<&'static str, Vec<Nanos>> = BTreeMap::new();
    for fault in &history.faults {
        for (shard, operations) in &acknowledged {
            if !strikes(fault, &placement.nodes[shard]) {
                continue;
            }
            let next = operations.partition_point(|(began, _)| *began < fault.struck);
            if let Some((_, ended)) = operations.get(next) {
                pauses
                    .entry(fault.nemesis)
                    .or_default()
                    .push(ended - fault.struck);
            }
        }
    }
    pauses
}

/// A time without an acknowledgement on a shard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Silence {
    /// How long.
    pub nanos: Nanos,
    /// When it ended, which shard it was, and what was acknowledged then.
    pub end: String,
}

/// For each fault and each shard that its nodes led: the longest time without an acknowledgement, from before the fault until
/// it was healed.
fn silences(history: &History, placement: &Placement) -> BTreeMap<&'static str, Vec<Silence>> {
    let mut acknowledged: BTreeMap<u64, Vec<&Event>> = BTreeMap::new();
    for event in history.events.iter().filter(|event| event.outcome.is_ok()) {
        if let Some(shard) = placement.shard.get(&event.account) {
            acknowledged.entry(*shard).or_default().push(event);
        }
    }
    acknowledged
        .values_mut()
        .for_each(|events| events.sort_by_key(|event| event.completed));
    let mut silences: BTreeMap<&'static str, Vec<Silence>> = BTreeMap::new();
    for fault in &history.faults {
        for shard in &fault.led {
            let Some(events) = acknowledged.get(shard) else {
                continue;
            };
            let first = events
                .partition_point(|event| event.completed < fault.from)
                .saturating_sub(1);
            let last = events.partition_point(|event| event.completed <= fault.to);
            let around = events.get(first..events.len().min(last + 1)).unwrap_or_default();
            let longest = around
                .windows(2)
                .map(|pair| (pair[1].completed - pair[0].completed, pair[1]))
                .max_by_key(|(nanos, _)| *nanos);
            if let Some((nanos, event)) = longest {
                silences.entry(fault.nemesis).or_default().push(Silence {
                    nanos,
                    end: silence_end(fault, *shard, event),
                });
            }
        }
    }
    silences
}

fn silence_end(fault: &FaultSpan, shard: u64, event: &Event) -> String {
    let at = |nanos| seconds(Some(nanos));
    let kind = event.action.kind();
    format!(
        "shard {shard}, at {} with {kind} of {}; struck {}, healed {}: {}",
        at(event.completed),
        at(event.invoked),
        at(fault.struck),
        at(fault.to),
        fault.description
    )
}

/// A mailstore's fault strikes its shards; that of a proxy or the directory strikes none in particular, and so all.
fn strikes(fault: &FaultSpan, replicas: &[String]) -> bool {
    let mut nodes = fault.nodes.iter();
    nodes.any(|node| !node.starts_with("mailstore") || replicas.contains(node))
}

impl Report {
    /// Of a run that could not be brought to its end.
    pub fn failed(options: &RunOptions, error: &anyhow::Error) -> Self {
        Self {
            seeds: vec![(options.seed, Some(options.replay()))],
            verdicts: vec![Verdict {
                invariant: "every run comes to its end",
                broken: vec![format!("{error:#}")],
            }],
            ..Self::default()
        }
    }

    /// Whether no invariant was broken.
    pub fn is_good(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.broken.is_empty())
    }

    /// Adds another run.
    pub fn add(&mut self, other: Report) {
        self.seeds.extend(other.seeds);
        for (kind, count) in other.operations {
            let held = self.operations.entry(kind).or_default();
            held.ok += count.ok;
            held.refused += count.refused;
            held.unknown += count.unknown;
        }
        for (nemesis, count) in other.faults {
            *self.faults.entry(nemesis).or_default() += count;
        }
        for (nemesis, pauses) in other.pauses {
            self.pauses.entry(nemesis).or_default().extend(pauses);
        }
        for (nemesis, silences) in other.silences {
            self.silences.entry(nemesis).or_default().extend(silences);
        }
        self.lost += other.lost;
        self.lost_unexcused += other.lost_unexcused;
        self.ended += other.ended;
        self.dropped.0 += other.dropped.0;
        self.dropped.1 += other.dropped.1;
        for verdict in other.verdicts {
            match self
                .verdicts
                .iter_mut()
                .find(|held| held.invariant == verdict.invariant)
            {
                Some(held) => held.broken.extend(verdict.broken),
                None => self.verdicts.push(verdict),
            }
        }
        self.evidence = self.evidence.take().or(other.evidence);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds: Vec<String> = self.seeds.iter().map(|(seed, _)| seed.to_string()).collect();
        writeln!(f, "seeds: {}", seeds.join(" "))?;
        writeln!(
            f,
            "\n{:<11} {:>9} {:>9} {:>9}",
            "operation", "ok", "refused", "unknown"
        )?;
        let mut all = Count::default();
        for (kind, count) in &self.operations {
            writeln!(
                f,
                "{kind:<11} {:>9} {:>9} {:>9}",
                count.ok, count.refused, count.unknown
            )?;
            all.ok += count.ok;
            all.refused += count.refused;
            all.unknown += count.unknown;
        }
        writeln!(
            f,
            "{:<11} {:>9} {:>9} {:>9}",
            "all", all.ok, all.refused, all.unknown
        )?;
        writeln!(
            f,
            "\n{:<11} {:>9}   until the next acknowledged operation on a struck shard",
            "fault", "count"
        )?;
        writeln!(
            f,
            "{:<11} {:>9} {:>9} {:>9} {:>9}",
            "", "", "median", "p99", "max"
        )?;
        for (nemesis, count) in &self.faults {
            let mut pauses = self.pauses.get(nemesis).cloned().unwrap_or_default();
            pauses.sort_unstable();
            let at = |part: f64| seconds(quantile(&pauses, part));
            writeln!(
                f,
                "{nemesis:<11} {count:>9} {:>9} {:>9} {:>9}",
                at(0.5),
                at(0.99),
                at(1.0)
            )?;
        }
        self.write_silences(f)?;
        writeln!(
            f,
            "\nconnections lost: {} ({} of them not by the death of their proxy)",
            self.lost, self.lost_unexcused
        )?;
        writeln!(f, "nodes that ended by themselves: {}", self.ended)?;
        writeln!(
            f,
            "taken away by power cuts: {} bytes, {} files\n",
            self.dropped.0, self.dropped.1
        )?;
        for verdict in &self.verdicts {
            let word = if verdict.broken.is_empty() {
                "holds"
            } else {
                "BROKEN"
            };
            writeln!(f, "{word:<7} {}", verdict.invariant)?;
            for what in verdict.broken.iter().take(SHOWN_MAX) {
                writeln!(f, "          {what}")?;
            }
            if verdict.broken.len() > SHOWN_MAX {
                writeln!(f, "          and {} more", verdict.broken.len() - SHOWN_MAX)?;
            }
        }
        for (seed, replay) in &self.seeds {
            if let Some(replay) = replay {
                writeln!(f, "\nseed {seed}: again with `{replay}`")?;
            }
        }
        if let Some(evidence) = &self.evidence {
            writeln!(f, "history: {}", evidence.display())?;
        }
        Ok(())
    }
}

impl Report {
    fn write_silences(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.silences.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\n{:<11} {:>8}   longest time without an acknowledged operation on a shard that the node led",
            "of leaders", "shards"
        )?;
        for (nemesis, silences) in &self.silences {
            let mut silences = silences.clone();
            silences.sort_unstable();
            let nanos: Vec<Nanos> = silences.iter().map(|silence| silence.nanos).collect();
            let at = |part: f64| seconds(quantile(&nanos, part));
            writeln!(
                f,
                "{nemesis:<11} {:>8} {:>9} {:>9} {:>9}",
                silences.len(),
                at(0.5),
                at(0.99),
                at(1.0)
            )?;
            for silence in silences.iter().rev().take(LONGEST_SHOWN) {
                writeln!(f, "    {} on {}", seconds(Some(silence.nanos)), silence.end)?;
            }
        }
        Ok(())
    }
}

fn quantile(sorted: &[Nanos], part: f64) -> Option<Nanos> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * part).round() as usize).copied()
}

fn seconds(nanos: Option<Nanos>) -> String {
    nanos.map_or_else(|| "-".to_owned(), |nanos| format!("{:.3} s", nanos as f64 / 1e9))
}

#[cfg(test)]
mod tests {
    use super::super::history::{Action, Answer};
    use super::*;

    #[test]
    fn a_pause_lasts_until_the_first_answer_to_what_began_after_the_fault() {
        let event = |account, invoked, completed, outcome| Event {
            session: 1,
            account,
            invoked,
            completed,
            action: Action::Login,
            outcome,
            answer: Answer::default(),
        };
        let history = History {
            events: vec![
                event(1, 90, 105, Outcome::Ok),
                event(1, 101, 180, Outcome::Ok),
                event(1, 110, 150, Outcome::Ok),
                event(1, 102, 103, Outcome::Unknown(String::new())),
                event(2, 101, 102, Outcome::Ok),
            ],
            lost: Vec::new(),
            faults: vec![FaultSpan {
                nemesis: "kill",
                description: String::new(),
                nodes: vec!["mailstore-1".to_owned()],
                led: vec![0],
                from: 98,
                struck: 100,
                to: 140,
            }],
        };
        let placement = Placement {
            shard: [(1, 0), (2, 1)].into(),
            nodes: [
                (0, vec!["mailstore-1".to_owned()]),
                (1, vec!["mailstore-2".to_owned()]),
            ]
            .into(),
        };
        assert_eq!(pauses(&history, &placement)["kill"], [50]);
        // Acknowledged at 105, 150 and 180, the last after the fault was healed.
        let silences = silences(&history, &placement);
        assert_eq!(silences["kill"].len(), 1);
        assert_eq!(silences["kill"][0].nanos, 45);
    }

    #[test]
    fn quantiles_are_of_what_is_there() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[1, 2, 3], 0.5), Some(2));
        assert_eq!(quantile(&[1, 2, 3], 1.0), Some(3));
    }
}
