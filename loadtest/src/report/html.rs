//! A report as a page that needs nothing else: styles and drawings are within it.

use std::fmt::Write as _;

use super::chart::{Line, by_share, over_time};
use super::{Report, text};
use crate::figures::Outcome;
use crate::recorder::Second;

/// Colours for light and dark, as the reader's system wants.
const STYLE: &str = "\
:root { color-scheme: light dark; --back: #fff; --ink: #1c2024; --soft: #667; --grid: #dde1e6;
  --c0: #2563eb; --c1: #d9480f; --c2: #15803d; --c3: #9333ea; --c4: #b45309; --c5: #0e7490; }
@media (prefers-color-scheme: dark) { :root { --back: #15181c; --ink: #e6e8ea; --soft: #9aa3ad; --grid: #2c3238;
  --c0: #7aa7ff; --c1: #ff9b6a; --c2: #6fd08c; --c3: #c792ff; --c4: #f0b35b; --c5: #5cc7da; } }
body { background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; max-width: 1320px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.4em; } h2 { font-size: 1.1em; margin-top: 2em; }
pre { overflow-x: auto; font-size: 13px; } table { border-collapse: collapse; }
.charts { display: flex; flex-wrap: wrap; gap: 1.5em; } figure { margin: 0; flex: 1 1 480px; max-width: 640px; }
figcaption { font-weight: 600; } .unit, .soft { color: var(--soft); font-weight: 400; }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 11px; } .grid { stroke: var(--grid); }
.line { fill: none; stroke-width: 1.6; stroke-linejoin: round; } .key { font-size: 13px; }
.key span::before { content: ''; display: inline-block; width: 12px; height: 3px; margin-right: 5px; vertical-align: middle; background: currentColor; }
.key .c0 { color: var(--c0); } .key .c1 { color: var(--c1); } .key .c2 { color: var(--c2); }
.key .c3 { color: var(--c3); } .key .c4 { color: var(--c4); } .key .c5 { color: var(--c5); }
.line.c0 { stroke: var(--c0); } .line.c1 { stroke: var(--c1); } .line.c2 { stroke: var(--c2); }
.line.c3 { stroke: var(--c3); } .line.c4 { stroke: var(--c4); } .line.c5 { stroke: var(--c5); }";

/// What of a second is drawn.
type OfSecond = fn(&Second) -> f64;

/// The whole page.
pub(crate) fn html(report: &Report) -> String {
    let workload = report.profile.workload.name();
    let names: Vec<&str> = report
        .servers
        .iter()
        .filter_map(|rounds| Some(rounds.first()?.server.as_str()))
        .collect();
    let title = escaped(&format!("Load test: {workload} on {}", names.join(" and ")));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\n<style>\n{STYLE}\n</style></head>\n\
         <body><h1>{title}</h1>\n<p class=\"soft\">{}</p>\n<div class=\"charts\">\n",
        escaped(&crate::corpus::date(report.started))
    );
    page.push_str(&timelines(report));
    page.push_str(&curves(report));
    // Writing to memory cannot fail.
    let _ = write!(
        page,
        "</div>\n<h2>Figures</h2>\n<pre>{}</pre>\n<h2>Profile</h2>\n<pre>{}</pre>\n</body></html>\n",
        escaped(&text::text(report)),
        escaped(&toml::to_string(&report.profile).unwrap_or_default())
    );
    page
}

/// Rate, slowest hundredth and errors by the second; a line for each run.
fn timelines(report: &Report) -> String {
    let charts: [(&str, &str, OfSecond); 3] = [
        ("Operations", "a second", |second| second.operations as f64),
        (
            "Latency of the slowest hundredth",
            "p99 in ms, by the second",
            |second| second.p99_ms,
        ),
        ("Errors", "a second", |second| second.errors as f64),
    ];
    let mut text = String::new();
    for (title, unit, of) in charts {
        let drawn = lines(report, |outcome| {
            // The last second is not whole.
            let whole = outcome.timeline.len().saturating_sub(1).max(1);
            let seconds = outcome.timeline.iter().take(whole);
            Some(seconds.map(|second| (second.second as f64, of(second))).collect())
        });
        text.push_str(&over_time(title, unit, &drawn));
    }
    text
}

/// Latencies by share: a chart for each operation, a line for each run.
fn curves(report: &Report) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (_, outcome) in report.outcomes() {
        for of in &outcome.operations {
            if !names.contains(&of.operation.as_str()) {
                names.push(&of.operation);
            }
        }
    }
    let mut text = String::new();
    for operation in names {
        let drawn = lines(report, |outcome| {
            let of = outcome.operations.iter().find(|of| of.operation == operation)?;
            Some(of.latencies.curve.clone())
        });
        text.push_str(&by_share(operation, "ms, by share of operations", &drawn));
    }
    text
}

/// A line for each run that has one, in its server's colour.
fn lines(report: &Report, points: impl Fn(&Outcome) -> Option<Vec<(f64, f64)>>) -> Vec<Line> {
    let mut lines = Vec::new();
    for (colour, rounds) in report.servers.iter().enumerate() {
        for (round, outcome) in rounds.iter().enumerate() {
            lines.extend(points(outcome).map(|points| Line {
                name: outcome.server.clone(),
                title: format!("{}, round {}", outcome.server, round + 1),
                colour,
                points,
            }));
        }
    }
    lines
}

/// A text as HTML has it.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn a_page_needs_nothing_from_elsewhere_and_escapes_names() {
        let page = html(&report());
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
        for foreign in ["http://", "https://", "src=", "href=", "<script", "url(", "A<1>"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.contains("A&lt;1&gt;"));
        assert_eq!(
            page.matches("<svg").count(),
            5,
            "three timelines and two operations"
        );
        assert!(page.contains("prefers-color-scheme: dark"));
        assert!(page.contains("workload = &quot;deliver&quot;"));
    }
}
