//! What a shell completes commands and options with.

use clap::{CommandFactory, ValueEnum};
use clap_complete::{generate, shells};

use crate::CommandLine;

/// Shells that are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// The script that the shell loads.
pub(super) fn script(shell: Shell) -> String {
    let mut command = CommandLine::command();
    let mut script = Vec::new();
    match shell {
        Shell::Bash => generate(shells::Bash, &mut command, "rookery", &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut command, "rookery", &mut script),
        Shell::Fish => generate(shells::Fish, &mut command, "rookery", &mut script),
    }
    String::from_utf8_lossy(&script).into_owned()
}
