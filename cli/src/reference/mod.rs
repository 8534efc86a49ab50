//! `rookery reference`: what documents, man pages and shells are told of the program, made of the program itself.

mod commands;
mod completions;
mod config;
mod man;
pub(crate) mod metrics;
#[cfg(test)]
mod written;

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;

use crate::operate::output;

/// What there is to be told.
#[derive(Debug, Subcommand)]
pub(crate) enum Reference {
    /// Print the keys of the configuration as Markdown, or their schema with --json
    Config {
        /// As a configuration file in which every key is a comment
        #[arg(long)]
        example: bool,
    },
    /// Print all commands and options as Markdown
    Commands,
    /// Print every metric with its labels and its meaning as Markdown
    Metrics,
    /// Write a man page for each command
    Man {
        /// Folder for them; made when it is not there
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Print what a shell completes commands and options with
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: completions::Shell,
    },
}

impl Reference {
    /// Prints or writes it.
    pub(crate) fn run(self, json: bool) -> anyhow::Result<()> {
        match self {
            Self::Config { .. } if json => output::json(&config::schema()),
            Self::Config { example: true } => print(&config::example()),
            Self::Config { example: false } => print(&config::markdown()),
            Self::Commands => print(&commands::markdown()),
            Self::Metrics => print(&metrics::document()),
            Self::Man { folder } => man::write(&folder),
            Self::Completions { shell } => print(&completions::script(shell)),
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}
