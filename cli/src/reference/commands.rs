//! All commands and options as Markdown, out of what parses them.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use crate::CommandLine;

const OPENING: &str = "\
# Commands

Made by `rookery reference commands` of what parses the command line. Commands that ask the directory find it by the options that all
commands have. Exit 0 done, 1 failed, 2 wrong use; errors go to standard error, the first line says what, why and what to do.
`man rookery` says the same where the Debian package is installed.
";

/// The document.
pub(super) fn markdown() -> String {
    let mut command = CommandLine::command().disable_help_subcommand(true);
    command.build();
    let mut text = OPENING.to_owned();
    text.push_str("\n## Options of all commands\n");
    let global: Vec<&Arg> = shown(&command).filter(|arg| arg.is_global_set()).collect();
    add_table(&mut text, &global);
    add_below(&mut text, &command);
    text
}

fn add_below(text: &mut String, command: &Command) {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        add(text, below);
        add_below(text, below);
    }
}

fn add(text: &mut String, command: &Command) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let _ = writeln!(text, "\n## `{name}`\n");
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        for paragraph in about.to_string().split("\n\n") {
            let _ = writeln!(text, "{}.\n", plain(paragraph).trim_end_matches('.'));
        }
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim().trim_start_matches("Usage:");
    let _ = writeln!(text, "```\n{}\n```", usage.trim());
    let own: Vec<&Arg> = shown(command).filter(|arg| !arg.is_global_set()).collect();
    add_table(text, &own);
}

/// What a reader is told of; help and version are everywhere.
fn shown(command: &Command) -> impl Iterator<Item = &Arg> {
    command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str()))
}

fn add_table(text: &mut String, arguments: &[&Arg]) {
    if arguments.is_empty() {
        return;
    }
    text.push_str("\n| argument | default | meaning |\n|---|---|---|\n");
    for argument in arguments {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} |",
            label(argument),
            default(argument),
            meaning(argument)
        );
    }
}

/// As it is written: `-s, --long <VALUE>`, or `<VALUE>` by its place.
fn label(argument: &Arg) -> String {
    if argument.is_positional() {
        return argument.to_string();
    }
    let long = argument.get_long().map(|long| format!("--{long}"));
    let short = argument.get_short().map(|short| format!("-{short}"));
    let mut label = short.into_iter().chain(long).collect::<Vec<_>>().join(", ");
    if argument.get_action().takes_values() {
        for name in argument.get_value_names().unwrap_or_default() {
            let _ = write!(label, " <{name}>");
        }
    }
    label
}

fn default(argument: &Arg) -> String {
    if !argument.get_action().takes_values() {
        return "–".to_owned();
    }
    let values: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    match (values.is_empty(), argument.is_required_set()) {
        (false, _) => values.join(" "),
        (true, true) => "required".to_owned(),
        (true, false) => "–".to_owned(),
    }
}

fn meaning(argument: &Arg) -> String {
    let help = argument.get_long_help().or_else(|| argument.get_help());
    let mut text = plain(&help.map(ToString::to_string).unwrap_or_default());
    let values = argument.get_possible_values();
    if argument.get_action().takes_values() && !values.is_empty() {
        let names: Vec<String> = values
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        let _ = write!(text, ": {}", names.join(", "));
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(text, " (`{}` in the environment)", variable.to_string_lossy());
    }
    text
}

/// A text as one line of a table.
fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_and_option_is_there() {
        let text = markdown();
        for wanted in [
            "## `rookery account add`",
            "## `rookery serve`",
            "| `--config <CONFIG>` | required |",
            "(`ROOKERY_ADMIN` in the environment)",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in\n{text}");
        }
        // What is not for people is not told.
        assert!(!text.contains("mime-worker") && !text.contains("--owner"));
        assert_eq!(
            text.matches("`--token-file <FILE>`").count(),
            1,
            "a global option is told once"
        );
    }
}
