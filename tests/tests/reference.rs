//! Man pages and completions, held against the programs that read them: man, mandoc and bash.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use rookery_tests::cluster::run_program;

fn ran(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: run .ci/install test"))
}

fn print(arguments: &[&str]) -> String {
    let output = run_program(arguments).unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn pages(folder: &Path) -> BTreeSet<String> {
    let output = run_program(&["reference", "man", folder.to_str().unwrap()]).unwrap();
    assert!(output.status.success(), "{output:?}");
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn each_command_has_a_man_page_that_man_reads_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("made/on/the/way");
    let pages = pages(&folder);
    for (wanted, is_there) in [
        ("rookery.1", true),
        ("rookery-serve.1", true),
        ("rookery-account-add.1", true),
        ("rookery-reference-man.1", true),
        ("rookery-mime-worker.1", false),
        ("rookery-help.1", false),
    ] {
        assert_eq!(pages.contains(wanted), is_there, "{wanted}: {pages:?}");
    }
    for page in &pages {
        let path = folder.join(page);
        let read = ran(Command::new("man")
            .args(["--warnings=w", "--encoding=UTF-8", "--local-file", "--ditroff"])
            .arg(&path)
            .env("LC_ALL", "C.UTF-8"));
        let said = String::from_utf8_lossy(&read.stderr);
        assert!(read.status.success() && said.is_empty(), "{page}: {said}");
        let read = ran(Command::new("mandoc")
            .args(["-T", "lint", "-W", "warning"])
            .arg(&path));
        let said = String::from_utf8_lossy(&read.stdout);
        // Where a list of values begins, one blank line more is asked for than there will be: nobody sees it.
        let said: Vec<&str> = said
            .lines()
            .filter(|line| !line.contains("skipping paragraph macro: br"))
            .collect();
        assert!(said.is_empty(), "{page}: {said:?}");
    }
}

/// What bash offers for the last of some words.
fn completed(words: &[&str]) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("rookery");
    std::fs::write(&script, print(&["reference", "completions", "bash"])).unwrap();
    let words = words
        .iter()
        .map(|word| format!("'{word}'"))
        .collect::<Vec<_>>()
        .join(" ");
    let asks = format!(
        "source '{}' || exit 1\n\
         words=({words}); COMP_WORDS=(\"${{words[@]}}\"); COMP_CWORD=$(( ${{#words[@]}} - 1 ))\n\
         function_of=$(complete -p rookery | sed -E 's/.*-F ([^ ]+) .*/\\1/')\n\
         \"$function_of\" rookery \"${{words[-1]}}\" \"${{words[-2]}}\" || exit 1\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let output = ran(Command::new("bash").args(["--noprofile", "--norc", "-c", &asks]));
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    assert_eq!(
        completed(&["rookery", "acc"]),
        BTreeSet::from(["account".to_owned()])
    );
    let below = completed(&["rookery", "account", ""]);
    for wanted in ["add", "list", "passwd", "--json"] {
        assert!(below.contains(wanted), "{below:?}");
    }
    let options = completed(&["rookery", "serve", "--c"]);
    for wanted in ["--config", "--check-config", "--ca", "--cluster"] {
        assert!(options.contains(wanted), "{options:?}");
    }
    assert!(!options.contains("--owner"));
    let shells = completed(&["rookery", "reference", "completions", ""]);
    for wanted in ["bash", "zsh", "fish"] {
        assert!(shells.contains(wanted), "{shells:?}");
    }
}

#[test]
fn other_shells_are_told_as_well() {
    assert!(print(&["reference", "completions", "zsh"]).starts_with("#compdef rookery"));
    assert!(print(&["reference", "completions", "fish"]).contains("complete -c rookery"));
    let refused = run_program(&["reference", "completions", "tcsh"]).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}

#[test]
fn the_schema_is_one_that_knows_the_keys() {
    let schema: serde_json::Value = serde_json::from_str(&print(&["reference", "config", "--json"])).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["node"]["properties"]["id"]["type"], "string");
    let example = print(&["reference", "config", "--example"]);
    assert!(example.contains("#drain = \"10s\""), "{example}");
}
