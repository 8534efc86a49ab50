//! Line charts as SVG, drawn by a page's own styles so that they suit light and dark.

use std::fmt::Write as _;

use super::html::escaped;
use super::number;

/// Size of a chart, and what of it is left for scales.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 28.0;
const TOP: f64 = 12.0;
const RIGHT: f64 = 28.0;

/// Points of a line at most; of more, each group's largest is drawn.
const POINTS_MAX: usize = 600;

/// Colours that the page's style has.
const COLOURS: usize = 6;

/// A line.
pub(crate) struct Line {
    /// Its name in the key; lines of one name share their place there.
    pub(crate) name: String,
    /// What tells it from others of that name, when it is pointed at.
    pub(crate) title: String,
    /// The number of its colour.
    pub(crate) colour: usize,
    /// (x, y), by ascending x.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A scale from data to the drawing.
#[derive(Clone, Copy)]
struct Scale {
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Scale {
    /// 0 at the scale's beginning, 1 at its end.
    fn share(self, value: f64) -> f64 {
        if self.logarithmic {
            let value = value.max(self.from);
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        }
    }
}

/// A chart of lines over a common x, with y from zero.
pub(crate) fn over_time(title: &str, unit: &str, lines: &[Line]) -> String {
    let last = extent(lines, |point| point.0).unwrap_or(1.0).max(1.0);
    let highest = extent(lines, |point| point.1).unwrap_or(1.0);
    let x = Scale {
        from: 0.0,
        to: last,
        logarithmic: false,
    };
    let y = Scale {
        from: 0.0,
        to: rounded_up(highest),
        logarithmic: false,
    };
    let below: Vec<(f64, String)> = (0..=4)
        .map(|step| {
            let at = last * f64::from(step) / 4.0;
            (at, format!("{} s", beside_scale(at)))
        })
        .collect();
    let beside: Vec<f64> = (0..=4).map(|step| y.to * f64::from(step) / 4.0).collect();
    draw(title, unit, lines, (x, y), &below, &beside)
}

/// A chart of latencies by the share of operations that took at most so long; both scales are logarithmic, x in the
/// number of nines.
pub(crate) fn by_share(title: &str, unit: &str, lines: &[Line]) -> String {
    let slowest = extent(lines, |point| point.1).unwrap_or(1.0);
    let values = lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let fastest = values.filter(|value| *value > 0.0).fold(slowest, f64::min);
    let y = Scale {
        from: power_below(fastest),
        to: power_below(slowest) * 10.0,
        logarithmic: true,
    };
    let nines = |share: f64| -(1.0 - share).max(1e-5).log10();
    let moved: Vec<Line> = lines
        .iter()
        .map(|line| Line {
            name: line.name.clone(),
            title: line.title.clone(),
            colour: line.colour,
            points: line
                .points
                .iter()
                .map(|(share, value)| (nines(*share), *value))
                .collect(),
        })
        .collect();
    let x = Scale {
        from: 0.0,
        to: 5.0,
        logarithmic: false,
    };
    let below: Vec<(f64, String)> = [
        (0.5, "50 %"),
        (0.9, "90 %"),
        (0.99, "99 %"),
        (0.999, "99.9 %"),
        (0.9999, "99.99 %"),
    ]
    .map(|(share, name)| (nines(share), name.to_owned()))
    .to_vec();
    let mut beside = vec![y.from];
    while let Some(last) = beside.last().copied().filter(|last| *last < y.to * 0.99) {
        beside.push(last * 10.0);
    }
    draw(title, unit, &moved, (x, y), &below, &beside)
}

fn draw(
    title: &str,
    unit: &str,
    lines: &[Line],
    (x, y): (Scale, Scale),
    below: &[(f64, String)],
    beside: &[f64],
) -> String {
    let across = |value: f64| LEFT + x.share(value) * (WIDTH - LEFT - RIGHT);
    let down = |value: f64| HEIGHT - BOTTOM - y.share(value) * (HEIGHT - BOTTOM - TOP);
    let mut svg = format!(
        "<figure><figcaption>{} <span class=\"unit\">{}</span></figcaption>\n\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
        escaped(title),
        escaped(unit),
        escaped(title)
    );
    // Writing to memory cannot fail.
    for value in beside {
        let at = down(*value);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            beside_scale(*value)
        );
    }
    for (value, name) in below {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            across(*value),
            HEIGHT - 8.0,
            escaped(name)
        );
    }
    for line in lines {
        let points = thinned(&line.points);
        let path: Vec<String> = points
            .iter()
            .map(|(at, value)| format!("{:.1},{:.1}", across(*at), down(*value)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline class=\"line c{}\" points=\"{}\"><title>{}</title></polyline>",
            line.colour % COLOURS,
            path.join(" "),
            escaped(&line.title)
        );
    }
    svg.push_str("</svg>\n<div class=\"key\">");
    for (index, line) in lines.iter().enumerate() {
        if lines[..index].iter().all(|other| other.name != line.name) {
            let _ = write!(
                svg,
                "<span class=\"c{}\">{}</span> ",
                line.colour % COLOURS,
                escaped(&line.name)
            );
        }
    }
    svg.push_str("</div></figure>\n");
    svg
}

/// A value beside a scale, without digits that say nothing.
fn beside_scale(value: f64) -> String {
    let text = number(value);
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn extent(lines: &[Line], of: impl Fn(&(f64, f64)) -> f64) -> Option<f64> {
    let values = lines.iter().flat_map(|line| &line.points).map(of);
    values.reduce(f64::max)
}

/// The next of 1, 2 or 5 times a power of ten.
fn rounded_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = power_below(value);
    let steps = [1.0, 2.0, 5.0, 10.0];
    let step = steps
        .into_iter()
        .find(|step| step * power >= value * (1.0 - 1e-9));
    step.unwrap_or(10.0) * power
}

/// The power of ten at or below a value.
fn power_below(value: f64) -> f64 {
    10f64.powf(value.max(1e-6).log10().floor())
}

fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let group = points.len().div_ceil(POINTS_MAX).max(1);
    let largest = |points: &[(f64, f64)]| {
        points
            .iter()
            .copied()
            .max_by(|one, other| one.1.total_cmp(&other.1))
    };
    points.chunks(group).filter_map(largest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        let ends: Vec<f64> = [0.0, 0.7, 1.0, 1.1, 4.2, 5_001.0]
            .into_iter()
            .map(rounded_up)
            .collect();
        assert_eq!(ends, [1.0, 1.0, 1.0, 2.0, 5.0, 10_000.0]);
        assert!((power_below(0.02) - 0.01).abs() < 1e-9);
    }

