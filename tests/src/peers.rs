//! Programs of others that tests drive: mbsync, swaks, curl, mutt, strace, Python, Chromium.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Result, bail};

/// The Debian package that holds a program.
const PACKAGES: [(&str, &str); 12] = [
    ("mbsync", "isync"),
    ("swaks", "swaks"),
    ("curl", "curl"),
    ("mutt", "mutt"),
    ("strace", "strace"),
    ("python3", "python3"),
    ("gcc", "gcc"),
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
];

/// A program's path. Panics with what to install when it is missing: a skipped test is not a passed one.
pub fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path)
        .chain(extra)
        .map(|folder| folder.join(program))
        .find(|at| at.is_file());
    found.unwrap_or_else(|| {
        let package = PACKAGES
            .iter()
            .find(|(name, _)| *name == program)
            .map_or(program, |(_, package)| package);
        panic!("{program} is missing: apt-get install {package} (or run `make test`, which does)")
    })
}

/// Runs a command to its end; an error holds all that it said.
pub fn run(command: &mut Command) -> Result<Output> {
    let output = command.output()?;
    if !output.status.success() {
        bail!(
            "{command:?} exited with {}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output)
}
