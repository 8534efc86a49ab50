//! What the tree promises: which crate may call which, RFCs cited are in the table, files stay small, links lead somewhere.

#[path = "tidy/links.rs"]
mod links;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Longest source file, in lines. At 500 look for the second idea; at this one, split.
const LINES_MAX: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a parent")
        .to_path_buf()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder with an ending, build output left out.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                files(&path, ending, found);
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&root(), ".rs", &mut found);
    assert!(found.len() > 20, "no sources were found");
    found
}

/// Which crates of ours each crate may depend on.
fn arrows() -> BTreeMap<&'static str, &'static [&'static str]> {
    BTreeMap::from([
        ("mail", &[][..]),
        ("proto", &[]),
        ("process", &[]),
        ("replication", &["proto", "process"]),
        ("simulation", &["proto", "replication"]),
        ("directory", &["mail", "proto", "process", "replication"]),
        ("mailstore", &["mail", "proto", "process", "replication"]),
        ("proxy", &["mail", "proto", "process"]),
        (
            "cli",
            &["proxy", "mailstore", "directory", "mail", "proto", "process"],
        ),
        ("loadtest", &["mail", "proto"]),
        (
            "tests",
            &[
                "loadtest",
                "cli",
                "proxy",
                "mailstore",
                "directory",
                "mail",
                "proto",
                "process",
            ],
        ),
        ("fuzz", &["mail", "mailstore"]),
    ])
}

#[test]
fn crates_depend_only_along_the_arrows() {
    for (name, allowed) in arrows() {
        let path = root().join(name).join("Cargo.toml");
        let manifest: toml::Table = read(&path).parse().expect("a manifest");
        let dependencies = manifest
            .get("dependencies")
            .and_then(|table| table.as_table())
            .cloned()
            .unwrap_or_default();
        for dependency in dependencies.keys() {
            let Some(ours) = dependency.strip_prefix("rookery-") else {
                continue;
            };
            assert!(
                allowed.contains(&ours),
                "{name} must not depend on {ours}: {}",
                path.display()
            );
        }
    }
}

#[test]
fn the_top_level_is_what_the_architecture_says() {
    let known: BTreeSet<&str> = arrows().into_keys().chain(["helm", "docs"]).collect();
    for entry in std::fs::read_dir(root()).expect("the root") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') && name != "target" && name != "rookery-data" {
            assert!(
                known.contains(name.as_str()),
                "{name}/ is not a folder of the architecture"
            );
        }
    }
}

#[test]
fn cited_rfcs_are_in_the_table() {
    let table = read(&root().join("docs/rfcs.md"));
    let mut missing = BTreeMap::new();
    for path in sources() {
        for (position, _) in read(&path).match_indices("RFC ") {
            let text = read(&path);
            let digits: String = text[position + 4..]
                .chars()
                .take_while(char::is_ascii_digit)
                .collect();
            if digits.len() == 4 || digits.len() == 3 {
                let row = format!("| {digits} |");
                if !table.contains(&row) {
                    missing.insert(digits, path.display().to_string());
                }
            }
        }
    }
    assert!(missing.is_empty(), "cited, but not in docs/rfcs.md: {missing:?}");
}

#[test]
fn files_stay_small_and_say_what_they_own() {
    for path in sources() {
        let text = read(&path);
        let lines = text.lines().count();
        assert!(
            lines <= LINES_MAX,
            "{} has {lines} lines: where is the second idea?",
            path.display()
        );
        let opening = text
            .lines()
            .find(|line| !line.starts_with("#!"))
            .unwrap_or_default();
        assert!(
            opening.starts_with("//!"),
            "{} does not open by saying what it owns",
            path.display()
        );
    }
}

#[test]
fn metrics_are_recorded_through_the_catalogue_alone() {
    let telemetry = root().join("process/src/telemetry");
    for path in sources() {
        if path.starts_with(&telemetry) || path.ends_with("tests/tests/tidy.rs") {
            continue;
        }
        let text = read(&path);
        for word in ["metrics::counter!", "metrics::gauge!", "metrics::histogram!"] {
            assert!(
                !text.contains(word),
                "{} holds {word}: declare the metric in its crate's catalogue.rs",
                path.display()
            );
        }
    }
}

#[test]
fn nothing_is_left_to_do_in_the_code() {
    for path in sources() {
        if path.ends_with("tests/tests/tidy.rs") {
            continue;
        }
        let text = read(&path);
        for word in ["todo!(", "unimplemented!(", "FIXME", "XXX:", "#[ignore"] {
            assert!(!text.contains(word), "{} holds {word}", path.display());
        }
    }
}

#[test]
fn links_of_documents_lead_somewhere() {
    let root = root();
    let mut found = Vec::new();
    files(&root, ".md", &mut found);
    assert!(found.len() > 20, "no documents were found");
    let documents: Vec<PathBuf> = found
        .iter()
        .map(|path| path.strip_prefix(&root).expect("below the root").to_path_buf())
        .collect();
    let wrong = links::wrong(&root, &documents);
    assert!(wrong.is_empty(), "broken links:\n{}", wrong.join("\n"));
}