    #[test]
    fn lines_lie_within_the_drawing() {
        let line = || Line {
            name: "A & B".to_owned(),
            title: "round 1".to_owned(),
            colour: 0,
            points: (0..2_000)
                .map(|second| (f64::from(second), f64::from(second % 37)))
                .collect(),
        };
        let chart = over_time("rate", "/s", &[line(), line()]);
        let points = chart
            .split("points=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let pairs: Vec<(f64, f64)> = points
            .split(' ')
            .map(|pair| {
                let (x, y) = pair.split_once(',').unwrap();
                (x.parse().unwrap(), y.parse().unwrap())
            })
            .collect();
        assert!(pairs.len() <= POINTS_MAX);
        assert!(
            pairs
                .iter()
                .all(|(x, y)| (LEFT..=WIDTH).contains(x) && (0.0..=HEIGHT).contains(y))
        );
        assert_eq!(chart.matches("A &amp; B").count(), 1, "one name in the key");
    }

    #[test]
    fn latencies_are_drawn_by_share_whatever_they_are() {
        let line = |value: f64| Line {
            name: String::new(),
            title: String::new(),
            colour: 0,
            points: vec![(0.5, value), (1.0, value * 3.0)],
        };
        for value in [0.0, 0.001, 5.0, 60_000.0] {
            let chart = by_share("latency", "ms", &[line(value)]);
            assert!(!chart.contains("NaN") && !chart.contains("inf"), "{chart}");
        }
    }
}
