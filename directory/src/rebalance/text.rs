//! A plan in plain lines, for the operator who has to agree to it.

use std::fmt::Write;

use super::plan::Plan;
use super::table::{PPM, Row, Table};

/// The plan as text: a summary, what could not be done, the transfers and the nodes before and after; of each list `lines_max` lines
/// at most, with a word on how many there are more. Of the nodes, those whose load changes most come first.
pub fn text(plan: &Plan, lines_max: usize) -> String {
    let mut text = summary(plan);
    let problems = plan.problems.iter().map(ToString::to_string).collect();
    list(&mut text, "Not as it should be:", problems, lines_max);
    let transfers = plan.transfers.iter().map(|transfer| {
        let from = transfer
            .from
            .as_ref()
            .map_or("nowhere", |from| from.node.as_str());
        let (shard, to, bytes) = (transfer.shard, &transfer.to, size(transfer.bytes));
        format!("shard {shard}: {from} to {to}, {bytes}: {}", transfer.why)
    });
    list(&mut text, "Transfers:", transfers.collect(), lines_max);
    let leads = plan.leads.iter().map(|lead| {
        let from = lead.from.as_deref().unwrap_or("nobody");
        format!("shard {}: {from} to {}: {}", lead.shard, lead.to, lead.why)
    });
    list(&mut text, "Leads:", leads.collect(), lines_max);
    text.push_str(&nodes(&plan.before, &plan.after, lines_max));
    text
}

fn summary(plan: &Plan) -> String {
    if plan.is_empty() {
        return "Nothing is to be moved.\n".to_owned();
    }
    let eta = match plan.eta_seconds {
        Some(seconds) => format!("about {} at the measured rates", duration(seconds)),
        None => "how long is not known, for no rate has been measured".to_owned(),
    };
    let (before, after) = (&plan.before.balance, &plan.after.balance);
    format!(
        "{} transfers of {} (at least {} must move), {} leads; {eta}.\nThe most loaded node has {} of its share, and {} \
         after it; the least loaded one {} and {}.\n",
        plan.transfers.len(),
        size(plan.bytes),
        size(plan.bytes_least),
        plan.leads.len(),
        percent(before.load_most_ppm),
        percent(after.load_most_ppm),
        percent(before.load_least_ppm),
        percent(after.load_least_ppm),
    )
}

fn list(text: &mut String, title: &str, lines: Vec<String>, lines_max: usize) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "{title}");
    for line in lines.iter().take(lines_max) {
        let _ = writeln!(text, "  {line}");
    }
    if let Some(more) = lines.len().checked_sub(lines_max).filter(|more| *more > 0) {
        let _ = writeln!(text, "  and {more} more");
    }
}

fn nodes(before: &Table, after: &Table, lines_max: usize) -> String {
    let mut pairs: Vec<(&Row, &Row)> = before.nodes.iter().zip(&after.nodes).collect();
    let change = |(before, after): &(&Row, &Row)| {
        let load = |row: &Row| row.load_ppm.unwrap_or(0);
        (
            load(before).abs_diff(load(after)),
            before.bytes.abs_diff(after.bytes),
        )
    };
    pairs.sort_by_key(|pair| std::cmp::Reverse(change(pair)));
    let header = [
        "node",
        "zone",
        "weight",
        "replicas",
        "leads",
        "bytes",
        "accounts",
        "op/s",
        "of its share",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    for (before, after) in pairs.iter().take(lines_max) {
        let both = |text: &dyn Fn(&Row) -> String| {
            let (before, after) = (text(before), text(after));
            if before == after {
                before
            } else {
                format!("{before} → {after}")
            }
        };
        rows.push([
            before.node.clone(),
            before.zone.clone(),
            before.weight.to_string(),
            both(&|row| row.replicas.to_string()),
            both(&|row| row.leads.to_string()),
            both(&|row| size(row.bytes)),
            both(&|row| row.accounts.to_string()),
            both(&|row| (row.operations_milli / 1000).to_string()),
            both(&|row| row.load_ppm.map_or("–".to_owned(), percent)),
        ]);
    }
    let mut text = String::from("Nodes, before → after:\n");
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    for row in &rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(text, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    if pairs.len() > lines_max {
        let _ = writeln!(text, "  and {} more", pairs.len() - lines_max);
    }
    text
}

/// Millionths as percent with one decimal.
fn percent(ppm: u64) -> String {
    let tenths = (u128::from(ppm) * 1000 + u128::from(PPM) / 2) / u128::from(PPM);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// Bytes in the largest decimal unit of which there is one, with one decimal.
fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut unit, mut scale) = (0, 1u64);
    while unit + 1 < units.len() && bytes / scale >= 1000 {
        scale *= 1000;
        unit += 1;
    }
    if unit == 0 {
        return format!("{bytes} B");
    }
    let tenths = bytes / (scale / 10);
    format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds.div_ceil(60)),
        7_200..172_800 => format!("{} h", seconds.div_ceil(3_600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            (size(999), size(1_000), size(12_345_678)),
            ("999 B".into(), "1.0 kB".into(), "12.3 MB".into())
        );
        assert_eq!(size(u64::MAX), "18.4 EB");
        assert_eq!(
            (percent(1_049_500), percent(0)),
            ("105.0 %".into(), "0.0 %".into())
        );
        assert_eq!(
            (duration(119), duration(121), duration(200_000)),
            ("119 s".into(), "3 min".into(), "3 days".into())
        );
    }
}
