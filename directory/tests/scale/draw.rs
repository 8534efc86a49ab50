//! Draws a year: how even the nodes are before and after each plan, what was moved beside the least, and how long planning took.

use std::fmt::Write;

use super::year::Record;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const PANEL: f64 = 170.0;
const GAP: f64 = 60.0;

/// A panel with an axis from `low` to `high`.
struct Panel {
    top: f64,
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Panel {
    fn y(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.log10() } else { value };
        let part = (scale(value.clamp(self.low, self.high)) - scale(self.low))
            / (scale(self.high) - scale(self.low));
        self.top + PANEL * (1.0 - part)
    }
}

/// The plot as SVG.
pub(crate) fn draw(records: &[Record]) -> String {
    // The first one places all replicas.
    let year = &records[1..];
    let x = |index: usize| LEFT + (WIDTH - LEFT - RIGHT) * (index as f64 + 0.5) / year.len() as f64;
    let height = 3.0 * (PANEL + GAP) + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    let panel = |number: usize, low: f64, high: f64, logarithmic: bool| Panel {
        top: 40.0 + number as f64 * (PANEL + GAP),
        low,
        high,
        logarithmic,
    };

    let balance = panel(0, 0.8, 1.35, false);
    axes(
        &mut svg,
        &balance,
        "Most and least loaded node, relative to the mean by weight: before (rings) and after (dots) each plan",
        &[0.8, 0.95, 1.0, 1.05, 1.2, 1.35],
    );
    let (above, below) = (balance.y(1.05), balance.y(0.95));
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{above:.1}\" width=\"{}\" height=\"{:.1}\" fill=\"#d9ead3\" opacity=\"0.7\"/>",
        WIDTH - LEFT - RIGHT,
        below - above
    );
    for (index, record) in year.iter().enumerate() {
        for value in [record.before.0, record.before.1] {
            dot(&mut svg, x(index), balance.y(value), "none", "#999999");
        }
        for value in [record.after.0, record.after.1] {
            dot(&mut svg, x(index), balance.y(value), "#1f5fa8", "#1f5fa8");
        }
    }

    let moved = panel(1, 1e9, 1e16, true);
    axes(
        &mut svg,
        &moved,
        "Bytes moved (bars) and the least that had to be (lines)",
        &[1e9, 1e11, 1e13, 1e15],
    );
    for (index, record) in year.iter().enumerate().filter(|(_, record)| record.bytes > 0) {
        let (top, least) = (moved.y(record.bytes as f64), moved.y(record.bytes_least as f64));
        let _ = writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{top:.1}\" width=\"9\" height=\"{:.1}\" fill=\"#9cc3e6\"/>\
             <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{least:.1}\" y2=\"{least:.1}\" stroke=\"#b03a2e\" stroke-width=\"1.5\"/>",
            x(index) - 4.5,
            moved.top + PANEL - top,
            x(index) - 6.0,
            x(index) + 6.0,
        );
    }

    let time = panel(2, 0.0, 1000.0, false);
    axes(
        &mut svg,
        &time,
        "Processor time of planning, milliseconds",
        &[0.0, 250.0, 500.0, 750.0, 1000.0],
    );
    for (index, record) in year.iter().enumerate() {
        dot(
            &mut svg,
            x(index),
            time.y(record.cpu.as_secs_f64() * 1e3),
            "#1f5fa8",
            "#1f5fa8",
        );
    }
    let mut last = 0;
    for (index, record) in year.iter().enumerate() {
        if record.week % 4 == 0 && record.week != last {
            last = record.week;
            for top in [balance.top, moved.top, time.top] {
                let _ = writeln!(
                    svg,
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    x(index),
                    top + PANEL + 16.0,
                    record.week
                );
            }
        }
    }
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{:.1}\">week</text>\n</svg>",
        height - 8.0
    );
    svg
}

fn axes(svg: &mut String, panel: &Panel, title: &str, marks: &[f64]) {
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{:.1}\" font-weight=\"bold\">{title}</text>",
        panel.top - 12.0
    );
    for mark in marks {
        let y = panel.y(*mark);
        let name = if *mark >= 1e9 {
            bytes(*mark)
        } else {
            format!("{mark}")
        };
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0
        );
    }
}

fn bytes(mark: f64) -> String {
    match mark {
        mark if mark >= 1e15 => format!("{} PB", mark / 1e15),
        mark if mark >= 1e12 => format!("{} TB", mark / 1e12),
        mark => format!("{} GB", mark / 1e9),
    }
}

fn dot(svg: &mut String, x: f64, y: f64, fill: &str, stroke: &str) {
    let _ = writeln!(
        svg,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{fill}\" stroke=\"{stroke}\"/>"
    );
}
