//! What is kept in `docs/reference` is what the program says today.

use std::path::Path;

use super::{commands, config};

/// Fails when a document is not what a command prints, and says which command writes it.
fn is_written(name: &str, command: &str, printed: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/reference")
        .join(name);
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    if held == printed {
        return;
    }
    let mut pairs = held.lines().zip(printed.lines()).zip(1..);
    let first = pairs.find(|((held, printed), _)| held != printed);
    let place = match first {
        Some(((held, printed), line)) => format!("line {line} says\n  {held}\nand should say\n  {printed}"),
        None => "one is longer than the other".to_owned(),
    };
    panic!(
        "docs/reference/{name} is not what the program says: {place}\nwrite it: `make reference`, or \
         `rookery reference {command} > docs/reference/{name}`"
    );
}

#[test]
fn the_configuration() {
    is_written("configuration.md", "config", &config::markdown());
}

#[test]
fn the_commands() {
    is_written("commands.md", "commands", &commands::markdown());
}
