//! What a process takes of the machine: memory, processor time, room on the disk.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// Clock ticks in a second, as Linux counts processor time for programs.
const TICKS_PER_SECOND: u64 = 100;

/// Bytes of memory that a process has resident.
pub(super) fn memory(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{path} does not say what is resident"))? * 1024)
}

/// Processor time that a process has had, to a hundredth of a second.
pub(super) fn processor_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name may hold spaces; what follows its parenthesis does not.
    let (_, fields) = text.rsplit_once(')').context("no name")?;
    let ticks: Vec<u64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let millis = ticks.iter().sum::<u64>() * 1_000 / TICKS_PER_SECOND;
    Ok(Duration::from_millis(millis))
}

/// Bytes that the files below a folder take on the disk.
pub(super) fn on_disk(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        // A file may go while it is counted.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        bytes += if metadata.is_dir() {
            on_disk(&entry.path())?
        } else {
            metadata.blocks() * 512
        };
    }
    Ok(bytes)
}

/// Has the system forget what it keeps of files in memory. Needs root.
pub(super) fn forget_files() -> Result<()> {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3").context("the page cache cannot be emptied: run as root")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_measured() {
        let pid = std::process::id();
        assert!(memory(pid).unwrap() > 100_000);
        let before = processor_time(pid).unwrap();
        let mut sum = 0u64;
        while processor_time(pid).unwrap() == before {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        assert!(sum > 0);
    }
}
