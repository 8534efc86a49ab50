//! Man pages: one for each command.

use std::fs;
use std::path::Path;

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::CommandLine;

/// The day that pages are of: a page without one is a faulty page to those who read it. As in the package's changelog.
const DATE: &str = "2026-11-29";

/// Writes the pages into a folder.
pub(super) fn write(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut command = CommandLine::command().disable_help_subcommand(true);
    command.build();
    write_all(&command, folder)
}

fn write_all(command: &Command, folder: &Path) -> anyhow::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_all(below, folder)?;
    }
    let page = Man::new(command.clone())
        .date(DATE)
        .source(concat!("rookery ", env!("CARGO_PKG_VERSION")))
        .manual("Rookery");
    let path = folder.join(page.get_filename());
    let mut text = Vec::new();
    page.render(&mut text)?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
