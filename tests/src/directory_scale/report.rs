//! The figures as tables of a document: medians, and from the least to the most in brackets.

use std::fmt::{self, Display};
use std::time::Duration;

use super::{Figures, Lookups, Start};

/// The median of values, and the least and the most of them, as a text.
fn spread(mut values: Vec<f64>, decimals: usize) -> String {
    values.sort_unstable_by(f64::total_cmp);
    let (Some(least), Some(most)) = (values.first(), values.last()) else {
        return "-".to_owned();
    };
    let median = values[values.len() / 2];
    if values.len() == 1 {
        return format!("{median:.decimals$}");
    }
    format!("{median:.decimals$} ({least:.decimals$} to {most:.decimals$})")
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let load = &self.load;
        let seconds = load.elapsed.as_secs_f64();
        writeln!(out, "{} accounts.\n", self.accounts)?;
        writeln!(out, "| | measured |\n| --- | --- |")?;
        let rate = self.accounts as f64 / seconds.max(f64::EPSILON);
        writeln!(out, "| loaded in | {seconds:.0} s, {rate:.0} a second |")?;
        let processor = load.processor.as_secs_f64();
        writeln!(out, "| processor time of the directory | {processor:.0} s |")?;
        writeln!(
            out,
            "| resident memory, empty | {:.0} MiB |",
            mib(self.memory_empty)
        )?;
        writeln!(
            out,
            "| resident memory, just loaded | {:.0} MiB |",
            mib(load.memory)
        )?;
        let looked_up = self.lookups.last().map_or(0, |lookups| lookups.cost.memory);
        writeln!(
            out,
            "| resident memory, after the lookups | {:.0} MiB |",
            mib(looked_up)
        )?;
        let [loaded, after] = self.disk.map(mib);
        writeln!(out, "| on disk, just loaded | {loaded:.0} MiB |")?;
        writeln!(out, "| on disk, at the end | {after:.0} MiB |")?;
        let [first, again] = self.log_in.map(millis);
        writeln!(
            out,
            "| log-in, the first and again | {first:.1} ms, {again:.1} ms |\n"
        )?;
        self.write_lookups(out)?;
        self.write_fanout(out)?;
        self.write_starts(out)
    }
}

impl Figures {
    fn write_lookups(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "| names | in flight | lookups/s | median µs | 99 of 100 within µs | processor time of the directory, µs each |\n| --- | --- | --- | --- | --- | --- |"
        )?;
        let mut kinds: Vec<(bool, usize)> = Vec::new();
        for lookups in &self.lookups {
            let kind = (lookups.existing, lookups.seen.in_flight);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        for (existing, in_flight) in kinds {
            let of = |value: fn(&Lookups) -> f64| {
                let same =
                    |lookups: &&Lookups| (lookups.existing, lookups.seen.in_flight) == (existing, in_flight);
                spread(self.lookups.iter().filter(same).map(value).collect(), 0)
            };
            let names = if existing { "random accounts" } else { "unknown" };
            let rate = of(|lookups| lookups.seen.rate());
            let median = of(|lookups| millis(lookups.seen.median) * 1_000.0);
            let p99 = of(|lookups| millis(lookups.seen.p99) * 1_000.0);
            let processor =
                of(|lookups| millis(lookups.cost.processor) * 1_000.0 / lookups.seen.answered.max(1) as f64);
            writeln!(
                out,
                "| {names} | {in_flight} | {rate} | {median} | {p99} | {processor} |"
            )?;
        }
        writeln!(out)
    }

    fn write_fanout(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fanout = &self.fanout;
        let (watchers, connections) = (fanout.watchers, fanout.connections);
        writeln!(
            out,
            "| {watchers} watchers over {connections} connections | measured |\n| --- | --- |"
        )?;
        let start = &fanout.start;
        let (elapsed, processor) = (millis(start.elapsed), millis(start.processor));
        writeln!(
            out,
            "| all connected, with their snapshots | {elapsed:.0} ms, {processor:.0} ms of processor time |"
        )?;
        let each = fanout.memory[1].saturating_sub(fanout.memory[0]) as f64 / 1024.0 / watchers.max(1) as f64;
        writeln!(out, "| memory a watcher | {each:.0} KiB |")?;
        let share = fanout.idle.processor.as_secs_f64() / fanout.idle.elapsed.as_secs_f64() * 100.0;
        writeln!(
            out,
            "| one processor's share while nothing changes | {share:.0} % |"
        )?;
        let of = |value: fn(&super::Change) -> f64| spread(fanout.changes.iter().map(value).collect(), 1);
        let acknowledged = of(|change| millis(change.acknowledged));
        writeln!(out, "| a change is acknowledged after | {acknowledged} ms |")?;
        let median = of(|change| millis(change.median));
        writeln!(out, "| half of the watchers are told after | {median} ms |")?;
        let last = of(|change| millis(change.last));
        writeln!(out, "| all are told after | {last} ms |")?;
        let each = millis(fanout.cost.processor) / fanout.changes.len().max(1) as f64;
        writeln!(
            out,
            "| processor time of a change, heartbeats meanwhile included | {each:.1} ms |\n"
        )
    }

    fn write_starts(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "| start | first lookup answered after, ms | resident then, MiB |\n| --- | --- | --- |"
        )?;
        for (name, killed, cold) in [
            ("after a stop", false, false),
            ("after kill -9", true, false),
            ("after a stop, page cache empty", false, true),
        ] {
            let of = |value: fn(&Start) -> f64| {
                let same = |start: &&Start| (start.killed, start.cold) == (killed, cold);
                spread(self.starts.iter().filter(same).map(value).collect(), 0)
            };
            let (served, memory) = (of(|start| millis(start.served)), of(|start| mib(start.memory)));
            if served != "-" {
                writeln!(out, "| {name} | {served} | {memory} |")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_names_median_least_and_most() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0], 1), "2.0 (1.0 to 3.0)");
        assert_eq!(spread(vec![7.26], 1), "7.3");
        assert_eq!(spread(Vec::new(), 0), "-");
    }
}
