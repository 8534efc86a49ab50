//! docs/metrics.md, made of the catalogues of all crates.

use std::fmt::Write;

use rookery_process::telemetry::{self, Label, Metric, Presence};
use rookery_proto::status::OUTCOMES;

/// Lists of values that are longer stand at the end of the document.
const VALUES_MAX: usize = 9;

const OPENING: &str = "# Metrics

Every node has them on `/metrics` of its `node.http`, in Prometheus' text form. This document is what `rookery reference metrics` prints,
made of the same lists that the program records by: what is not here is not there. Durations are in seconds, sizes in bytes; counters end
in `_total` and begin anew with the process. No label ever has an account, an address, a shard, a mailbox or a node for its value: how many
series there may be is known before.

A metric that is there *always* is on the page as soon as its role runs, with every value of its labels. One that is there *once used* has
a series from when there was something to record. A histogram has `_bucket`, `_sum` and `_count`. Roles that share a process share its page.

With `node.metrics = false` nothing is recorded, and `/metrics` answers 404.
";

/// A part of the document.
struct Part {
    title: &'static str,
    says: &'static str,
    metrics: &'static [&'static Metric],
}

fn parts() -> [Part; 5] {
    [
        Part {
            title: "Every process",
            says: "",
            metrics: telemetry::CATALOGUE,
        },
        Part {
            title: "Proxy",
            says: "",
            metrics: rookery_proxy::catalogue::CATALOGUE,
        },
        Part {
            title: "Directory",
            says: "",
            metrics: rookery_directory::catalogue::CATALOGUE,
        },
        Part {
            title: "Mailstore",
            says: "",
            metrics: rookery_mailstore::catalogue::CATALOGUE,
        },
        Part {
            title: "Mailstore and directory",
            says: "A node has one log and one store (RocksDB), whatever it has replicas of. What the store tells of itself is read when the page\n\
                   is asked for.\n\n",
            metrics: rookery_mailstore::STORE_CATALOGUE,
        },
    ]
}

/// What all roles may record.
pub(crate) fn catalogues() -> [&'static [&'static Metric]; 4] {
    [
        rookery_proxy::catalogue::CATALOGUE,
        rookery_directory::catalogue::CATALOGUE,
        rookery_mailstore::catalogue::CATALOGUE,
        rookery_mailstore::STORE_CATALOGUE,
    ]
}

/// The document.
pub(super) fn document() -> String {
    let mut text = OPENING.to_owned();
    let mut lists = Vec::new();
    for part in parts() {
        text += &format!("\n## {}\n\n{}", part.title, part.says);
        text += "| name | kind | labels | there | meaning |\n|---|---|---|---|---|\n";
        for metric in part.metrics {
            text += &row(metric, &mut lists);
        }
    }
    text += "\n## Long lists of values\n";
    for list in lists {
        text += &format!("\n### {}\n\n{}\n", list.title, wrapped(list.values));
    }
    text
}

/// A list of values that is told at the end.
struct List {
    title: String,
    values: &'static [&'static str],
}

fn row(metric: &Metric, lists: &mut Vec<List>) -> String {
    let labels: Vec<String> = metric
        .labels
        .iter()
        .map(|label| shown(metric, label, lists))
        .collect();
    let presence = match metric.presence {
        Presence::Always => "always",
        Presence::Used => "once used",
    };
    format!(
        "| `{}` | {} | {} | {presence} | {} |\n",
        metric.name,
        metric.kind.name(),
        labels.join("; "),
        metric.help
    )
}

fn shown(metric: &Metric, label: &Label, lists: &mut Vec<List>) -> String {
    let name = label.name;
    if name == "version" {
        return format!("`{name}`: that of the program");
    }
    if label.values.len() <= VALUES_MAX {
        let values: Vec<String> = label.values.iter().map(|value| format!("`{value}`")).collect();
        return format!("`{name}`: {}", values.join(", "));
    }
    let title = match lists.iter().find(|list| list.values == label.values) {
        Some(known) => known.title.clone(),
        None => {
            let title = if label.values == OUTCOMES {
                "outcomes of calls".to_owned()
            } else {
                format!("{name} of {}", metric.name)
            };
            lists.push(List {
                title: title.clone(),
                values: label.values,
            });
            title
        }
    };
    format!("`{name}`: [{title}](#{})", title.to_lowercase().replace(' ', "-"))
}

/// Values in lines of a length that can be read.
fn wrapped(values: &[&str]) -> String {
    let mut text = String::new();
    let mut length = 0;
    for (place, value) in values.iter().enumerate() {
        let separator = match place {
            0 => "",
            _ if length > 120 => ",\n",
            _ => ", ",
        };
        if separator == ",\n" {
            length = 0;
        }
        // Writing to a string never fails.
        let _ = write!(text, "{separator}`{value}`");
        length += separator.len() + value.len() + 2;
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rookery_process::telemetry::Kind;

    use super::*;

    #[test]
    fn the_document_is_what_the_catalogue_says() {
        assert!(
            document() == include_str!("../../../docs/metrics.md"),
            "docs/metrics.md is not what the catalogue says: write it with `cargo run --bin rookery -- reference metrics > docs/metrics.md`"
        );
    }

    #[test]
    fn names_and_values_are_as_they_should_be() {
        let mut names = BTreeSet::new();
        for metric in parts().iter().flat_map(|part| part.metrics) {
            let name = metric.name;
            assert!(names.insert(name), "{name} is there twice");
            assert!(name.starts_with("rookery_"), "{name}");
            assert!(!metric.help.contains('|'), "{name}: a table cannot show this");
            let is_total = name.ends_with("_total");
            assert_eq!(is_total, metric.kind == Kind::Counter, "{name}");
            let mut labels = BTreeSet::new();
            for label in metric.labels {
                assert!(labels.insert(label.name), "{name} has {} twice", label.name);
                let values: BTreeSet<_> = label.values.iter().collect();
                assert_eq!(values.len(), label.values.len(), "{name}: {}", label.name);
                assert!(!values.is_empty(), "{name}: {}", label.name);
            }
        }
    }
}
