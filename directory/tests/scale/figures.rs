//! The figures of a year, written into `docs/scale.md` between two marks.

use std::fmt::Write;
use std::path::Path;

use super::draw;
use super::world::Size;
use super::year::Record;

const BEGIN: &str = "<!-- planner: written by make scale -->\n";
const END: &str = "<!-- end -->";

/// Writes figures and plot.
pub(crate) fn write(size: &Size, records: &[Record]) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let path = docs.join("scale.md");
    let page = std::fs::read_to_string(&path).expect("docs/scale.md");
    let (before, rest) = page.split_once(BEGIN).expect("the mark where figures begin");
    let (_, after) = rest.split_once(END).expect("the mark where figures end");
    let figures = figures(size, records);
    std::fs::write(&path, format!("{before}{BEGIN}{figures}{END}{after}")).expect("docs/scale.md is written");
    std::fs::write(docs.join("scale.svg"), draw::draw(records)).expect("docs/scale.svg is written");
}

fn figures(size: &Size, records: &[Record]) -> String {
    // The first one places all replicas and moves nothing.
    let year = &records[1..];
    let most = |value: &dyn Fn(&Record) -> f64| year.iter().map(value).fold(0.0, f64::max);
    let sum = |value: &dyn Fn(&Record) -> f64| year.iter().map(value).sum::<f64>();
    let large: Vec<&Record> = year
        .iter()
        .filter(|record| record.bytes as f64 >= record.bytes_stored as f64 * super::SMALL_PLAN)
        .collect();
    let moving = year.iter().filter(|record| record.bytes > 0).count();
    let small_above = year
        .iter()
        .filter(|record| record.bytes > 0 && record.ratio() > 1.1)
        .map(|record| {
            format!(
                "{:.2} ({} transfers, {:.4} % of the bytes)",
                record.ratio(),
                record.transfers,
                record.bytes as f64 * 100.0 / record.bytes_stored as f64
            )
        })
        .collect::<Vec<_>>();
    let mut text = format!(
        "{} nodes, {} shards, {} million accounts at first; {} plans in the year, {moving} of which move bytes.\n\n",
        size.nodes,
        size.shards,
        size.accounts / 1_000_000,
        year.len(),
    );
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "| {what} | {value} |");
    };
    line("over the year", "measured".to_owned());
    line("---", "---".to_owned());
    line("transfers", format!("{}", sum(&|record| record.transfers as f64)));
    line(
        "most loaded node after any plan, relative to the mean by weight",
        format!("{:.4}", most(&|record| record.after.0)),
    );
    let least = year.iter().map(|record| record.after.1).fold(f64::MAX, f64::min);
    line("least loaded node after any plan", format!("{least:.4}"));
    line(
        "bytes moved in all, by the least in all",
        format!(
            "{:.3}",
            sum(&|record| record.bytes as f64) / sum(&|record| record.bytes_least as f64)
        ),
    );
    let worst = large.iter().map(|record| record.ratio()).fold(0.0, f64::max);
    line(
        "the same of the worst plan that moves at least 0.1 % of all bytes",
        format!("{worst:.3}"),
    );
    line(
        "of smaller plans, those above 1.1",
        if small_above.is_empty() {
            "none".to_owned()
        } else {
            small_above.join(", ")
        },
    );
    line(
        "slowest plan, processor time",
        format!("{:.0} ms", most(&|record| record.cpu.as_secs_f64() * 1e3)),
    );
    line(
        "slowest plan, by the clock of this machine",
        format!("{:.0} ms", most(&|record| record.took.as_secs_f64() * 1e3)),
    );
    line(
        "first placement of all replicas, processor time",
        format!("{} ms", records[0].cpu.as_millis()),
    );
    text.push_str(
        "\n| week | what happened | nodes | transfers | leads | TB moved | by the least | most loaded before | after | least loaded after | ms |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for record in records {
        if record.transfers < 2_000 && record.week > 7 {
            continue;
        }
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {:.1} | {:.3} | {:.3} | {:.3} | {:.3} | {} |",
            record.week,
            record.event,
            record.nodes,
            record.transfers,
            record.leads,
            record.bytes as f64 / 1e12,
            record.ratio(),
            record.before.0,
            record.after.0,
            record.after.1,
            record.cpu.as_millis(),
        );
    }
    text
}
