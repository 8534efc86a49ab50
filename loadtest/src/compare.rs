//! Two servers side by side: medians of their rounds, and ratios with their spread.
//!
//! Servers take turns (A-B-A-B), so that what else the machine does falls on both. A ratio is that of two runs of one round.

use serde::Serialize;

use crate::figures::Outcome;

/// A value in several rounds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Spread {
    /// The middle one; of an even number the mean of the two.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min, max })
    }
}

/// A figure of one or two servers.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// What it is.
    pub(crate) name: String,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// Of each server, in their order.
    pub(crate) servers: Vec<Spread>,
    /// The second server's value by the first's, round by round; absent for one server, or where a value is zero.
    pub(crate) ratio: Option<Spread>,
}

/// All figures that every run has. Each inner list is a server's rounds.
pub(crate) fn rows(servers: &[Vec<Outcome>]) -> Vec<Row> {
    let Some(first) = servers.first().and_then(|rounds| rounds.first()) else {
        return Vec::new();
    };
    named(first)
        .into_iter()
        .filter_map(|(name, unit, _)| {
            let values: Option<Vec<Vec<f64>>> = servers
                .iter()
                .map(|rounds| rounds.iter().map(|outcome| value(outcome, &name)).collect())
                .collect();
            let values = values?;
            let spreads: Option<Vec<Spread>> = values.iter().map(|values| Spread::of(values)).collect();
            Some(Row {
                ratio: ratio(&values),
                name,
                unit,
                servers: spreads?,
            })
        })
        .collect()
}

fn ratio(values: &[Vec<f64>]) -> Option<Spread> {
    let [first, second] = values else { return None };
    let ratios: Option<Vec<f64>> = first
        .iter()
        .zip(second)
        .map(|(first, second)| (*first != 0.0).then(|| second / first))
        .collect();
    Spread::of(&ratios?)
}

fn value(outcome: &Outcome, name: &str) -> Option<f64> {
    let found = named(outcome).into_iter().find(|(other, ..)| other == name);
    found.map(|(.., value)| value)
}

/// What of an outcome is compared: name, unit, value.
fn named(outcome: &Outcome) -> Vec<(String, &'static str, f64)> {
    let mut named = vec![("operations".to_owned(), "/s", outcome.rate)];
    if outcome.bytes > 0 && outcome.seconds > 0.0 {
        named.push((
            "message bytes".to_owned(),
            "MB/s",
            outcome.bytes as f64 / 1e6 / outcome.seconds,
        ));
    }
    if let Some(cost) = &outcome.cost {
        named.push(("server CPU an operation".to_owned(), "ms", cost.cpu_ms));
        named.push((
            "server memory at the end (PSS)".to_owned(),
            "MiB",
            cost.pss_kib as f64 / 1024.0,
        ));
    }
    for figure in &outcome.figures {
        named.push((figure.name.clone(), figure.unit, figure.value));
    }
    for of in &outcome.operations {
        named.push((format!("{} p50", of.operation), "ms", of.latencies.p50_ms));
        named.push((format!("{} p99", of.operation), "ms", of.latencies.p99_ms));
    }
    named.push((
        "load tester's CPU an operation".to_owned(),
        "us",
        outcome.own_cpu_us,
    ));
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::outcome;

    #[test]
    fn medians_and_spreads_are_of_all_rounds() {
        let spread = Spread::of(&[3.0, 1.0, 2.0, 10.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 10.0));
        assert_eq!(Spread::of(&[7.0]).unwrap().median, 7.0);
        assert!(Spread::of(&[]).is_none());
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let rounds = |rates: &[f64]| rates.iter().map(|rate| outcome("S", *rate)).collect::<Vec<_>>();
        let rows = rows(&[rounds(&[100.0, 200.0]), rounds(&[300.0, 400.0])]);
        let row = rows.iter().find(|row| row.name == "operations").unwrap();
        let ratio = row.ratio.as_ref().unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (2.5, 2.0, 3.0));
        assert_eq!(row.servers[0].median, 150.0);
    }

    #[test]
    fn what_one_server_does_not_tell_is_left_out() {
        let mut without = outcome("B", 1.0);
        without.cost = None;
        let rows = rows(&[vec![outcome("A", 1.0)], vec![without]]);
        assert!(rows.iter().all(|row| !row.name.starts_with("server")), "{rows:?}");
    }
}
