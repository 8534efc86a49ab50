//! Libraries that are loaded into nodes with LD_PRELOAD, built from `shim/` when a test needs them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::peers;

/// What records which bytes are durable.
pub const UNSYNCED: &str = "unsynced";

/// What makes disks slow and clocks wrong.
pub const FAULTS: &str = "faults";

/// Builds a shim into a folder; the library's path.
pub fn build(name: &str, folder: &Path) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("shim/{name}.c"));
    let library = folder.join(format!("{name}.so"));
    let mut command = Command::new(peers::find("gcc"));
    command
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl");
    peers::run(&mut command)?;
    Ok(library)
}
