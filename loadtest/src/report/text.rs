//! A report as text, for a terminal.

use std::fmt::Write as _;

use super::{Report, count, number};
use crate::compare::{Row, Spread};
use crate::figures::Outcome;

/// The whole report, with an end of line.
pub(crate) fn text(report: &Report) -> String {
    let mut text = String::new();
    // Writing to memory cannot fail.
    if let Some(machine) = &report.machine {
        let _ = writeln!(text, "{machine}");
    }
    let many = report.outcomes().count() > 1;
    for (round, outcome) in report.outcomes() {
        let round = if many {
            format!(", round {}", round + 1)
        } else {
            String::new()
        };
        let _ = writeln!(
            text,
            "\n{} on {}{round}",
            report.profile.workload.name(),
            outcome.server
        );
        text.push_str(&run(outcome));
    }
    if many {
        text.push('\n');
        text.push_str(&compared(report));
    }
    text
}

fn run(outcome: &Outcome) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "  {} operations in {} s with {} sessions: {}/s{}",
        count(outcome.total),
        number(outcome.seconds),
        outcome.sessions,
        number(outcome.rate),
        megabytes(outcome)
    );
    if !outcome.operations.is_empty() {
        text.push_str(&aligned(&operations(outcome)));
    }
    for figure in &outcome.figures {
        let _ = writeln!(
            text,
            "  {}: {} {}",
            figure.name,
            number(figure.value),
            figure.unit
        );
    }
    if let Some(cost) = &outcome.cost {
        let _ = writeln!(
            text,
            "  server: {} ms CPU an operation ({} s in all), {} MiB at the end (PSS)",
            number(cost.cpu_ms),
            number(cost.cpu_seconds),
            number(cost.pss_kib as f64 / 1024.0)
        );
    }
    let _ = writeln!(
        text,
        "  load tester: {} us CPU an operation",
        number(outcome.own_cpu_us)
    );
    if outcome.raced > 0 {
        let _ = writeln!(
            text,
            "  {} times a message had been removed by another session",
            count(outcome.raced)
        );
    }
    if let Some(verdict) = &outcome.oracle {
        let _ = writeln!(
            text,
            "  oracle: {} acknowledged, {} present once, {} removed, {} lost, {} doubled",
            count(verdict.acknowledged),
            count(verdict.present),
            count(verdict.removed),
            count(verdict.lost),
            count(verdict.doubled)
        );
        for named in &verdict.named {
            let _ = writeln!(text, "    {named}");
        }
    }
    if outcome.missed > 0 {
        let _ = writeln!(
            text,
            "  {} operations never began: no session was free in time",
            count(outcome.missed)
        );
    }
    let _ = writeln!(text, "  {} errors", count(outcome.errors));
    for error in &outcome.error_texts {
        let _ = writeln!(text, "    {error}");
    }
    text
}

fn megabytes(outcome: &Outcome) -> String {
    if outcome.bytes == 0 || outcome.seconds == 0.0 {
        return String::new();
    }
    format!(
        ", {} MB/s of messages",
        number(outcome.bytes as f64 / 1e6 / outcome.seconds)
    )
}

fn operations(outcome: &Outcome) -> Vec<Vec<String>> {
    let heading = ["", "count", "/s", "mean ms", "p50", "p90", "p99", "p99.9", "max"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for of in &outcome.operations {
        let latencies = &of.latencies;
        // A part of an operation is set in.
        let name = if of.whole {
            of.operation.clone()
        } else {
            format!("  {}", of.operation)
        };
        let mut row = vec![name, count(of.count)];
        let rate = of.count as f64 / outcome.seconds.max(f64::EPSILON);
        row.push(if outcome.seconds > 0.0 {
            number(rate)
        } else {
            String::new()
        });
        let values = [
            latencies.mean_ms,
            latencies.p50_ms,
            latencies.p90_ms,
            latencies.p99_ms,
            latencies.p999_ms,
            latencies.max_ms,
        ];
        row.extend(values.map(number));
        rows.push(row);
    }
    rows
}

/// Medians of all rounds, with their spread where there are several, and ratios.
fn compared(report: &Report) -> String {
    let mut heading = vec![String::new()];
    heading.extend(
        report
            .servers
            .iter()
            .filter_map(|rounds| Some(rounds.first()?.server.clone())),
    );
    if let [first, second] = &heading[1..] {
        let ratio = format!("{second} / {first}");
        heading.push(ratio);
    }
    let mut rows = vec![heading];
    rows.extend(report.rows.iter().map(row));
    let heading = match report.profile.rounds() {
        1 => "one round".to_owned(),
        rounds => format!("medians of {rounds} rounds (smallest-largest)"),
    };
    format!("{heading}\n{}", aligned(&rows))
}

fn row(row: &Row) -> Vec<String> {
    let mut cells = vec![format!("{}, {}", row.name, row.unit)];
    cells.extend(row.servers.iter().map(spread));
    if row.servers.len() == 2 {
        cells.push(row.ratio.as_ref().map_or_else(|| "-".to_owned(), spread));
    }
    cells
}

fn spread(spread: &Spread) -> String {
    if spread.min == spread.max {
        return number(spread.median);
    }
    let [median, min, max] = [spread.median, spread.min, spread.max].map(number);
    format!("{median} ({min}-{max})")
}

/// Columns aligned: the first to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or_default())
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from("  ");
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if column == 0 {
                write!(line, "{cell:<width$}")
            } else {
                write!(line, "  {cell:>width$}")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::{outcome, report};
    use super::*;

    #[test]
    fn a_run_is_told_whole() {
        let text = run(&outcome("A", 10.0));
        for expected in [
            "100 operations in 10.0 s with 4 sessions: 10.0/s, 0.100 MB/s of messages",
            "  deliver      100   10.0     50.5  50.0  90.0  99.0    100   100",
            "sessions opened: 12.5 /s",
            "server: 0.500 ms CPU an operation (1.00 s in all), 65.0 MiB at the end (PSS)",
            "load tester: 31.0 us CPU an operation",
            "oracle: 100 acknowledged, 100 present once, 0 removed, 0 lost, 0 doubled",
            "  0 errors",
        ] {
            assert!(text.contains(expected), "{expected:?} in\n{text}");
        }
    }

    #[test]
    fn errors_and_losses_are_shown() {
        let mut bad = outcome("A", 10.0);
        bad.errors = 2;
        bad.error_texts = vec!["RCPT: 451 later".to_owned()];
        bad.missed = 7;
        let text = run(&bad);
        assert!(text.contains("7 operations never began"), "{text}");
        assert!(text.contains("2 errors\n    RCPT: 451 later"), "{text}");
    }

    #[test]
    fn two_servers_stand_side_by_side() {
        let text = text(&report());
        assert!(text.contains("B / A<1>"), "{text}");
        let line = text.lines().find(|line| line.contains("operations, /s")).unwrap();
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(cells, ["operations,", "/s", "100", "250", "2.50"]);
    }

    #[test]
    fn a_spread_is_shown_where_there_is_one() {
        let values = Spread::of(&[1.0, 2.0, 4.0]).unwrap();
        assert_eq!(spread(&values), "2.00 (1.00-4.00)");
    }
}
