//! What clients had to wait while something went on.

use std::fmt::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};

use super::super::history::{Action, Event, Nanos, Outcome};

/// A time that has a name.
#[derive(Debug, Clone)]
pub struct Phase {
    /// What went on.
    pub name: &'static str,
    /// From when on.
    pub from: Nanos,
    /// Until when.
    pub to: Nanos,
}

/// Of the commands that were given in a phase.
#[derive(Debug, Clone)]
pub struct Figures {
    /// What went on.
    pub phase: &'static str,
    /// How long.
    pub lasted: Nanos,
    /// IMAP commands.
    pub commands: Spread,
    /// Recipients that mail was sent to.
    pub deliveries: Spread,
    /// Of both, what was not acknowledged.
    pub failed: usize,
}

/// How long something took, of many times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many.
    pub count: usize,
    /// Half took at most so long.
    pub median: Nanos,
    /// 99 of 100 did.
    pub p99: Nanos,
    /// All did.
    pub most: Nanos,
}

impl Spread {
    fn of(mut took: Vec<Nanos>) -> Self {
        took.sort_unstable();
        let at = |part: usize| {
            let rank = (took.len() * part).div_ceil(100).saturating_sub(1);
            took.get(rank).copied().unwrap_or_default()
        };
        Self {
            count: took.len(),
            median: at(50),
            p99: at(99),
            most: at(100),
        }
    }
}

impl Figures {
    /// Of what began in a phase.
    pub fn of(phase: &Phase, events: &[Event]) -> Self {
        let (mut commands, mut deliveries, mut failed) = (Vec::new(), Vec::new(), 0);
        let within = events
            .iter()
            .filter(|event| (phase.from..phase.to).contains(&event.invoked));
        for event in within {
            let took = event.completed - event.invoked;
            match event.action {
                Action::Deliver { .. } => deliveries.push(took),
                // What an observer asks is no client's command, and what an IDLE session was told no answer to one.
                Action::Changes { .. } | Action::Told { .. } => continue,
                _ => commands.push(took),
            }
            failed += usize::from(event.outcome != Outcome::Ok);
        }
        Self {
            phase: phase.name,
            lasted: phase.to - phase.from,
            commands: Spread::of(commands),
            deliveries: Spread::of(deliveries),
            failed,
        }
    }
}

/// Writes what each operation took, an operation a line: seconds since the history began, milliseconds, kind, account.
pub(super) fn write_times(events: &[Event], path: &Path) -> Result<()> {
    let mut lines = String::from("s,ms,kind,account\n");
    for event in events {
        writeln!(
            lines,
            "{:.3},{:.1},{},{}",
            event.invoked as f64 / 1e9,
            (event.completed - event.invoked) as f64 / 1e6,
            event.action.kind(),
            event.account
        )?;
    }
    std::fs::write(path, lines).with_context(|| format!("{} cannot be written", path.display()))
}

/// Times in milliseconds, a phase a line.
pub(super) fn table(figures: &[Figures], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(
        f,
        "{:<16} {:>7} | {:>8} {:>8} {:>8} {:>8} | {:>10} {:>8} {:>8} {:>8} | {:>6}",
        "phase", "s", "commands", "median", "p99", "most", "deliveries", "median", "p99", "most", "failed"
    )?;
    let millis = |nanos: Nanos| nanos as f64 / 1e6;
    for one in figures {
        let (commands, deliveries) = (one.commands, one.deliveries);
        writeln!(
            f,
            "{:<16} {:>7.1} | {:>8} {:>8.1} {:>8.1} {:>8.1} | {:>10} {:>8.1} {:>8.1} {:>8.1} | {:>6}",
            one.phase,
            one.lasted as f64 / 1e9,
            commands.count,
            millis(commands.median),
            millis(commands.p99),
            millis(commands.most),
            deliveries.count,
            millis(deliveries.median),
            millis(deliveries.p99),
            millis(deliveries.most),
            one.failed
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_all_that_was_measured() {
        assert_eq!(Spread::of(Vec::new()), Spread::default());
        let spread = Spread::of((1..=200).rev().collect());
        let expected = Spread {
            count: 200,
            median: 100,
            p99: 198,
            most: 200,
        };
        assert_eq!(spread, expected);
        assert_eq!(Spread::of(vec![7]).p99, 7);
    }
}
